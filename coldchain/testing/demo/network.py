"""network: what happens to the container network, step by step, beside all that happens to the shop (`scenario`)."""

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from coldchain.testing.demo import scenario
from coldchain.testing.demo.machines import POOLS, SHOP, VAULT, Machines, fetch
from coldchain.testing.demo.scenario import (
    INSTANCES,
    Show,
    Step,
    eventually,
    expect_serving,
    in_mid_rollout,
    serves,
    unmoved,
)
from coldchain.testing.driven import StepFailed
from coldchain.testing.machines import Machine
from coldchain.testing.network_lab import callers

PORT = 8080
"""Of the shop in its container: nothing is mapped."""
AWAY_SECONDS = 3.0
"""Docker asks again for longer than this."""
SLOW_MILLISECONDS = 3000
"""So long a request of a container to the gateway stands, to be seen there."""
RULE = {
    "name": "shop-to-vault",
    "source": {"app": "/shop"},
    "destination": {"app": "/vault"},
    "protocol": "tcp",
    "ports": [str(PORT)],
}
Happening = Callable[[Machines, Show], Awaitable[None]]


async def reached(machines: Machines, show: Show) -> None:
    """Each instance is reached from the third machine by BGP's route, and sees who calls; and the other way round."""
    tasks = await show.stage.tasks("/shop")
    hosts = {task["host"] for task in tasks}
    if hosts != {machine.name for machine in machines.network.hosts}:
        raise StepFailed(f"the shop is on {sorted(hosts)} alone")
    for task in tasks:
        address = address_of(task)
        await _answers(machines.gateway, address)

        async def seen(task: dict[str, Any] = task) -> bool:
            return machines.gateway.address in callers(await machines.inside(task, "busybox", "netstat", "-tn"), PORT)

        await eventually(seen, f"a caller at {address} with the gateway's own address")
    await _calls_back(machines, show, tasks[0])


async def _calls_back(machines: Machines, show: Show, task: dict[str, Any]) -> None:
    """From the container to the gateway, which sees the container's address."""
    gateway = machines.gateway
    url = f"http://{gateway.address}:{show.generator.plan.port}/?ms={SLOW_MILLISECONDS}"
    asked = fetch(url, "--header", "Host: shop.localhost", patience_seconds=10)
    asking = asyncio.create_task(machines.inside(task, *asked))

    async def seen() -> bool:
        said = await asyncio.to_thread(gateway.run, "busybox", "netstat", "-tn")
        return address_of(task) in callers(said, show.generator.plan.port)

    try:
        await eventually(seen, f"a caller at the gateway with the container's own address {address_of(task)}")
    finally:
        answer = await asyncio.gather(asking, return_exceptions=True)
    if not isinstance(answer[0], str) or '"instance"' not in answer[0]:
        raise StepFailed(f"the gateway did not answer a container: {answer[0]!r}")


async def kill_netd(machines: Machines, show: Show) -> None:
    """On all machines at once, in mid-rollout: what runs is reached as before; Docker waits for what it asked, and the
    rollout ends once they are back."""
    started = await in_mid_rollout(show, "v2")
    for netd in machines.network.netds.values():
        await asyncio.to_thread(netd.kill)
    for task in await show.stage.tasks("/shop"):
        if serves(task):
            await _answers(machines.gateway, address_of(task))
    await asyncio.sleep(AWAY_SECONDS)
    for netd in machines.network.netds.values():
        netd.start()
    for netd in machines.network.netds.values():
        await netd.status()
    await show.stage.deployment(started["deploymentId"])
    await expect_serving(show, INSTANCES)


async def restart_netd(machines: Machines, show: Show) -> None:
    """In order, on the machine of the gateway and on one with containers: nobody hears of it."""
    before, routes = await machines.containers(), await machines.routes(machines.gateway)
    for machine in (machines.gateway, await _busiest(machines, show)):
        netd = machines.network.netds[machine.name]
        if await asyncio.to_thread(netd.terminate) != 0:
            raise StepFailed(f"netd of {machine.name} did not end in order")
        netd.start()
        await netd.status()
    await unmoved(machines.containers, show, before)
    if await machines.routes(machines.gateway) != routes:
        raise StepFailed("the routes of the gateway's machine are others than before")


