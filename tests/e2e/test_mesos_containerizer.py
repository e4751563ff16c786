"""`coldchain up --engine mesos` on a cluster with both kinds of agents: one runs containers by itself, one by our
executor."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from coldchain.testing.load.generator import Generator
from coldchain.testing.load.plan import LoadPlan, Target
from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.settings import AgentSettings, MasterSettings
from coldchain.testing.stage import Stage


@pytest.fixture
async def cluster(stage: Stage, docker_daemon: Path) -> AsyncIterator[MesosLab]:
    """agent-1 has the Docker containerizer, which is what the stage expects of all that say nothing."""
    async with MesosLab() as lab:
        lab.folder.chmod(0o711)
        await lab.start_master(MasterSettings(agent_ping_timeout_seconds=5.0))
        contains = AgentSettings(
            containerizers="docker,mesos", docker_socket=str(docker_daemon), attributes={"rack": "a"}
        )
        await lab.start_agent(contains)
        await lab.start_agent(AgentSettings(attributes={"rack": "b", "coldchain_containerizer": "executor"}))
        await lab.registered(2)
        stage.up_options = [
            "--engine=mesos",
            f"--mesos-master={lab.masters[-1].address}",
            f"--mesos-executor={sys.executable} -m coldchain executor",
            "--mesos-containerizer=docker",
        ]
        yield lab
        await stage.down()


@pytest.mark.long
async def test_a_rollout_over_both_kinds_of_agents_loses_nothing(
    stage: Stage, cluster: MesosLab, shop: Callable[..., dict[str, Any]]
) -> None:
    await stage.start()
    await stage.create(shop(instances=2, constraints=[["rack", "GROUP_BY", "2"]]))
    before = await stage.tasks("/shop")
    assert {task["host"] for task in before} == {"agent-1", "agent-2"}
    tasks = {one["task_id"]["value"]: one for one in (await cluster.operator.tasks())["tasks"]}
    kinds = {task["host"]: tasks[task["id"]].get("container", {}).get("type") for task in before}
    assert kinds == {"agent-1": "DOCKER", "agent-2": None}
    plan = LoadPlan(address="127.0.0.1", port=stage.gateway_port, targets=(Target(host="shop.localhost"),), rate=50.0)
    async with Generator(plan) as load:
        image = {"docker": {"image": "coldchain/shop:v2"}}
        await stage.deploy("PUT", "/v2/apps/shop", {"container": shop()["container"] | image})
        while load.counts.sent <= 100:
            await asyncio.sleep(0.01)
    report = load.report()
    assert report.failures == ()
    assert report.total.failed == 0
    assert set(report.total.by_version) == {"v1", "v2"}
    assert {task["host"] for task in await stage.tasks("/shop")} == {"agent-1", "agent-2"}
    assert await cluster.operator.twice_counted() == []

    tick = {"cmd": "sleep 1000", "cpus": 0.1, "mem": 32}
    await stage.create({"id": "/tick", **tick})
    assert [task["host"] for task in await stage.tasks("/tick")] == ["agent-2"]
    await stage.call("POST", "/v2/apps", {"id": "/stuck", "constraints": [["rack", "IS", "a"]], **tick})
    async with asyncio.timeout(20):
        while not (refused := (await stage.call("GET", "/v1/apps/stuck/status"))["refused"]):
            await asyncio.sleep(0.05)
    assert refused[0]["reasons"] == {"UnfulfilledContainerizer": 1, "UnfulfilledConstraint": 1}
    assert "the Docker containerizer of Mesos cannot run it on 1 (it has no container)" in refused[0]["words"]
