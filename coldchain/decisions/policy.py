"""policy: who may talk to whom: what the packet filter of a machine does, and for one question which rule decides.

Both say the same in two ways: `ruleset` for the kernel, `decide` for the reader; a property test holds them together.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from coldchain.model.attachment import Attachment
from coldchain.model.base import Noun
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.node import Node
from coldchain.model.policy import Peers, Policy, Rule, Verdict
from coldchain.model.pool import Pool
from coldchain.model.ruleset import AddressSet, Connection, Family, FilterRule, Ruleset

FAMILIES: tuple[Family, Family] = ("4", "6")
INFRASTRUCTURE = ("179", "2375-2377", "2379-2380", "3784", "4784", "4789", "5050-5051", "8475")
"""Ports of machines that containers do not reach: BGP, Docker, etcd, BFD, VXLAN of Docker, Mesos, and VXLAN of ours."""
OWN_SERVICES = ("53", "8500", "8600")
"""Ports of its own machine that a container of an isolated network reaches all the same: DNS, Consul's agent."""
LINK_LOCAL = ("169.254.1.1", "fe80::1")
"""Of the machine's end of each link: another name that its containers have for it."""
ICMP = {"4": "icmp", "6": "ipv6-icmp"}
PORTED = ("tcp", "udp")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Seen(Noun, frozen=True, kw_only=True):
    """All that decides: the policy, and what is there. `this`: the name of the machine whose packets are decided."""

    policy: Policy = Policy()
    networks: tuple[ContainerNetwork, ...] = ()
    pools: tuple[Pool, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    nodes: tuple[Node, ...] = ()
    this: str = ""


class Decision(NamedTuple):
    """`rule`: the name of the policy's rule, None for a default. `words`: why."""

    verdict: Verdict
    rule: str | None
    words: str


def with_own(seen: Seen, own: Iterable[Attachment]) -> Seen:
    """By what the machine itself says of its containers, whatever the store has of them."""
    others = (one for one in seen.attachments if one.node != seen.this)
    return replace(seen, attachments=(*others, *own))


# What the kernel is told


def ruleset(seen: Seen) -> Ruleset:
    """For the machine `seen.this`."""
    return _Writer(seen).ruleset()


class _Writer:
    """Sets are made as rules ask for them, each once."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._sets: dict[str, AddressSet] = {}
        self._selected: dict[str, list[Attachment]] = {}
        self._index = _Index(seen.attachments)
        self._shared = _shared_pools(seen.networks)
        self._pools = {one.name: one for one in seen.pools}

    def ruleset(self) -> Ruleset:
        rules = [one for rule in self._seen.policy.rules for one in self._of_rule(rule)]
        between, to_machine = list(self._between()), list(self._to_machine())
        inside, masqueraded = [], []
        for family in FAMILIES:
            wanted = self._cidrs(family, (one for one in self._seen.pools if one.nat_outgoing))
            if wanted:
                masqueraded.append(self._set("masqueraded", family, wanted, ranges=True))
                machines = [f"{one}/{32 if family == '4' else 128}" for one in self._machines(family)]
                inside.append(
                    self._set("inside", family, [*self._cidrs(family, self._seen.pools), *machines], ranges=True)
                )
        containers = [name for family in FAMILIES if (name := self._all_pools(family))]
        return Ruleset(
            sets=tuple(self._sets[name] for name in sorted(self._sets)),
            rules=tuple(rules),
            between=tuple(between),
            to_machine=tuple(to_machine),
            containers=tuple(containers),
            inside=tuple(inside),
            masqueraded=tuple(masqueraded),
        )

    def _of_rule(self, rule: Rule) -> Iterator[FilterRule]:
        families: tuple[Family | None, ...] = FAMILIES
        if rule.source == Peers() and rule.destination == Peers():
            families = (None,)
        for family in families:
            sources, destinations = self._of_peers(rule.source, family), self._of_peers(rule.destination, family)
            if sources is None or destinations is None:
                continue
            yield FilterRule(
                verdict=rule.verdict,
                family=family,
                sources=sources,
                destinations=destinations,
                protocols=_protocols(rule, family),
                ports=rule.ports,
                counter=f"rule_{rule.name}",
                log=f"coldchain {rule.name}: " if rule.log else "",
            )

    def _of_peers(self, peers: Peers, family: Family | None) -> tuple[str, ...] | None:
        """None where nobody of this family is meant."""
        if family is None or peers == Peers():
            return ()
        found: list[str] = []
        if peers.cidr:
            if _family(peers.cidr) != family:
                return None
            found.append(peers.cidr)
        if peers.machine:
            found.append(self._set(f"machine_{peers.machine}", family, self._machines(family, peers.machine)))
        elif peers.machines:
            found.append(self._all_machines(family))
        elif peers.app or peers.labels:
            found.append(self._selector(peers, family))
        elif peers.network:
            found.append(self._network(peers.network, family))
        return tuple(found)

    def _between(self) -> Iterator[FilterRule]:
        for family in FAMILIES:
            pools = self._all_pools(family)
            if not pools:
                continue
            for network in sorted(self._seen.networks, key=lambda one: one.name):
                own = (self._network(network.name, family),)
                yield FilterRule(verdict="allow", family=family, sources=own, destinations=own)
            yield from self._isolated(family)
            machines = (self._all_machines(family),)
            yield FilterRule(
                verdict="deny", family=family, sources=(pools,), destinations=(pools,), counter="default_between"
            )
            yield FilterRule(verdict="allow", family=family, sources=machines)
            for protocol in PORTED:
                yield FilterRule(
                    verdict="deny",
                    family=family,
                    sources=(pools,),
                    destinations=machines,
                    protocols=(protocol,),
                    ports=INFRASTRUCTURE,
                    counter="default_infrastructure",
                )
            yield FilterRule(verdict="allow", family=family, sources=(pools,))
            yield FilterRule(verdict="deny", family=family, destinations=(pools,), counter="default_outside")

    def _isolated(self, family: Family) -> Iterator[FilterRule]:
        names = sorted(one.name for one in self._seen.networks if one.isolated)
        for name in names:
            own = (self._network(name, family),)
            yield FilterRule(verdict="deny", family=family, sources=own, counter="default_isolated")
            yield FilterRule(verdict="deny", family=family, destinations=own, counter="default_isolated")

    def _to_machine(self) -> Iterator[FilterRule]:
        for family in FAMILIES:
            if not self._all_pools(family):
                continue
            yield FilterRule(verdict="allow", family=family, protocols=(ICMP[family],))
            for name in sorted(one.name for one in self._seen.networks if one.isolated):
                own = (self._network(name, family),)
                yield FilterRule(
                    verdict="allow",
                    family=family,
                    sources=own,
                    protocols=PORTED,
                    ports=OWN_SERVICES,
                    from_container=True,
                )
                yield FilterRule(verdict="deny", family=family, sources=own, counter="default_isolated")
        yield FilterRule(verdict="deny", protocols=PORTED, ports=INFRASTRUCTURE, counter="default_infrastructure")

    # Sets

    def _set(self, name: str, family: Family, addresses: Iterable[str], *, ranges: bool = False) -> str:
        """The order is the same each time, of single addresses that of their letters: there are many of them."""
        full = f"{name}_{family}"
        if full not in self._sets:
            ordered = tuple(sorted(set(addresses), key=_order if ranges else None))
            self._sets[full] = AddressSet(name=full, family=family, ranges=ranges, addresses=ordered)
        return f"@{full}"

    def _all_pools(self, family: Family) -> str:
        """Empty where there is none of this family."""
        cidrs = self._cidrs(family, self._seen.pools)
        return self._set("pools", family, cidrs, ranges=True) if cidrs else ""

    def _all_machines(self, family: Family) -> str:
        return self._set("machines", family, self._machines(family))

    def _network(self, name: str, family: Family) -> str:
        """Of a pool that no other network has all of it, so that a container is known as soon as it has an address."""
        network = next((one for one in self._seen.networks if one.name == name), None)
        pool = self._pools.get((network.pool if family == "4" else network.pool6) if network is not None else "")
        if pool is not None and pool.name not in self._shared and _family(pool.cidr) == family:
            return self._set(f"network_{name}", family, [pool.cidr], ranges=True)
        return self._set(f"network_{name}", family, _addresses(self._index.of_network(name), family))

    def _selector(self, peers: Peers, family: Family) -> str:
        name = _selector_name(peers)
        if name not in self._selected:
            self._selected[name] = self._index.selected(peers)
        return self._set(name, family, _addresses(self._selected[name], family))

    def _machines(self, family: Family, name: str = "") -> list[str]:
        found = []
        for node in self._seen.nodes:
            if name in ("", node.name):
                found += [one for one in addresses_of(node) if _family(one) == family]
            if node.name == self._seen.this and name in ("", node.name):
                found += [one for one in LINK_LOCAL if _family(one) == family]
        return found

    @staticmethod
    def _cidrs(family: Family, pools: Iterable[Pool]) -> list[str]:
        return [one.cidr for one in pools if _family(one.cidr) == family]


class _Index:
    """Attachments by what selects them, since policies name thousands of apps."""

    def __init__(self, attachments: Sequence[Attachment]) -> None:
        self._all = attachments
        self._apps: dict[str, list[Attachment]] = {}
        self._networks: dict[str, list[Attachment]] = {}
        self._labels: dict[tuple[str, str], list[Attachment]] = {}
        for one in attachments:
            self._apps.setdefault(one.app_id, []).append(one)
            self._networks.setdefault(one.network, []).append(one)
            for label in one.labels.items():
                self._labels.setdefault(label, []).append(one)

    def of_network(self, name: str) -> list[Attachment]:
        return self._networks.get(name, [])

    def selected(self, peers: Peers) -> list[Attachment]:
        """Those that every field of it fits."""
        if peers.app.endswith("/*"):
            within = [one for app, some in self._apps.items() if app.startswith(peers.app[:-1]) for one in some]
        elif peers.app:
            within = self._apps.get(peers.app, [])
        else:
            within = min((self._labels.get(label, []) for label in peers.labels.items()), key=len)
        return [one for one in within if selects(peers, one)]


def selects(peers: Peers, one: Attachment) -> bool:
    """Whether a container is meant, its address aside."""
    if peers.machines or peers.machine:
        return False
    app = peers.app
    return (
        peers.network in ("", one.network)
        and (app in ("", one.app_id) or (app.endswith("/*") and one.app_id.startswith(app[:-1])))
        and peers.labels.items() <= one.labels.items()
    )


def addresses_of(node: Node) -> list[str]:
    """Without their length."""
    return [one.partition("/")[0] for one in (node.address, node.address6) if one]


def _protocols(rule: Rule, family: Family | None) -> tuple[str, ...]:
    if rule.protocol == "icmp":
        return (ICMP[family],) if family is not None else tuple(ICMP.values())
    if rule.protocol == "any":
        return PORTED if rule.ports else ()
    return (rule.protocol,)


def _selector_name(peers: Peers) -> str:
    """The same for the same selection, whatever else the policy has: so that a change of addresses is one of this set
    alone. The CIDR is a condition of its own."""
    said = "\0".join((peers.network, peers.app, *(f"{key}\1{value}" for key, value in sorted(peers.labels.items()))))
    return f"selected_{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def _addresses(attachments: Iterable[Attachment], family: Family) -> list[str]:
    return [address for one in attachments if (address := one.address if family == "4" else one.address6)]


def _shared_pools(networks: Iterable[ContainerNetwork]) -> set[str]:
    seen: set[str] = set()
    shared: set[str] = set()
    for one in networks:
        for pool in {one.pool, one.pool6} - {""}:
            (shared if pool in seen else seen).add(pool)
    return shared


def _family(address: str) -> Family:
    return "6" if ":" in address else "4"


def _order(address: str) -> tuple[bytes, int]:
    network = ipaddress.ip_network(address)
    return network.network_address.packed, network.prefixlen


# What the reader is told


class Question(NamedTuple):
    """A new connection. Addresses without a length; `port` of the destination, 0 where the protocol has none."""

    source: str
    destination: str
    protocol: str = "tcp"
    port: int = 0


def decide(seen: Seen, question: Question) -> Decision:
    """As the machine of the destination, or of the source if that is nowhere, does it. What a machine sends to itself,
    and what never meets a container, is nobody's business here."""
    return _Known(seen).decide(question)


def forbidden(seen: Seen, connections: Iterable[Connection]) -> list[Connection]:
    """Those that would not be let through if they began now."""
    known = _Known(seen)
    return [
        one
        for one in connections
        if known.decide(Question(one.source, one.destination, one.protocol, one.destination_port)).verdict == "deny"
    ]


class _Known:
    """Who has which address."""

    def __init__(self, seen: Seen) -> None:
        self._rules = seen.policy.rules
        self.attachments = {address: one for one in seen.attachments for address in (one.address, one.address6)}
        self.nodes = {address: one for one in seen.nodes for address in addresses_of(one)}
        self.pools = {one.name: ipaddress.ip_network(one.cidr) for one in seen.pools}
        self.networks = seen.networks
        self.shared = _shared_pools(seen.networks)

    def decide(self, question: Question) -> Decision:
        source, destination = _Party(self, question.source), _Party(self, question.destination)
        for rule in self._rules:
            if _fits(rule, question, source, destination):
                return Decision(rule.verdict, rule.name, f"rule {rule.name}")
        if source.node and destination.attachment and destination.attachment.node == source.node.name:
            return Decision("allow", None, "machines reach their own containers")
        if destination.node and source.in_pools:
            return _to_machine(question, source, destination)
        return _between(question, source, destination)


class _Party:
    """Who has an address."""

    def __init__(self, known: _Known, address: str) -> None:
        self.address = ipaddress.ip_address(address)
        self.attachment = known.attachments.get(address)
        self.node = known.nodes.get(address)
        self.in_pools = any(self.address in pool for pool in known.pools.values())
        self.networks = {one.name: one for one in known.networks if self._is_in(known, one)}

    def _is_in(self, known: _Known, network: ContainerNetwork) -> bool:
        name = network.pool if self.address.version == 4 else network.pool6
        if name in known.pools and name not in known.shared:
            return self.address in known.pools[name]
        return self.attachment is not None and self.attachment.network == network.name

    @property
    def isolated(self) -> str:
        return next((name for name, one in sorted(self.networks.items()) if one.isolated), "")

    def is_meant_by(self, peers: Peers) -> bool:
        if peers == Peers():
            return True
        if peers.cidr and self.address not in ipaddress.ip_network(peers.cidr):
            return False
        if peers.machine or peers.machines:
            return self.node is not None and peers.machine in ("", self.node.name)
        if peers.app or peers.labels:
            return self.attachment is not None and selects(peers, self.attachment)
        return not peers.network or peers.network in self.networks


def _fits(rule: Rule, question: Question, source: _Party, destination: _Party) -> bool:
    protocols = _protocols(rule, "4" if source.address.version == 4 else "6")
    return (
        source.is_meant_by(rule.source)
        and destination.is_meant_by(rule.destination)
        and (not protocols or question.protocol in protocols)
        and (not rule.ports or _is_one_of(question.port, rule.ports))
    )


def _is_one_of(port: int, ports: Sequence[str]) -> bool:
    for one in ports:
        first, _, last = one.partition("-")
        if int(first) <= port <= int(last or first):
            return True
    return False


def _to_machine(question: Question, source: _Party, destination: _Party) -> Decision:
    assert destination.node is not None
    elsewhere = source.attachment is None or source.attachment.node != destination.node.name
    if elsewhere and (over := _between(question, source, destination)).verdict == "deny":
        return over  # by the machine that it leaves
    if question.protocol in ICMP.values():
        return Decision("allow", None, "containers reach machines by ICMP")
    if name := source.isolated:
        if not elsewhere and question.protocol in PORTED and _is_one_of(question.port, OWN_SERVICES):
            return Decision("allow", None, "DNS and Consul's agent of its own machine are reached from every network")
        return Decision("deny", None, f"network {name} is isolated")
    if question.protocol in PORTED and _is_one_of(question.port, INFRASTRUCTURE):
        return Decision("deny", None, f"containers do not reach port {question.port} of machines")
    return Decision("allow", None, "containers reach machines")


def _between(question: Question, source: _Party, destination: _Party) -> Decision:
    if both := source.networks.keys() & destination.networks.keys():
        return Decision("allow", None, f"both are in network {min(both)}")
    if name := source.isolated or destination.isolated:
        return Decision("deny", None, f"network {name} is isolated")
    if source.in_pools and destination.in_pools:
        return Decision("deny", None, "they are in different networks")
    if source.node:
        return Decision("allow", None, "machines reach containers")
    if source.in_pools:
        if destination.node and question.protocol in PORTED and _is_one_of(question.port, INFRASTRUCTURE):
            return Decision("deny", None, f"containers do not reach port {question.port} of machines")
        return Decision("allow", None, "containers reach what is outside")
    if destination.in_pools:
        return Decision("deny", None, "from outside nobody reaches containers")
    return Decision("allow", None, "no container takes part")


def nobody(seen: Seen) -> Mapping[str, str]:
    """Rules of which one side selects no container at this moment, by name, with what is selected by nobody."""
    index = _Index(seen.attachments)
    found = {}
    for rule in seen.policy.rules:
        for side, peers in (("source", rule.source), ("destination", rule.destination)):
            if (peers.app or peers.labels) and not index.selected(peers):
                found[rule.name] = side
    return found
