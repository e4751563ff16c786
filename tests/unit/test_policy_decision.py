"""Who may talk to whom: the defaults, the first rule that fits, and that the kernel is told what the reader is told."""

import ipaddress
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.policy import Question, Seen, decide, forbidden, nobody, ruleset
from coldchain.model.attachment import Attachment
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.node import Node
from coldchain.model.policy import Peers, Policy, Rule, Verdict
from coldchain.model.pool import Pool
from coldchain.model.ruleset import Connection, FilterRule, Ruleset

POOLS = (
    Pool(name="online", cidr="10.200.0.0/16", nat_outgoing=True),
    Pool(name="shared", cidr="10.201.0.0/16"),
    Pool(name="vault", cidr="10.202.0.0/16"),
    Pool(name="online6", cidr="fd00:200::/64"),
)
NETWORKS = (
    ContainerNetwork(name="online_net", pool="online", pool6="online6"),
    ContainerNetwork(name="blue_net", pool="shared"),
    ContainerNetwork(name="green_net", pool="shared"),
    ContainerNetwork(name="vault_net", pool="vault", isolated=True),
)
NODES = (
    Node(name="node-1", address="10.10.0.1/24", address6="fd00::1/64"),
    Node(name="node-2", address="10.10.0.2/24"),
    Node(name="machine", address="10.10.0.3/24", containers=False),
)


def container(number: int, node: str, network: str, address: str, app: str = "", **labels: str) -> Attachment:
    return Attachment(id=f"{number:064x}", node=node, network=network, address=address, app_id=app, labels=labels)


WEB = container(1, "node-1", "online_net", "10.200.0.1", "/shop/web", tier="front")
WEB_2 = container(2, "node-2", "online_net", "10.200.1.1", "/shop/web", tier="front")
DATABASE = container(3, "node-2", "vault_net", "10.202.0.1", "/shop/database", tier="back")
BLUE = container(4, "node-1", "blue_net", "10.201.0.1", "/blue/one", tier="front")
GREEN = container(5, "node-1", "green_net", "10.201.0.2", "/green/one")
LONELY = container(6, "node-1", "vault_net", "10.202.1.1")
SEEN = Seen(
    networks=NETWORKS, pools=POOLS, nodes=NODES, attachments=(WEB, WEB_2, DATABASE, BLUE, GREEN, LONELY), this="node-1"
)
OUTSIDE = "192.0.2.7"


def with_rules(*rules: Rule) -> Seen:
    return Seen(
        policy=Policy(rules=rules),
        networks=NETWORKS,
        pools=POOLS,
        nodes=NODES,
        attachments=SEEN.attachments,
        this="node-1",
    )


@pytest.mark.parametrize(
    ("source", "destination", "port", "verdict", "words"),
    [
        (WEB.address, WEB_2.address, 80, "allow", "both are in network online_net"),
        (DATABASE.address, LONELY.address, 80, "allow", "both are in network vault_net"),
        (WEB.address, BLUE.address, 80, "deny", "they are in different networks"),
        (BLUE.address, GREEN.address, 80, "deny", "they are in different networks"),
        (WEB.address, DATABASE.address, 80, "deny", "network vault_net is isolated"),
        (LONELY.address, OUTSIDE, 443, "deny", "network vault_net is isolated"),
        ("10.10.0.1", DATABASE.address, 80, "deny", "network vault_net is isolated"),
        ("10.10.0.2", DATABASE.address, 80, "allow", "machines reach their own containers"),
        ("10.10.0.3", WEB.address, 80, "allow", "machines reach containers"),
        (WEB.address, OUTSIDE, 443, "allow", "containers reach what is outside"),
        (OUTSIDE, WEB.address, 80, "deny", "from outside nobody reaches containers"),
        (WEB.address, "10.10.0.1", 8500, "allow", "containers reach machines"),
        (WEB.address, "10.10.0.3", 80, "allow", "containers reach machines"),
        (WEB.address, "10.10.0.1", 2379, "deny", "containers do not reach port 2379 of machines"),
        (WEB.address, "10.10.0.2", 179, "deny", "containers do not reach port 179 of machines"),
        (LONELY.address, "10.10.0.1", 8500, "allow", "DNS and Consul's agent of its own machine"),
        (LONELY.address, "10.10.0.1", 80, "deny", "network vault_net is isolated"),
        (LONELY.address, "10.10.0.2", 8500, "deny", "network vault_net is isolated"),
        (OUTSIDE, "192.0.2.8", 80, "allow", "no container takes part"),
    ],
)
def test_without_a_rule(source: str, destination: str, port: int, verdict: Verdict, words: str) -> None:
    found = decide(SEEN, Question(source, destination, "tcp", port))
    assert (found.verdict, found.rule) == (verdict, None)
    assert words in found.words


