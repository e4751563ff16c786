"""The packet filter, the fake and nftables; and with real containers on real links: who reaches whom."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, aclosing
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from coldchain.decisions.policy import Seen, forbidden, ruleset
from coldchain.model.attachment import Attachment
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.errors import Rejected
from coldchain.model.node import Node
from coldchain.model.policy import Peers, Policy, Rule
from coldchain.model.pool import Pool
from coldchain.model.ruleset import Connection
from coldchain.network.filter.nftables import Nftables, connection_of
from coldchain.network.filter.render import TABLE
from coldchain.network.links import NetlinkLinks
from coldchain.network.programs import output_of
from coldchain.ports.network import PacketFilter, host_name
from coldchain.testing.containers import Place, namespace, put_on_link
from coldchain.testing.fake_packet_filter import FakePacketFilter
from coldchain.testing.sandbox import inside

NODE, OUTSIDE = "10.10.0.1", "10.10.0.99"
UPLINK = "uplink"
QUIET_SECONDS = 0.2
CUT_SECONDS = 5.0
"""Of this process and the kernel for 2,000 connections, far above what it takes: asking for all before each takes
half a minute."""
SEEN = Seen(
    networks=(
        ContainerNetwork(name="online_net", pool="online", pool6="online6"),
        ContainerNetwork(name="other_net", pool="other"),
        ContainerNetwork(name="vault_net", pool="vault", isolated=True),
    ),
    pools=(
        Pool(name="online", cidr="10.240.0.0/16", nat_outgoing=True),
        Pool(name="online6", cidr="fd00:200::/64"),
        Pool(name="other", cidr="10.241.0.0/16"),
        Pool(name="vault", cidr="10.242.0.0/16"),
    ),
    nodes=(Node(name="node-1", address=f"{NODE}/24"),),
    attachments=(
        Attachment(
            id="a" * 64,
            node="node-1",
            network="online_net",
            address="10.240.0.1",
            address6="fd00:200::1",
            app_id="/shop/web",
        ),
        Attachment(id="b" * 64, node="node-1", network="online_net", address="10.240.0.2", address6="fd00:200::2"),
        Attachment(id="c" * 64, node="node-1", network="other_net", address="10.241.0.1", app_id="/other/one"),
        Attachment(id="d" * 64, node="node-1", network="vault_net", address="10.242.0.1", app_id="/vault"),
    ),
    this="node-1",
)
WEB = Rule(name="web", verdict="deny", source=Peers(app="/shop/web"))


def with_rules(*rules: Rule, cut: bool = False) -> Seen:
    return replace(SEEN, policy=Policy(rules=rules, cut=cut))


@pytest.fixture(params=["fake", "nftables"])
def packet_filter(request: pytest.FixtureRequest) -> Iterator[PacketFilter]:
    if request.param == "fake":
        yield FakePacketFilter()
        return
    assert inside(), "rules are made inside the sandbox only; run this through bin/test"
    yield Nftables()
    subprocess.run(["nft", "delete", "table", "inet", "coldchain"], check=False, capture_output=True)


async def test_counters_are_there_once_rules_are(packet_filter: PacketFilter) -> None:
    assert await packet_filter.drops() == {}
    await packet_filter.apply(ruleset(with_rules(WEB)), None)
    found = await packet_filter.drops()
    assert {"rule_web", "default_between", "spoofed"} <= set(found)
    assert set(found.values()) == {0}


async def test_whatever_was_there_before_is_replaced(packet_filter: PacketFilter) -> None:
    await packet_filter.apply(ruleset(with_rules(WEB)), None)
    await packet_filter.apply(ruleset(SEEN), None)
    assert "rule_web" not in await packet_filter.drops()


async def test_it_tells_when_chains_are_made_anew_and_not_when_addresses_come(packet_filter: PacketFilter) -> None:
    before = with_rules(WEB)
    more = replace(before.attachments[0], id="e" * 64, address="10.240.0.3", address6="")
    after = replace(before, attachments=(*before.attachments, more))
    async with aclosing(packet_filter.chain_changes()) as changes:  # type: ignore[type-var]
        told = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        await packet_filter.apply(ruleset(before), None)
        await told
        told = await until_quiet(changes)
        await packet_filter.apply(ruleset(after), ruleset(before))
        await asyncio.wait([told], timeout=QUIET_SECONDS)
        assert not told.done()
        await packet_filter.apply(ruleset(after), None)
        await told


async def test_it_tells_of_chains_that_docker_makes() -> None:
    assert inside(), "rules are made inside the sandbox only; run this through bin/test"
    async with aclosing(Nftables().chain_changes()) as changes:  # type: ignore[type-var]
        told = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        await output_of(("iptables", "-w", "-N", "LIKE-DOCKER"))
        await told
        await output_of(("iptables", "-w", "-X", "LIKE-DOCKER"))


async def until_quiet(changes: AsyncIterator[None]) -> asyncio.Future[None]:
    """What waits for the next, once nothing more comes of what was."""
    while True:
        told = asyncio.ensure_future(anext(changes))
        await asyncio.wait([told], timeout=QUIET_SECONDS)
        if not told.done():
            return told


async def test_a_change_of_what_is_not_there_is_refused_and_changes_nothing(packet_filter: PacketFilter) -> None:
    before = ruleset(with_rules(WEB))
    more = (*SEEN.attachments, replace(SEEN.attachments[0], id="e" * 64, address="10.240.0.9"))
    after = ruleset(replace(with_rules(WEB), attachments=more))
    with pytest.raises(Rejected, match="No such file"):
        await packet_filter.apply(after, before)
    assert await packet_filter.drops() == {}
    await packet_filter.apply(before, None)
    await packet_filter.apply(after, before)
    assert "rule_web" in await packet_filter.drops()


# The kernel


class Scene(NamedTuple):
    """Four containers of this machine, this machine, and who is on its wire and is no node."""

    web: Place
    friend: Place
    other: Place
    vault: Place
    machine: Place
    outside: Place
    filter: Nftables


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    assert inside(), "rules are made inside the sandbox only; run this through bin/test"
    machine = Place("")
    with ExitStack() as stack:
        places = [stack.enter_context(namespace(name)) for name in ("web", "friend", "other", "vault", "outside")]
        outside = places[-1]
        machine.run("ip", "link", "add", UPLINK, "type", "veth", "peer", "name", "eth0", "netns", "outside")
        stack.callback(machine.run, "ip", "link", "del", UPLINK)
        machine.run("ip", "address", "add", f"{NODE}/24", "dev", UPLINK)
        machine.run("ip", "link", "set", UPLINK, "up")
        machine.run("sysctl", "-qw", f"net.ipv4.conf.{UPLINK}.forwarding=1", "net.ipv6.conf.all.forwarding=1")
        outside.run("ip", "address", "add", f"{OUTSIDE}/24", "dev", "eth0")
        outside.run("ip", "link", "set", "eth0", "up")
        outside.run("ip", "route", "add", "10.240.0.0/14", "via", NODE)
        for place, one in zip(places, SEEN.attachments, strict=False):
            addresses = [address for address in (one.address, one.address6) if address]
            link = await put_on_link(place, one.id[0], addresses, NODE)
            stack.callback(machine.run, "ip", "link", "del", link.host)
        for place in (*places, machine):
            stack.enter_context(place.answering(80, 8500, 2379))
        stack.callback(subprocess.run, ["nft", "delete", "table", "inet", "coldchain"], check=True)
        packet_filter = Nftables()
        await packet_filter.apply(ruleset(SEEN), None)
        await packet_filter.let_docker_forward()  # one of the sandbox may drop what is not its own
        yield Scene(*places[:4], machine, outside, packet_filter)
    assert await NetlinkLinks().present() == []


async def test_who_reaches_whom_without_a_rule(scene: Scene) -> None:
    assert scene.web.reaches("10.240.0.2", 80)
    assert scene.web.reaches("fd00:200::2", 80)
    assert scene.web.is_kept_from("10.241.0.1", 80)
    assert scene.web.is_kept_from("10.242.0.1", 80)
    assert scene.web.reaches(NODE, 8500)
    assert scene.web.reaches("169.254.1.1", 8500)
    assert scene.web.is_kept_from(NODE, 2379)
    assert scene.vault.reaches(NODE, 8500)
    assert scene.vault.is_kept_from(NODE, 80)
    assert scene.machine.reaches("10.242.0.1", 80)
    assert scene.machine.reaches("10.240.0.1", 80)
    assert scene.web.reaches(OUTSIDE, 80)
    assert scene.vault.is_kept_from(OUTSIDE, 80)
    assert scene.outside.is_kept_from("10.240.0.1", 80)
    counted = await scene.filter.drops()
    assert counted["default_between"] > 0
    assert counted["default_isolated"] > 0
    assert counted["default_outside"] > 0


async def test_a_rule_is_in_force_for_new_connections_and_those_that_stand_go_on(scene: Scene) -> None:
    before, after = ruleset(SEEN), ruleset(with_rules(WEB))
    with scene.web.stream("10.240.0.2", 80) as stream:
        assert stream.says("one") == "one"
        await scene.filter.apply(after, before)
        assert scene.web.is_kept_from("10.240.0.2", 80)
        assert scene.friend.reaches("10.240.0.1", 80)
        assert stream.says("two") == "two"
        await scene.filter.apply(before, after)
        assert scene.web.reaches("10.240.0.2", 80)
        assert stream.says("three") == "three"


async def test_connections_that_stand_are_cut_when_asked(scene: Scene) -> None:
    with scene.web.stream("10.240.0.2", 80) as stream, scene.friend.stream("10.240.0.1", 80) as kept:
        assert (stream.says("one"), kept.says("one")) == ("one", "one")
        await scene.filter.apply(ruleset(with_rules(WEB)), None)
        await scene.filter.cut(forbidden(with_rules(WEB), await scene.filter.connections()))
        assert stream.says("two") == "TimeoutError"
        assert kept.says("two") == "two"


async def test_thousands_of_connections_are_cut_and_one_that_has_ended_is_no_error(scene: Scene) -> None:
    ports = range(10_000, 12_000)
    entries = "".join(
        f"-I -p tcp -s 10.240.0.1 -d 10.240.0.2 --sport {port} --dport 80 --state ESTABLISHED -t 100\n"
        for port in ports
    )
    entries += "-I -p tcp -s fd00:200::1 -d fd00:200::2 --sport 10000 --dport 80 --state ESTABLISHED -t 100\n"
    entries += "-I -p icmp -s 10.240.0.1 -d 10.240.0.2 --icmp-type 8 --icmp-code 0 --icmp-id 7 -t 100\n"
    subprocess.run(["conntrack", "-R", "-"], input=entries, text=True, check=True, capture_output=True)
    found = forbidden(with_rules(WEB), await scene.filter.connections())
    assert {one.source_port for one in found if ":" not in one.source} >= set(ports)
    assert [one.source_port for one in found if ":" in one.source].count(10_000) == 1
    assert "icmp" in {one.protocol for one in found}
    ended = Connection(protocol="udp", source="10.240.0.1", destination="10.240.0.2", destination_port=53)
    began = time.process_time()
    await scene.filter.cut([ended, *found, *found[:3]])
    assert time.process_time() - began < CUT_SECONDS
    assert forbidden(with_rules(WEB), await scene.filter.connections()) == []


async def test_an_address_more_in_a_set_is_enough(scene: Scene) -> None:
    allowed = Rule(name="in", source=Peers(app="/other/one"), destination=Peers(app="/shop/web"), ports=("80",))
    without = replace(with_rules(allowed), attachments=SEEN.attachments[:2])
    await scene.filter.apply(ruleset(without), None)
    assert scene.other.is_kept_from("10.240.0.1", 80)
    await scene.filter.apply(ruleset(with_rules(allowed)), ruleset(without))
    assert scene.other.reaches("10.240.0.1", 80)
    assert scene.other.is_kept_from("10.240.0.1", 8500)


async def test_somebody_elses_address_is_not_let_through(scene: Scene) -> None:
    scene.web.run("ip", "address", "add", "10.240.0.77/32", "dev", "eth0")
    scene.web.run("ip", "-6", "address", "add", "fd00:200::77/128", "dev", "eth0", "nodad")
    scene.web.run("ip", "route", "replace", "default", "via", "169.254.1.1", "src", "10.240.0.77")
    scene.web.run("ip", "-6", "route", "replace", "default", "via", "fe80::1", "dev", "eth0", "src", "fd00:200::77")
    assert scene.web.is_kept_from("10.240.0.2", 80)
    assert scene.web.is_kept_from("fd00:200::2", 80)
    assert (await scene.filter.drops())["spoofed"] > 0


async def test_what_goes_out_of_a_pool_with_nat_has_the_machines_address(scene: Scene) -> None:
    with scene.web.stream(OUTSIDE, 80) as stream:
        assert stream.says("one") == "one"
        seen = scene.outside.run("ss", "-Htn", "state", "established", "sport", "=", ":80")
        assert NODE in seen
        assert "10.240.0.1" not in seen


async def test_a_rule_that_logs_is_in_the_kernel_with_its_words_and_counts_what_it_decides(scene: Scene) -> None:
    """The line itself is not looked for: of network namespaces but the first the kernel writes none, unless the whole
    machine is set to (net.netfilter.nf_log_all_netns)."""
    await scene.filter.apply(ruleset(with_rules(replace(WEB, log=True))), None)
    listed = scene.machine.run("nft", "list", "chain", *TABLE.split(), "policy_rules").splitlines()
    with_words = [line for line in listed if 'log prefix "coldchain web: " drop' in line]
    assert [("ip saddr" in line, "ip6 saddr" in line) for line in with_words] == [(True, False), (False, True)]
    assert (await scene.filter.drops())["rule_web"] == 0
    assert scene.web.is_kept_from("10.240.0.2", 80)
    assert scene.web.is_kept_from("fd00:200::2", 80)
    assert (await scene.filter.drops())["rule_web"] >= 2


async def test_containers_of_an_isolated_network_reach_each_other_alone(scene: Scene) -> None:
    networks = [replace(one, isolated=one.name == "online_net") for one in SEEN.networks]
    await scene.filter.apply(ruleset(replace(SEEN, networks=tuple(networks))), None)
    assert scene.web.reaches("10.240.0.2", 80)
    assert scene.friend.reaches("fd00:200::1", 80)
    assert scene.web.is_kept_from("10.241.0.1", 80)
    assert scene.other.is_kept_from("10.240.0.1", 80)
    assert scene.web.is_kept_from(OUTSIDE, 80)
    assert scene.other.reaches(OUTSIDE, 80)


async def test_networks_are_apart_by_ipv6_as_well_until_a_rule_joins_them(scene: Scene) -> None:
    """The friend is in another network now, with a pool of its own."""
    friend = replace(SEEN.attachments[1], network="six_net", address="10.203.0.1", address6="fd00:201::2")
    seen = replace(
        SEEN,
        networks=(*SEEN.networks, ContainerNetwork(name="six_net", pool="six", pool6="six6")),
        pools=(*SEEN.pools, Pool(name="six", cidr="10.203.0.0/16"), Pool(name="six6", cidr="fd00:201::/64")),
        attachments=(SEEN.attachments[0], friend, *SEEN.attachments[2:]),
    )
    scene.friend.run("ip", "-6", "address", "add", "fd00:201::2/128", "dev", "eth0", "nodad")
    scene.friend.run("ip", "-6", "address", "del", "fd00:200::2/128", "dev", "eth0")
    scene.machine.run("ip", "-6", "route", "add", "fd00:201::2/128", "dev", host_name("b" * 64))
    scene.machine.run(
        "ip", "-6", "neighbour", "replace", "fd00:201::2", "lladdr", "02:42:00:00:00:62", "dev", host_name("b" * 64)
    )
    joined = Rule(name="six", source=Peers(app="/shop/web"), destination=Peers(network="six_net"), ports=("80",))
    await scene.filter.apply(ruleset(seen), None)
    assert scene.web.is_kept_from("fd00:201::2", 80)
    assert (await scene.filter.drops())["default_between"] > 0
    await scene.filter.apply(ruleset(replace(seen, policy=Policy(rules=(joined,)))), ruleset(seen))
    assert scene.web.reaches("fd00:201::2", 80)
    assert scene.web.is_kept_from("fd00:201::2", 8500)
    assert scene.friend.is_kept_from("fd00:200::1", 80)


@pytest.mark.parametrize("machines", [Peers(machines=True), Peers(machine="node-1")])
async def test_rules_mean_machines_as_source_and_as_destination(scene: Scene, machines: Peers) -> None:
    into = Rule(name="into", verdict="deny", source=machines, destination=Peers(app="/shop/web"), ports=("80",))
    out = Rule(name="out", verdict="deny", source=Peers(app="/shop/web"), destination=machines, ports=("8500",))
    store = Rule(name="store", source=Peers(app="/other/one"), destination=machines, ports=("2379",))
    await scene.filter.apply(ruleset(with_rules(into, out, store)), None)
    assert scene.machine.is_kept_from("10.240.0.1", 80)
    assert scene.machine.reaches("10.240.0.1", 8500)
    assert scene.machine.reaches("10.240.0.2", 80)
    for address in (NODE, "169.254.1.1"):
        assert scene.web.is_kept_from(address, 8500)
        assert scene.web.reaches(address, 80)
        assert scene.other.reaches(address, 2379)
        assert scene.friend.is_kept_from(address, 2379)
    counted = await scene.filter.drops()
    assert min(counted["rule_into"], counted["rule_out"], counted["rule_store"]) > 0


async def test_docker_lets_our_links_through(scene: Scene) -> None:
    """As Docker makes its rules, and anew; in a place of its own where the sandbox has an engine by then."""
    there = "-N DOCKER-USER" in scene.machine.run("iptables", "-w", "-S").splitlines()
    before = next(one for one in scene.machine.run("iptables", "-w", "-S").splitlines() if one.startswith("-P FORWARD"))
    jump = ("FORWARD", "-j", "DOCKER-USER")
    if not there:
        scene.machine.run("iptables", "-w", "-N", "DOCKER-USER")
    scene.machine.run("iptables", "-w", "-F", "DOCKER-USER")
    scene.machine.run("iptables", "-w", "-I", *jump)
    scene.machine.run("iptables", "-w", "-P", "FORWARD", "DROP")
    try:
        assert scene.web.is_kept_from("10.240.0.2", 80)
        for _ in range(2):
            await scene.filter.let_docker_forward()
        assert scene.web.reaches("10.240.0.2", 80)
        assert scene.machine.run("iptables", "-w", "-S", "DOCKER-USER").count("ACCEPT") == 2
    finally:
        scene.machine.run("iptables", "-w", *before.split())
        scene.machine.run("iptables", "-w", "-D", *jump)
        scene.machine.run("iptables", "-w", "-F", "DOCKER-USER")
        if there:
            scene.machine.run("iptables", "-w", "-A", "DOCKER-USER", "-j", "RETURN")
        else:
            scene.machine.run("iptables", "-w", "-X", "DOCKER-USER")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (
            "tcp      6 431999 ESTABLISHED src=10.240.0.1 dst=10.240.0.2 sport=40000 dport=80 src=10.240.0.2 "
            "dst=10.240.0.1 sport=80 dport=40000 [ASSURED] mark=0 use=1",
            ("tcp", "10.240.0.1", "10.240.0.2", 40000, 80),
        ),
        (
            "icmpv6   58 29 src=fd00::1 dst=fd00::2 type=128 code=0 id=7 src=fd00::2 dst=fd00::1 type=129 code=0 id=7",
            ("ipv6-icmp", "fd00::1", "fd00::2", 0, 0),
        ),
        ("", None),
    ],
)
def test_a_line_of_the_kernels_connections(line: str, found: tuple[str, str, str, int, int] | None) -> None:
    read = connection_of(line)
    if found is None:
        assert read is None
    else:
        assert read is not None
        assert (read.protocol, read.source, read.destination, read.source_port, read.destination_port) == found
