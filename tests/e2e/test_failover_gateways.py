"""Two controllers with a gateway each on one etcd: both gateways serve, and no rollout costs a request of theirs, also
when the leader is killed in its middle."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coldchain.testing.application.image import ensure_image
from coldchain.testing.etcd import etcd_cluster
from coldchain.testing.load.accounting import reconcile_records
from coldchain.testing.load.generator import Generator
from coldchain.testing.load.plan import LoadPlan, Target
from coldchain.testing.stage import Stage, make_stage

Shop = Callable[..., dict[str, Any]]
LOOK_SECONDS = 0.05


@pytest.fixture
async def two(docker_daemon: Path, tmp_path: Path) -> AsyncIterator[list[Stage]]:
    """Two controllers on one member of etcd and one Docker; everything they started is stopped afterwards."""
    await asyncio.gather(*(ensure_image(str(docker_daemon), tag=tag) for tag in ("v1", "v2")))
    with etcd_cluster(1) as etcd:
        await etcd.ready()
        stages = [make_stage(docker_daemon) for _ in range(2)]
        for number, stage in enumerate(stages):
            stage.options["--store"] = f"etcd://{etcd.addresses}/shop"
            stage.up_options += [f"--gateway-name=gateway-{number}", f"--secret-keys={tmp_path / 'secret.keys'}"]
            await stage.start()
        try:
            yield stages
        finally:
            for stage in stages:
                await stage.terminate()
            for stage in stages:  # the last one finds nothing that runs, and stops its gateway
                await stage.down()
                await stage.close()
                shutil.rmtree(stage.data, ignore_errors=True)


async def roles_of(stages: Sequence[Stage]) -> tuple[Stage, Stage]:
    """The leader, and the one that stands by."""
    async with asyncio.timeout(10):
        while True:
            infos = [await one.call("GET", "/v2/info") for one in stages]
            elected = [stage for stage, info in zip(stages, infos, strict=True) if info["elected"]]
            if elected and infos[0]["leader"] == infos[1]["leader"]:
                return elected[0], next(one for one in stages if one is not elected[0])
            await asyncio.sleep(LOOK_SECONDS)


async def both_in_step(stage: Stage) -> None:
    """Wait until two gateways are live and work by the rotation of now."""
    async with asyncio.timeout(15):
        while True:
            gateways = (await stage.call("GET", "/v1/status"))["gateways"]
            if [(one["name"], one["live"], one["inStep"]) for one in gateways] == [
                ("gateway-0", True, True),
                ("gateway-1", True, True),
            ]:
                return
            await asyncio.sleep(LOOK_SECONDS)


@contextlib.asynccontextmanager
async def readiness(stage: Stage) -> AsyncIterator[list[int]]:
    """What the gateway says to a balancer that asks it all the time: each other status once."""
    said: list[int] = []

    async def watch() -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.get(f"http://{stage.options['--gateway-status']}/.coldchain/ready") as answer:
                    if answer.status not in said:
                        said.append(answer.status)
                await asyncio.sleep(LOOK_SECONDS)

    watching = asyncio.create_task(watch())
    try:
        yield said
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


def load_on(stage: Stage) -> Generator:
    target = Target(host="shop.localhost")
    plan = LoadPlan(address="127.0.0.1", port=stage.gateway_port, targets=(target,), rate=60.0, slow_share=0.02)
    return Generator(plan)


def recorded(shop: Shop, records: Path, tag: str) -> dict[str, Any]:
    """The shop, which writes down each request that it runs."""
    app = shop()
    docker = app["container"]["docker"]
    docker["image"] = f"coldchain/shop:{tag}"
    docker["parameters"] = [{"key": "volume", "value": f"{records}:/records"}]
    app["env"] |= {"RECORDS": "/records"}
    return app


@pytest.mark.long
async def test_no_rollout_costs_a_request_of_either_gateway_also_when_the_leader_is_killed(
    two: list[Stage], shop: Shop, tmp_path: Path
) -> None:
    leader, standby = await roles_of(two)
    records = tmp_path / "records"
    records.mkdir()
    records.chmod(0o777)
    tmp_path.chmod(0o755)
    await standby.create(recorded(shop, records, "v1"))
    await both_in_step(standby)
    here, there = load_on(standby), load_on(leader)
    async with readiness(standby) as said, here:
        async with there:
            await standby.deploy("PUT", "/v2/apps/shop", recorded(shop, records, "v2"))
        moved = await standby.call("PUT", "/v2/apps/shop", recorded(shop, records, "v1"))
        async with asyncio.timeout(30):
            while not any(one["version"] == moved["version"] for one in await standby.tasks("/shop")):
                await asyncio.sleep(LOOK_SECONDS)
        leader.kill()
        async with asyncio.timeout(60):
            while (await standby.call("GET", "/v2/info"))["elected"] is not True:
                await asyncio.sleep(LOOK_SECONDS)
            await standby.deployment(moved["deploymentId"])
    for load in (here, there):
        report = load.report()
        assert report.failures == (), report.failures
        assert set(report.total.by_version) >= {"v1", "v2"}
    outcomes = [*here.outcomes, *there.outcomes]
    counted = reconcile_records(outcomes, records)
    assert (counted.duplicated, counted.lost) == ((), ()), counted
    assert said == [200]
