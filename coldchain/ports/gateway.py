"""Gateway: the data plane that a gateway process feeds (nginx)."""

from collections.abc import Mapping
from typing import Protocol

from coldchain.model.errors import Conflict
from coldchain.model.limit import LimitUse
from coldchain.model.rotation import GatewayReport, RotationUpdate
from coldchain.model.traffic import TrafficNews


class OutOfStep(Conflict):
    """The update does not build on what the gateway has (its state is gone, or a newer controller fed it)."""


class Gateway(Protocol):
    """Raises `Unavailable` when it does not answer; it then goes on with what it has."""

    async def apply(self, update: RotationUpdate) -> None:
        """Returns when every worker works by the update. Raises `OutOfStep` unless `update.base` is 0 or what it has;
        never goes back to a lower revision."""
        ...

    async def report(self) -> GatewayReport:
        """Applied revision (0 when it has none) and the open requests of endpoints of weight 0."""
        ...

    async def traffic(self, since: int) -> TrafficNews:
        """What it counted of the instances in its rotation that have news since that mark; 0 for all of them, and
        so is a mark of before it was started. Counts of the last moment (half a second) may still be missing."""
        ...

    async def limits(self) -> Mapping[str, LimitUse]:
        """What each limit of the routes in its rotation was asked for, by name; the last moment may be missing."""
        ...

    async def share(self, shares: Mapping[str, float]) -> None:
        """Work by that part of these limits, and by the whole of all others, until told otherwise."""
        ...

    async def renew(self, seconds: float) -> None:
        """Be ready for that long; without another call it then fails its readiness and serves on."""
        ...

    async def close(self) -> None:
        """Let go of it; it serves on."""
        ...
