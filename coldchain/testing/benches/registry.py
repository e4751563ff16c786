"""`bin/bench registry`: the registry and who follows it; each part is a module of coldchain.testing.registry_bench."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from coldchain.testing.bench import Bar, report
from coldchain.testing.benches import dubbo, hessian
from coldchain.testing.registry_bench import Part, heartbeats, route


async def measure_hessian() -> Part:
    found = hessian.summary(await asyncio.to_thread(hessian.measure))
    return Part(bars=hessian.bars(found), peers={"hessian.js": found})


async def measure_dubbo() -> Part:
    found = dubbo.summary(await dubbo.measure())
    return Part(bars=dubbo.bars(found), peers=found)


PARTS: dict[str, Callable[[], Awaitable[Part]]] = {
    "route": route.measure,
    "heartbeats": heartbeats.measure,
    "hessian": measure_hessian,
    "dubbo": measure_dubbo,
}


async def measure(names: list[str]) -> tuple[list[Bar], dict[str, Any]]:
    bars: list[Bar] = []
    peers: dict[str, Any] = {}
    for name in names:
        part = await PARTS[name]()
        bars += part.bars
        peers[name] = part.peers
        print(f"{name}: {part.peers}", flush=True)
    return bars, peers


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench registry", description=__doc__)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="one of its parts, all if none is given")
    options = parser.parse_args()
    return report(*asyncio.run(measure(options.part or list(PARTS))))


if __name__ == "__main__":
    sys.exit(main())