async def kill_bird(machines: Machines, show: Show) -> None:
    """On the machine with most instances: its routes stay with the others, and BIRD is back."""
    machine = await _busiest(machines, show)
    before, routes = await machines.containers(), await machines.routes(machines.gateway)
    killed = await _bird(machine)
    await asyncio.to_thread(machine.run, "kill", "-KILL", str(killed))

    async def back() -> bool:
        if await machines.routes(machines.gateway) != routes:
            raise StepFailed("the gateway's machine has lost a route")
        return await _bird(machine) not in (0, killed)

    await eventually(back, "another BIRD")

    async def established() -> bool:
        sessions = (await machines.network.netds[machine.name].loops())["routes"]["sessions"]
        return set(sessions.values()) == {"Established"}

    await eventually(established, f"the sessions of {machine.name}")
    await unmoved(machines.containers, show, before)


async def kill_docker(machines: Machines, show: Show) -> None:
    """On the machine with most instances: they run on, at their addresses, and the executor finds them again."""
    machine = await _busiest(machines, show)
    before = await machines.containers()
    addresses = {task["id"]: address_of(task) for task in await show.stage.tasks("/shop")}
    await asyncio.to_thread(machine.docker.kill)
    for address in addresses.values():
        await _answers(machines.gateway, address)
    await asyncio.sleep(AWAY_SECONDS)
    machine.docker.start()
    await asyncio.to_thread(machine.docker.ready)
    await unmoved(machines.containers, show, before)
    if {task["id"]: address_of(task) for task in await show.stage.tasks("/shop")} != addresses:
        raise StepFailed("an instance has another address than before")


async def keep_apart(machines: Machines, show: Show) -> None:
    """An app in another network: its machines and its own reach it, the shop does not, and that is said."""
    vault = show.settings_of("v1") | {"id": "/vault", "instances": 2, "routes": []}
    vault |= {"networks": [{"mode": "container", "name": VAULT}]}
    await show.stage.create(vault)
    one, other = await show.stage.tasks("/vault")
    shop = (await show.stage.tasks("/shop"))[0]
    _in_pool(one, VAULT)
    await _answers(machines.gateway, address_of(one))
    await _connects(machines, other, one, "its own network does not reach it")
    if await connects(machines, shop, one):
        raise StepFailed("the shop reaches the vault without a rule")
    if await connects(machines, one, shop):
        raise StepFailed("the vault reaches the shop without a rule")
    asked = {"source": "/shop", "destination": "/vault", "protocol": "tcp", "port": PORT}
    for answer in (await show.stage.call("POST", "/v1/policy/test", asked))["decisions"]:
        if answer["verdict"] != "deny":
            raise StepFailed(f"the policy says otherwise than the machines do: {answer}")


async def change_policy(machines: Machines, show: Show) -> None:
    """A rule lets the shop reach the vault, and only so; without it again it does not."""
    vault = (await show.stage.tasks("/vault"))[0]
    shop, cart = (await show.stage.tasks("/shop"))[0], (await show.stage.tasks("/cart"))[0]
    await _ruled(machines, show, RULE)
    await _connects(machines, shop, vault, "the rule lets nobody through")
    if await connects(machines, cart, vault):
        raise StepFailed("the rule is for the shop, and the cart comes through")
    if await connects(machines, vault, shop):
        raise StepFailed("the rule is for one direction, and the other one is open")
    await _ruled(machines, show)
    if await connects(machines, shop, vault):
        raise StepFailed("the rule is gone, and the shop comes through")
    await show.stage.deploy("DELETE", "/v2/apps/vault")


async def _ruled(machines: Machines, show: Show, *rules: Mapping[str, Any]) -> None:
    """All machines have these rules; notes how long that took."""
    began = time.monotonic()
    await show.stage.call("PUT", "/v1/policy", {"rules": list(rules)})

    async def known() -> bool:
        loops = [await netd.loops() for netd in machines.network.netds.values()]
        return all(one["policy"]["rules"] == len(rules) for one in loops)

    await eventually(known, f"{len(rules)} rules on all machines")
    machines.policy_seconds.append(time.monotonic() - began)


