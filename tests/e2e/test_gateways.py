"""Gateways on their own: they leave, come back and are upgraded under load, and no request is lost."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coldchain.main.gateway_settings import GatewayProcessSettings
from coldchain.testing.gateway_process import GatewayProcess, own_gateways
from coldchain.testing.load.accounting import reconcile_records
from coldchain.testing.load.generator import Generator
from coldchain.testing.load.plan import LoadPlan, Target
from coldchain.testing.stage import Stage

Shop = Callable[..., dict[str, Any]]
LOOK_SECONDS = 0.02
SLOW_SECONDS = 2.0
"""Of one request in twenty: longer than nginx has to end in."""


def load_of(gateway: GatewayProcess) -> Generator:
    plan = LoadPlan(
        address="127.0.0.1",
        port=gateway.port,
        targets=(Target(host="shop.localhost"),),
        rate=100.0,
        keep_alive_share=0.8,
        slow_seconds=SLOW_SECONDS,
    )
    return Generator(plan)


@pytest.fixture
async def records(tmp_path: Path) -> Path:
    """Where instances write down each request that they run."""
    folder = tmp_path / "records"
    folder.mkdir()
    folder.chmod(0o777)
    tmp_path.chmod(0o755)
    return folder


def recorded(shop: Shop, records: Path) -> dict[str, Any]:
    app = shop(instances=2)
    app["container"]["docker"]["parameters"] = [{"key": "volume", "value": f"{records}:/records"}]
    app["env"] |= {"RECORDS": "/records"}
    return app


@contextlib.asynccontextmanager
async def balanced(load: Generator, gateways: Sequence[GatewayProcess]) -> AsyncIterator[None]:
    """The load, by a balancer that asks each of them all the time whether it is ready."""

    async def watch() -> None:
        used: list[int] = []
        while True:
            ready = [one.port for one in gateways if await one.is_ready()]
            if ready != used:
                assert ready, "no gateway is ready"
                load.direct([("127.0.0.1", port) for port in ready])
                used = ready
            await asyncio.sleep(LOOK_SECONDS)

    async with load:
        watching = asyncio.create_task(watch())
        try:
            yield
            assert not watching.done(), watching.exception()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def seen_by(stage: Stage) -> list[str]:
    """The gateways that are waited for."""
    found = (await stage.call("GET", "/v1/status"))["gateways"]
    return [one["name"] for one in found if one["live"]]


@pytest.mark.timeout(300)
async def test_gateways_are_upgraded_under_load_and_no_request_is_lost(stage: Stage, shop: Shop, records: Path) -> None:
    await stage.start()
    await stage.create(recorded(shop, records))
    own = [
        GatewayProcessSettings(controllers=("http://127.0.0.1:1", stage.api), name=f"own-{number}", leave_seconds=0.5)
        for number in range(2)
    ]
    async with own_gateways(own) as (first, second):
        load = load_of(first)
        async with balanced(load, (first, second)):
            await asyncio.sleep(1)
            load.step("one leaves and another version comes")
            assert await first.leave() == 0, first.log_tail()
            assert "has left" in first.log_tail()
            assert await first.nginx.state() is None
            assert "own-0" not in await seen_by(stage)
            first.start()
            await first.ready()
            assert {"own-0", "own-1"} <= set(await seen_by(stage))
            load.step("a rollout through both")
            await stage.deploy("PUT", "/v2/apps/shop", recorded(shop, records) | {"labels": {"of": "another version"}})
        alone = load_of(second)
        async with alone:  # without a balancer
            await asyncio.sleep(1)
            alone.step("in place")
            master = (await state_of(second)).master
            second.signal(signal.SIGINT)
            assert await second.ended() == 0
            second.settings = replace(second.settings, trusted_proxies=("127.0.0.2/32",))
            second.start()
            await second.said('"nginx": "reloaded"')
            await second.ready()
            assert (await state_of(second)).master == master
            alone.step("its loop is killed")
            second.signal(signal.SIGKILL)
            await second.ended()
            await asyncio.sleep(0.5)
            second.start()
            await second.said('"nginx": "adopted"')
            await second.ready()
            alone.step("a second loop")
            another = GatewayProcess(second.settings)
            another.start()
            assert await another.ended() == 1
            assert "in use by another Coldchain" in another.log_tail()
            assert (await state_of(second)).master == master
        await killed_whole_and_back(second)
    assert load.report().failures == ()
    assert alone.report().failures == ()
    counted = reconcile_records([*load.outcomes, *alone.outcomes], records)
    assert (counted.duplicated, counted.lost, counted.executed_unanswered) == ((), (), ()), counted
    assert counted.exactly_once > 100


async def state_of(gateway: GatewayProcess) -> Any:
    state = await gateway.nginx.state()
    assert state is not None
    return state


async def killed_whole_and_back(gateway: GatewayProcess) -> None:
    """nginx and its workers: it is started anew, and serves by the rotation of now."""
    state = await state_of(gateway)
    for pid in (state.master, *(worker.pid for worker in state.workers)):
        os.kill(pid, signal.SIGKILL)
    await gateway.said('"nginx": "started"')
    await gateway.ready()
    after = load_of(gateway)
    async with after:
        await asyncio.sleep(0.3)
    assert after.report().failures == ()
    assert (await state_of(gateway)).in_flight == {}
