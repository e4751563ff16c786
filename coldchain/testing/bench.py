"""bench: what every benchmark prints at its end: the bars it has to meet, and what it compared itself with."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from coldchain.model.base import Noun


class Bar(Noun, frozen=True, kw_only=True):
    """One number against its limit. `samples`: how many measurements the value is made of."""

    name: str
    value: float
    unit: str
    limit: float
    better: Literal["lower", "higher"]
    samples: int

    @property
    def met(self) -> bool:
        return self.value <= self.limit if self.better == "lower" else self.value >= self.limit


def report(bars: Sequence[Bar], peers: Mapping[str, Any]) -> int:
    """Print one JSON object as the last line. Returns the exit code: 1 when a bar is missed."""
    document = {
        "bars": [
            {
                "name": bar.name,
                "value": round(bar.value, 4),
                "unit": bar.unit,
                "limit": bar.limit,
                "better": bar.better,
                "samples": bar.samples,
            }
            for bar in bars
        ],
        "peers": peers,
    }
    for bar in bars:
        print(f"{bar.name}: {bar.value:.3f} {bar.unit} (limit {bar.limit:g}) {'met' if bar.met else 'MISSED'}")
    print(json.dumps(document), flush=True)
    return 0 if all(bar.met for bar in bars) else 1
