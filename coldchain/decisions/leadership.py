"""leadership: what one of several controllers does next to lead, to go on leading, or to stop in time.

Who leads holds a key of the store that ends with a lease. All times are of the monotonic clock of the machine that
counts them, and no two machines compare theirs: a leader counts from the moment at which it began to ask for its lease,
the store from the later one at which it granted it. So the leader's count always ends first.
"""

from typing import Literal

import msgspec

from coldchain.model.base import Noun
from coldchain.model.leader import Leader

Kind = Literal["look", "open lease", "claim", "take", "renew", "step down", "wait"]


class Timing(Noun, frozen=True, kw_only=True):
    """How long things take, in seconds."""

    lease_seconds: float = 3.0
    """A leader that dies is missed for so long. Shorter, and a loaded machine loses its lead for nothing."""
    renew_seconds: float = 0.7
    """Between two renewals: several fit into a lease, so that one may get lost."""
    margin_seconds: float = 0.4
    """Acts that are on their way when the time is over have so long to arrive."""
    drift: float = 0.02
    """By how much of the time that passes two clocks may differ; real ones do by a hundredth of that."""
    rest_seconds: float = 3.0
    """Who gave the lead away, or could not take it up, lets the others go first for so long."""

    def sure_until(self, asked_at: float, granted_seconds: float) -> float:
        """Until when a lease holds for sure that was asked for at that moment."""
        return asked_at + granted_seconds * (1.0 - self.drift) - self.margin_seconds


class Candidacy(Noun, frozen=True, kw_only=True):
    """What a candidate knows. `known`: whether it has read the key since it last was in doubt; then `leader` stands
    under it with `revision`, or nobody. `token`: the revision by which it leads itself. `sure_until`: of its lease;
    None without one. `why`: why it shall not lead any more."""

    name: str
    known: bool = False
    leader: Leader | None = None
    revision: int = 0
    token: int | None = None
    sure_until: float | None = None
    renew_at: float = 0.0
    rests_until: float = 0.0
    why: str = ""

    @property
    def own(self) -> bool:
        """Whether the key is its own."""
        return self.leader is not None and self.leader.name == self.name


class Step(Noun, frozen=True, kw_only=True):
    """What to do. `until`: of `wait`, when to look again if nothing happens; None: only when something does."""

    kind: Kind
    until: float | None = None
    why: str = ""


def next_step(seen: Candidacy, now: float, timing: Timing) -> Step:
    """What the candidate does next."""
    return _follow(seen, now, timing) if seen.token is None else _lead(seen, now)


def _lead(seen: Candidacy, now: float) -> Step:
    if seen.why:
        return Step(kind="step down", why=seen.why)
    if seen.sure_until is None or now >= seen.sure_until:
        return Step(kind="step down", why="its lease may have ended")
    if seen.known and seen.revision != seen.token:
        return Step(kind="step down", why=f"{seen.leader.address} leads" if seen.leader else "its lease has ended")
    if now >= seen.renew_at:
        return Step(kind="renew")
    return Step(kind="wait", until=min(seen.renew_at, seen.sure_until))


def _follow(seen: Candidacy, now: float, timing: Timing) -> Step:
    if not seen.known:
        return Step(kind="look")
    if seen.own:
        # Its claim arrived, and only the answer to it did not; or it gave up what it had, and that is still there.
        if not seen.why and seen.sure_until is not None and now < seen.sure_until:
            return Step(kind="take")
        return Step(kind="wait")
    if seen.leader is not None:
        return Step(kind="wait")
    if now < seen.rests_until:
        return Step(kind="wait", until=seen.rests_until)
    if seen.sure_until is None or now + timing.renew_seconds >= seen.sure_until:
        return Step(kind="open lease")
    return Step(kind="claim")


def looked(seen: Candidacy, leader: Leader | None, revision: int) -> Candidacy:
    """After the key was read, or a change of it was heard. What is older than what is known tells nothing."""
    if seen.known and revision < seen.revision:
        return seen
    return msgspec.structs.replace(seen, known=True, leader=leader, revision=revision)


def doubted(seen: Candidacy) -> Candidacy:
    """After a question about the key that got no answer."""
    return msgspec.structs.replace(seen, known=False)


def leased(seen: Candidacy, asked_at: float, granted_seconds: float, timing: Timing) -> Candidacy:
    """After a lease was granted or renewed."""
    until = timing.sure_until(asked_at, granted_seconds)
    return msgspec.structs.replace(seen, sure_until=until, renew_at=asked_at + timing.renew_seconds)


def taken(seen: Candidacy) -> Candidacy:
    """It leads from now on, by the revision of its key."""
    return msgspec.structs.replace(seen, token=seen.revision, why="")


def stepped_down(seen: Candidacy, now: float, timing: Timing) -> Candidacy:
    """It leads no more, and has no lease; the key may still be there for a while."""
    rests_until = now + timing.rest_seconds if seen.why else seen.rests_until
    return msgspec.structs.replace(seen, token=None, sure_until=None, known=False, rests_until=rests_until, why="")
