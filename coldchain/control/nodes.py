"""nodes: the machines of the container network join, are changed and leave; and how routes are spread among them.

All by compare-and-swap on the store that the nodes write too: whoever was quicker makes the other look again.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec.structs import replace

from coldchain.control.pools import Pools
from coldchain.decisions.node import problems, problems_beside, routing_problems
from coldchain.documents import keys, stored
from coldchain.model.attachment import Attachment
from coldchain.model.errors import Conflict, InvalidDocument, NotFound
from coldchain.model.node import Node, Routing
from coldchain.ports.store import ABSENT, Change, Entry, LostUpdate, Store

TRIES = 20


class Removed(Conflict):
    """Somebody has removed this node, and not said that it may return."""


class Nodes:
    """The nodes of the store, and the settings of routes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self) -> Sequence[Node]:
        """In the order of their names."""
        listing = await self._store.list(keys.NODE)
        return sorted((stored.decode(one.value, Node) for one in listing.entries), key=lambda one: one.name)

    async def get(self, name: str) -> Node:
        """Raises NotFound."""
        return (await self._entry(name))[1]

    async def join(self, node: Node, renounce: Callable[[], Awaitable[None]] | None = None) -> Node:
        """What a machine says of itself when it comes, also again. Whether it reflects stays as an operator has said.
        `renounce` is called before the record is made where there is none: others may have what this node held.
        Raises InvalidDocument; Removed where this very machine was; Conflict where its name is known with another
        address: two machines of one name would take each other's routes."""
        for _ in range(TRIES):
            entry = await self._store.get(_key(node.name))
            before = stored.decode(entry.value, Node) if entry is not None else None
            if before is not None and before.address != node.address:
                raise Conflict(
                    f"Node '{node.name}' is known with the address {before.address}, not {node.address}",
                    todo="Give this machine another name; or, if its address was changed, tell of it with "
                    f"`coldchain node set {node.name} --address {node.address}`.",
                )
            wanted = replace(node, reflector=before.reflector) if before is not None else node
            if before is None:
                await self._check_removed(node)
            await self._check(wanted)
            if before is None and renounce is not None:
                await renounce()
            if before == wanted or await self._put(wanted, entry):
                return wanted
        raise _busy(node.name)

    async def change(self, name: str, changed: Callable[[Node], Node]) -> Node:
        """Raises NotFound, InvalidDocument."""
        for _ in range(TRIES):
            entry, before = await self._entry(name)
            wanted = changed(before)
            await self._check(wanted)
            if before == wanted or await self._put(wanted, entry):
                return wanted
        raise _busy(name)

    async def remove(self, name: str, *, lost: bool = False, may_return: bool = False) -> Node:
        """Its routes go: its netd takes them away when it runs. It does not join again, unless it `may_return`, which
        may be said later as well. Raises NotFound; Conflict while it has containers, unless it is `lost`: a machine
        that is off or has left."""
        for _ in range(TRIES):
            removed = await self._store.get(keys.removed_node(name))
            if may_return and removed is not None and await self._store.get(_key(name)) is None:
                await self._store.write([Change(key=removed.key, value=None)])
                return stored.decode(removed.value, Node)
            entry, node = await self._entry(name)
            there = await self._store.list(keys.network_key_of(Attachment(id="", node=name, network="", address="")))
            if there.entries and not lost:
                raise Conflict(
                    f"Node '{name}' has {len(there.entries)} containers in the container network",
                    todo="Move them to other machines first; if the machine is lost, say so with --lost.",
                )
            try:
                await self._store.write(
                    [
                        Change(key=entry.key, value=None, expected=entry.revision),
                        Change(key=keys.removed_node(name), value=None if may_return else entry.value),
                    ]
                )
            except LostUpdate:
                continue
            await Pools(self._store).reclaim(name)
            return node
        raise _busy(name)

    async def routing(self) -> Routing:
        """How routes are spread."""
        entry = await self._store.get(keys.ROUTING)
        return stored.decode(entry.value, Routing) if entry is not None else Routing()

    async def change_routing(self, changed: Callable[[Routing], Routing]) -> Routing:
        """Raises InvalidDocument with all that is wrong, and what `changed` raises."""
        for _ in range(TRIES):
            entry = await self._store.get(keys.ROUTING)
            before = stored.decode(entry.value, Routing) if entry is not None else Routing()
            wanted = changed(before)
            if found := routing_problems(wanted):
                raise InvalidDocument(found)
            change = Change(
                key=keys.ROUTING, value=stored.encode(wanted), expected=entry.revision if entry is not None else ABSENT
            )
            try:
                await self._store.write([change])
            except LostUpdate:
                continue
            return wanted
        raise _busy("the settings of routes")

    async def containers(self) -> Mapping[str, int]:
        """How many attachments each node has, as far as the store knows."""
        listing = await self._store.list(keys.ATTACHMENT)
        found: dict[str, int] = {}
        for entry in listing.entries:
            name = stored.decode(entry.value, Attachment).node
            found[name] = found.get(name, 0) + 1
        return found

    async def _check_removed(self, node: Node) -> None:
        """With another address it is another machine."""
        removed = await self._store.get(keys.removed_node(node.name))
        if removed is not None and stored.decode(removed.value, Node).address == node.address:
            raise Removed(
                f"Node '{node.name}' was removed from the container network",
                todo=f"If it is to return: `coldchain node remove {node.name} --may-return`, then it joins again.",
            )

    async def _check(self, node: Node) -> None:
        if found := problems(node) or problems_beside(node, await self.list()):
            raise InvalidDocument(found)

    async def _put(self, node: Node, entry: Entry | None) -> bool:
        expected = entry.revision if entry is not None else ABSENT
        try:
            await self._store.write([Change(key=_key(node.name), value=stored.encode(node), expected=expected)])
        except LostUpdate:
            return False
        return True

    async def _entry(self, name: str) -> tuple[Entry, Node]:
        entry = await self._store.get(_key(name))
        if entry is None:
            raise NotFound(f"Node '{name}' does not exist", todo="`coldchain node list` has all.")
        return entry, stored.decode(entry.value, Node)


def _key(name: str) -> str:
    return keys.network_key_of(Node(name=name, address=""))


def _busy(name: str) -> Conflict:
    return Conflict(f"{name} is changed by others all the time", todo="Try again.")
