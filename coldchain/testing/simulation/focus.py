"""focus: lives made for a corner: a transition that seldom happens, and kinds of faults that shall strike right before.

Faults that strike anywhere meet the short phases of an instance so seldom that thousands of lives miss some. In a life
with a focus faults and operations wait for one phase, that phase is made long, and what leads out of it is asked for.
"""

import random

from coldchain.model.base import Noun
from coldchain.model.instance import Phase
from coldchain.testing.simulation.faults import FAULTS

MEETING: tuple[tuple[str, ...], ...] = (
    ("task crash", "update lost", "store slow"),
    ("task crash", "task vanishes", "update lost", "gateway slow", "store slow"),
    ("task crash", "update doubled", "store slow"),
    ("task crash", "update doubled", "update late", "store slow"),
    ("task crash", "update doubled", "update late", "gateway slow", "store slow"),
    ("task crash", "update late", "store slow"),
    ("launch refused", "launch reply lost", "slow start", "prepare reply lost", "engine slow"),
    ("launch refused", "engine slow", "store slow"),
    ("kill reply lost", "forget reply lost", "task vanishes", "store slow"),
    ("time travel", "store slow"),
    ("reboot", "crash before a write", "crash after a write", "updates break", "store slow"),
)
"""Kinds that must meet in one moment to matter."""
RARE: tuple[tuple[Phase, Phase], ...] = (
    ("scheduled", "stopped"),
    ("launching", "stopping"),
    ("launching", "stopping"),
    ("starting", "stopping"),
    ("starting", "stopped"),
    ("entering", "draining"),
    ("entering", "draining"),
    ("entering", "draining"),
    ("entering", "stopped"),
    ("draining", "closing"),
    ("draining", "stopped"),
    ("closing", "stopping"),
    ("closing", "stopping"),
    ("closing", "stopped"),
)
"""Transitions out of phases in which little time is spent. Who enters leaves at once in very few lives."""
STRETCHED: dict[Phase, str] = {
    "scheduled": "store slow",
    "launching": "engine slow",
    "starting": "slow start",
    "entering": "gateway slow",
    "draining": "gateway slow",
}
"""What makes a phase long."""


class Focus(Noun, frozen=True, kw_only=True):
    """`kinds` of faults that strike often, the others hardly; all wait for `phase`. `leave`: operations that end
    instances are asked for then; `end`: tasks end then. `stretched`: the kind that makes the phase long, all the time.
    """

    kinds: tuple[str, ...]
    phase: Phase
    leave: bool
    end: bool
    stretched: str | None


def focus(draw: random.Random) -> Focus:
    """One corner, drawn."""
    before, after = draw.choice(RARE)
    return Focus(
        kinds=draw.choice(MEETING) if draw.random() < 0.5 else tuple(draw.sample(list(FAULTS), 3)),
        phase=before,
        leave=(after in ("draining", "stopping") and before != "closing") or before == "scheduled",
        end=after == "stopped" and before != "scheduled",
        stretched=STRETCHED.get(before),
    )
