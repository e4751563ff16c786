"""Two real gateways that one publisher feeds let through what a limit says together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from coldchain.control.clock import SystemClock
from coldchain.control.gateway import feed_gateway
from coldchain.control.rotation import Publisher
from coldchain.control.state import State
from coldchain.gateway.push import NginxGateway
from coldchain.model.app import App, Container, Docker, PortMapping, Route, RouteFilters
from coldchain.model.limit import Limit
from coldchain.model.version import AppRecord, Version
from coldchain.store.memory import MemoryStore
from coldchain.testing.gateway_lab import GatewayLab, running_gateway

BURST = 20
APP = App(
    id="/shop",
    container=Container(docker=Docker(image="shop"), port_mappings=(PortMapping(container_port=80),)),
    routes=(Route(domains=("*",), filters=RouteFilters(limits=(Limit(rate=1, per_seconds=600, burst=BURST),))),),
)


@pytest.fixture
async def publisher() -> Publisher:
    state = State(MemoryStore())
    await state.load()
    record = AppRecord(app_id=APP.id, version_id="1", target="cluster", cause="test")
    await state.commit([Version(app=APP, id="1", config_id="1"), record])
    publisher = Publisher(state, SystemClock(), 1, lambda apps: None)
    publisher.start()
    return publisher


@contextlib.asynccontextmanager
async def fed(publisher: Publisher, name: str) -> AsyncIterator[GatewayLab]:
    async with running_gateway(worker_processes=1) as lab:
        gateway = NginxGateway(name, lab.settings)
        feeding = asyncio.create_task(feed_gateway(gateway, publisher, SystemClock()))
        try:
            yield lab
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await gateway.close()


async def works_by(lab: GatewayLab, share: float) -> None:
    async with asyncio.timeout(20):
        while [one.share for one in (await lab.gateway.limits()).values()] != [share]:
            await asyncio.sleep(0.02)


async def passed(lab: GatewayLab) -> int:
    """Of many. There is no instance; who gets to hear of that, the limit let pass."""
    return [(await lab.ask()).status for _ in range(2 * BURST)].count(503)


async def test_two_gateways_let_through_what_one_may(publisher: Publisher) -> None:
    async with fed(publisher, "a") as first:
        await works_by(first, 1.0)
        async with fed(publisher, "b") as second:
            for lab in (first, second):
                await works_by(lab, 0.5)
            assert [await passed(first), await passed(second)] == [BURST // 2, BURST // 2]
