"""brake: when so much goes bad at once that the fault is likely shared, nothing is killed or replaced.

Counted are instances whose health checks fail while their tasks run. A task that ended is replaced as always: waiting
would serve nobody, and backoff keeps that from becoming a storm.
"""

from collections.abc import Mapping

import msgspec

from coldchain.model.base import Noun

SHARE = 0.2
"""Of all instances that are in rotation or enter it: more than this going bad together is a fault of the platform or of
something that all need, and killing instances mends neither."""
FEWEST = 3
"""Fewer are never called many, or one bad instance of four would stop its own replacement."""
WINDOW_SECONDS = 60.0
"""Going bad within this time counts as together."""
CALM_SECONDS = 30.0
"""How long it must be over before the brake lets go: what recovers does so one by one, and whoever comes last must
not be killed for it."""


class Brake(Noun, frozen=True, kw_only=True):
    """`reason`: why it holds, empty while it does not. `since`: epoch seconds. `released`: an operator said to go on;
    that ends with the fault it was said of. `calm_since`: since when no longer too many are bad."""

    reason: str = ""
    since: float = 0.0
    calm_since: float | None = None
    released: bool = False

    @property
    def holds(self) -> bool:
        return bool(self.reason) and not self.released


def judge(brake: Brake, bad_since: Mapping[str, float], total: int, now: float) -> Brake:
    """The brake after a look at the bad instances (id → epoch seconds since when) out of `total` in rotation.

    It takes hold when too many went bad within the window, and lets go when no longer too many have been bad for a
    while, however long that takes.
    """
    if brake.reason:
        if _many(len(bad_since), total):
            return msgspec.structs.replace(brake, calm_since=None)
        if brake.calm_since is None:
            return msgspec.structs.replace(brake, calm_since=now)
        return Brake() if now - brake.calm_since >= CALM_SECONDS else brake
    together = sum(now - since <= WINDOW_SECONDS for since in bad_since.values())
    if not _many(together, total):
        return brake
    reason = f"{together} of {total} instances went bad within {WINDOW_SECONDS:g} s: nothing is killed or replaced"
    return Brake(reason=reason, since=now)


def release(brake: Brake) -> Brake:
    """The brake after an operator said to go on; one that does not hold stays as it is."""
    return msgspec.structs.replace(brake, released=True) if brake.reason else brake


def _many(bad: int, total: int) -> bool:
    return bad >= FEWEST and bad > SHARE * total
