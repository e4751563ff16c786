"""The parts of `bin/bench registry`, one module each: a part returns its bars and what it compared itself with.

What lives here: how each part is measured. What must not: limits of anything else. The bench has the list of its parts,
PARTS, to which another one is added.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from coldchain.model.base import Noun
from coldchain.testing.bench import Bar


class Part(Noun, frozen=True, kw_only=True):
    """What one part of the bench found."""

    bars: Sequence[Bar]
    peers: Mapping[str, Any]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1))]
