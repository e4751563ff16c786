"""policy bench: how long the packet filter of one machine takes to follow a policy of 1,000 rules for 10,000
containers: from what the store says until the kernel has it, in the network namespace in which it is run."""

import asyncio
import statistics
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from coldchain.decisions.policy import Seen, ruleset
from coldchain.model.attachment import Attachment
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.node import Node
from coldchain.model.policy import Peers, Policy, Rule
from coldchain.model.pool import Pool
from coldchain.model.ruleset import Ruleset
from coldchain.network.filter.nftables import Nftables
from coldchain.network.filter.render import TABLE
from coldchain.network.programs import output_of
from coldchain.testing.bench import Bar

APPS, COPIES, RULES = 1000, 10, 1000
NODES = 10
GROUPS = 20
ADDRESSES_OF_A_BYTE = 250
POLICY_LIMIT_SECONDS = 1.0
CHANGE_LIMIT_SECONDS = 0.5


class PolicySamples(NamedTuple):
    """Seconds, each time: `whole`: all of it, to a kernel that has nothing; `one_more`: one container more then."""

    whole: Sequence[float]
    one_more: Sequence[float]


async def measure_policy(
    repeats: int = 10, *, apps: int = APPS, copies: int = COPIES, rules: int = RULES
) -> PolicySamples:
    """Needs root and a network namespace in which no netd runs; nothing is left in it."""
    seen = scene(apps, copies, rules)
    more = replace(seen, attachments=(*seen.attachments, attachment(apps, copies, number=0, copy=copies)))
    packet_filter = Nftables()
    whole, one_more = [], []
    try:
        for _ in range(repeats):
            seconds, before = await _timed(packet_filter, seen, None)
            whole.append(seconds)
            seconds, after = await _timed(packet_filter, more, before)
            one_more.append(seconds)
            assert after != before
            await output_of(("nft", "delete", "table", *TABLE.split()))
    finally:
        if await packet_filter.drops():
            await output_of(("nft", "delete", "table", *TABLE.split()))
    return PolicySamples(whole, one_more)


async def _timed(packet_filter: Nftables, seen: Seen, before: Ruleset | None) -> tuple[float, Ruleset]:
    """Decided, rendered and told, as PolicyLoop does it."""
    began = time.perf_counter()
    wanted = ruleset(seen)
    await packet_filter.apply(wanted, before)
    return time.perf_counter() - began, wanted


def policy_bars(samples: PolicySamples) -> list[Bar]:
    """What the samples have to meet, by their medians."""
    return [
        _bar("policy_s", samples.whole, POLICY_LIMIT_SECONDS),
        _bar("policy_change_s", samples.one_more, CHANGE_LIMIT_SECONDS),
    ]


def _bar(name: str, samples: Sequence[float], limit: float) -> Bar:
    value = statistics.median(samples)
    return Bar(name=name, value=value, unit="s", limit=limit, better="lower", samples=len(samples))


def scene(apps: int = APPS, copies: int = COPIES, rules: int = RULES) -> Seen:
    """Two networks with a pool each and two that share one, apps in groups, and rules from each app to the next, some
    of a whole group and some by a label."""
    return Seen(
        policy=Policy(rules=tuple(_rule(number, apps) for number in range(rules))),
        networks=(
            ContainerNetwork(name="front", pool="front"),
            ContainerNetwork(name="back", pool="back", pool6="back6"),
            ContainerNetwork(name="shared-a", pool="shared"),
            ContainerNetwork(name="shared-b", pool="shared"),
        ),
        pools=(
            Pool(name="front", cidr="10.200.0.0/16", nat_outgoing=True),
            Pool(name="back", cidr="10.201.0.0/16"),
            Pool(name="back6", cidr="fd00:201::/64"),
            Pool(name="shared", cidr="10.202.0.0/16"),
        ),
        attachments=tuple(_attachments(apps, copies)),
        nodes=tuple(Node(name=f"node-{number}", address=f"10.10.0.{number + 1}/24") for number in range(NODES)),
        this="node-0",
    )


def _attachments(apps: int, copies: int) -> Iterable[Attachment]:
    for number in range(apps):
        for copy in range(copies):
            yield attachment(apps, copies, number=number, copy=copy)


def attachment(apps: int, copies: int, *, number: int, copy: int) -> Attachment:
    """Of that app. A copy beyond `copies` is one more, with an address that nobody has."""
    kind = number % 4
    place = number * copies + copy if copy < copies else apps * copies + copy
    second, byte = divmod(place, ADDRESSES_OF_A_BYTE)
    return Attachment(
        id=f"{number:x}-{copy:x}",
        node=f"node-{place % NODES}",
        network=("front", "back", "shared-a", "shared-b")[kind],
        address=f"10.{200 + min(kind, 2)}.{second}.{byte}",
        address6=f"fd00:201::{place + 1:x}" if kind == 1 else "",
        app_id=_app(number, apps),
        labels={"tier": str(number % 7)},
    )


def _app(number: int, apps: int) -> str:
    number %= apps
    return f"/group-{number % GROUPS}/app-{number}"


def _rule(number: int, apps: int) -> Rule:
    source = Peers(app=_app(number, apps))
    if number % 10 == 0:
        source = Peers(app=f"/group-{number % GROUPS}/*")
    elif number % 10 == 1:
        source = Peers(labels={"tier": str(number % 7)})
    destination = Peers(app=_app(number + 1, apps))
    return Rule(name=f"rule-{number}", source=source, destination=destination, protocol="tcp", ports=("8080",))


if __name__ == "__main__":
    for bar in policy_bars(asyncio.run(measure_policy())):
        print(f"{bar.name}: {bar.value:.3f} {bar.unit} of {bar.samples}, limit {bar.limit:g}")
