"""The memory of what nginx's workers tell each other is full: nothing is acknowledged that not all work by, nobody is
sent elsewhere than before, what does not fit is refused whole, and all goes on once there is room."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from coldchain.gateway.settings import GatewayMemory
from coldchain.model.app import RouteFilters
from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.limit import Limit
from coldchain.model.rotation import Endpoint, RouteRule, ServiceRotation
from coldchain.testing.gateway_lab import GatewayLab, endpoint, running_gateway, until
from coldchain.testing.raw_application import RawApplication, holds, raw_application

pytestmark = pytest.mark.asyncio(loop_scope="module")

BYTES = 64 * 1024
MUCH = {f"limit {number}": 0.5 for number in range(6_000)}
"""As shares: more than there is room for."""
LONG = "x" * 1000
"""Of the ids of instances, so that few open requests need much room."""


@pytest_asyncio.fixture(loop_scope="module")
async def lab() -> AsyncIterator[GatewayLab]:
    async with running_gateway(memory=GatewayMemory(control=BYTES), acknowledge_timeout_seconds=1.0) as lab:
        yield lab


async def limited(lab: GatewayLab, app: RawApplication) -> None:
    """With one limit, whose share tells by what the gateway works."""
    rule = RouteRule(path="/", service="shop", name="lab", filters=RouteFilters(limits=(Limit(rate=1000),)))
    await lab.push({"shop": ServiceRotation(endpoints=(endpoint("a", app.port),))}, {"*": (rule,)})


async def share(lab: GatewayLab) -> float:
    """Whichever worker answers says the same."""
    (found,) = {one.share for _ in range(8) for one in (await lab.gateway.limits()).values()}
    return found


async def kill_workers(lab: GatewayLab) -> None:
    """Until others are there in their place."""
    before = {worker.pid for worker in (await lab.state()).workers}
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(Unavailable):
                pids = {worker.pid for worker in (await lab.state()).workers}
                if len(pids) == len(before) and not pids & before:
                    return
            await asyncio.sleep(0.02)


async def test_shares_that_do_not_fit_are_refused_whole_and_those_of_before_count(
    lab: GatewayLab, app: RawApplication
) -> None:
    await limited(lab, app)
    await lab.gateway.share({"*": 0.25})
    for _ in range(3):
        with pytest.raises(Rejected, match=r"shares do not fit.*memory control"):
            await lab.gateway.share(MUCH)
        assert await share(lab) == 0.25
    await kill_workers(lab)
    assert await share(lab) == 0.25
    assert {(await lab.ask()).status for _ in range(8)} == {200}
    await lab.gateway.share({"*": 0.75})
    assert await share(lab) == 0.75
    await lab.gateway.renew(60)
    assert await lab.ready() == 200
    await lab.process.stop(0.2)
    await lab.process.start_or_adopt()
    await limited(lab, app)
    with pytest.raises(Rejected, match="memory control"):
        await lab.gateway.share(MUCH)
    await lab.gateway.share({"*": 0.5})
    assert (await share(lab), (await lab.ask()).status) == (0.5, 200)


@contextlib.asynccontextmanager
async def held(lab: GatewayLab, count: int) -> AsyncIterator[tuple[RawApplication, tuple[Endpoint, ...]]]:
    """An open request at each of so many instances, whose ids are long."""
    async with raw_application(holds) as app:
        instances = tuple(endpoint(f"{number}{LONG}", app.port) for number in range(count))
        await lab.push({"shop": ServiceRotation(endpoints=instances)}, {"*": (RouteRule(path="/", service="shop"),)})
        tasks = [asyncio.create_task(failing(lab)) for _ in range(count)]
        await until(lambda: len(app.requests) == count, f"{count} open requests")
        try:
            yield app, instances
        finally:
            app.released.set()
            await asyncio.gather(*tasks)


async def nothing_open(lab: GatewayLab) -> None:
    async with asyncio.timeout(10):
        while any((await lab.gateway.report()).in_flight.values()):
            await asyncio.sleep(0.01)


async def failing(lab: GatewayLab) -> None:
    with contextlib.suppress(aiohttp.ClientError):
        await lab.ask("POST", data=b"x")


def drained(instances: tuple[Endpoint, ...], to: Endpoint) -> tuple[Endpoint, ...]:
    return (*(endpoint(one.instance_id, one.port, 0) for one in instances), to)


async def test_what_cannot_be_told_is_not_acknowledged_until_there_is_room(
    lab: GatewayLab, app: RawApplication
) -> None:
    """What is open at instances that leave does not fit: the controller must not think that nothing is."""
    async with held(lab, 160) as (_, instances):
        before = lab.revision
        with pytest.raises(Unavailable, match=r"did not take over the rotation.*memory control"):
            await lab.change(*drained(instances, endpoint("b", app.port)))
        for _ in range(8):
            report = await lab.gateway.report()
            assert report.applied <= before, "or instances with open requests would be stopped"
        assert {(await lab.ask()).text for _ in range(8)} == {str(app.port)}, "the new one serves, and only that"
    await nothing_open(lab)
    async with asyncio.timeout(5):  # each worker says so by itself
        while (await lab.gateway.report()).applied != lab.revision:
            await asyncio.sleep(0.01)
    await lab.change(endpoint("b", app.port))
    assert (await lab.gateway.report()).in_flight == {}


async def test_a_worker_that_starts_in_a_full_memory_leads_nobody_wrong(lab: GatewayLab, app: RawApplication) -> None:
    async with held(lab, 160) as (holding, instances):
        with pytest.raises(Unavailable, match="memory control"):
            await lab.change(*drained(instances, endpoint("b", app.port)))
        os.kill((await lab.state()).workers[0].pid, signal.SIGKILL)
        count = len(holding.requests)
        for _ in range(40):
            with contextlib.suppress(aiohttp.ClientError):
                answer = await lab.ask()
                assert (answer.status, answer.text) == (200, str(app.port))
        assert len(holding.requests) == count
    await kill_workers(lab)
    await lab.change(endpoint("b", app.port))
    assert {worker.applied for worker in (await lab.state()).workers} == {lab.revision}


async def test_what_is_only_told_makes_room_for_what_counts(lab: GatewayLab, app: RawApplication) -> None:
    """What is open at instances in rotation fills the memory nearly; drained, it is told in the place of that."""
    async with held(lab, 30) as (_, instances):
        await asyncio.sleep(0.6)  # each worker has told it
        await lab.change(*drained(instances, endpoint("b", app.port)))
        found = (await lab.gateway.report()).in_flight
        assert (len(found), sum(found.values())) == (30, 30)
    await nothing_open(lab)
