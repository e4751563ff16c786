"""dns_answers: what the registry answers to a question of the DNS, as messages of dnspython.

Names are `[TAG.]SERVICE.service[.dc1].consul`, `_SERVICE._TAG.service.consul`, `NODE.node[.dc1].consul` and
`HEX.addr[.dc1].consul`, which stands for the address that the digits spell. Instances with a critical check are left
out; the order changes from answer to answer, so that those who take the first are spread.
"""

import ipaddress
from collections.abc import Callable, Sequence
from typing import TypeVar

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.message import Message
from dns.name import Name
from dns.rdatatype import RdataType

from coldchain.model.catalog import CatalogService
from coldchain.registry.server.content import Content

DOMAIN = dns.name.from_text("consul.")
SERVER = dns.name.from_text("ns", DOMAIN)
TTL_SECONDS = 0
"""Answers are true for this moment only: what drains must not be found in somebody's cache."""
NEGATIVE_SECONDS = 0
ADDRESSES = (RdataType.A, RdataType.AAAA, RdataType.ANY)
TRANSPORTS = ("tcp", "udp")

T = TypeVar("T")
Shuffle = Callable[[list[T]], object]


class _NoSuchName(Exception):  # noqa: N818
    """Nothing has this name, of whatever type."""


def answer(content: Content, question: Message, shuffle: Shuffle[CatalogService]) -> Message:
    """The answer to a message that could be read. `shuffle` changes the order of a list in place."""
    response = dns.message.make_response(question, our_payload=4096)
    if question.opcode() != dns.opcode.QUERY:
        response.set_rcode(dns.rcode.NOTIMP)
        return response
    if len(question.question) != 1 or question.question[0].rdclass not in (dns.rdataclass.IN, dns.rdataclass.ANY):
        response.set_rcode(dns.rcode.REFUSED)
        return response
    asked = question.question[0]
    if not asked.name.is_subdomain(DOMAIN) or asked.rdtype in (RdataType.AXFR, RdataType.IXFR):
        response.set_rcode(dns.rcode.REFUSED)
        return response
    response.flags |= dns.flags.AA
    try:
        _Answer(content, response, asked.name, asked.rdtype, shuffle).fill()
    except _NoSuchName:
        response.set_rcode(dns.rcode.NXDOMAIN)
    if not response.answer:
        response.authority.append(_soa(content))
    return response


def _soa(content: Content) -> dns.rrset.RRset:
    serial = content.indices.newest % 2**32
    text = f"{SERVER} hostmaster.{DOMAIN} {serial} 3600 600 86400 {NEGATIVE_SECONDS}"
    return _records(DOMAIN, RdataType.SOA, [text])


def _records(name: Name, kind: RdataType, texts: Sequence[str]) -> dns.rrset.RRset:
    return dns.rrset.from_text_list(name, TTL_SECONDS, dns.rdataclass.IN, kind, texts)