def test_containers_of_two_networks_with_one_pool_are_told_apart() -> None:
    other = container(7, "node-2", "blue_net", "10.201.0.9")
    seen = Seen(networks=NETWORKS, pools=POOLS, nodes=NODES, attachments=(*SEEN.attachments, other))
    assert decide(seen, Question(BLUE.address, other.address)).verdict == "allow"
    assert decide(seen, Question(GREEN.address, other.address)).verdict == "deny"


def test_the_first_rule_that_fits_decides() -> None:
    front = Peers(labels={"tier": "front"})
    seen = with_rules(
        Rule(name="one", source=Peers(app="/shop/*"), destination=Peers(app="/shop/database"), ports=("5432",)),
        Rule(name="two", verdict="deny", source=front, destination=Peers(network="online_net")),
        Rule(name="three", source=front),
    )
    assert decide(seen, Question(WEB.address, DATABASE.address, "tcp", 5432)).rule == "one"
    assert decide(seen, Question(WEB.address, DATABASE.address, "tcp", 5433)).rule == "three"
    assert decide(seen, Question(BLUE.address, WEB.address, "tcp", 80)).rule == "two"
    assert decide(seen, Question(WEB.address, WEB_2.address, "tcp", 80)) == ("deny", "two", "rule two")
    assert decide(seen, Question(GREEN.address, BLUE.address, "tcp", 80)).rule is None


def test_rules_that_mean_nobody_are_named() -> None:
    seen = with_rules(
        Rule(name="known", source=Peers(app="/shop/web")),
        Rule(name="unknown", source=Peers(app="/shop/web"), destination=Peers(app="/shop/other")),
        Rule(name="label", source=Peers(labels={"tier": "middle"})),
    )
    assert nobody(seen) == {"unknown": "destination", "label": "source"}


def test_connections_that_a_new_rule_forbids_are_found() -> None:
    seen = with_rules(Rule(name="no", verdict="deny", source=Peers(app="/shop/web"), protocol="tcp", ports=("80",)))
    stands = Connection(protocol="tcp", source=WEB.address, destination=WEB_2.address, destination_port=81)
    falls = Connection(protocol="tcp", source=WEB.address, destination=WEB_2.address, destination_port=80)
    other = Connection(protocol="udp", source=WEB.address, destination=WEB_2.address, destination_port=80)
    assert forbidden(seen, [stands, falls, other]) == [falls]


def test_what_leaves_a_pool_with_nat_is_masqueraded_only_to_what_is_outside() -> None:
    found = ruleset(SEEN)
    sets = {f"@{one.name}": one.addresses for one in found.sets}
    assert found.masqueraded == ("@masqueraded_4",)
    assert sets["@masqueraded_4"] == ("10.200.0.0/16",)
    assert set(sets[found.inside[0]]) >= {"10.201.0.0/16", "10.202.0.0/16", "10.10.0.2/32"}


def test_an_attachment_more_changes_nothing_but_addresses() -> None:
    rules = (Rule(name="one", source=Peers(app="/shop/web")),)
    before = ruleset(with_rules(*rules))
    more = container(9, "node-1", "online_net", "10.200.0.9", "/shop/web")
    after = ruleset(
        Seen(
            policy=Policy(rules=rules),
            networks=NETWORKS,
            pools=POOLS,
            nodes=NODES,
            attachments=(*SEEN.attachments, more),
            this="node-1",
        )
    )
    assert before.rules == after.rules
    changed = [one.name for one, other in zip(before.sets, after.sets, strict=True) if one != other]
    assert len(changed) == 1
    assert changed[0].startswith("selected_")


# The kernel, as far as rulesets speak of it


def as_kernel(seen: Seen, question: Question) -> Verdict:
    """What becomes of the first packet on its way over the machines."""
    source = next((one for one in seen.attachments if question.source in (one.address, one.address6)), None)
    destination = next((one for one in seen.attachments if question.destination in (one.address, one.address6)), None)
    from_node, to_node = node_of(seen, question.source), node_of(seen, question.destination)
    for name, chain in ways(source, destination, from_node, to_node, in_pools(seen, question.source)):
        found = ruleset(Seen(**{**fields(seen), "this": name}))
        own = source is not None and name == source.node
        if verdict_of(found, chain, question, own=own) == "deny":
            return "deny"
    return "allow"


def fields(seen: Seen) -> dict[str, object]:
    return {name: getattr(seen, name) for name in seen.__struct_fields__}


def ways(
    source: Attachment | None, destination: Attachment | None, from_node: str, to_node: str, pooled: bool
) -> Iterator[tuple[str, str]]:
    """By which machines, and which of their chains."""
    if source is not None and source.node != to_node:
        yield source.node, "between"
    if destination is not None and (source is None or source.node != destination.node):
        yield destination.node, "output" if from_node == destination.node else "between"
    if to_node and pooled:
        yield to_node, "to_machine"


