"""attachment: whether a container gets the place in a network that Docker asks for, what the store is told of it, and
what of places was left behind by somebody's end."""

import ipaddress
from collections.abc import Iterator, Mapping, Set
from typing import NamedTuple

from coldchain.model.attachment import BEGINNING_CHARACTERS, Attachment
from coldchain.model.docker_network import KeptAttachment, KeptNetwork
from coldchain.model.errors import InvalidDocument, Problem, Rejected

APP, TASK, LABEL = "coldchain.app", "coldchain.task", "coldchain.label."
DOCKERS_OWN = "com.docker."
"""Options that begin so are Docker's: published ports, aliases and the like."""

LEFT_BEHIND_SECONDS = 60.0
"""How long nobody must have answered for a thing before it is taken away: far longer than Docker repeats a call."""


PUBLISHED = f"{DOCKERS_OWN}network.portmap"


class Options(NamedTuple):
    """What whoever starts a container says of it."""

    app_id: str
    task_id: str
    labels: dict[str, str]


def options_of(given: Mapping[str, object]) -> Options:
    """Raises InvalidDocument with everything that is not understood."""
    problems = list(_problems(given))
    if problems:
        raise InvalidDocument(problems)
    said = {name: value for name, value in given.items() if isinstance(value, str)}
    labels = {name.removeprefix(LABEL): value for name, value in said.items() if name.startswith(LABEL)}
    return Options(app_id=said.get(APP, ""), task_id=said.get(TASK, ""), labels=labels)


def _problems(given: Mapping[str, object]) -> Iterator[Problem]:
    for name, value in sorted(given.items()):
        if name.startswith(DOCKERS_OWN):
            continue
        if name not in (APP, TASK) and not (name.startswith(LABEL) and name != LABEL):
            reason = f"no option of a container in a network of Coldchain: it knows {APP}, {TASK} and {LABEL}NAME"
            yield Problem(path=name, reason=reason)
        elif not isinstance(value, str):
            yield Problem(path=name, reason="is no text")
        elif name == APP and not value.startswith("/"):
            yield Problem(path=name, reason=f"{value!r} is not the id of an app, which begins with /")


def published(given: Mapping[str, object]) -> tuple[str, ...]:
    """The ports that were to be mapped with `-p`, as Docker writes them."""
    ports = given.get(PUBLISHED)
    found = [one for one in ports if isinstance(one, dict)] if isinstance(ports, list) else []
    return tuple(f"{one.get('HostPort') or ''}:{one.get('Port')}" for one in found)


def address_of(text: str, docker_network: str) -> str:
    """Without its length, by which Docker shows whether it is one of ours. Raises Rejected."""
    if not text:
        raise Rejected(f"the container has no address in network {docker_network[:12]}", todo=_OWN_ADDRESSES)
    interface = ipaddress.ip_interface(text)
    if interface.network.prefixlen != interface.max_prefixlen:
        raise Rejected(f"{text} is not from the container network: its addresses stand alone", todo=_OWN_ADDRESSES)
    return str(interface.ip)


_OWN_ADDRESSES = "Make the network with `--ipam-driver coldchain`, or better by `coldchain network create`"


def mac_of(address: str) -> str:
    """A MAC address that follows from the address, as Docker's own are: whoever talked to it goes on doing so."""
    packed = ipaddress.ip_address(address).packed
    return ":".join(f"{part:02x}" for part in (0x02, 0x42, *packed[-4:]))


def check_only_network(attachment: KeptAttachment, sandbox: str, kept: Mapping[str, KeptAttachment]) -> None:
    """Docker lets a driver make one default route in a container. Raises Rejected."""
    for other in kept.values():
        if other.sandbox == sandbox and other.attachment.id != attachment.attachment.id:
            first, second = other.attachment.network, attachment.attachment.network
            raise Rejected(
                f"the container is in network {first} already, and has one address in all networks of Coldchain",
                todo=f"While it does not run, leave it out of one: `docker network disconnect {second} CONTAINER`; who "
                "may talk to whom across networks is for `coldchain policy` to say",
            )


def check_address_family(network: KeptNetwork, address6: str) -> None:
    """Raises Rejected."""
    if address6 and not network.with_ipv6:
        raise Rejected(
            f"network {network.network} has no addresses of IPv6",
            todo="Give it a pool of them: `coldchain network create NAME --pool … --pool6 …`",
        )


class Publication(NamedTuple):
    """What the store is to be told: None where an attachment has gone."""

    id: str
    attachment: Attachment | None


def publications(kept: Mapping[str, KeptAttachment], stored: Mapping[str, Attachment]) -> list[Publication]:
    """What makes the store say what this machine has. What has gone comes first, since its address may be another's."""
    gone = [Publication(one, None) for one in sorted(stored.keys() - kept.keys())]
    new = [Publication(one, kept[one].attachment) for one in sorted(kept) if stored.get(one) != kept[one].attachment]
    return gone + new


class Leftover(NamedTuple):
    """A thing that nobody answers for: an attachment that Docker does not know, a link without an attachment, an
    address whose attachment is not there. `owner`: of an address, by whom it is known to be had."""

    kind: str
    name: str
    owner: str = ""


def leftovers(
    kept: Mapping[str, KeptAttachment], endpoints: Set[str], hosts: Mapping[str, str], known: Mapping[str, str]
) -> frozenset[Leftover]:
    """`endpoints`: ids of those that Docker has. `hosts`: the links of this machine, each with the beginning of its
    attachment's id. `known`: the owner of each address that is given."""
    lost = (Leftover("attachment", one) for one in kept.keys() - endpoints)
    begun = endpoints | kept.keys()
    beginnings = {one[:BEGINNING_CHARACTERS] for one in begun}
    loose = (Leftover("link", host) for host, beginning in hosts.items() if beginning not in beginnings)
    unowned = (Leftover("address", address, owner) for address, owner in known.items() if owner not in begun)
    return frozenset((*lost, *loose, *unowned))


Doubts = Mapping[Leftover, float]
"""Since when nobody answers for a thing."""


def doubted(before: Doubts, found: Set[Leftover], now: float) -> Doubts:
    return {one: before.get(one, now) for one in found}


def ripe(doubts: Doubts, now: float) -> list[Leftover]:
    """What may be taken away."""
    return sorted(one for one, since in doubts.items() if now - since >= LEFT_BEHIND_SECONDS)


def without_link(kept: Mapping[str, KeptAttachment], hosts: Mapping[str, str]) -> tuple[str, ...]:
    """Attachments whose container has lost its network: only a restart of the container gives it a new link."""
    present = set(hosts.values())
    return tuple(sorted(one for one, its in kept.items() if its.sandbox and one[:BEGINNING_CHARACTERS] not in present))
