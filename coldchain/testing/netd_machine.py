"""NetdMachine: a machine with netd on fakes, and Docker as far as it speaks to a network driver. netd can be killed at
any write of it; what is on the disk, in the kernel and in Docker outlives it."""

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from coldchain.control.netd.addresses import AddressBook
from coldchain.control.netd.attachments import Attachments
from coldchain.control.netd.networks import Networks
from coldchain.control.netd.places import PlacesLoop
from coldchain.documents.keys import network_key_of
from coldchain.documents.stored import decode, encode
from coldchain.model.attachment import Attachment
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.errors import ColdchainError
from coldchain.model.node import Node
from coldchain.model.pool import Pool
from coldchain.network.driver.documents import address_answer
from coldchain.ports.clock import Clock
from coldchain.ports.network import host_name
from coldchain.ports.network_driver import WantedAttachment
from coldchain.ports.store import Change
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_docker_networks import FakeDockerNetworks
from coldchain.testing.fake_journal import FakeJournal, JournalFault
from coldchain.testing.fake_links import FakeLinks

NODE = Node(name="node-1", address="10.10.3.5/24", interface="eth0")
POOLS = (
    Pool(name="online", cidr="10.200.0.0/24"),
    Pool(name="tiny", cidr="10.201.0.0/31", block_length=31),
    Pool(name="online6", cidr="fd00:200::/120", block_length=122),
)
NETWORKS = (
    ContainerNetwork(name="online_net", pool="online"),
    ContainerNetwork(name="tiny_net", pool="tiny"),
    ContainerNetwork(name="dual_net", pool="online", pool6="online6"),
)
T = TypeVar("T")


@dataclass(kw_only=True)
class Container:
    """As Docker has it. `endpoint`: its id."""

    endpoint: str
    docker_network: str
    address: str
    sandbox: str


class NetdMachine:
    """`retries`: Docker asks again when netd is killed under it and starts again; else it gives up, and tears down what
    it had. `running`: its containers by name."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.store = MemoryStore()
        self.journal = FakeJournal()
        self.links = FakeLinks()
        self.docker = FakeDockerNetworks()
        self.running: dict[str, Container] = {}
        self.retries = True
        self.kills = 0
        self._killed = False
        self._made = 0
        self.start()

    async def fill(self, networks: Iterable[ContainerNetwork] = NETWORKS, pools: Iterable[Pool] = POOLS) -> None:
        """The store, and Docker from it."""
        records: list[ContainerNetwork | Pool | Node] = [*networks, *pools, NODE]
        await self.store.write([Change(key=network_key_of(one), value=encode(one)) for one in records])
        await self.learn()

    async def learn(self) -> None:
        """What the loops would, from the store."""
        await self.book.settle()
        await self.networks.step()

    def start(self) -> None:
        """netd, from what is on the disk. What was killed has let go of it."""
        self._killed, self.links.trouble, self.journal.fault = False, "", lambda number: None
        self.book = AddressBook(self.store, self.journal, NODE.name, self.clock)
        self.networks = Networks(self.store, self.docker, self.clock)
        self.attachments = Attachments(self.book, self.journal, self.links, NODE, "eth0", lambda: self.networks.known)
        self.networks.attachments = self.docker.driver = self.attachments
        self.places = PlacesLoop(
            self.store, self.attachments, self.book, self.docker, self.links, NODE.name, self.clock
        )

    def kill_at(self, write: int, kind: JournalFault) -> None:
        """From that write on nothing of netd happens any more; with `lost reply` the write itself still does."""

        def fault(number: int) -> JournalFault | None:
            if number < write:
                return None
            self._killed, self.links.trouble = True, "netd is killed"
            return kind if number == write else "unavailable"

        self.journal.fault = fault

    # As Docker does it

    def docker_network(self, name: str) -> str:
        return next(one.id for one in self.docker.held.values() if one.name == name)

    async def run(self, name: str, network: str = "online_net", address: str | None = None, **options: object) -> bool:
        """Returns whether the container runs. Raises what Docker would tell its user, unless netd was killed."""
        self._made += 1
        identity = self.docker_network(network)
        endpoint, sandbox = f"{self._made:011x}{0:053x}", f"sandbox-{name}"
        cidr = self.docker.held[identity].subnet
        given = await self._ask(lambda: self.attachments.take_address(cidr, address))
        if given is None:
            return False
        wanted = WantedAttachment(
            id=endpoint,
            docker_network=identity,
            address=address_answer(given)["Address"],
            options={name.replace("_", ".", 1): value for name, value in options.items()},
        )
        try:
            if await self._ask(lambda: self.attachments.attach(wanted)) is None:
                await self._ask(lambda: self.attachments.give_back(given))
                return False
        except ColdchainError:
            await self._ask(lambda: self.attachments.give_back(given))
            raise
        self.docker.enter(identity, endpoint)
        container = Container(endpoint=endpoint, docker_network=identity, address=given, sandbox=sandbox)
        try:
            joined = await self._ask(lambda: self.attachments.join(endpoint, sandbox))
        except ColdchainError:
            await self._tear_down(container)
            raise
        if joined is None:
            await self._tear_down(container)
            return False
        self.running[name] = container
        return True

    async def stop(self, name: str) -> None:
        container = self.running.pop(name)
        await self._ask(lambda: self.attachments.leave(container.endpoint))
        await self._tear_down(container)

    async def _tear_down(self, container: Container) -> None:
        await self._ask(lambda: self.attachments.detach(container.endpoint))
        self.docker.leave(container.docker_network, container.endpoint)
        await self._ask(lambda: self.attachments.give_back(container.address))

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """None where netd was killed, and Docker gives up; what has no answer is answered by True."""
        while True:
            try:
                answer = await call()
            except ColdchainError:
                if not self._killed:
                    raise
            else:
                if not self._killed:
                    return True if answer is None else answer  # type: ignore[return-value]
            await self._start_again()
            if not self.retries:
                return None

    # What must be so

    def no_address_twice(self) -> None:
        addresses = [one.address for one in self.running.values()]
        assert len(set(addresses)) == len(addresses), addresses
        assert set(addresses) <= {one.address for one in self.links.made.values()}, "a container has lost its link"

    async def _loops(self) -> None:
        """One round of each."""
        with contextlib.suppress(ColdchainError):  # killed, which is seen below
            await self.book.settle()
        await self.places.tell()
        await self.places.compare()
        if self._killed:
            await self._start_again()

    async def _start_again(self) -> None:
        self.kills += 1
        self.start()
        await self.learn()

    async def at_rest(self) -> Mapping[str, str]:
        """After a while in which nothing happens everybody knows the same. Returns the address of each container."""
        for _ in range(6):
            await self._loops()
            await self.clock.sleep(61.0)
        kept = await self.attachments.kept()
        entries = (await self.store.list("network/attachment/")).entries
        stored = {one.id: one for one in (decode(entry.value, Attachment) for entry in entries)}
        endpoints = {one.endpoint: one.address for one in self.running.values()}
        assert {one: its.attachment.address for one, its in kept.items()} == endpoints
        assert {one: its.address for one, its in stored.items()} == endpoints
        assert {one.host: one.address for one in self.links.made.values()} == {
            host_name(one): address for one, address in endpoints.items()
        }
        assert await self.book.known() == {address: one for one, address in endpoints.items()}
        assert (self.places.status.untold, self.places.status.doubtful, self.places.status.without_link) == (0, 0, ())
        return {name: one.address for name, one in self.running.items()}
