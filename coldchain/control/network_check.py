"""network check: looks at all that the store has of the container network, and puts right what nodes cannot."""

from collections.abc import Sequence
from typing import TypeVar

from coldchain.control.pools import Pools
from coldchain.decisions.network_check import findings
from coldchain.documents import keys, stored
from coldchain.model.attachment import Attachment
from coldchain.model.base import Noun
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.errors import Conflict
from coldchain.model.network_finding import NetworkFinding
from coldchain.model.node import Node
from coldchain.model.pool import Block, Pool
from coldchain.ports.clock import Clock
from coldchain.ports.store import Change, Listing, Store

CONFIRM_SECONDS = 2.0
"""What passes by itself is looked at again after this."""
NETWORK = "network/"

N = TypeVar("N", bound=Noun)


class NetworkCheck:
    """Of the store; what only a machine knows its netd compares by itself."""

    def __init__(self, store: Store, clock: Clock, pools: Pools) -> None:
        self._store = store
        self._clock = clock
        self._pools = pools

    async def look(self) -> Sequence[NetworkFinding]:
        """What is wrong and stays so."""
        found = await self._findings()
        if any(one.passing for one in found):
            await self._clock.sleep(CONFIRM_SECONDS)
            again = await self._findings()
            found = [one for one in again if not one.passing or one in found]
        return found

    async def repair(self) -> Sequence[NetworkFinding]:
        """Put right what can be from here. Returns what was."""
        done = []
        for one in await self.look():
            if one.kind == "removed node":
                if await self._store.get(keys.node(one.node)) is not None:
                    continue  # it has joined meanwhile
                await self._pools.reclaim(one.node)
                done.append(one)
            elif one.repair:
                await self._delete_block(one.subject)
                done.append(one)
        return done

    async def _delete_block(self, cidr: str) -> None:
        listing = await self._store.list(keys.BLOCK)
        for entry in listing.entries:
            block = stored.decode(entry.value, Block)
            if block.cidr != cidr:
                continue
            if any(one.node for one in block.held.values()):
                raise Conflict(f"somebody holds an address of block {cidr} by now", todo="Check again.")
            await self._store.write([Change(key=entry.key, value=None, expected=entry.revision)])

    async def _findings(self) -> list[NetworkFinding]:
        """As of one revision of the store."""
        listing = await self._store.list(NETWORK)
        return findings(
            _of(listing, keys.POOL, Pool),
            _of(listing, keys.BLOCK, Block),
            _of(listing, keys.CONTAINER_NETWORK, ContainerNetwork),
            _of(listing, keys.NODE, Node),
            _of(listing, keys.ATTACHMENT, Attachment),
        )


def _of(listing: Listing, prefix: str, kind: type[N]) -> list[N]:
    return [stored.decode(entry.value, kind) for entry in listing.entries if entry.key.startswith(prefix)]
