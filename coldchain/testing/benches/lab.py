"""`bin/bench lab`: how long it takes until a lab of machines stands.

From nothing to the moment when every engine of the lab has answered and every machine has reached every other.
"""

import argparse
import statistics
import sys
import time

from coldchain.testing.bench import Bar, report
from coldchain.testing.machines import FLAT, SEGMENTED, MachineLab, Plan

LIMIT_SECONDS = 10.0
PLANS = {"flat": FLAT, "segmented": SEGMENTED}


def measure(plan: Plan) -> tuple[float, float]:
    """Seconds up and down."""
    began = time.perf_counter()
    with MachineLab(plan) as lab:
        for machine in lab:
            assert all(machine.reaches(other.address) for other in lab), f"{machine.name} does not reach all others"
        up = time.perf_counter()
    return up - began, time.perf_counter() - up


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench lab", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    ups: dict[str, list[float]] = {name: [] for name in PLANS}
    downs: dict[str, list[float]] = {name: [] for name in PLANS}
    for number in range(options.rounds):
        for name, plan in PLANS.items():
            up, down = measure(plan)
            ups[name].append(up)
            downs[name].append(down)
            print(f"round {number + 1}: {name:9} up in {up:.2f} s, down in {down:.2f} s", flush=True)
    # The slowest counts: who starts a lab waits for that one too.
    slowest = max(value for values in ups.values() for value in values)
    samples = sum(map(len, ups.values()))
    bar = Bar(name="lab_up_s", value=slowest, unit="s", limit=LIMIT_SECONDS, better="lower", samples=samples)
    peers = {
        "up_s": {name: round(statistics.median(values), 3) for name, values in ups.items()},
        "down_s": {name: round(statistics.median(values), 3) for name, values in downs.items()},
    }
    return report([bar], peers)


if __name__ == "__main__":
    sys.exit(main())
