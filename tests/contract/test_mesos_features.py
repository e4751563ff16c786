"""What engine mesos does with features of real masters and agents."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coldchain.engines.mesos import MesosEngine
from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.offer import Offer
from coldchain.model.task import TaskSpec
from coldchain.testing.engine_labs import make_spec
from coldchain.testing.mesos.settings import AgentSettings, FaultDomain, MasterSettings
from coldchain.testing.mesos_engine_lab import AGENT, Cluster

MASTER = MasterSettings(agent_ping_timeout_seconds=5.0)
UNTOLD = {"LIBPROCESS_SSL_ENABLED": "false", "LIBPROCESS_SSL_CA_FILE": ""}
"""An agent that tells its executors nothing of TLS, as agents do by themselves."""


@pytest.fixture
async def encrypted(docker_daemon: Path) -> AsyncIterator[Cluster]:
    cluster = Cluster(str(docker_daemon), tls=True)
    try:
        master = dataclasses.replace(MASTER, credentials={"shop": "secret"})
        await cluster.start(master=master, agent=dataclasses.replace(AGENT, variables=UNTOLD))
        yield cluster
    finally:
        cluster.close()


async def test_tasks_run_where_everybody_speaks_tls_and_asks_who_we_are(encrypted: Cluster) -> None:
    engine = await encrypted.engine(("shop", "secret"))
    try:
        spec = make_spec("serves")
        await engine.launch(spec)
        executed = await engine.execute(spec.task_id, "echo fine", 5.0)
        assert executed.output == "fine\n"
        (framework,) = await encrypted.lab.operator.frameworks()
        assert framework["framework_info"]["principal"] == "shop"
        await engine.kill(spec.task_id, 0.0)
        await engine.tear_down()
        assert await encrypted.lab.operator.frameworks() == []
        assert await encrypted.lab.operator.twice_counted() == []
    finally:
        await engine.close()


@pytest.fixture
async def cluster(docker_daemon: Path) -> AsyncIterator[Cluster]:
    """Not started yet."""
    cluster = Cluster(str(docker_daemon))
    try:
        yield cluster
    finally:
        cluster.close()


@contextlib.asynccontextmanager
async def engine_of(cluster: Cluster, **settings: Any) -> AsyncIterator[MesosEngine]:
    engine = await cluster.engine(**settings)
    try:
        yield engine
    finally:
        await engine.close()


def spec_of(role: str | None = None, cpus: float = 1.0, accepted: tuple[str, ...] = ()) -> TaskSpec:
    spec = make_spec("serves")
    app = msgspec.structs.replace(spec.app, role=role, cpus=cpus, accepted_resource_roles=accepted)
    return msgspec.structs.replace(spec, app=app)


async def rows(engine: MesosEngine, number: int) -> dict[tuple[str, str], Offer]:
    """By agent and reservation, once there are so many."""
    async with asyncio.timeout(20):
        while len(found := {(row.agent, row.role): row for row in await engine.offers()}) != number:
            await asyncio.sleep(0.02)
    return found


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(Unavailable):
                if await condition():
                    return
            await asyncio.sleep(0.05)


async def given(cluster: Cluster) -> dict[str, tuple[str, str]]:
    """Of each task: for which role of the framework it has its resources, and for whom they are reserved."""
    found = {}
    for task in (await cluster.lab.operator.tasks()).get("tasks", []):
        resource: Mapping[str, Any] = task["resources"][0]
        reservations = resource.get("reservations", ())
        reserved = reservations[-1]["role"] if reservations else "*"
        found[task["task_id"]["value"]] = (resource["allocation_info"]["role"], reserved)  # their word
    return found


@pytest.mark.parametrize("kind", ["static", "dynamic"])
async def test_what_is_reserved_for_a_role_is_its_apps_alone(cluster: Cluster, kind: str) -> None:
    static = "cpus(shop):2;mem(shop):512;ports(shop):[8100-8199];cpus:2;mem:512;disk:100;ports:[8080-8099,9090-9090]"
    plain = "cpus:4;mem:1024;disk:100;ports:[8080-8199,9090-9090]"
    settings = dataclasses.replace(AGENT, resources=static if kind == "static" else plain)
    (agent,) = await cluster.start(agent=settings)
    if kind == "dynamic":
        reservation = {"reservations": [{"type": "DYNAMIC", "role": "shop"}]}
        scalars = [
            {"name": name, "type": "SCALAR", "scalar": {"value": value}, **reservation}
            for name, value in (("cpus", 2.0), ("mem", 512.0))
        ]
        ranges = {"range": [{"begin": 8100, "end": 8199}]}
        ports = {"name": "ports", "type": "RANGES", "ranges": ranges, **reservation}
        fields = {"agent_id": {"value": await agent.agent_id()}, "resources": [*scalars, ports]}
        await cluster.lab.operator.call("RESERVE_RESOURCES", reserve_resources=fields)
    async with engine_of(cluster, roles=("*", "shop")) as engine:
        found = await rows(engine, 2)
        assert {role: row.cpus for (_, role), row in found.items()} == {"*": 1.9, "shop": 1.9}
        own = spec_of("shop", accepted=("shop",))
        other = spec_of()
        await engine.launch(other)  # on the first ports of the lab, which are for all
        await engine.launch(own)
        assert await given(cluster) == {own.task_id: ("shop", "shop"), other.task_id: ("*", "*")}
        assert await cluster.lab.operator.twice_counted() == []


async def test_an_app_counts_against_the_quota_of_its_own_role(cluster: Cluster) -> None:
    await cluster.start()
    limits = {"cpus": {"value": 1.5}, "mem": {"value": 1024}}
    configuration = {"role": "limited", "limits": limits, "guarantees": {}}
    await cluster.lab.operator.call("UPDATE_QUOTA", update_quota={"force": True, "quota_configs": [configuration]})
    async with engine_of(cluster, roles=("free", "limited"), launch_seconds=3.0) as engine:
        first, second, free = spec_of("limited"), spec_of("limited"), spec_of("free")
        await engine.launch(first)
        with pytest.raises(Rejected, match="has offered too little"):
            await engine.launch(second)
        await engine.forget(second.task_id)
        await engine.launch(free)
        assert {name: role for name, (role, _) in (await given(cluster)).items()} == {
            first.task_id: "limited",
            free.task_id: "free",
        }


async def test_agents_of_other_regions_are_offered_with_where_they_are(cluster: Cluster) -> None:
    here, there = FaultDomain(region="north", zone="n1"), FaultDomain(region="south", zone="s1")
    await cluster.start(master=dataclasses.replace(MASTER, domain=here), agent=dataclasses.replace(AGENT, domain=here))
    await cluster.lab.start_agent(AgentSettings(domain=there))
    await cluster.lab.registered(2)
    async with engine_of(cluster) as engine:
        found = await rows(engine, 2)
    assert {agent: (row.region, row.zone) for (agent, _), row in found.items()} == {
        "agent-1": ("north", "n1"),
        "agent-2": ("south", "s1"),
    }


async def test_a_new_agent_is_known_at_once_where_an_instance_finds_no_room(cluster: Cluster) -> None:
    await cluster.start()
    async with engine_of(cluster, hold_seconds=0.1, look_seconds=3600.0) as engine:
        await rows(engine, 1)
        (framework,) = await cluster.lab.operator.frameworks()

        async def resting() -> bool:
            (framework,) = await cluster.lab.operator.frameworks()
            return not framework.get("offered_resources")

        await until(resting)
        await cluster.lab.start_agent()
        await cluster.lab.registered(2)
        engine.lacks_room = lambda: True
        await rows(engine, 2)
        await until(resting)  # what is told is left to others
        assert framework["framework_info"]["roles"] == ["*"]


async def test_a_reservation_within_a_reservation_is_its_roles_alone(cluster: Cluster) -> None:
    (agent,) = await cluster.start()
    outer = {"type": "DYNAMIC", "role": "eng"}
    cpus = {"name": "cpus", "type": "SCALAR", "scalar": {"value": 4.0}}
    agent_id = {"value": await agent.agent_id()}
    for reservations in ([outer], [outer, {"type": "DYNAMIC", "role": "eng/shop"}]):
        resource = cpus | {"reservations": reservations}
        source = {"source": [cpus | {"reservations": reservations[:-1]}]} if reservations[:-1] else {}
        fields = {"agent_id": agent_id, "resources": [resource], **source}
        await cluster.lab.operator.call("RESERVE_RESOURCES", reserve_resources=fields)
    async with engine_of(cluster, roles=("*", "eng/shop")) as engine:
        found = await rows(engine, 2)
        assert {role: row.cpus for (_, role), row in found.items()} == {"*": 3.9, "eng/shop": 3.9}
