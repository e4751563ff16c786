"""Places of containers: given, taken back, and neither lost nor had twice wherever netd is killed."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from coldchain.control.netd.places import PlacesLoop
from coldchain.decisions.attachment import mac_of
from coldchain.model.errors import ColdchainError, Conflict, InvalidDocument, NotFound, Rejected, Unavailable
from coldchain.ports.network_driver import WantedAttachment, WantedNetwork, WantedPool
from coldchain.ports.store import Change
from coldchain.testing.faulty_store import FaultyStore
from coldchain.testing.netd_machine import NetdMachine
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate

Story = Callable[[NetdMachine], Awaitable[None]]


def tell(story: Story, seed: int = 1) -> NetdMachine:
    """Run a story on a machine that has its networks."""
    loop = SimulatedLoop(seed)
    machine = NetdMachine(SimulatedClock(loop))

    async def program() -> None:
        await machine.fill()
        await story(machine)

    simulate(program(), loop)
    return machine


def test_that_published_ports_are_not_mapped_is_said() -> None:
    binding = {"Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8080, "HostPortEnd": 8080}
    anywhere = {"Proto": 6, "IP": "", "Port": 443, "HostIP": "", "HostPort": 0, "HostPortEnd": 0}

    async def story(machine: NetdMachine) -> None:
        with structlog.testing.capture_logs() as told:
            await machine.run("one", **{"com.docker.network.portmap": [binding, anywhere]})
            await machine.run("two", **{"com.docker.network.portmap": None})
        address = machine.running["one"].address.partition("/")[0]
        warned = [one for one in told if one["log_level"] == "warning"]
        assert [(one["address"], one["ports"]) for one in warned] == [(address, ("8080:80", ":443"))]

    tell(story)


def test_a_container_gets_an_address_and_gives_it_back() -> None:
    async def story(machine: NetdMachine) -> None:
        await machine.run("one", coldchain_app="/shop/web", coldchain_task="web.1", **{"coldchain.label.tier": "front"})
        address = (await machine.at_rest())["one"]
        (kept,) = (await machine.attachments.kept()).values()
        assert (kept.attachment.app_id, kept.attachment.task_id) == ("/shop/web", "web.1")
        assert (kept.attachment.labels, kept.attachment.network) == ({"tier": "front"}, "online_net")
        (link,) = machine.links.made.values()
        assert (link.address, link.mac) == (address, mac_of(address))
        assert (link.mtu, link.source) == (1500, "10.10.3.5")
        await machine.stop("one")
        assert await machine.at_rest() == {}

    tell(story)


def test_a_wanted_address_is_kept_over_a_restart_of_the_container() -> None:
    async def story(machine: NetdMachine) -> None:
        for _ in range(3):
            await machine.run("one", address="10.200.0.9")
            assert await machine.at_rest() == {"one": "10.200.0.9"}
            await machine.stop("one")

    tell(story)


def test_an_address_that_is_given_back_twice_stays_with_who_has_it_by_then() -> None:
    async def story(machine: NetdMachine) -> None:
        await machine.run("one", address="10.200.0.9")
        await machine.attachments.give_back("10.200.0.9")
        assert await machine.at_rest() == {"one": "10.200.0.9"}

    tell(story)


def test_of_two_containers_that_ask_for_one_address_one_gets_it() -> None:
    async def story(machine: NetdMachine) -> None:
        driver, network = machine.attachments, machine.docker_network("online_net")
        given = {await driver.take_address("10.200.0.0/24", "10.200.0.9") for _ in range(2)}
        assert given == {"10.200.0.9"}
        first, second = (
            WantedAttachment(id=letter * 64, docker_network=network, address="10.200.0.9/32", options={})
            for letter in "ab"
        )
        assert await driver.attach(first) == await driver.attach(first) == "02:42:0a:c8:00:09"
        with pytest.raises(Conflict, match=r"10\.200\.0\.9 is attachment a+'s"):
            await driver.attach(second)
        await driver.give_back("10.200.0.9")  # what Docker does next, for the second
        assert await machine.book.known() == {"10.200.0.9": "a" * 64}

    tell(story)


def test_netd_starts_anew_with_what_it_had() -> None:
    async def story(machine: NetdMachine) -> None:
        await machine.run("one")
        machine.start()
        await machine.learn()
        await machine.run("two")
        assert set(await machine.at_rest()) == {"one", "two"}

    tell(story)


# Killed at every write


async def start_and_stop(machine: NetdMachine) -> None:
    await machine.run("one")
    await machine.run("two", address="10.200.0.7")
    machine.no_address_twice()
    if "one" in machine.running:
        await machine.stop("one")
    await machine.run("three")
    if "two" in machine.running:
        await machine.stop("two")
    if not machine.retries:
        await machine.at_rest()  # until then a place may be there that Docker gave up to take away
    others = {one.address for one in machine.running.values()}
    await machine.run("two", address=None if "10.200.0.7" in others else "10.200.0.7")
    machine.no_address_twice()


def writes_of(story: Story) -> tuple[int, int]:
    """The number of the first write that belongs to it, and the one after the last."""
    found = []

    async def counted(machine: NetdMachine) -> None:
        found.append(machine.journal.writes + 1)
        await story(machine)
        found.append(machine.journal.writes + 1)

    tell(counted)
    return found[0], found[1]


@pytest.mark.parametrize("kind", ["unavailable", "lost reply"])
@pytest.mark.parametrize("retries", [True, False], ids=["docker asks again", "docker gives up"])
def test_killed_at_each_write_nothing_is_lost_and_nothing_given_twice(kind: str, retries: bool) -> None:
    first, end = writes_of(start_and_stop)
    assert end - first > 15

    for write in range(first, end):

        async def story(machine: NetdMachine, write: int = write) -> None:
            machine.retries = retries
            machine.kill_at(write, kind)  # type: ignore[arg-type]
            await start_and_stop(machine)
            assert machine.kills == 1, f"at write {write}"
            if retries:
                assert set(machine.running) == {"two", "three"}
            addresses = await machine.at_rest()
            assert len(set(addresses.values())) == len(addresses)

        tell(story)


@given(st.data())
@settings(max_examples=60)
def test_any_story_with_any_kills_ends_in_order(data: st.DataObject) -> None:
    async def story(machine: NetdMachine) -> None:
        machine.retries = data.draw(st.booleans())
        for _ in range(data.draw(st.integers(3, 12))):
            if data.draw(st.booleans()):
                kind = data.draw(st.sampled_from(["unavailable", "lost reply"]))
                machine.kill_at(machine.journal.writes + data.draw(st.integers(1, 6)), kind)  # type: ignore[arg-type]
            name = data.draw(st.sampled_from("abcd"))
            if name in machine.running:
                await machine.stop(name)
            else:
                wanted = data.draw(st.sampled_from([None, "10.200.0.3"]))
                with contextlib.suppress(Conflict):  # the address is in use
                    await machine.run(name, address=wanted)
            machine.no_address_twice()
        machine.journal.fault = lambda number: None
        await machine.at_rest()

    tell(story, seed=data.draw(st.integers(0, 99)))


# What was left behind


def test_a_place_that_docker_does_not_know_goes_after_a_minute() -> None:
    async def story(machine: NetdMachine) -> None:
        await machine.run("one")
        await machine.run("two")
        container = machine.running.pop("one")
        machine.docker.leave(container.docker_network, container.endpoint)
        await machine.places.compare()
        await machine.clock.sleep(59)
        await machine.places.compare()
        assert len(await machine.attachments.kept()) == 2
        assert set(await machine.at_rest()) == {"two"}

    tell(story)


def test_while_docker_does_not_answer_everything_stays() -> None:
    async def story(machine: NetdMachine) -> None:
        await machine.run("one")
        machine.docker.away = True
        for _ in range(5):
            await machine.places.compare()
            await machine.clock.sleep(61)
        assert len(machine.links.made) == 1
        assert machine.places.status.machine_trouble == "the Docker Engine does not answer"

    tell(story)


def test_a_container_without_its_link_is_named() -> None:
    async def story(machine: NetdMachine) -> None:
        await machine.run("one")
        machine.links.made.clear()
        await machine.places.compare()
        assert machine.places.status.without_link == (machine.running["one"].endpoint,)

    tell(story)


def test_the_loop_tells_the_store_and_what_others_wrote_there_is_put_right() -> None:
    async def story(machine: NetdMachine) -> None:
        loop = asyncio.create_task(machine.places.run())
        await machine.run("one")
        await machine.clock.sleep(1)
        (entry,) = (await machine.store.list("network/attachment/")).entries
        await machine.store.write([Change(key=entry.key, value=None)])
        await machine.clock.sleep(31)
        assert [one.key for one in (await machine.store.list("network/attachment/")).entries] == [entry.key]
        await machine.stop("one")
        await machine.clock.sleep(1)
        assert (await machine.store.list("network/attachment/")).entries == ()
        loop.cancel()

    tell(story)


def test_the_store_hears_of_it_once_it_answers_again() -> None:
    async def story(machine: NetdMachine) -> None:
        store = FaultyStore(machine.store)
        machine.places = PlacesLoop(
            store, machine.attachments, machine.book, machine.docker, machine.links, "node-1", machine.clock
        )
        store.fault = lambda write, changes: "unavailable"
        loop = asyncio.create_task(machine.places.run())
        await machine.run("one")
        await machine.clock.sleep(60)
        assert (machine.places.status.untold, bool(machine.places.status.trouble)) == (1, True)
        store.fault = lambda write, changes: None
        await machine.clock.sleep(2)
        assert (machine.places.status.untold, machine.places.status.trouble) == (0, "")
        loop.cancel()
        await machine.at_rest()

    tell(story)


# What is refused


def refused(error: type[ColdchainError], words: str, story: Story) -> None:
    async def checked(machine: NetdMachine) -> None:
        await machine.run("before")
        with pytest.raises(error, match=words):
            await story(machine)
        assert set(await machine.at_rest()) == {"before"}

    tell(checked)


def test_an_exhausted_pool() -> None:
    async def story(machine: NetdMachine) -> None:
        for name in ("x", "y"):
            await machine.run(name, network="tiny_net")
        try:
            await machine.run("z", network="tiny_net")
        finally:
            for name in ("x", "y"):
                await machine.stop(name)

    refused(Rejected, r"Pool tiny \(10.201.0.0/31\) is exhausted", story)


def test_an_address_in_use() -> None:
    async def story(machine: NetdMachine) -> None:
        await machine.run("other", address=machine.running["before"].address)

    refused(Conflict, r"10\.200\.0\.\d+ is taken on this machine", story)


def test_unknown_options_are_all_named() -> None:
    async def story(machine: NetdMachine) -> None:
        await machine.run("other", coldchain_nonsense="1", **{"coldchain.app": "web", "other": "2"})

    refused(
        InvalidDocument, "coldchain.app: 'web' is not the id.*coldchain.nonsense: no option.*other: no option", story
    )


def test_a_second_network_of_ours_on_one_container() -> None:
    async def story(machine: NetdMachine) -> None:
        before = machine.running.pop("before")
        try:
            await machine.run("before", network="tiny_net")
        finally:
            machine.running["before"] = before

    refused(Rejected, "is in network online_net already.*docker network disconnect tiny_net", story)


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("172.18.0.2/16", Rejected, "172.18.0.2/16 is not from the container network"),
        ("", Rejected, "the container has no address"),
        ("10.200.0.77/32", Conflict, "10.200.0.77 was not given by this machine"),
    ],
)
def test_addresses_of_others(address: str, error: type[ColdchainError], words: str) -> None:
    async def story(machine: NetdMachine) -> None:
        network = machine.docker_network("online_net")
        await machine.attachments.attach(
            WantedAttachment(id="e" * 64, docker_network=network, address=address, options={})
        )

    refused(error, words, story)


def test_ipv6_in_a_network_without_it() -> None:
    async def story(machine: NetdMachine) -> None:
        network = machine.docker_network("online_net")
        wanted = WantedAttachment(
            id="e" * 64, docker_network=network, address="10.200.0.1/32", address6="fd00:200::1/128", options={}
        )
        await machine.attachments.attach(wanted)

    refused(Rejected, "network online_net has no addresses of IPv6", story)


@pytest.mark.parametrize(
    ("wanted", "error", "words"),
    [
        (WantedPool(), Rejected, "names no addresses of IPv4"),
        (WantedPool(ipv6=True), Rejected, "names no addresses of IPv6"),
        (WantedPool(cidr="10.9.0.0/16"), NotFound, "10.9.0.0/16 is no pool"),
        (WantedPool(cidr="10.200.0.0/24", sub_pool="10.200.0.0/28"), Rejected, r"--ip-range"),
    ],
)
def test_pools_that_are_none(wanted: WantedPool, error: type[ColdchainError], words: str) -> None:
    async def story(machine: NetdMachine) -> None:
        await machine.attachments.open_pool(wanted)

    refused(error, words, story)


def network(**fields: object) -> WantedNetwork:
    usual = {"id": "n" * 64, "options": {"coldchain.network": "online_net"}, "pools": ("10.200.0.0/24",)}
    return WantedNetwork(**usual | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "error", "words"),
    [
        (network(foreign=True), Rejected, "not from the container network.*--ipam-driver coldchain"),
        (network(internal=True), Rejected, "--isolated"),
        (network(reserved=("a",)), Rejected, "--aux-address"),
        (network(options={}), Rejected, "does not say which container network"),
        (network(options={"coldchain.network": "x"}), NotFound, "no container network x"),
        (network(options={"coldchain.network": "online_net", "mtu": "9000"}), InvalidDocument, "mtu: no option"),
        (network(pools=("10.201.0.0/31",)), Rejected, "has its addresses of IPv4 from pool online, not from tiny"),
        (network(pools6=("fd00:200::/120",)), Rejected, "online_net has no addresses of IPv6"),
        (
            network(options={"coldchain.network": "dual_net"}),
            Rejected,
            "dual_net has its addresses of IPv6 from pool online6, which were not asked for",
        ),
        (network(pools=("10.9.0.0/16",)), NotFound, "10.9.0.0/16 is no pool"),
    ],
)
def test_networks_that_cannot_be(wanted: WantedNetwork, error: type[ColdchainError], words: str) -> None:
    async def story(machine: NetdMachine) -> None:
        await machine.attachments.create_network(wanted)

    refused(error, words, story)


def test_before_the_store_was_read_no_network_is_made() -> None:
    async def story(machine: NetdMachine) -> None:
        machine.networks.known = None
        await machine.attachments.create_network(network())

    refused(Unavailable, "not known yet", story)
