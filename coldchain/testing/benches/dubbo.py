"""dubbo: calls a second and their latency, of our client and our server beside Node's, in turns.

Consumers and providers are processes of their own. In each round each pair of them makes its calls one after the
other: Node's consumer with Node's provider, ours with Node's, Node's with ours, and ours with ours.
"""

import asyncio
import contextlib
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from coldchain.clients.dubbo import Call, Client
from coldchain.testing.bench import Bar, report
from coldchain.testing.dubbo_peer import GROUP, INTERFACE, VERSION, DubboPeer
from coldchain.testing.server_process import DIES_WITH_ITS_PARENT

ROUNDS = 10
CALLS = 2000
WIDTH = 50
"""Calls in flight at a time, over one connection."""
VALUE = {"sku": "SKU-000042", "name": "有机生菜 300g", "count": 3, "price": 9.9, "tags": ["fresh", "chilled"]}
RATIO_MAX = 3.0
"""Measured: about 1. Three times slower is a mistake."""
PATIENCE_SECONDS = 60.0

Measured = tuple[float, list[float]]
"""Seconds for all calls, and for each."""


@contextlib.asynccontextmanager
async def our_provider() -> AsyncIterator[str]:
    """Its address."""
    process = await asyncio.create_subprocess_exec(
        *DIES_WITH_ITS_PARENT,
        sys.executable,
        "-m",
        "coldchain.testing.dubbo_provider",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.stdin.close()
        await process.wait()


async def by_our_client(address: str, calls: int, width: int) -> Measured:
    host, _, port = address.rpartition(":")
    client = Client(host, int(port))
    call = Call(interface=INTERFACE, method="echo", arguments=[VALUE], version=VERSION, group=GROUP)
    took: list[float] = []
    left = iter(range(calls))

    async def caller() -> None:
        for _ in left:
            began = time.perf_counter()
            await client.call(call, PATIENCE_SECONDS)
            took.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(width)))
    seconds = time.perf_counter() - began
    await client.close()
    return seconds, took


async def measure(rounds: int = ROUNDS, calls: int = CALLS, width: int = WIDTH) -> dict[str, list[Measured]]:
    """By consumer and provider, such as `ours to node`: what each round took. A first round warms all up."""
    measured: dict[str, list[Measured]] = {}
    async with DubboPeer() as node, DubboPeer() as consumer, our_provider() as ours:

        async def by_node(address: str) -> Measured:
            return await consumer.time(address, calls, width, VALUE)

        async def by_us(address: str) -> Measured:
            return await by_our_client(address, calls, width)

        pairs: dict[str, tuple[Callable[[str], Awaitable[Measured]], str]] = {
            "node to node": (by_node, node.address),
            "ours to node": (by_us, node.address),
            "node to ours": (by_node, ours),
            "ours to ours": (by_us, ours),
        }
        for turn in range(rounds + 1):
            for name, (work, address) in pairs.items():
                outcome = await work(address)
                if turn:
                    measured.setdefault(name, []).append(outcome)
    return measured


def summary(measured: dict[str, list[Measured]]) -> dict[str, dict[str, float]]:
    """Medians of the rounds; `slower_than_node`: how many times Node's pair is as fast, in the median of the rounds."""
    found: dict[str, dict[str, float]] = {}
    for name, rounds in measured.items():
        latencies = [sorted(took) for _, took in rounds]
        ratios = (ours / theirs for (ours, _), (theirs, _) in zip(rounds, measured["node to node"], strict=True))
        found[name] = {
            "calls_per_second": round(statistics.median(len(took) / seconds for seconds, took in rounds), 1),
            "milliseconds_p50": round(statistics.median(one[len(one) // 2] for one in latencies) * 1000, 3),
            "milliseconds_p99": round(statistics.median(one[len(one) * 99 // 100] for one in latencies) * 1000, 3),
            "slower_than_node": round(statistics.median(ratios), 2),
        }
    return found


def bars(found: dict[str, dict[str, float]], samples: int = ROUNDS) -> list[Bar]:
    """What a change must not make worse unnoticed."""
    return [
        Bar(
            name=f"dubbo_{side}_peer_ratio",
            value=found[pair]["slower_than_node"],
            unit="",
            limit=RATIO_MAX,
            better="lower",
            samples=samples,
        )
        for side, pair in {"client": "ours to node", "server": "node to ours"}.items()
    ]


def main() -> int:
    found: dict[str, Any] = summary(asyncio.run(measure()))
    for name, numbers in found.items():
        print(f"{name}: {', '.join(f'{key} {number:g}' for key, number in numbers.items())}", flush=True)
    return report(bars(found), found)


if __name__ == "__main__":
    raise SystemExit(main())
