"""FakeAddressBook: port AddressBook for one machine that has its pools for itself."""

import ipaddress
from collections.abc import Mapping, Sequence

from coldchain.model.errors import Conflict, NotFound, Rejected
from coldchain.model.pool import Pool
from coldchain.ports.network import Journal

PREFIX = "fake-address/"


class FakeAddressBook:
    """What is given is in the journal before anybody hears of it. `trouble`: raised by the next calls, if anything."""

    def __init__(self, pools: Sequence[Pool], journal: Journal) -> None:
        self.pools = {one.name: one for one in pools}
        self.trouble: Exception | None = None
        self._journal = journal
        self._last: dict[str, str] = {}

    async def give(self, pool: str, attachment: str, wanted: str | None) -> str:
        self._check()
        given = await self.known()
        found = self.pools.get(pool)
        if found is None:
            raise NotFound(f"there is no pool {pool}")
        if wanted is not None and wanted in given and given[wanted] != (attachment or None):
            raise Conflict(f"address {wanted} is in use")
        address = wanted or self._next(found, given)
        if wanted is not None and ipaddress.ip_address(wanted) not in ipaddress.ip_network(found.cidr):
            raise Rejected(f"{wanted} is not in pool {pool} ({found.cidr})")
        self._last[pool] = address
        await self._journal.write({PREFIX + address: attachment.encode()})
        return address

    async def bind(self, address: str, attachment: str) -> None:
        self._check()
        owner = (await self.known()).get(address)
        if owner is None:
            raise Conflict(f"address {address} was not given")
        if owner not in ("", attachment):
            raise Conflict(f"address {address} is in use")
        if owner != attachment:
            await self._journal.write({PREFIX + address: attachment.encode()})

    async def release(self, address: str, attachment: str | None = None) -> None:
        self._check()
        owner = (await self.known()).get(address)
        if owner is None:
            return
        if attachment not in (None, owner):
            raise Conflict(f"address {address} belongs to another attachment")
        await self._journal.write({PREFIX + address: None})

    def pool_of(self, cidr: str) -> Pool | None:
        return next((one for one in self.pools.values() if one.cidr == cidr), None)

    async def known(self) -> Mapping[str, str]:
        entries = await self._journal.read()
        return {name.removeprefix(PREFIX): its.decode() for name, its in entries.items() if name.startswith(PREFIX)}

    def _next(self, pool: Pool, given: Mapping[str, str]) -> str:
        """The next one round the pool: what has just been released is the last to be given again."""
        network = ipaddress.ip_network(pool.cidr)
        start = int(ipaddress.ip_address(self._last[pool.name])) + 1 if pool.name in self._last else 0
        first, size = int(network.network_address), min(network.num_addresses, 2**16)
        offset = start - first if start else 0
        for step in range(size):
            candidate = str(network[(offset + step) % size])
            if candidate not in given:
                return candidate
        raise Rejected(
            f"pool {pool.name} ({pool.cidr}) has no address left", todo="Add a larger one, or stop containers in it"
        )

    def _check(self) -> None:
        if self.trouble is not None:
            raise self.trouble
