"""A gateway of its own leaves while streams are open: it waits, ends them at its deadline, and says so."""

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import web

from coldchain.documents.exchange import Given
from coldchain.main.gateway_settings import GatewayProcessSettings
from coldchain.model.rotation import GatewayReport, RotationUpdate, RouteRule, ServiceRotation
from coldchain.testing.gateway_lab import endpoint
from coldchain.testing.gateway_process import GatewayProcess, own_gateways
from coldchain.testing.raw_application import RawApplication, answers_as_asked, raw_application

LEAVE_SECONDS, DRAIN_SECONDS = 0.2, 2.0


class Controller:
    """What a gateway needs of one: a lease, and one rotation. `reports`: all that it was told."""

    def __init__(self, port: int) -> None:
        service = ServiceRotation(endpoints=(endpoint("a", port),))
        rules = {"*": (RouteRule(path="/", service="shop"),)}
        self.rotation = RotationUpdate(base=0, revision=1, services={"shop": service}, routes=dict(rules))
        self.reports: list[GatewayReport] = []

    async def exchange(self, request: web.Request) -> web.Response:
        report = msgspec.json.decode(await request.read(), type=GatewayReport)
        self.reports.append(report)
        news = self.rotation if report.applied < 1 and not report.leaving else None
        if news is None:
            await asyncio.sleep(min(0.1, float(request.query["wait"])))
        return web.Response(body=msgspec.json.encode(Given(lease_seconds=5.0, update=news)))


@pytest.fixture
async def app() -> AsyncIterator[RawApplication]:
    async with raw_application(answers_as_asked) as application:
        yield application


@pytest.fixture
async def controller(app: RawApplication) -> Controller:
    return Controller(app.port)


@pytest.fixture
async def gateway(controller: Controller) -> AsyncIterator[GatewayProcess]:
    server = web.Application()
    server.router.add_post("/v1/gateways/{name}/exchange", controller.exchange)
    runner = web.AppRunner(server)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        settings = GatewayProcessSettings(
            controllers=(url,), name="own", leave_seconds=LEAVE_SECONDS, drain_seconds=DRAIN_SECONDS
        )
        async with own_gateways([settings]) as (started,):
            yield started
    finally:
        await runner.cleanup()


async def test_streams_have_the_whole_time_to_drain_and_are_counted(
    gateway: GatewayProcess, controller: Controller
) -> None:
    streams = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(2)]
    for reader, writer in streams:
        writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"begun")
    idle, kept = await asyncio.open_connection("127.0.0.1", gateway.port)
    kept.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await idle.readuntil(b"an answer")
    began = time.monotonic()
    leaving = asyncio.create_task(gateway.leave())
    async with asyncio.timeout(20):
        assert await idle.read() == b""
        assert time.monotonic() - began >= LEAVE_SECONDS + DRAIN_SECONDS / 2, "it had time to say something"
        assert not any(reader.at_eof() for reader, _ in streams)
        kept.close()
        for reader, writer in streams:
            assert await reader.read() == b"\r\n0\r\n\r\n"
            assert time.monotonic() - began >= LEAVE_SECONDS + DRAIN_SECONDS
            writer.close()
    assert await leaving == 0, gateway.log_tail()
    assert "gateway own has left, streams cut: 2" in gateway.log_tail()
    farewell = controller.reports[-1]
    assert (farewell.leaving, farewell.cut) == (True, {"a": 2})
    assert not any(report.leaving for report in controller.reports[:-1])