HAPPENINGS: tuple[tuple[str, Happening], ...] = (
    ("reached from the third machine, without NAT", reached),
    ("SIGKILL netd on all machines in mid-rollout", kill_netd),
    ("restart netd on two machines", restart_netd),
    ("SIGKILL BIRD on a machine", kill_bird),
    ("SIGKILL Docker on a machine", kill_docker),
    ("two networks keep apart", keep_apart),
    ("a rule of the policy comes and goes", change_policy),
)


def steps(machines: Machines) -> tuple[tuple[str, Step], ...]:
    """All steps of the demo on one machine, and these before the last one, whose brake would hold on."""
    mine: list[tuple[str, Step]] = [(name, partial(each, machines)) for name, each in HAPPENINGS]
    *first, last = scenario.STEPS
    return tuple((name, partial(_checked, machines, step)) for name, step in (*first, *mine, last))


async def _checked(machines: Machines, step: Step, show: Show) -> None:
    """A step, after which all are where the network says, and Mesos gives nothing away twice."""
    await machines.controller.leader()
    try:
        await step(show)
        for task in [*await show.stage.tasks("/shop"), *await show.stage.tasks("/cart")]:
            _in_pool(task, SHOP)
            machines.seen[task["host"]].add(address_of(task))

        async def routed() -> bool:
            routes = await machines.routes(machines.gateway)
            tasks = await show.stage.tasks("/shop")
            return all(next_hop(routes, address_of(task)) == task["host"] for task in tasks)

        await eventually(routed, "routes of the gateway's machine to where the instances are")

        async def counted_once() -> bool:
            return not await machines.mesos.operator.twice_counted()

        await eventually(counted_once, "resources that add up in Mesos")
    except (AssertionError, TimeoutError) as error:
        raise StepFailed(str(error) or "it took too long") from error


def address_of(task: Mapping[str, Any]) -> str:
    """Its only address. Raises StepFailed."""
    found = [one["ipAddress"] for one in task["ipAddresses"]]
    if len(found) != 1:
        raise StepFailed(f"{task['id']} has not one address but {found}")
    return str(found[0])


def _in_pool(task: Mapping[str, Any], network: str) -> None:
    _, cidr = POOLS[network]
    if ipaddress.ip_address(address_of(task)) not in ipaddress.ip_network(cidr):
        raise StepFailed(f"{task['id']} has {address_of(task)}, which is not of {cidr}")


def next_hop(routes: Mapping[str, str], address: str) -> str:
    """The machine of the longest route that leads there; empty without one."""
    networks = {ipaddress.ip_network(network): name for network, name in routes.items()}
    fitting = [one for one in networks if ipaddress.ip_address(address) in one]
    return networks[max(fitting, key=lambda one: one.prefixlen)] if fitting else ""


async def _answers(machine: Machine, address: str) -> None:
    """The application there, to that machine. Raises StepFailed."""
    said = await asyncio.to_thread(partial(machine.run, *fetch(f"http://{address}:{PORT}/"), status=None))
    if '"instance"' not in said:
        raise StepFailed(f"{address} does not answer {machine.name}: {said}")


async def connects(machines: Machines, source: Mapping[str, Any], destination: Mapping[str, Any]) -> bool:
    """From the container of one task to that of another."""
    said = await machines.inside(source, *fetch(f"http://{address_of(destination)}:{PORT}/"))
    return '"instance"' in said


async def _connects(machines: Machines, source: Mapping[str, Any], destination: Mapping[str, Any], else_: str) -> None:
    """Raises StepFailed with these words unless it does so in the end: apps are known once a machine has told it."""

    async def true() -> bool:
        return await connects(machines, source, destination)

    await eventually(true, f"{address_of(destination)} reached from {address_of(source)}: {else_}")


async def _busiest(machines: Machines, show: Show) -> Machine:
    """The machine with most instances of the shop."""
    hosts = [task["host"] for task in await show.stage.tasks("/shop")]
    return machines.machine(max(sorted(set(hosts)), key=hosts.count))


async def _bird(machine: Machine) -> int:
    """The number of BIRD as that machine has it; 0 without one."""
    rows = (await asyncio.to_thread(partial(machine.run, "ps", "-C", "bird", "-o", "pid=", status=None))).split()
    return int(rows[0]) if rows else 0
