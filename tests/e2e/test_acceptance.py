"""A new version that passes its checks and fails a part of its requests is stopped and taken back by itself."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from coldchain.testing.stage import Stage

Shop = Callable[..., dict[str, Any]]
CONSUMERS = 4
PAUSE_SECONDS = 0.02


@asynccontextmanager
async def load(stage: Stage) -> AsyncIterator[Counter[int]]:
    """Consumers that ask one request after the other; the statuses they got."""
    statuses: Counter[int] = Counter()

    async def consume(session: aiohttp.ClientSession) -> None:
        while True:
            address = f"http://127.0.0.1:{stage.gateway_port}/"
            async with session.get(address, headers={"Host": "shop.localhost"}) as answer:
                await answer.read()
                statuses[answer.status] += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        tasks = [group.create_task(consume(session)) for _ in range(CONSUMERS)]
        try:
            yield statuses
        finally:
            for task in tasks:
                task.cancel()


async def paused(stage: Stage, deployment: str) -> dict[str, Any]:
    """Wait until a deployment pauses by plan."""
    async with asyncio.timeout(60):
        while True:
            found: dict[str, Any] = await stage.call("GET", f"/v1/deployments/{deployment}")
            if found["pausedBy"] == "plan":
                return found
            await asyncio.sleep(0.05)


async def test_a_version_that_fails_a_part_of_its_requests_is_stopped_and_taken_back(stage: Stage, shop: Shop) -> None:
    rollout = {"steps": [{"share": 0.25, "pauseSeconds": 300}]}
    await stage.start()
    await stage.create(shop(rollout=rollout))
    before = {task["id"] for task in await stage.tasks("/shop")}
    async with load(stage) as statuses:
        bad = shop(rollout=rollout, env={"PORT": "8080", "ERROR_PCT": "30"})
        begun = await stage.call("PUT", "/v2/apps/shop", bad)
        async with asyncio.timeout(120):
            failed = await stage.deployment(begun["deploymentId"], "failed")
            assert failed["stepsDone"] == 1
            assert failed["reason"].startswith("stopped by what the gateways see: ")
            assert "requests failed of the new version, 0.00% of " in failed["reason"]
            await stage.deployment(failed["rolledBackBy"])
        failures = statuses[500]
        assert failures
        await asyncio.sleep(1)
        assert statuses[500] == failures, "the old version serves alone"
    assert statuses.keys() == {200, 500}
    after = {task["id"] for task in await stage.tasks("/shop")}
    assert len(after & before) == 3
    assert len(after) == 4


async def test_a_version_that_is_as_bad_as_the_old_one_goes_on_when_somebody_says_so(stage: Stage, shop: Shop) -> None:
    rollout = {"steps": [{"instances": 1}, {"instances": 2}]}
    await stage.start()
    env = {"PORT": "8080", "ERROR_PCT": "30"}
    await stage.create(shop(rollout=rollout, env=env))
    async with load(stage), asyncio.timeout(120):
        begun = await stage.call("PUT", "/v2/apps/shop", shop(rollout=rollout, env=env | {"VERSION": "v2"}))
        name = begun["deploymentId"]
        await paused(stage, name)
        while (await paused(stage, name))["traffic"]["new"]["requests"] < 300:
            await asyncio.sleep(0.1)
        seen = (await paused(stage, name))["traffic"]
        assert abs(seen["new"]["errorShare"] - seen["old"]["errorShare"]) < 0.1
        await stage.call("POST", f"/v1/deployments/{name}/promote")
        await stage.deployment(name)
