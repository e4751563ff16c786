"""nftables: the kernel's packet filter and its list of connections, by `nft` and `conntrack`."""

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

from coldchain.model.errors import Rejected
from coldchain.model.ruleset import Connection, Ruleset
from coldchain.network.filter.render import TABLE, changes, render
from coldchain.network.filter.told import chain_changes
from coldchain.network.filter.tracked import NUMBERS, forget
from coldchain.network.programs import output_of
from coldchain.ports.network import HOST_PREFIX

DOCKER_CHAIN = "DOCKER-USER"
"""Docker asks this chain first, in which it has nothing of its own, before it drops what is not for its own bridges."""
NOTHING_DELETED = "0 flow entries"


class Nftables:
    """Of the network namespace in which this process is."""

    async def apply(self, ruleset: Ruleset, before: Ruleset | None) -> None:
        text = changes(before, ruleset) if before is not None else None
        await output_of(("nft", "-f", "-"), render(ruleset) if text is None else text)

    async def drops(self) -> Mapping[str, int]:
        try:
            listed = json.loads(await output_of(("nft", "-j", "list", "counters", "table", *TABLE.split())))
        except Rejected:
            return {}  # there is no table yet
        counters = (one["counter"] for one in listed["nftables"] if "counter" in one)
        return {one["name"]: one["packets"] for one in counters}

    async def let_docker_forward(self) -> None:
        for program in ("iptables", "ip6tables"):
            for side in ("-i", "-o"):
                rule = (DOCKER_CHAIN, side, f"{HOST_PREFIX}+", "-j", "ACCEPT")
                if not await _succeeds((program, "-w", "-n", "-L", DOCKER_CHAIN)):
                    break
                if not await _succeeds((program, "-w", "-C", *rule)):
                    await output_of((program, "-w", "-I", *rule))

    def chain_changes(self) -> AsyncIterator[None]:
        return chain_changes()

    async def connections(self) -> Sequence[Connection]:
        found = []
        for family in ("ipv4", "ipv6"):
            listed = await output_of(("conntrack", "-L", "-f", family))
            found += [one for line in listed.splitlines() if (one := connection_of(line)) is not None]
        return found

    async def cut(self, connections: Iterable[Connection]) -> None:
        wanted = list(connections)
        await forget([one for one in wanted if one.protocol in NUMBERS])
        # Of the others the kernel has few, and all between two addresses go at once.
        for command in sorted({tuple(_named(one)) for one in wanted if one.protocol not in NUMBERS}):
            try:
                await output_of(("conntrack", "-D", *command))
            except Rejected as error:
                if NOTHING_DELETED not in error.message:
                    raise


def connection_of(line: str) -> Connection | None:
    """As `conntrack -L` writes it: what began it comes first. None for what is no line of a connection."""
    words = line.split()
    if len(words) < 3:
        return None
    said: dict[str, str] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if separator:
            said.setdefault(name, value)  # the second of each is that of the answers
    if "src" not in said or "dst" not in said:
        return None
    return Connection(
        protocol=PROTOCOLS.get(words[0], words[0]),
        source=said["src"],
        destination=said["dst"],
        source_port=int(said.get("sport", 0)),
        destination_port=int(said.get("dport", 0)),
    )


PROTOCOLS = {"icmpv6": "ipv6-icmp"}
"""Where conntrack has another name for a protocol than the rest of the world."""


def _named(one: Connection) -> Iterator[str]:
    yield from ("-f", "ipv6" if ":" in one.source else "ipv4")
    yield from ("-p", {name: theirs for theirs, name in PROTOCOLS.items()}.get(one.protocol, one.protocol))
    yield from ("-s", one.source, "-d", one.destination)


async def _succeeds(command: Sequence[str]) -> bool:
    try:
        await output_of(command)
    except Rejected:
        return False
    return True
