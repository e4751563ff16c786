"""`python -m coldchain.testing.agents_bench AGENTS`: what a controller with so many fake agents needs, as JSON.

Two instances for each agent, in apps of ten. CPU time for placing all of them, one app after the other, and for a pass
over everything when nothing has changed; and what the process has more of memory at its end.
"""

import asyncio
import json
import logging
import os
import statistics
import sys
import time

import structlog

from coldchain.testing.scale_bench import ASKED, COPIES, Sized, controller_of

INSTANCES_PER_AGENT = 2


def resident_mb() -> float:
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


async def measure(agents: int) -> dict[str, float]:
    before = resident_mb()
    async with controller_of(agents) as controller:
        sized = Sized(controller)
        began = time.perf_counter()
        placed = await sized.place(agents * INSTANCES_PER_AGENT // COPIES, COPIES)
        took = time.perf_counter() - began
        reconciled = statistics.median([await sized.reconcile() for _ in range(ASKED)])
        memory = resident_mb()
    return {
        "place_s": took,
        "place_cpu_ms": placed * 1000,
        "pass_cpu_ms": reconciled * 1000,
        "memory_mb": memory - before,
    }


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    print(json.dumps(asyncio.run(measure(int(sys.argv[1])))))
