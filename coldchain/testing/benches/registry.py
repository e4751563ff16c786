"""`bin/bench registry`: the registry and who follows it; each part is a module of coldchain.testing.registry_bench."""

import argparse
import asyncio
import sys
import traceback
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


PART_SECONDS_MAX = 900.0


async def measure(names: list[str]) -> tuple[list[Bar], dict[str, Any]]:
    """All of these parts. One that fails has no bars, and says why in `failed` of its peers."""
    bars: list[Bar] = []
    peers: dict[str, Any] = {}
    for name in names:
        try:
            async with asyncio.timeout(PART_SECONDS_MAX):
                part = await PARTS[name]()
        except Exception as error:
            traceback.print_exc()
            part = Part(bars=[], peers={"failed": f"{type(error).__name__}: {error}"})
        bars += part.bars
        peers[name] = part.peers
        print(f"{name}: {part.peers}", flush=True)
    return bars, peers


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench registry", description=__doc__)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="one of its parts, all if none is given")
    options = parser.parse_args()
    bars, peers = asyncio.run(measure(options.part or list(PARTS)))
    return report(bars, peers) or int(any("failed" in one for one in peers.values()))


if __name__ == "__main__":
    sys.exit(main())
