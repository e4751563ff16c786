"""A gray release under load: nobody loses a request, whatever share goes where, and it ends on either side."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from coldchain.testing.load.generator import Generator
from coldchain.testing.load.plan import LoadPlan, Target
from coldchain.testing.load.report import Summary
from coldchain.testing.stage import Stage

Shop = Callable[..., dict[str, Any]]
SHARES = (0.0, 0.05, 0.5, 1.0)
ROLLOUT = {
    "steps": [{"share": share} for share in SHARES],
    "gray": {"rules": [{"by": "header", "name": "X-Tester"}, {"by": "weight"}]},
}
REQUESTS = 300
"""In each step."""


def release(shop: Shop, tag: str) -> dict[str, Any]:
    app = shop(instances=2, rollout=ROLLOUT, settleSeconds=0)
    app["container"]["docker"]["image"] = f"coldchain/shop:{tag}"
    return app | {"upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 1}}


async def reached(stage: Stage, load: Generator, name: str, steps: int) -> None:
    """Wait until a step of the gray rollout is in force everywhere, then for as many requests as are counted."""
    async with asyncio.timeout(60):
        while True:
            found = (await stage.call("GET", "/v1/gray"))["gray"]
            if [(one["stepsDone"], one["pausedBy"]) for one in found] == [(steps, "plan")]:
                break
            await asyncio.sleep(0.05)
    load.step(f"{name} {SHARES[steps - 1]:g}")
    until = load.counts.sent + REQUESTS
    while load.counts.sent < until:
        await asyncio.sleep(0.02)
    load.step(f"{name} after {SHARES[steps - 1]:g}")


async def version_for(stage: Stage, **headers: str) -> str:
    """Which version a request gets that says of itself what these headers say."""
    address = f"http://127.0.0.1:{stage.gateway_port}/"
    asked = {"Host": "shop.localhost", **headers}
    async with aiohttp.ClientSession() as session, session.post(address, headers=asked) as answer:
        assert answer.status == 200
        return answer.headers["X-Version"]


def gray_requests(step: Summary) -> int:
    """How many went to v2; all of the step were answered."""
    assert step.failed == 0
    assert step.requests >= REQUESTS
    return step.by_version["v2"].requests if "v2" in step.by_version else 0


@pytest.mark.long
async def test_nothing_is_lost_from_the_first_share_to_the_last_nor_on_the_way_back(stage: Stage, shop: Shop) -> None:
    await stage.start()
    await stage.create(release(shop, "v1"))
    target = Target(host="shop.localhost")
    plan = LoadPlan(address="127.0.0.1", port=stage.gateway_port, targets=(target,), rate=200.0, slow_seconds=0.3)
    async with Generator(plan) as load:
        await stage.call("PUT", "/v2/apps/shop", release(shop, "v2"))
        for steps in (1, 2, 3):
            await reached(stage, load, "aborted", steps)
            if steps == 1:
                assert (await version_for(stage), await version_for(stage, **{"X-Tester": "1"})) == ("v1", "v2")
                assert await version_for(stage, **{"X-Gray": "gray"}) == "v1"
            if steps < 3:
                await stage.call("POST", "/v1/gray/shop/resume")
        back = await stage.call("POST", "/v1/gray/shop/abort")
        await stage.deployment(back["deploymentId"])
        begun = await stage.call("PUT", "/v2/apps/shop", release(shop, "v2"))
        for steps in (1, 2, 3, 4):
            await reached(stage, load, "promoted", steps)
            if steps < 4:
                await stage.call("POST", "/v1/gray/shop/resume")
        await stage.call("POST", "/v1/gray/shop/promote")
        await stage.deployment(begun["deploymentId"])
        assert await version_for(stage) == "v2"
    report = load.report()
    assert report.failures == ()
    found = {step.name: step for step in report.steps}
    for name in ("aborted", "promoted"):
        assert gray_requests(found[f"{name} 0"]) == 0
        assert 0 < gray_requests(found[f"{name} 0.05"]) < 0.15 * found[f"{name} 0.05"].requests
        assert 0.3 < gray_requests(found[f"{name} 0.5"]) / found[f"{name} 0.5"].requests < 0.7
    assert set(found["promoted 1"].by_version) == {"v2"}
