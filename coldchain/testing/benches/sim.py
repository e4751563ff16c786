"""sim: how many simulated lives a second of CPU time, and how much virtual time in it.

CPU time, so that what else a machine does matters less; each round lives the same lives.
"""

import statistics
import time

from coldchain.testing.bench import Bar, report
from coldchain.testing.simulation.oracle import compared
from coldchain.testing.simulation.schedule import generate

ROUNDS = 10
SCHEDULES = 40


def main() -> int:
    rates, ratios, violations = [], [], 0
    for _ in range(ROUNDS):
        virtual = 0.0
        began = time.process_time()
        for seed in range(SCHEDULES):
            result, _ = compared(generate(seed))
            virtual += result.seconds
            violations += bool(result.violations)
        used = time.process_time() - began
        rates.append(SCHEDULES / used)
        ratios.append(virtual / used)
        print(f"{rates[-1]:.1f} schedules/s, {ratios[-1]:.0f} virtual seconds in one of CPU time", flush=True)
    rate, ratio = statistics.median(rates), statistics.median(ratios)
    bars = [
        Bar(name="schedules_per_second", value=rate, unit="/s", limit=10, better="higher", samples=ROUNDS),
        Bar(name="virtual_to_real_time", value=ratio, unit="", limit=800, better="higher", samples=ROUNDS),
        Bar(name="violations", value=violations, unit="", limit=0, better="lower", samples=ROUNDS * SCHEDULES),
    ]
    return report(bars, {})


if __name__ == "__main__":
    raise SystemExit(main())
