"""`coldchain-entry` as the first process of real containers, at a registry that they reach over the network: scaled
down, restarted, stopped from outside, over the death of the controller, all under load; and one that is killed."""

import asyncio
import ipaddress
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coldchain.testing.application.image import ensure_image
from coldchain.testing.driven import StepFailed
from coldchain.testing.load.generator import Generator
from coldchain.testing.load.plan import LoadPlan, Target
from coldchain.testing.stage import Stage

Shop = Callable[..., dict[str, Any]]
TTL_SECONDS = 3
STOP_SECONDS = 30


async def docker(socket: Path, method: str, path: str) -> Any:
    """One call of the Docker Engine; its answer."""
    connector = aiohttp.UnixConnector(str(socket))
    async with (
        aiohttp.ClientSession("http://docker", connector=connector) as session,
        session.request(method, path) as answer,
    ):
        answer.raise_for_status()
        return await answer.json() if answer.content_type == "application/json" else None


@pytest.fixture
async def bridge(docker_daemon: Path) -> str:
    """The machine's address in the network of its containers."""
    found = await docker(docker_daemon, "GET", "/networks/bridge")
    return str(ipaddress.ip_network(found["IPAM"]["Config"][0]["Subnet"])[1])


@pytest.fixture
async def app(stage: Stage, docker_daemon: Path, bridge: str, shop: Shop) -> dict[str, Any]:
    """Of an image that registers itself. The platform runs; beyond loopback its registry wants a token."""
    await ensure_image(str(docker_daemon), "coldchain/entry", entry=True)
    await stage.start()
    admin = (await stage.call("POST", "/v1/tokens", {"name": "ops", "role": "admin"}))["token"]
    await stage.terminate()
    stage.options["--registry"] = f"{bridge}:{stage.registry_port}"
    await stage.reach_by(stage.api, {"Authorization": f"Bearer {admin}"}, ssl.create_default_context())
    await stage.start()
    token = (await stage.call("POST", "/v1/tokens", {"name": "entry", "role": "operator"}))["token"]
    given = shop(
        instances=3,
        service="shop",
        registration="self",
        settleSeconds=1,
        env={
            "PORT": "8080",
            "TERM_MODE": "exit",  # all that is still on its way is lost
            "COLDCHAIN_REGISTRY_TOKEN": token,
            "COLDCHAIN_TTL_SECONDS": str(TTL_SECONDS),
        },
    )
    del given["cmd"], given["healthChecks"]
    given["container"]["docker"]["image"] = "coldchain/entry:v1"
    return given


async def endpoints(stage: Stage) -> dict[str, dict[str, Any]]:
    """What is told of the service, by the ids of its registrations."""
    [found] = (await stage.call("GET", "/v1/services"))["services"] or [{"endpoints": []}]
    return {one["id"]: one for one in found["endpoints"]}


async def serving(stage: Stage, count: int) -> dict[str, dict[str, Any]]:
    """As soon as so many serve, each by a registration of its own."""
    async with asyncio.timeout(60):
        while True:
            try:
                found = {name: one for name, one in (await endpoints(stage)).items() if one["inRotation"]}
            except (aiohttp.ClientError, StepFailed):
                found = {}
            if len(found) == count and all(one["status"] == "passing" for one in found.values()):
                assert {(one["registeredBy"], one["app"]) for one in found.values()} == {("others", "/shop")}
                return found
            await asyncio.sleep(0.05)


def plan(stage: Stage) -> LoadPlan:
    return LoadPlan(
        address="127.0.0.1",
        port=stage.gateway_port,
        targets=(Target(host="shop.localhost"),),
        rate=100.0,
        slow_share=0.02,
        slow_seconds=0.5,
    )


async def container(docker_daemon: Path, task: dict[str, Any]) -> str:
    """The id of a task's container."""
    label = f'{{"label":["coldchain.task={task["id"]}"]}}'
    [found] = await docker(docker_daemon, "GET", f"/containers/json?filters={label}")
    return str(found["Id"])


def none_failed(load: Generator) -> None:
    report = load.report()
    assert report.failures == ()
    assert report.total.failed == 0
    assert report.total.requests > 100


async def test_scaled_down_or_stopped_from_outside_it_loses_no_request_and_killed_it_leaves_at_once(
    stage: Stage, docker_daemon: Path, app: dict[str, Any]
) -> None:
    await stage.create(app)
    first = await serving(stage, 3)
    async with Generator(plan(stage)) as load:
        load.step("scale down")
        await stage.deploy("PUT", "/v2/apps/shop", {"instances": 2})
        second = await serving(stage, 2)
        assert second.keys() < first.keys()
        load.step("stopped from outside")
        [task, *_] = await stage.tasks("/shop")
        stopped = await container(docker_daemon, task)
        processes = (await docker(docker_daemon, "GET", f"/containers/{stopped}/top"))["Processes"]
        assert "coldchain-entry" in processes[0][-1]
        await docker(docker_daemon, "POST", f"/containers/{stopped}/stop?t={STOP_SECONDS}")
        async with asyncio.timeout(60):
            while (third := await serving(stage, 2)).keys() == second.keys():
                await asyncio.sleep(0.05)
    none_failed(load)
    [task, *_] = await stage.tasks("/shop")
    killed = f"shop-{task['instanceId']}"
    assert killed in third
    await stage.kill_container(task["id"], killed)
    async with asyncio.timeout(TTL_SECONDS + 2):
        while (await endpoints(stage)).get(killed, {}).get("inRotation"):
            await asyncio.sleep(0.02)
    await serving(stage, 2)


@pytest.mark.long
async def test_a_restart_over_the_death_of_the_controller_loses_no_request(stage: Stage, app: dict[str, Any]) -> None:
    await stage.create(app)
    before = await serving(stage, 3)
    async with Generator(plan(stage)) as load:
        started = await stage.call("POST", "/v2/apps/shop/restart")
        await asyncio.sleep(1)
        stage.kill()
        await asyncio.sleep(TTL_SECONDS)
        await stage.start()
        await stage.deployment(started["deploymentId"])
        assert before.keys().isdisjoint(await serving(stage, 3))
    none_failed(load)