class _Answer:
    def __init__(
        self, content: Content, response: Message, name: Name, kind: RdataType, shuffle: Shuffle[CatalogService]
    ) -> None:
        self._content = content
        self._response = response
        self._name = name
        self._kind = kind
        self._shuffle = shuffle

    def fill(self) -> None:
        """Raises _NoSuchName."""
        labels = [label.decode("ascii", "replace").lower() for label in self._name.relativize(DOMAIN).labels]
        node = self._content.node
        if not labels:
            self._domain()
            return
        if len(labels) > 1 and labels[-1] == node.datacenter:
            del labels[-1]
        match labels:
            case [*parts, "service"] if parts:
                self._service(parts)
            case [*parts, "node"] if ".".join(parts) == node.name.lower():
                self._addresses([node.address])
            case [digits, "addr"]:
                self._addresses([_spelt(digits)])
            case ["ns"]:
                self._addresses([node.address])
            case ["service" | "node" | "addr"]:
                return  # there is something below these names
            case _:
                raise _NoSuchName

    def _domain(self) -> None:
        if self._kind in (RdataType.SOA, RdataType.ANY):
            self._response.answer.append(_soa(self._content))
        if self._kind in (RdataType.NS, RdataType.ANY):
            self._response.answer.append(_records(DOMAIN, RdataType.NS, [str(SERVER)]))

    def _service(self, parts: list[str]) -> None:
        found = self._found(parts)
        if not found:
            raise _NoSuchName
        self._shuffle(found)
        if self._kind == RdataType.SRV:
            self._servers(found)
            return
        self._addresses([one.address or self._content.node.address for one in found])

    def _found(self, parts: list[str]) -> list[CatalogService]:
        """The instances, by what a name of these parts can mean."""
        if len(parts) == 2 and parts[0].startswith("_") and parts[1].startswith("_"):
            tag = parts[1][1:]
            return self._able(parts[0][1:], "" if tag in TRANSPORTS else tag)
        tagged = self._able(parts[-1], ".".join(parts[:-1]))
        # A name with dots in it, such as that of an app's second port.
        return tagged or (self._able(".".join(parts), "") if len(parts) > 1 else [])

    def _able(self, name: str, tag: str) -> list[CatalogService]:
        content = self._content
        found = next((known for key, known in content.named.items() if key.lower() == name), {})
        return [
            one
            for one in found.values()
            if (not tag or tag in (each.lower() for each in one.tags))
            and all(check.status != "critical" for check in content.checks_for(one))
        ]

    def _addresses(self, hosts: list[str]) -> None:
        """Records of the type asked for; a host that is only a name is told as such, if there is no address at all."""
        if self._kind not in ADDRESSES:
            return
        numbers = [address for host in hosts if (address := _number(host)) is not None]
        if not numbers and hosts:
            self._response.answer.append(_records(self._name, RdataType.CNAME, [f"{hosts[0].rstrip('.')}."]))
        self._response.answer += [
            one for one in _address_records(self._name, numbers) if self._kind in (one.rdtype, RdataType.ANY)
        ]

    def _servers(self, found: list[CatalogService]) -> None:
        texts, additional = [], []
        for one in found:
            checks = self._content.checks_for(one)
            weight = one.weight_passing if all(check.status == "passing" for check in checks) else one.weight_warning
            target, number = self._target(one)
            texts.append(f"1 {weight} {one.port} {target}")
            if number is not None:
                additional += _address_records(target, [number])
        self._response.answer.append(_records(self._name, RdataType.SRV, texts))
        known: set[Name] = set()
        for record in additional:
            if record.name not in known:
                known.add(record.name)
                self._response.additional.append(record)

    def _target(self, service: CatalogService) -> tuple[Name, str | None]:
        """The name under which an instance is reached, and its address where it has one."""
        node = self._content.node
        number = _number(service.address or node.address)
        if number is None:
            return dns.name.from_text(service.address), None
        if not service.address:
            try:
                return dns.name.from_text(f"{node.name}.node.{node.datacenter}", DOMAIN), number
            except dns.exception.DNSException:
                pass  # the machine's name is none for the DNS
        digits = ipaddress.ip_address(number).packed.hex()
        return dns.name.from_text(f"{digits}.addr.{node.datacenter}", DOMAIN), number


def _address_records(name: Name, numbers: Sequence[str]) -> list[dns.rrset.RRset]:
    by_kind = {
        RdataType.A: [one for one in numbers if ":" not in one],
        RdataType.AAAA: [one for one in numbers if ":" in one],
    }
    return [_records(name, kind, texts) for kind, texts in by_kind.items() if texts]


def _number(host: str) -> str | None:
    """An IP address in its plain form; None for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return str(address).partition("%")[0]


def _spelt(digits: str) -> str:
    try:
        packed = bytes.fromhex(digits)
        return str(ipaddress.ip_address(packed))
    except ValueError:
        raise _NoSuchName from None
