"""The loops of netd about networks and membership, on a machine of fakes."""

import asyncio
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from coldchain.control.netd.membership import Membership
from coldchain.control.netd.policy import PolicyLoop
from coldchain.documents.keys import network_key_of
from coldchain.documents.stored import decode, encode
from coldchain.model.attachment import Attachment
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.docker_network import DockerNetwork
from coldchain.model.node import Node
from coldchain.ports.store import Change
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_packet_filter import FakePacketFilter
from coldchain.testing.faulty_store import FaultyStore
from coldchain.testing.netd_machine import NETWORKS, NODE, NetdMachine
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate

Story = Callable[[NetdMachine], Awaitable[None]]
NEW = ContainerNetwork(name="new_net", pool="online")


def tell(story: Story) -> None:
    loop = SimulatedLoop(1)
    machine = NetdMachine(SimulatedClock(loop))

    async def program() -> None:
        await machine.fill()
        await story(machine)

    simulate(program(), loop)


def names(machine: NetdMachine) -> set[str]:
    return {one.name for one in machine.docker.held.values()}


def test_networks_are_made_and_removed_as_the_store_changes() -> None:
    async def story(machine: NetdMachine) -> None:
        loop = asyncio.create_task(machine.networks.run())
        usual = {one.name for one in NETWORKS}
        await machine.store.write([Change(key=network_key_of(NEW), value=encode(NEW))])
        await machine.clock.sleep(0.5)
        assert names(machine) == usual | {"new_net"}
        await machine.run("one", network="new_net")
        await machine.store.write([Change(key=network_key_of(NEW), value=None)])
        await machine.clock.sleep(0.5)
        assert "(containers now: 1)" in machine.networks.status.troubles["new_net"]
        assert names(machine) == usual | {"new_net"}
        await machine.stop("one")
        await machine.clock.sleep(3)
        assert (names(machine), machine.networks.status.troubles) == (usual, {})
        loop.cancel()

    tell(story)


def test_a_network_that_is_removed_by_hand_comes_back() -> None:
    async def story(machine: NetdMachine) -> None:
        loop = asyncio.create_task(machine.networks.run())
        await machine.clock.sleep(1)
        await machine.docker.remove(machine.docker_network("online_net"))
        await machine.clock.sleep(31)
        assert "online_net" in names(machine)
        loop.cancel()

    tell(story)


def test_without_docker_or_store_it_is_tried_again() -> None:
    async def story(machine: NetdMachine) -> None:
        machine.docker.away = True
        loop = asyncio.create_task(machine.networks.run())
        await machine.store.write([Change(key=network_key_of(NEW), value=encode(NEW))])
        await machine.clock.sleep(5)
        assert machine.networks.status.trouble == "the Docker Engine does not answer"
        assert "new_net" in (machine.networks.known or {}), "what is known of the store does not wait for Docker"
        machine.docker.away = False
        await machine.clock.sleep(2)
        assert ("new_net" in names(machine), machine.networks.status.trouble) == (True, "")
        loop.cancel()

    tell(story)


def test_a_network_that_the_journal_does_not_know_is_adopted() -> None:
    async def story(machine: NetdMachine) -> None:
        found = DockerNetwork(
            id="f" * 64, name="alias", driver="coldchain", network="online_net", subnet="10.200.0.0/24"
        )
        machine.docker.held[found.id] = found
        await machine.networks.step()
        await machine.run("one", network="alias")
        assert set(await machine.at_rest()) == {"one"}

    tell(story)


# Membership


def joined(story: Callable[[FaultyStore, Membership, list[str], SimulatedClock], Awaitable[None]]) -> None:
    loop = SimulatedLoop(1)
    clock = SimulatedClock(loop)
    store, renounced = FaultyStore(MemoryStore()), []  # type: FaultyStore, list[str]

    async def renounce() -> None:
        assert await store.get(network_key_of(NODE)) is None
        renounced.append("reserve")

    simulate(story(store, Membership(store, NODE, renounce, clock), renounced, clock), loop)  # type: ignore[arg-type]


