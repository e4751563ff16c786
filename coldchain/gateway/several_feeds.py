"""several_feeds: the way of a gateway to whichever of several controllers answers."""

from collections import deque
from collections.abc import Mapping, Sequence

from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.model.rotation import GatewayReport, RotationUpdate
from coldchain.ports.rotation_feed import RotationFeed

WAIT_SECONDS_MAX = 0.3
"""How long one exchange waits for news: when the controller stands still meanwhile, what is left of the lease must do
until another one answers."""


class SeveralFeeds:
    """Implements ports.rotation_feed.RotationFeed by `feeds`, each the way to one controller of the same store. They
    pass what they are told on to the one that leads, so any of them does: it stays with the one that answered last."""

    def __init__(self, feeds: Sequence[RotationFeed]) -> None:
        self._feeds = deque(feeds)
        self._lease_seconds = 0.0
        self._answered = self._feeds[0]

    @property
    def lease_seconds(self) -> float:
        """As the last answer said; nothing before the first."""
        return self._lease_seconds

    async def exchange(self, report: GatewayReport, wait_seconds: float) -> RotationUpdate | None:
        """Raises Unavailable when none of them answers, and what the first one refuses that does."""
        unavailable: list[str] = []
        for _ in range(len(self._feeds)):
            feed = self._feeds[0]
            try:
                update = await feed.exchange(report, min(wait_seconds, WAIT_SECONDS_MAX))
            except ColdchainError as error:
                self._feeds.rotate(-1)
                if not isinstance(error, Unavailable):
                    raise
                unavailable.append(error.message)
            else:
                self._lease_seconds, self._answered = feed.lease_seconds, feed
                return update
        raise Unavailable("; ".join(unavailable), todo="The gateway goes on with what it has")

    def shares(self, gateway: str) -> Mapping[str, float]:
        """As the one said that answered last."""
        return self._answered.shares(gateway)
