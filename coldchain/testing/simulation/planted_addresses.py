"""planted addresses: bugs of a node that gives addresses, made on purpose, and the life that finds each."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from coldchain.control.netd.addresses import AddressBook
from coldchain.control.netd.kept import Kept
from coldchain.decisions import block as decisions
from coldchain.decisions.block import Claim
from coldchain.decisions.pool import block_of
from coldchain.documents import stored
from coldchain.model.kept_address import KeptAddress
from coldchain.model.pool import Block
from coldchain.ports.store import ABSENT, Change, Entry
from coldchain.testing.fake_journal import FakeJournal
from coldchain.testing.simulation.addresses import POOL, Life, live
from coldchain.testing.simulation.planting import swapped

Swap = tuple[object, str, object]


def _gives_before_it_writes() -> Swap:
    real = FakeJournal.write

    async def write(self: FakeJournal, changes: Mapping[str, bytes | None]) -> None:
        given = [name for name, value in changes.items() if value is not None and b'"given":true' in value]
        if given:
            changes = {name: value for name, value in changes.items() if name not in given}
        await real(self, changes)

    return FakeJournal, "write", write


def _does_not_rest() -> Swap:
    return Kept, "_rests", lambda self, one, now: False


def _rests_from_the_last_start_alone() -> Swap:
    real = Kept.start

    async def start(self: Kept) -> None:
        before = self._started
        await real(self)
        if not before:
            self._rests_until = dict.fromkeys(self._rests_until, 0.0)

    return Kept, "start", start


def _lets_go_what_it_may_still_give() -> Swap:
    async def drop(self: Kept, addresses: Iterable[str]) -> None:
        """In memory alone."""
        for address in addresses:
            if address in self._addresses and not self._addresses[address].given:
                del self._addresses[address]

    return Kept, "_drop", drop


def _writes_over_others() -> Swap:
    async def put(self: AddressBook, entry: Entry | None, key: str, block: Block | None) -> None:
        value = stored.encode(block) if block is not None else None
        await self._store.write([Change(key=key, value=value)])

    return AddressBook, "_put", put


def _removed_node_goes_on() -> Swap:
    async def put(self: AddressBook, entry: Entry | None, key: str, block: Block | None) -> None:
        value = stored.encode(block) if block is not None else None
        expected = entry.revision if entry is not None else ABSENT
        await self._store.write([Change(key=key, value=value, expected=expected)])

    return AddressBook, "_put", put


def _removed_nodes_addresses_do_not_rest() -> Swap:
    real = decisions.claim

    def claim(*asked: Any) -> Claim | None:
        found = real(*asked)
        return found and msgspec.structs.replace(found, held=(*found.held, *found.rests), rests=())

    return decisions, "claim", claim


def _releases_for_anybody() -> Swap:
    real = Kept._release

    async def release(self: Kept, address: str, attachment: str | None) -> None:
        one = self._addresses.get(address)
        if one is None:
            released = KeptAddress(address=address, pool="online", block=block_of(POOL, address), resting=True)
            return await self._keep([released])
        return await real(self, address, None)

    return Kept, "_release", release


def _does_not_renounce() -> Swap:
    async def renounce(self: AddressBook) -> None:
        await self.start()

    return AddressBook, "renounce", renounce


def _keeps_too_many() -> Swap:
    return decisions, "leaving", lambda *asked: []


PLANTED: dict[str, Callable[[], Swap]] = {
    "gives before it writes": _gives_before_it_writes,
    "does not rest": _does_not_rest,
    "forgets rests when it ends": _rests_from_the_last_start_alone,
    "lets go what it may still give": _lets_go_what_it_may_still_give,
    "writes over others": _writes_over_others,
    "removed node goes on": _removed_node_goes_on,
    "removed node's addresses do not rest": _removed_nodes_addresses_do_not_rest,
    "releases what it never gave": _releases_for_anybody,
    "does not renounce": _does_not_renounce,
    "keeps too many": _keeps_too_many,
}


def find(name: str, seeds: range) -> Life | None:
    """The first life that shows the bug; None when it is not found."""
    with swapped([PLANTED[name]()]):
        for seed in seeds:
            life = live(seed)
            if life.violations:
                return life
    return None