def node_of(seen: Seen, address: str) -> str:
    nodes = (one for one in seen.nodes if address in (one.address.partition("/")[0], one.address6.partition("/")[0]))
    return next((one.name for one in nodes), "")


def in_pools(seen: Seen, address: str) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(one.cidr) for one in seen.pools)


def verdict_of(found: Ruleset, chain: str, question: Question, *, own: bool) -> Verdict:
    more: Iterable[FilterRule] = {"between": found.between, "to_machine": found.to_machine, "output": ()}[chain]
    for rule in (*found.rules, *more):
        if holds(found, rule, question, own=own):
            return rule.verdict
    return "allow"


def holds(found: Ruleset, rule: FilterRule, question: Question, *, own: bool) -> bool:
    family = "6" if ":" in question.source else "4"
    ported = question.protocol in ("tcp", "udp")
    return (
        rule.family in (None, family)
        and all(within(found, one, question.source) for one in rule.sources)
        and all(within(found, one, question.destination) for one in rule.destinations)
        and (not rule.protocols or question.protocol in rule.protocols)
        and (not rule.ports or (ported and any(covers(one, question.port) for one in rule.ports)))
        and (own or not rule.from_container)
    )


def within(found: Ruleset, condition: str, address: str) -> bool:
    cidrs = [condition]
    if condition.startswith("@"):
        cidrs = list(next(one for one in found.sets if f"@{one.name}" == condition).addresses)
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(one) for one in cidrs)


def covers(ports: str, port: int) -> bool:
    first, _, last = ports.partition("-")
    return int(first) <= port <= int(last or first)


SIDES = st.one_of(
    st.just(Peers()),
    st.builds(
        Peers,
        network=st.sampled_from(["", "", *(one.name for one in NETWORKS)]),
        app=st.sampled_from(["", "", "/shop/web", "/shop/*", "/shop/database", "/none"]),
        labels=st.sampled_from([{}, {}, {"tier": "front"}, {"tier": "back"}]),
        cidr=st.sampled_from(["", "", "10.200.0.0/24", "10.0.0.0/8", "fd00:200::/64"]),
    ),
    st.builds(Peers, machines=st.just(True), cidr=st.sampled_from(["", "10.10.0.0/31"])),
    st.builds(Peers, machine=st.sampled_from(["node-1", "machine"])),
)
RULES = st.lists(
    st.builds(
        Rule,
        name=st.sampled_from(["a", "b", "c"]),
        verdict=st.sampled_from(["allow", "deny"]),
        source=SIDES,
        destination=SIDES,
        protocol=st.sampled_from(["any", "tcp", "udp", "icmp"]),
        ports=st.sampled_from([(), (), ("80",), ("8000-8100", "2379")]),
    ).filter(lambda rule: rule.protocol != "icmp" or not rule.ports),
    max_size=4,
)
SIX = Attachment(
    id="8" * 64, node="node-1", network="online_net", address="10.200.0.8", address6="fd00:200::8", app_id="/shop/web"
)
SIX_2 = Attachment(id="9" * 64, node="node-2", network="online_net", address="10.200.1.8", address6="fd00:200::9")
FOUR = [one.address for one in SEEN.attachments] + ["10.10.0.1", "10.10.0.2", "10.10.0.3", OUTSIDE]
SIXES = ["fd00:200::8", "fd00:200::9", "fd00::1", "2001:db8::7"]
PAIRS = st.one_of(
    st.tuples(st.sampled_from(FOUR), st.sampled_from(FOUR)), st.tuples(st.sampled_from(SIXES), st.sampled_from(SIXES))
).filter(lambda pair: pair[0] != pair[1])


@given(
    rules=RULES, pair=PAIRS, protocol=st.sampled_from(["tcp", "udp", "icmp"]), port=st.sampled_from([80, 8050, 2379])
)
def test_the_kernel_does_what_the_reader_is_told(
    rules: list[Rule], pair: tuple[str, str], protocol: str, port: int
) -> None:
    seen = Seen(
        policy=Policy(rules=tuple(rules)),
        networks=NETWORKS,
        pools=POOLS,
        nodes=NODES,
        attachments=(*SEEN.attachments, SIX, SIX_2),
    )
    if not any(in_pools(seen, one) for one in pair):
        return  # packets of which no container is a part never meet these chains
    name = "ipv6-icmp" if protocol == "icmp" and ":" in pair[0] else protocol
    question = Question(pair[0], pair[1], name, 0 if protocol == "icmp" else port)
    assert as_kernel(seen, question) == decide(seen, question).verdict
