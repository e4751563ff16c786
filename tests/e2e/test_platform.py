"""The platform outlives its controller; after a reboot it brings everything back; `down` leaves nothing running."""

import asyncio
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coldchain.clients.docker import DockerClient
from coldchain.testing.stage import Stage, make_stage

Shop = Callable[..., dict[str, Any]]


async def running(docker: Path) -> dict[str, str]:
    """Container id by task, of the containers that run."""
    client = DockerClient(docker)
    try:
        listed = await client.containers(["coldchain.app"])
    finally:
        await client.close()
    return {one["Labels"]["coldchain.task"]: one["Id"] for one in listed if one["State"] == "running"}


async def ask(stage: Stage, method: str = "GET") -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, f"http://127.0.0.1:{stage.gateway_port}/", headers={"Host": "shop.localhost"}
        ) as answer,
    ):
        return answer.status


async def serving(stage: Stage, count: int, instead_of: Collection[str] = ()) -> None:
    """Wait until that many serve, and none of the tasks named is among them."""
    async with asyncio.timeout(60):
        while True:
            tasks = await stage.tasks("/shop")
            names = {task["id"] for task in tasks}
            if [task["phase"] for task in tasks] == ["serving"] * count and names.isdisjoint(instead_of):
                return
            await asyncio.sleep(0.05)


async def test_a_killed_controller_is_not_missed_and_adopts_its_containers(
    stage: Stage, shop: Shop, docker_daemon: Path
) -> None:
    await stage.start()
    await stage.create(shop())
    before = await running(docker_daemon)
    assert len(before) == 4
    stage.kill()
    assert await ask(stage) == 200
    await stage.start()
    await serving(stage, 4)
    changed = await stage.deploy("PUT", "/v2/apps/shop", {"instances": 5})
    assert changed["state"] == "succeeded"
    after = await running(docker_daemon)
    assert before.items() < after.items()


async def test_sigterm_leaves_apps_and_gateway_serving(stage: Stage, shop: Shop, docker_daemon: Path) -> None:
    await stage.start()
    await stage.create(shop(instances=1))
    assert await stage.terminate() == 0
    assert "apps and gateway serve on" in stage.log_tail()
    assert await ask(stage) == 200
    assert len(await running(docker_daemon)) == 1


@pytest.mark.parametrize("up", [True, False])
async def test_down_stops_everything_and_up_brings_it_back(
    stage: Stage, shop: Shop, docker_daemon: Path, up: bool
) -> None:
    await stage.start()
    await stage.create(shop(instances=2))
    if not up:
        await stage.terminate()
    await stage.down()
    assert await running(docker_daemon) == {}
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask(stage)
    await stage.start()
    await serving(stage, 2)
    assert await ask(stage) == 200


async def test_after_a_reboot_everything_comes_back(stage: Stage, shop: Shop, docker_daemon: Path) -> None:
    await stage.start()
    await stage.create(shop(instances=3))
    stage.kill()
    await stage.kill_gateway()
    client = DockerClient(docker_daemon)
    before = await running(docker_daemon)
    for container in before.values():
        await client.remove_container(container, force=True)
    await client.close()
    await stage.start()
    await serving(stage, 3, instead_of=before)
    assert await ask(stage) == 200


async def test_containers_of_another_platform_are_left_alone(stage: Stage, shop: Shop, docker_daemon: Path) -> None:
    await stage.start()
    await stage.create(shop(instances=1))
    before = await running(docker_daemon)
    other = make_stage(docker_daemon)
    try:
        await other.start()
        await asyncio.sleep(1)
        assert await running(docker_daemon) == before
        assert (await other.call("GET", "/v2/apps"))["apps"] == []
    finally:
        await other.down()
        await other.close()
        shutil.rmtree(other.data)
    assert await running(docker_daemon) == before


async def test_a_post_is_not_lost_when_the_single_instance_is_restarted(
    stage: Stage, shop: Shop, docker_daemon: Path
) -> None:
    await stage.start()
    await stage.create(shop(instances=1, env={"PORT": "8080", "REQ_MS": "100"}))
    restarting = asyncio.create_task(stage.deploy("POST", "/v2/apps/shop/restart"))
    statuses = []
    while not restarting.done():
        statuses.append(await ask(stage, "POST"))
    assert set(statuses) == {200}
    assert (await restarting)["state"] == "succeeded"
