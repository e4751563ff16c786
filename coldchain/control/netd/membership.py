"""membership: the record of this machine as a node, by which others reach its containers."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from coldchain.control.nodes import Nodes, Removed
from coldchain.model.base import Noun
from coldchain.model.errors import ColdchainError
from coldchain.model.node import Node
from coldchain.ports.clock import Clock
from coldchain.ports.store import Store

RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class MembershipStatus(Noun, frozen=True, kw_only=True):
    """`written`: the store has had the record since this netd started. `trouble`: why not, empty for nothing."""

    written: bool = False
    trouble: str = ""


class Membership:
    """Writes the record once after each start. Who is removed stays so, also over a start, until its operator says
    that it may return; from its start on netd tries. `renounce` is called before the record is written where there is
    none, since others may have what this node held."""

    def __init__(self, store: Store, node: Node, renounce: Callable[[], Awaitable[None]], clock: Clock) -> None:
        self._nodes = Nodes(store)
        self._node = node
        self._decided = asyncio.Event()
        self._removed: Removed | None = None
        self._renounce = renounce
        self._clock = clock
        self.status = MembershipStatus()

    async def run(self) -> None:
        """For ever."""
        while not self.status.written:
            try:
                await self.write()
            except ColdchainError as error:
                if str(error) != self.status.trouble:
                    log.warning("the record of this node is not written", error=str(error))
                self.status = MembershipStatus(trouble=str(error))
                await self._clock.sleep(RETRY_SECONDS)
        await asyncio.Event().wait()

    async def write(self) -> None:
        """Raises Conflict where another machine has its name, InvalidDocument where it cannot be a node."""
        try:
            await self._nodes.join(self._node, self._renounce)
        except Removed as error:
            self._removed = error
            self._decided.set()
            raise
        self._removed = None
        self.status = MembershipStatus(written=True)
        self._decided.set()

    async def joined(self) -> None:
        """Returns once the store has the record. Raises Removed when it is known that it shall not have it."""
        await self._decided.wait()
        if self._removed is not None:
            raise self._removed
