"""sim: how many simulated lives a second, and how much virtual time in a second of real time, on one core."""

import time

from coldchain.testing.bench import Bar, report
from coldchain.testing.simulation.oracle import compared
from coldchain.testing.simulation.schedule import generate

SCHEDULES = 200


def main() -> int:
    virtual, violations = 0.0, 0
    began = time.perf_counter()
    for seed in range(SCHEDULES):
        result, _ = compared(generate(seed))
        virtual += result.seconds
        violations += bool(result.violations)
    real = time.perf_counter() - began
    bars = [
        Bar(name="schedules", value=SCHEDULES / real, unit="/s", limit=4, better="higher", samples=SCHEDULES),
        Bar(name="virtual to real time", value=virtual / real, unit="", limit=200, better="higher", samples=SCHEDULES),
        Bar(name="violations", value=violations, unit="", limit=0, better="lower", samples=SCHEDULES),
    ]
    return report(bars, {})


if __name__ == "__main__":
    raise SystemExit(main())
