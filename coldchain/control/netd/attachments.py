"""attachments: the places of this machine's containers in networks, as Docker asks for them.

A place is in the journal before its link is made, and in it until the link is gone: no link is without a place. An
address is bound to its place before that is in the journal, and given back only when it is in it no more: two places
never have one address. What was cut short between two of these steps is found by comparing with Docker (`places.py`).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

import structlog
from msgspec.structs import replace

from coldchain.decisions.attachment import (
    address_of,
    check_address_family,
    check_only_network,
    mac_of,
    options_of,
    published,
)
from coldchain.decisions.docker_network import check_pool_wanted, network_of
from coldchain.documents.stored import decode, encode
from coldchain.model.attachment import Attachment
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.docker_network import KeptAttachment, KeptNetwork
from coldchain.model.errors import ColdchainError, Conflict, NotFound, Rejected, Unavailable
from coldchain.model.node import Node
from coldchain.model.pool import Pool
from coldchain.ports.address_book import AddressBook
from coldchain.ports.docker_networks import NETWORK_OPTION
from coldchain.ports.network import Journal, Link, Links, host_name, peer_name
from coldchain.ports.network_driver import Joined, WantedAttachment, WantedNetwork, WantedPool

ATTACHMENT = "attachment/"
NETWORK = "docker-network/"
"""Below them what is in the journal."""

log = structlog.get_logger(__name__)

KnownNetworks = Callable[[], Mapping[str, ContainerNetwork] | None]
"""The networks of the store, as they were last read; None: never yet."""


class Attachments:
    """Implements ports.network_driver.NetworkDriver. `interface`: whose size of packets links have."""

    def __init__(
        self,
        book: AddressBook,
        journal: Journal,
        links: Links,
        node: Node,
        interface: str,
        networks: KnownNetworks,
    ) -> None:
        self._book = book
        self._journal = journal
        self._links = links
        self._node = node
        self._interface = interface
        self._networks = networks
        self._kept: dict[str, KeptAttachment] | None = None
        self._docker_networks: dict[str, KeptNetwork] = {}
        self._deciding = asyncio.Lock()
        self._busy: dict[str, asyncio.Event] = {}
        self._followers: list[asyncio.Event] = []

    def follow(self, changed: asyncio.Event) -> None:
        """It is set from now on whenever `kept` has something else to say."""
        self._followers.append(changed)

    async def kept(self) -> Mapping[str, KeptAttachment]:
        """By id. Raises Unavailable, Rejected where the journal cannot be read."""
        if self._kept is None:
            entries = await self._journal.read()
            networks = [decode(its, KeptNetwork) for name, its in entries.items() if name.startswith(NETWORK)]
            found = [decode(its, KeptAttachment) for name, its in entries.items() if name.startswith(ATTACHMENT)]
            self._docker_networks = {one.id: one for one in networks}
            self._kept = {one.attachment.id: one for one in found}
        return self._kept

    # Address management

    async def open_pool(self, wanted: WantedPool) -> str:
        pool = self._book.pool_of(wanted.cidr) if wanted.cidr else None
        check_pool_wanted(wanted.cidr, wanted.sub_pool, pool, ipv6=wanted.ipv6)
        return wanted.cidr

    async def take_address(self, cidr: str, wanted: str | None) -> str:
        pool = self._pool(cidr)
        if wanted is not None and (await self._book.known()).get(wanted) == "":
            return wanted  # Docker asks again, or for two containers: only one of them gets it bound
        return await self._book.give(pool.name, "", wanted)

    async def give_back(self, address: str, owner: str | None = None) -> None:
        """Docker names no owner, and may say it twice: whoever has a place with it keeps it."""
        async with self._deciding:
            kept = await self.kept()
            found = (await self._book.known()).get(address)
            if found is not None and found not in kept and owner in (None, found):
                await self._book.release(address, found)

    # Networks

    async def create_network(self, wanted: WantedNetwork) -> None:
        if wanted.foreign:
            raise Rejected(
                "the network's addresses are not from the container network",
                todo="Let `coldchain network create` make it, or give --ipam-driver coldchain",
            )
        if wanted.internal:
            raise Rejected(
                "what a network of Coldchain reaches is for its policy to say, not for --internal",
                todo="`coldchain network create NAME --isolated`",
            )
        if wanted.reserved:
            raise Rejected(
                f"addresses cannot be reserved in one network on one machine: {', '.join(wanted.reserved)}",
                todo="Leave out --aux-address",
            )
        networks = self._networks()
        if networks is None:
            raise Unavailable("the networks of the store are not known yet", todo="Is the store reached? Try again")
        pools, pools6 = ([self._pool(one) for one in cidrs] for cidrs in (wanted.pools, wanted.pools6))
        network = network_of(wanted.options, pools, pools6, networks, NETWORK_OPTION)
        await self.adopt_network(KeptNetwork(id=wanted.id, network=network.name, with_ipv6=bool(pools6)))

    async def adopt_network(self, network: KeptNetwork) -> None:
        """One that Docker has."""
        async with self._deciding:
            await self.kept()
            if self._docker_networks.get(network.id) != network:
                await self._write({NETWORK + network.id: encode(network)})
                self._docker_networks[network.id] = network

    async def delete_network(self, docker_network: str) -> None:
        async with self._deciding:
            await self.kept()
            if docker_network in self._docker_networks:
                await self._write({NETWORK + docker_network: None})
                del self._docker_networks[docker_network]

    # Places

    async def attach(self, wanted: WantedAttachment) -> str:
        options = options_of(wanted.options)
        address = address_of(wanted.address, wanted.docker_network)
        address6 = address_of(wanted.address6, wanted.docker_network) if wanted.address6 else ""
        async with self._alone(wanted.id), self._deciding:
            await self.kept()  # with which the networks are read
            network = self._network(wanted.docker_network)
            check_address_family(network, address6)
            attachment = Attachment(
                id=wanted.id,
                node=self._node.name,
                network=network.network,
                address=address,
                address6=address6,
                app_id=options.app_id,
                task_id=options.task_id,
                labels=options.labels,
            )
            kept = KeptAttachment(
                attachment=attachment, docker_network=wanted.docker_network, mac=wanted.mac or mac_of(address)
            )
            before = (await self.kept()).get(wanted.id)
            if before is not None and before.attachment.address != address:
                raise Conflict(f"endpoint {wanted.id[:12]} is there with address {before.attachment.address}")
            for one in filter(None, (address, address6)):
                await self._book.bind(one, wanted.id)
            await self._keep(kept)
        if ports := published(wanted.options):
            log.warning("published ports are not mapped: the container has an address", address=address, ports=ports)
        return kept.mac

    async def join(self, attachment: str, sandbox: str) -> Joined:
        async with self._alone(attachment):
            async with self._deciding:
                before = self._place(await self.kept(), attachment)
                check_only_network(before, sandbox, await self.kept())
                kept = replace(before, sandbox=sandbox)
                await self._keep(kept)
            await self._links.add(await self._link(kept))
        return Joined(peer=peer_name(attachment), with_ipv6=bool(kept.attachment.address6))

    async def leave(self, attachment: str) -> None:
        async with self._alone(attachment):
            await self._links.remove(host_name(attachment))
            async with self._deciding:
                kept = (await self.kept()).get(attachment)
                if kept is not None and kept.sandbox:
                    await self._keep(replace(kept, sandbox=""))

    async def detach(self, attachment: str) -> None:
        async with self._alone(attachment):
            await self._links.remove(host_name(attachment))
            async with self._deciding:
                if attachment in await self.kept():
                    await self._write({ATTACHMENT + attachment: None})
                    assert self._kept is not None
                    del self._kept[attachment]
                    self._tell()

    def _pool(self, cidr: str) -> Pool:
        pool = self._book.pool_of(cidr)
        if pool is None:
            raise NotFound(
                f"{cidr} is no pool of the container network any more",
                todo="`coldchain pool list` shows them; a network whose pool was removed is to be removed as well",
            )
        return pool

    def _network(self, docker_network: str) -> KeptNetwork:
        network = self._docker_networks.get(docker_network)
        if network is None:
            raise NotFound(
                f"network {docker_network[:12]} is not known to Coldchain on this machine",
                todo="It is looked for in Docker every half minute; if that does not help, `docker network rm` it, and "
                "it is made anew",
            )
        return network

    def _place(self, kept: Mapping[str, KeptAttachment], attachment: str) -> KeptAttachment:
        if attachment not in kept:
            raise NotFound(f"endpoint {attachment[:12]} is not known to Coldchain", todo="Start the container again")
        return kept[attachment]

    async def _link(self, kept: KeptAttachment) -> Link:
        its = kept.attachment
        return Link(
            host=host_name(its.id),
            peer=peer_name(its.id),
            address=its.address,
            mac=kept.mac,
            mtu=await self._links.mtu(self._interface),
            source=self._node.address.partition("/")[0],
            address6=its.address6,
        )

    async def _keep(self, kept: KeptAttachment) -> None:
        await self._write({ATTACHMENT + kept.attachment.id: encode(kept)})
        assert self._kept is not None
        self._kept[kept.attachment.id] = kept
        self._tell()

    def _tell(self) -> None:
        for changed in self._followers:
            changed.set()

    async def _write(self, changes: Mapping[str, bytes | None]) -> None:
        try:
            await self._journal.write(changes)
        except ColdchainError:
            self._kept = None  # it may have been written all the same: read it again
            raise

    @contextlib.asynccontextmanager
    async def _alone(self, attachment: str) -> AsyncIterator[None]:
        """Docker repeats a call while the first one is still being carried out."""
        while attachment in self._busy:
            await self._busy[attachment].wait()
        self._busy[attachment] = done = asyncio.Event()
        try:
            yield
        finally:
            del self._busy[attachment]
            done.set()
