"""`coldchain up --engine fake`: agents that run nothing, alone where there is no Docker, and beside this machine."""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from coldchain.testing.stage import Stage, make_stage

FAKE: dict[str, Any] = {
    "id": "/pretended",
    "instances": 40,
    "cpus": 1,
    "mem": 1024,
    "container": {"docker": {"image": "nobody/has:this"}, "portMappings": [{"containerPort": 8080}]},
}


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Stage]:
    """A platform of fake agents on a machine without Docker."""
    stage = make_stage(tmp_path / "no-docker.sock")
    stage.up_options = ["--engine=fake", "--fake-agents=20", "--fake-cpus=2", "--fake-mem=4096"]
    try:
        yield stage
    finally:
        await stage.terminate()
        await stage.close()
        shutil.rmtree(stage.data)


async def declined(stage: Stage) -> dict[str, int]:
    """How many agents the last round of placing excluded, by reason."""
    return {
        one["reason"]: one["declined"]
        for waiting in (await stage.call("GET", "/v2/queue"))["queue"]
        for one in waiting["processedOffersSummary"]["rejectSummaryLastOffers"]
        if one["declined"]
    }


async def test_without_docker_and_nginx_apps_are_placed_on_as_many_agents_as_wanted(alone: Stage) -> None:
    await alone.start()
    await alone.create(FAKE)
    tasks = await alone.tasks("/pretended")
    assert Counter(task["host"] for task in tasks) == {f"fake-{number}": 2 for number in range(1, 21)}
    assert len({task["endpoints"][0] for task in tasks}) == 40
    assert not (alone.data / "gateway").exists()
    await alone.call("PUT", "/v2/apps/pretended", {"instances": 41})
    async with asyncio.timeout(30):
        while await declined(alone) != {"InsufficientCpus": 20}:
            await asyncio.sleep(0.05)
    assert await alone.terminate() == 0


async def test_beside_this_machine_they_are_a_target_of_their_own(
    stage: Stage, shop: Callable[..., dict[str, Any]]
) -> None:
    stage.up_options += ["--engine=local", "--engine=fake", "--fake-agents=20"]
    await stage.start()
    await asyncio.gather(stage.create(FAKE | {"target": "fake"}), stage.create(shop()))
    assert {task["host"].partition("-")[0] for task in await stage.tasks("/pretended")} == {"fake"}
    assert not {task["host"] for task in await stage.tasks("/shop")} & {f"fake-{number}" for number in range(1, 21)}
    await stage.deploy("DELETE", "/v2/apps/pretended")
