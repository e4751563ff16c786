"""container networks: created and removed; each machine's netd then makes them in its Docker, and takes them away."""

from collections.abc import Callable, Mapping, Sequence

from coldchain.control.pools import TRIES, busy, records, turn_of
from coldchain.decisions.pool import network_of
from coldchain.documents import keys, stored
from coldchain.model.attachment import Attachment
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.errors import Conflict, InvalidDocument, NotFound, Problem
from coldchain.model.pool import Pool
from coldchain.ports.store import ABSENT, Change, LostUpdate, Store


class ContainerNetworks:
    """Networks of the store. `used_by`: the apps that ask for one by its name."""

    def __init__(self, store: Store, used_by: Callable[[str], Sequence[str]]) -> None:
        self._store = store
        self._used_by = used_by

    async def list(self) -> Sequence[ContainerNetwork]:
        """In the order of their names."""
        return list((await records(self._store, keys.CONTAINER_NETWORK, ContainerNetwork)).values())

    async def get(self, name: str) -> ContainerNetwork:
        """Raises NotFound."""
        entry = await self._store.get(keys.container_network(name))
        if entry is None:
            raise NotFound(f"Network '{name}' does not exist", todo="`coldchain network list` has all.")
        return stored.decode(entry.value, ContainerNetwork)

    async def attachments(self) -> Mapping[str, Sequence[Attachment]]:
        """Who is in a network, by its name."""
        found: dict[str, list[Attachment]] = {}
        for one in (await records(self._store, keys.ATTACHMENT, Attachment)).values():
            found.setdefault(one.network, []).append(one)
        return found

    async def create(self, network: ContainerNetwork) -> ContainerNetwork:
        """Raises InvalidDocument with all that is wrong with it, Conflict for a name that there is already."""
        for _ in range(TRIES):
            turn = await turn_of(self._store)
            if await self._store.get(keys.container_network(network.name)) is not None:
                raise Conflict(
                    f"Network '{network.name}' exists already",
                    todo=f"`coldchain network show {network.name}` shows it; to change it, remove it first.",
                )
            pools = {one.name: one for one in (await records(self._store, keys.POOL, Pool)).values()}
            if found := _problems(network, pools):
                raise InvalidDocument(found)
            key = keys.network_key_of(network)
            try:
                await self._store.write([Change(key=key, value=stored.encode(network), expected=ABSENT), turn])
            except LostUpdate:
                continue
            return network
        raise busy(network.name)

    async def remove(self, name: str) -> None:
        """Raises NotFound, Conflict where somebody is in it or an app asks for it."""
        for _ in range(TRIES):
            turn = await turn_of(self._store)
            entry = await self._store.get(keys.container_network(name))
            if entry is None:
                await self.get(name)
                continue
            if users := self._used_by(name):
                raise Conflict(f"Network '{name}' is used by {', '.join(users)}", todo="Change or delete them first.")
            inside = (await self.attachments()).get(name, [])
            if inside:
                machines = ", ".join(sorted({one.node for one in inside})[:5])
                raise Conflict(
                    f"{len(inside)} containers are in network '{name}', on {machines}", todo="Stop them first."
                )
            try:
                await self._store.write([Change(key=entry.key, value=None, expected=entry.revision), turn])
            except LostUpdate:
                continue
            return
        raise busy(name)


def _problems(network: ContainerNetwork, pools: Mapping[str, Pool]) -> list[Problem]:
    found = []
    for path, name, version in (("/pool", network.pool, 4), ("/pool6", network.pool6, 6)):
        if not name and version == 6:
            continue
        pool = pools.get(name)
        if pool is None:
            has = f": there are {', '.join(sorted(pools))}" if pools else ": `coldchain pool add` adds the first"
            found.append(Problem(path=path, reason=f"there is no pool {name!r}{has}"))
            continue
        if network_of(pool.cidr).version != version:
            reason = (
                f"pool {name} has addresses of IPv{network_of(pool.cidr).version} ({pool.cidr}), not of IPv{version}"
            )
            found.append(Problem(path=path, reason=reason))
        if pool.disabled:
            reason = f"pool {name} is disabled: `coldchain pool enable {name}` lets it be used again"
            found.append(Problem(path=path, reason=reason))
    return found
