"""`bin/bench network`: containers with addresses of their own against what a user would take instead.

Two machines of a lab, and from one to the other: machine to machine, Docker's bridge with a mapped port, a bridge over
VXLAN as overlays have it, and ours. Each round asks all of them, in another order: one byte there and back on a
connection, and connections with one byte each. Then containers are started without a network, on Docker's bridge and on
ours, in turns: the whole of `docker run`, and of it what netd needed for its answers. Then how long BIRD needs, and how
long the rules for 1,000 apps with 10,000 addresses take until the kernel has them.
"""

import argparse
import asyncio
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from coldchain.documents import keys
from coldchain.documents.stored import decode, encode
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.pool import Block, Pool
from coldchain.ports.store import Change
from coldchain.testing.bench import Bar, report
from coldchain.testing.machines import Machine
from coldchain.testing.network_lab import IMAGE, NetworkLab, network_lab
from coldchain.testing.network_ways import Way, Ways, call_seconds
from coldchain.testing.policy_bench import measure_policy, policy_bars

RATIO_LIMIT = 0.95
DRIVER_LIMIT_MILLISECONDS = 40.0
ROUND_TRIPS, CONNECTIONS = 1500, 500
"""Short, so that what else the machine does strikes all ways alike, and many rounds."""
KINDS = {"round-trips": ROUND_TRIPS, "connections": CONNECTIONS}
CONVERGENCES = 5
OURS = "ours"
PEERS = ("bridge", "tunnel")

Rates = Mapping[str, Mapping[str, Sequence[float]]]
"""Per second, by kind and by way, one of each round."""


async def rates(network: NetworkLab, ways: Sequence[Way], rounds: int) -> Rates:
    found: dict[str, dict[str, list[float]]] = {kind: {way.name: [] for way in ways} for kind in KINDS}
    near = network["machine-1"]
    orders = itertools.cycle(itertools.permutations(ways))
    for number in range(-1, rounds):  # the first round warms up
        for kind, count in KINDS.items():
            for way in next(orders):
                rate = count / await asyncio.to_thread(way.seconds, near, kind, count)
                if number >= 0:
                    found[kind][way.name].append(rate)
        if number >= 0:
            words = [f"{kind} {way.name} {found[kind][way.name][-1]:.0f}/s" for kind in KINDS for way in ways]
            print(f"round {number + 1}: {', '.join(words)}", flush=True)
    return found


def against(peer: str, found: Mapping[str, Sequence[float]]) -> float:
    """Median of the pairs."""
    return statistics.median(mine / its for mine, its in zip(found[OURS], found[peer], strict=True))


async def starts(network: NetworkLab, count: int) -> tuple[dict[str, list[float]], list[float]]:
    """Milliseconds of `docker run` by network, and of netd's answers for each of ours."""
    machine, netd = network["machine-1"], network.netds["machine-1"]
    whole: dict[str, list[float]] = {"none": [], "bridge": [], OURS: []}
    inside: list[float] = []
    for number in range(-1, count):
        for name in whole if number % 2 else reversed(whole):
            before = call_seconds(await netd.metrics())
            began = time.perf_counter()
            asked = ["run", "--detach", "--network", "online_net" if name == OURS else name, IMAGE, "sleep", "1000"]
            container = await asyncio.to_thread(machine.docker.run, *asked)
            took = time.perf_counter() - began
            answered = call_seconds(await netd.metrics()) - before
            await asyncio.to_thread(machine.docker.run, "rm", "--force", container)
            if number >= 0:
                whole[name].append(took * 1000)
                if name == OURS:
                    inside.append(answered * 1000)
    return whole, inside


async def convergence(network: NetworkLab, rounds: int) -> dict[str, list[float]]:
    """Milliseconds until the other machine's kernel has a route to a block that the store has got, and until it has
    none to a machine whose cable is cut."""
    near, far = network["machine-1"], network["machine-2"]
    found: dict[str, list[float]] = {"new_block": [], "lost_machine": []}
    for number in range(rounds):
        pool = Pool(name=f"bench-{number}", cidr=f"10.{210 + number}.0.0/16")
        its = ContainerNetwork(name=f"bench-{number}", pool=pool.name)
        await network.store.write([Change(key=keys.network_key_of(one), value=encode(one)) for one in (pool, its)])
        cidr = ""
        while not cidr:
            entries = (await network.store.list(keys.blocks(pool.name))).entries
            blocks = [decode(entry.value, Block) for entry in entries]
            cidr = next((block.cidr for block in blocks if block.node == far.name), "")
        found["new_block"].append(await _milliseconds(partial(_has_route, near, cidr)))
        await network.routed()
        far.cut_cable()
        found["lost_machine"].append(await _milliseconds(partial(_has_no_route, near, cidr)))
        far.plug_in_cable()
        await network.routed()
    return found


async def _milliseconds(true: Callable[[], bool]) -> float:
    began = time.perf_counter()
    while not await asyncio.to_thread(true):
        pass
    return (time.perf_counter() - began) * 1000


def _has_route(machine: Machine, cidr: str) -> bool:
    return machine.run("ip", "route", "show", cidr) != ""


def _has_no_route(machine: Machine, cidr: str) -> bool:
    return not _has_route(machine, cidr)


def bars(found: Rates, inside: Sequence[float]) -> list[Bar]:
    ratios = [
        Bar(
            name=name,
            value=min(against(peer, found[kind]) for peer in PEERS),  # the better of them is the one to compare with
            unit="x",
            limit=RATIO_LIMIT,
            better="higher",
            samples=len(found[kind][OURS]),
        )
        for name, kind in (("rtt_ratio", "round-trips"), ("connect_ratio", "connections"))
    ]
    driver = Bar(
        name="driver_ms",
        value=statistics.median(inside),
        unit="ms",
        limit=DRIVER_LIMIT_MILLISECONDS,
        better="lower",
        samples=len(inside),
    )
    return [*ratios, driver]


def peers(
    found: Rates, whole: Mapping[str, Sequence[float]], converged: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    return {
        "per_second": {
            kind: {name: round(statistics.median(values)) for name, values in ways.items()}
            for kind, ways in found.items()
        },
        "ratios": {
            kind: {name: round(against(name, ways), 3) for name in ways if name != OURS} for kind, ways in found.items()
        },
        "docker_run_ms": {name: round(statistics.median(values)) for name, values in whole.items()},
        "convergence_ms": {name: round(statistics.median(values)) for name, values in converged.items()},
    }


async def measure(rounds: int, containers: int) -> int:
    async with network_lab() as network:
        ways = await Ways(network).all()
        found = await rates(network, ways, rounds)
        whole, inside = await starts(network, containers)
        converged = await convergence(network, CONVERGENCES)
    samples = await measure_policy()
    return report([*bars(found, inside), *policy_bars(samples)], peers(found, whole, converged))


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench network", description=__doc__)
    parser.add_argument("--rounds", type=int, default=24, help="all orders of the four ways are 24")
    parser.add_argument("--containers", type=int, default=12)
    options = parser.parse_args()
    return asyncio.run(measure(options.rounds, options.containers))


if __name__ == "__main__":
    sys.exit(main())
