"""membership: the record of this machine as a node, by which others reach its containers."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from msgspec.structs import replace

from coldchain.documents.keys import network_key_of
from coldchain.documents.stored import decode, encode
from coldchain.model.base import Noun
from coldchain.model.errors import ColdchainError, Conflict
from coldchain.model.node import Node
from coldchain.ports.clock import Clock
from coldchain.ports.store import ABSENT, Change, LostUpdate, Store

RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class MembershipStatus(Noun, frozen=True, kw_only=True):
    """`written`: the store has had the record since this netd started. `trouble`: why not, empty for nothing."""

    written: bool = False
    trouble: str = ""


class Membership:
    """Writes the record once after each start: one that is removed while netd runs stays removed until the next.
    `renounce` is called before it is written where there is none, since others may have what this node held."""

    def __init__(self, store: Store, node: Node, renounce: Callable[[], Awaitable[None]], clock: Clock) -> None:
        self._store = store
        self._node = node
        self._renounce = renounce
        self._clock = clock
        self.status = MembershipStatus()

    async def run(self) -> None:
        """For ever."""
        while not self.status.written:
            try:
                await self.write()
            except LostUpdate:
                continue  # somebody changed it at this moment
            except ColdchainError as error:
                if str(error) != self.status.trouble:
                    log.warning("the record of this node is not written", error=str(error))
                self.status = MembershipStatus(trouble=str(error))
                await self._clock.sleep(RETRY_SECONDS)
        await asyncio.Event().wait()

    async def write(self) -> None:
        """What only its operator says of a node stays. Raises Conflict where another machine has its name."""
        key = network_key_of(self._node)
        entry = await self._store.get(key)
        wanted, revision = self._node, ABSENT
        if entry is None:
            await self._renounce()
        else:
            found, revision = decode(entry.value, Node), entry.revision
            if found.address != self._node.address:
                raise Conflict(
                    f"node {found.name} is known with the address {found.address}, not {self._node.address}",
                    todo="Give this machine another name with --node; or, if its address was changed, tell of it with "
                    "`coldchain node set`",
                )
            wanted = replace(self._node, reflector=found.reflector)
        if entry is None or encode(wanted) != entry.value:
            await self._store.write([Change(key=key, value=encode(wanted), expected=revision)])
        self.status = MembershipStatus(written=True)
