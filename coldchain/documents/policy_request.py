"""policy request: what the API is sent as the policy of the container network, and as a question about it."""

import ipaddress
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Annotated, Any, NamedTuple

from msgspec import Meta, to_builtins

from coldchain.documents.findings import Finding, Findings, Path, TooMany, closest
from coldchain.documents.shape import read
from coldchain.model.base import Noun
from coldchain.model.errors import InvalidDocument
from coldchain.model.policy import Peers, Policy, Protocol, Rule

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
PORTED = ("any", "tcp", "udp")


class Names(NamedTuple):
    """What rules may name."""

    networks: Collection[str] = ()
    machines: Collection[str] = ()


class PolicyQuestion(Noun, frozen=True, kw_only=True):
    """Whether a new connection would be let through. Each side is an address, the id of an app or the name of a
    machine. `port` of the destination."""

    source: str
    destination: str
    protocol: Protocol = "tcp"
    port: int = 0


class PolicyRequest(Noun, frozen=True, kw_only=True):
    """The policy that there shall be. `revision`: of the one that it takes the place of, as it was answered; null:
    whichever that is."""

    rules: tuple[Rule, ...]
    cut: bool = False
    revision: Annotated[int, Meta(ge=0)] | None = None


def decode_policy(document: object, names: Names | None = None) -> tuple[Policy, int | None]:
    """With the revision of the one before. `names` None: nobody knows which there are. Raises InvalidDocument with
    everything that is wrong."""
    findings, request = Findings(), None
    with suppress(TooMany):
        request = read(PolicyRequest, document, findings, {})
        if request is not None:
            findings.extend(_of_rules(request.rules, names))
    if problems := findings.problems(document):
        raise InvalidDocument(problems)
    assert request is not None, "nothing was read and nothing is wrong"
    return Policy(rules=request.rules, cut=request.cut), request.revision


def encode_policy(policy: Policy) -> dict[str, Any]:
    """As its writer would write it: what says nothing is left out."""
    return {"rules": [_rule(one) for one in policy.rules], "cut": policy.cut}


def decode_question(document: object) -> PolicyQuestion:
    """Raises InvalidDocument with everything that is wrong."""
    findings, question = Findings(), None
    with suppress(TooMany):
        question = read(PolicyQuestion, document, findings, {})
        if question is not None:
            findings.extend(_of_question(question))
    if problems := findings.problems(document):
        raise InvalidDocument(problems)
    assert question is not None, "nothing was read and nothing is wrong"
    return question


def _rule(rule: Rule) -> dict[str, Any]:
    written: dict[str, Any] = to_builtins(rule) | {"ports": list(rule.ports)}
    for side in ("source", "destination"):
        written[side] = {name: value for name, value in written[side].items() if value}
    always = {"name", "verdict"}
    return {
        name: value for name, value in written.items() if name in always or (value and (name, value) != _ANY_PROTOCOL)
    }


_ANY_PROTOCOL = ("protocol", "any")


def _of_question(question: PolicyQuestion) -> Iterator[Finding]:
    for name in ("source", "destination"):
        if not getattr(question, name):
            yield Finding((name,), "must be an address, the id of an app or the name of a machine")
    if question.protocol == "any":
        yield Finding(("protocol",), "must be one of tcp, udp, icmp: a connection has one")
    if question.protocol in ("tcp", "udp") and not 1 <= question.port <= 65535:
        yield Finding(("port",), "must be from 1 to 65535")


def _of_rules(rules: Sequence[Rule], names: Names | None) -> Iterator[Finding]:
    seen: set[str] = set()
    for position, rule in enumerate(rules):
        path: Path = ("rules", position)
        if not NAME.fullmatch(rule.name):
            yield Finding((*path, "name"), "must be small letters, digits and `-`, at most 63, none of `-` at its ends")
        elif rule.name in seen:
            yield Finding((*path, "name"), f"{rule.name!r} is the name of a rule before it")
        seen.add(rule.name)
        yield from _of_ports(rule, path)
        for side, peers in (("source", rule.source), ("destination", rule.destination)):
            yield from _of_peers(peers, (*path, side), names)
        families = {_family(one.cidr) for one in (rule.source, rule.destination)} - {0}
        if len(families) > 1:
            yield Finding(
                (*path, "destination", "cidr"), "and that of the source are of IPv4 and IPv6: nothing fits both"
            )


def _of_ports(rule: Rule, path: Path) -> Iterator[Finding]:
    if rule.ports and rule.protocol not in PORTED:
        yield Finding((*path, "ports"), f"{rule.protocol} has no ports", needs=((*path, "protocol"),))
    for position, ports in enumerate(rule.ports):
        found = PORTS.fullmatch(ports)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last <= 65535:
            yield Finding((*path, "ports", position), f"must be as 80 or 8000-8100, not {ports!r}")


def _of_peers(peers: Peers, path: Path, names: Names | None) -> Iterator[Finding]:
    if names is not None:
        for field, given, known, what in (
            ("network", peers.network, names.networks, "network"),
            ("machine", peers.machine, names.machines, "machine of the network"),
        ):
            if given and given not in known:
                yield Finding((*path, field), f"there is no {what} {given!r}", closest(given, known))
    if peers.app and not peers.app.startswith("/"):
        yield Finding((*path, "app"), f"must be the id of an app, which begins with `/`, not {peers.app!r}")
    elif "*" in peers.app.removesuffix("/*"):
        yield Finding((*path, "app"), "may end in `/*` for all apps of a group, and has no other `*`")
    if peers.cidr and not _family(peers.cidr):
        yield Finding((*path, "cidr"), f"must be addresses as 10.0.0.0/8 or fd00::/8, not {peers.cidr!r}")
    if (peers.machine or peers.machines) and (peers.network or peers.app or peers.labels):
        yield Finding(path, "means machines, which are in no network and of no app: write two rules")


def _family(cidr: str) -> int:
    """4 or 6; 0 for what is no CIDR."""
    try:
        return ipaddress.ip_network(cidr).version if "/" in cidr else 0
    except ValueError:
        return 0
