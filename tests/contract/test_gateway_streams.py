"""What stays open, and what goes along with requests: streams, gRPC, HTTP/2 and trace context, through one nginx."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from coldchain.testing.gateway_lab import GatewayLab, endpoint, running_gateway
from coldchain.testing.raw_application import RawApplication, Script, answers, holds, raw_application, read_request

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[GatewayLab]:
    async with running_gateway(worker_processes=1) as lab:
        yield lab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def listening() -> AsyncIterator[RawApplication]:
    async with raw_application(answers) as application:
        yield application


@pytest.fixture
def app(listening: RawApplication) -> RawApplication:
    listening.requests.clear()
    return listening


@pytest.mark.parametrize("given", [GOOD, GOOD[:-2] + "00", f"cc-{TRACE}-{SPAN}-01-more", f"cc-{TRACE}-{SPAN}-01"])
async def test_a_trace_goes_on_with_its_state(lab: GatewayLab, app: RawApplication, given: str) -> None:
    await lab.route(endpoint("a", app.port))
    headers = {"traceparent": given, "tracestate": "rojo=1,congo=2", "X-Request-Id": "trace-" + given}
    assert (await lab.ask(headers=headers)).status == 200
    assert (app.requests[0].headers["traceparent"], app.requests[0].headers["tracestate"]) == (given, "rojo=1,congo=2")
    assert (await lab.logged("trace-" + given))["trace"] == given


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        GOOD.upper(),
        GOOD + "-more",
        GOOD[:-1],
        f"ff-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}0-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
    ],
)
async def test_what_is_no_trace_is_made_anew_without_state(
    lab: GatewayLab, app: RawApplication, given: str | None
) -> None:
    await lab.route(endpoint("a", app.port))
    headers = {"tracestate": "rojo=1"} | ({} if given is None else {"traceparent": given})
    for _ in range(2):
        assert (await lab.ask(headers=headers)).status == 200
    made = [request.headers["traceparent"] for request in app.requests]
    assert all(re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", one) for one in made)
    assert TRACE not in made[0]
    assert made[0] != made[1]
    assert not any("tracestate" in request.headers for request in app.requests)


def begins(head: bytes) -> Script:
    async def script(app: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(app, reader)
        writer.write(b"HTTP/1.1 " + head + b"\r\n\r\nbegun")
        await app.released.wait()

    return script


WEBSOCKET = b"101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade"
EVENTS = b"200 OK\r\nContent-Type: text/event-stream; charset=utf-8"
DOWNLOAD = b"200 OK\r\nContent-Type: text/plain"


@pytest.mark.parametrize(("head", "streams"), [(WEBSOCKET, {"a": 1}), (EVENTS, {"a": 1}), (DOWNLOAD, {})])
async def test_streams_at_a_draining_instance_are_told_apart(
    lab: GatewayLab, app: RawApplication, head: bytes, streams: dict[str, int]
) -> None:
    async with raw_application(begins(head)) as open_app, raw_application(holds) as silent:
        everyone = endpoint("a", open_app.port), endpoint("b", silent.port)
        writers = []
        for one in everyone:
            await lab.route(one)
            reader, writer = await asyncio.open_connection("127.0.0.1", lab.port)
            writers.append(writer)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
            if one is everyone[0]:
                await reader.readuntil(b"begun")
        await silent.arrived.wait()
        await lab.route(endpoint("c", app.port), *(endpoint(one.instance_id, one.port, 0) for one in everyone))
        await lab.in_flight({"a": 1, "b": 1})
        assert await told(lab) == streams
        for writer in writers:
            writer.close()
        await lab.in_flight({"a": 0, "b": 0})
        for _ in range(500):
            if not (await lab.gateway.report()).streams:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("streams that have ended are told of")


async def told(lab: GatewayLab) -> dict[str, int]:
    """The streams, once workers told of them: they do so four times a second."""
    found: dict[str, int] = {}
    for _ in range(60):
        found = (await lab.gateway.report()).streams
        if found:
            break
        await asyncio.sleep(0.01)
    return found