async def record(store: FaultyStore) -> Node | None:
    entry = await store.get(network_key_of(NODE))
    return decode(entry.value, Node) if entry is not None else None


def test_a_new_node_renounces_what_it_held_and_is_written() -> None:
    async def story(store: FaultyStore, membership: Membership, renounced: list[str], clock: SimulatedClock) -> None:
        store.silent = True
        loop = asyncio.create_task(membership.run())
        await clock.sleep(5)
        assert (membership.status.written, membership.status.trouble) == (False, "the store does not answer")
        store.silent = False
        await clock.sleep(2)
        assert (await record(store), renounced) == (NODE, ["reserve"])
        await store.write([Change(key=network_key_of(NODE), value=None)])
        await clock.sleep(600)
        assert await record(store) is None, "it was removed, and stays removed until the next start"
        loop.cancel()

    joined(story)


def test_what_its_operator_says_of_a_node_stays() -> None:
    async def story(store: FaultyStore, membership: Membership, renounced: list[str], clock: SimulatedClock) -> None:
        before = replace(NODE, interface="eth1", reflector=True, containers=False)
        await store.write([Change(key=network_key_of(NODE), value=encode(before))])
        await membership.write()
        assert (await record(store), renounced) == (replace(NODE, reflector=True), [])
        writes = store.writes
        await membership.write()
        assert store.writes == writes, "nothing to write"

    joined(story)


def test_two_machines_of_one_name_are_not_one_node() -> None:
    async def story(store: FaultyStore, membership: Membership, renounced: list[str], clock: SimulatedClock) -> None:
        other = replace(NODE, address="10.10.3.99/24")
        await store.write([Change(key=network_key_of(NODE), value=encode(other))])
        loop = asyncio.create_task(membership.run())
        await clock.sleep(60)
        assert await record(store) == other
        assert "Node 'node-1' is known with the address 10.10.3.99/24" in membership.status.trouble
        loop.cancel()

    joined(story)


def test_policy_knows_the_containers_of_its_machine_before_the_store_does() -> None:
    """Of a pool that two networks share an address says nothing by itself."""
    other = ContainerNetwork(name="other_net", pool="online")

    def members(packet_filter: FakePacketFilter, network: str) -> tuple[str, ...]:
        assert packet_filter.applied is not None
        (found,) = (one for one in packet_filter.applied.sets if one.name == f"network_{network}_4")
        return found.addresses

    async def story(machine: NetdMachine) -> None:
        await machine.fill((*NETWORKS, other))
        stale = Attachment(id="f" * 64, node=NODE.name, network="other_net", address="10.200.0.77")
        elsewhere = Attachment(id="e" * 64, node="node-2", network="other_net", address="10.200.0.99")
        records = [Change(key=network_key_of(one), value=encode(one)) for one in (stale, elsewhere)]
        await machine.store.write(records)
        store, packet_filter = FaultyStore(machine.store), FakePacketFilter()
        policy = PolicyLoop(store, packet_filter, NODE.name, machine.clock, machine.journal)
        policy.follow(machine.attachments)
        running = asyncio.create_task(policy.run())
        await machine.clock.sleep(0.5)
        assert members(packet_filter, "other_net") == ("10.200.0.99",)  # the machine has no such container any more
        store.silent = True
        assert await machine.run("one", network="other_net")
        mine = machine.running["one"].address.partition("/")[0]
        await machine.clock.sleep(0.2)
        assert set(members(packet_filter, "other_net")) == {mine, "10.200.0.99"}
        assert mine not in members(packet_filter, "online_net")
        await machine.stop("one")
        await machine.clock.sleep(0.2)
        assert members(packet_filter, "other_net") == ("10.200.0.99",)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    tell(story)
