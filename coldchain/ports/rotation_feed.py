"""RotationFeed: where a gateway process gets the rotation from and reports what it applied."""

from collections.abc import Mapping
from typing import Protocol

from coldchain.model.rotation import GatewayReport, RotationUpdate


class RotationFeed(Protocol):
    """Raises `Unavailable` when the controller does not answer; the gateway then goes on with what it has."""

    @property
    def lease_seconds(self) -> float:
        """How long a report counts, for the gateway: from the moment it began to send it."""
        ...

    async def exchange(self, report: GatewayReport, wait_seconds: float) -> RotationUpdate | None:
        """Report, which renews the lease, and get what is new since `report.applied`: at once if there is something,
        else after `wait_seconds` at the latest, with None."""
        ...

    def shares(self, gateway: str) -> Mapping[str, float]:
        """After an exchange: which part of each limit is that gateway's, by the limit's name; of others all."""
        ...
