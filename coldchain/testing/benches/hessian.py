"""hessian: how many messages a second our Hessian 2 writes and reads, and how many hessian.js does, in turns.

Three messages: what a call of a service carries, a page of a hundred objects, and a long text. In each round both
write and read each for a moment, one after the other, so that what else a machine does hits both.
"""

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

from coldchain.clients.hessian2 import JavaObject, Long, decode, encode
from coldchain.testing.bench import Bar, report
from coldchain.testing.hessian_peer import HessianPeer

ROUNDS = 10
SECONDS = 0.1
RATIO_MAX = 8.0
"""Ours is interpreted, theirs is compiled as it runs: some times slower is expected, more is a mistake."""

Rates = dict[str, dict[str, list[float]]]
"""Of each message: `encode` and `decode`, ours, and theirs as `peer encode` and `peer decode`, per second."""


def messages() -> dict[str, object]:
    """By name, what is written and read."""
    items = [
        JavaObject(
            "fresh.order.Item",
            {"sku": f"SKU-{number:06}", "name": "有机生菜 300g", "count": number % 5, "price": 9.9, "chilled": True},
        )
        for number in range(100)
    ]
    order = JavaObject(
        "fresh.order.Order",
        {
            "id": Long(20170501000123),
            "customer": "李雷",
            "placed": datetime(2017, 5, 1, 8, 30, tzinfo=UTC),
            "items": items[:3],
            "tags": {"channel": "app", "city": "上海"},
            "remark": None,
        },
    )
    return {
        "call": [order, {"path": "fresh.order.OrderService", "timeout": "3000", "group": "green", "version": "1.0.0"}],
        "page": JavaObject("fresh.Page", {"total": Long(100), "items": items}),
        "text": "每一份生鲜，从产地到餐桌，全程冷链。Fresh from farm to table. " * 1000,
    }


def measure(rounds: int = ROUNDS, seconds: float = SECONDS) -> Rates:
    """All rounds, ours and theirs in turns."""
    rates: Rates = {name: {} for name in messages()}
    with HessianPeer() as peer:
        for _ in range(rounds):
            for name, value in messages().items():
                content = encode(value)
                for work, rate in (
                    ("encode", _rate(lambda value=value: encode(value), seconds)),  # type: ignore[misc]
                    ("peer encode", peer.encodes_per_second(value, seconds)),
                    ("decode", _rate(lambda content=content: decode(content), seconds)),  # type: ignore[misc]
                    ("peer decode", peer.decodes_per_second(content, seconds)),
                ):
                    rates[name].setdefault(work, []).append(rate)
    return rates


def _rate(work: Callable[[], object], seconds: float) -> float:
    count = 0
    began = now = time.perf_counter()
    while now < began + seconds:
        for _ in range(10):
            work()
        count += 10
        now = time.perf_counter()
    return count / (now - began)


def summary(rates: Rates) -> dict[str, dict[str, float]]:
    """Medians, and how many times as fast the peer is in the median of the rounds."""
    found: dict[str, dict[str, float]] = {}
    for name, works in rates.items():
        numbers = found[name] = {}
        for work, each in works.items():
            numbers[f"{work}_per_second".replace(" ", "_")] = round(statistics.median(each), 1)
        for work in ("encode", "decode"):
            pairs = zip(works[f"peer {work}"], works[work], strict=True)
            numbers[f"peer_{work}_ratio"] = round(statistics.median(theirs / ours for theirs, ours in pairs), 2)
    return found


def bars(found: dict[str, dict[str, float]]) -> list[Bar]:
    """What a change must not make worse unnoticed."""
    return [
        Bar(
            name=f"hessian_{work}_peer_ratio",
            value=max(numbers[f"peer_{work}_ratio"] for numbers in found.values()),
            unit="",
            limit=RATIO_MAX,
            better="lower",
            samples=ROUNDS,
        )
        for work in ("encode", "decode")
    ]


def main() -> int:
    found = summary(measure())
    for name, numbers in found.items():
        print(f"{name}: {', '.join(f'{key} {number:g}' for key, number in numbers.items())}", flush=True)
    return report(bars(found), {"hessian.js": found})


if __name__ == "__main__":
    raise SystemExit(main())
