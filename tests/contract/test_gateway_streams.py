"""What stays open, and what goes along with requests: streams, gRPC, HTTP/2 and trace context, through one nginx."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import msgspec
import pytest
import pytest_asyncio

from coldchain.documents.certificate_file import read_certificate
from coldchain.model.app import RouteFilters
from coldchain.model.gateway_resource import Certificate
from coldchain.model.rotation import Endpoint, RouteRule, ServiceRotation
from coldchain.testing.certificates import Authority
from coldchain.testing.gateway_lab import GatewayLab, endpoint, running_gateway
from coldchain.testing.ports import free_ports
from coldchain.testing.raw_application import RawApplication, Script, holds, raw_application, read_request

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(authority: Authority) -> AsyncIterator[GatewayLab]:
    (port,) = free_ports(1)
    async with running_gateway(worker_processes=1, tls_listen=(f"127.0.0.1:{port}",)) as lab:
        yield lab


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
async def test_what_is_no_trace_does_not_go_on_and_neither_does_its_state(
    lab: GatewayLab, app: RawApplication, given: str | None
) -> None:
    await lab.route(endpoint("a", app.port))
    headers = {"tracestate": "rojo=1"} | ({} if given is None else {"traceparent": given})
    assert (await lab.ask(headers=headers)).status == 200
    assert not {"traceparent", "tracestate"} & app.requests[0].headers.keys()


def begins(head: bytes) -> Script:
    async def script(app: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(app, reader)
        chunked = b"chunked" in head
        writer.write(b"HTTP/1.1 " + head + b"\r\n\r\n" + (b"5\r\nbegun\r\n" if chunked else b"begun"))
        await app.released.wait()

    return script


WEBSOCKET = b"101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade"
EVENTS = b"200 OK\r\nContent-Type: text/event-stream; charset=utf-8"
DOWNLOAD = b"200 OK\r\nContent-Type: text/plain"


@pytest.mark.parametrize(("head", "streams"), [(WEBSOCKET, {"a": 1}), (EVENTS, {"a": 1}), (DOWNLOAD, {})])
async def test_streams_at_a_draining_instance_are_told_apart(
    lab: GatewayLab, app: RawApplication, head: bytes, streams: dict[str, int]
) -> None:
    async with (
        raw_application(begins(head)) as open_app,
        raw_application(holds) as silent,
        raw_application(begins(WEBSOCKET)) as always,
    ):
        everyone = endpoint("a", open_app.port), endpoint("b", silent.port), endpoint("d", always.port)
        writers = []
        for one in everyone:
            await lab.route(one)
            reader, writer = await asyncio.open_connection("127.0.0.1", lab.port)
            writers.append(writer)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
            if one.port != silent.port:
                await reader.readuntil(b"begun")
        await silent.arrived.wait()
        await lab.route(endpoint("c", app.port), *(endpoint(one.instance_id, one.port, 0) for one in everyone))
        await lab.in_flight({"a": 1, "b": 1, "d": 1})
        await told(lab, {**streams, "d": 1})
        for writer in writers:
            writer.close()
        await lab.in_flight({"a": 0, "b": 0, "d": 0})
        await told(lab, {})


CHUNKED = b"200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked"
MARK = msgspec.structs.replace


@pytest.mark.parametrize("head", [WEBSOCKET, EVENTS, CHUNKED])
async def test_streams_past_their_time_are_ended_and_nothing_else_is(
    lab: GatewayLab, app: RawApplication, head: bytes
) -> None:
    async with raw_application(begins(head)) as open_app, raw_application(begins(head)) as other, both(lab) as ask:
        leaving, stays, elsewhere = (
            endpoint("a", open_app.port, 0),
            endpoint("b", other.port, 0),
            endpoint("c", app.port),
        )
        cut, kept = await ask(open_app.port), await ask(other.port)
        await lab.route(elsewhere, leaving, stays)
        while (await lab.gateway.report()).streams != {"a": 1, "b": 1}:
            await asyncio.sleep(0.01)
        await lab.change(elsewhere, MARK(leaving, cut_streams=True), stays)
        async with asyncio.timeout(5):
            end = await cut.read() if head is not EVENTS else await cut.readuntil(b"0\r\n\r\n")
        assert (b"0\r\n\r\n" in end) == (head is EVENTS), "the end of an answer in chunks is not made up"
        await lab.in_flight({"a": 0, "b": 1})
        assert (await lab.gateway.report()).cut == {"a": 1}
        assert not kept.at_eof()
        await lab.change(elsewhere, stays)
        assert (await lab.gateway.report()).cut == {}


@contextlib.asynccontextmanager
async def both(lab: GatewayLab) -> AsyncIterator[Callable[[int], Awaitable[asyncio.StreamReader]]]:
    """What begins a stream at the application of a port."""
    writers = []

    async def ask(port: int) -> asyncio.StreamReader:
        await lab.route(endpoint("a" if not writers else "b", port))
        reader, writer = await asyncio.open_connection("127.0.0.1", lab.port)
        writers.append(writer)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
        await reader.readuntil(b"begun")
        return reader

    try:
        yield ask
    finally:
        for writer in writers:
            writer.close()


async def told(lab: GatewayLab, streams: dict[str, int]) -> None:
    """Once workers told of these and no others: they do so four times a second."""
    async with asyncio.timeout(5):
        while (await lab.gateway.report()).streams != streams:
            await asyncio.sleep(0.01)


class Calls(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A service whose methods take and give bytes. `heard`: the metadata of every call."""

    def __init__(self, name: str) -> None:
        self.name = name.encode()
        self.heard: list[dict[str, str]] = []

    def service(self, details: Any) -> Any:
        self.heard.append(dict(details.invocation_metadata))
        match details.method:
            case "/shop.Cart/Name":
                return grpc.unary_unary_rpc_method_handler(self.tell)
            case "/shop.Cart/Refuse":
                return grpc.unary_unary_rpc_method_handler(self.refuse)
            case "/shop.Cart/Echo":
                return grpc.stream_stream_rpc_method_handler(self.echo)
        return None

    async def tell(self, request: bytes, context: Any) -> bytes:
        return self.name + b" " + request

    async def refuse(self, request: bytes, context: Any) -> None:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the cart is empty")

    async def echo(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for one in requests:
            yield one.upper()


@contextlib.asynccontextmanager
async def serving(name: str) -> AsyncIterator[tuple[Calls, Endpoint]]:
    calls, server = Calls(name), grpc.aio.server()
    server.add_generic_rpc_handlers((calls,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield calls, endpoint(name, port)
    finally:
        await server.stop(0)


async def push_grpc(lab: GatewayLab, authority: Authority, *endpoints: Endpoint) -> None:
    text = authority.made_for("grpc", "grpc.test").read_text()
    found = read_certificate(text, time.time())
    await lab.push(
        {"cart": ServiceRotation(endpoints=endpoints)},
        {"grpc.test": (RouteRule(path="/shop.Cart", service="cart", filters=RouteFilters(protocol="grpc")),)},
        [Certificate(name="grpc", domains=found.domains, chain=found.chain, key=found.key)],
    )


@pytest_asyncio.fixture(loop_scope="module")
async def channel(lab: GatewayLab, authority: Authority) -> AsyncIterator[grpc.aio.Channel]:
    names = [("grpc.ssl_target_name_override", "grpc.test"), ("grpc.default_authority", "grpc.test")]
    trusted = grpc.ssl_channel_credentials(authority.file.read_bytes())
    async with grpc.aio.secure_channel(lab.settings.tls_listen[0], trusted, options=names) as channel:
        yield channel


async def test_calls_of_one_connection_go_to_all_instances(
    lab: GatewayLab, authority: Authority, channel: grpc.aio.Channel
) -> None:
    async with serving("one") as (calls, one), serving("two") as (_, two):
        await push_grpc(lab, authority, one, two)
        ask = channel.unary_unary("/shop.Cart/Name")
        answers = [await ask(b"?", metadata=(("traceparent", GOOD),)) for _ in range(4)]
        assert sorted(answers) == [b"one ?"] * 2 + [b"two ?"] * 2
        assert calls.heard[0]["traceparent"] == GOOD
        assert calls.heard[0]["x-forwarded-for"] == "127.0.0.1"
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary("/shop.Cart/Refuse")(b"")
        assert (raised.value.code(), raised.value.details()) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "the cart is empty",
        )


async def test_a_call_that_reached_nobody_goes_elsewhere(
    lab: GatewayLab, authority: Authority, channel: grpc.aio.Channel
) -> None:
    async with serving("one") as (_, one):
        await push_grpc(lab, authority, endpoint("gone", *free_ports(1)), one)
        ask = channel.unary_unary("/shop.Cart/Name")
        assert [await ask(b"?") for _ in range(4)] == [b"one ?"] * 4
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ask(b"?")
    assert raised.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_call_that_may_have_run_is_never_repeated(
    lab: GatewayLab, authority: Authority, channel: grpc.aio.Channel
) -> None:
    async with raw_application(cuts) as broken, serving("one") as (calls, one):
        await push_grpc(lab, authority, endpoint("broken", broken.port), one)
        codes = []
        for _ in range(2):
            try:
                await channel.unary_unary("/shop.Cart/Name")(b"?")
            except grpc.aio.AioRpcError as error:
                codes.append(error.code())
        assert codes == [grpc.StatusCode.UNAVAILABLE]
        assert (broken.connections, len(calls.heard)) == (1, 1)


async def cuts(app: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes what comes first, and closes."""
    await reader.read(24)


async def test_a_call_flows_both_ways_and_counts_as_a_stream(
    lab: GatewayLab, authority: Authority, channel: grpc.aio.Channel
) -> None:
    async with serving("one") as (_, one):
        await push_grpc(lab, authority, one)
        call = channel.stream_stream("/shop.Cart/Echo")()
        for word in (b"milk", b"eggs"):
            await call.write(word)
            assert await call.read() == word.upper(), "each answer came before the next request"
        await push_grpc(lab, authority, endpoint("one", one.port, 0), endpoint("other", *free_ports(1)))
        await lab.in_flight({"one": 1})
        await told(lab, {"one": 1})
        await call.write(b"bread")
        assert await call.read() == b"BREAD"
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        await lab.in_flight({"one": 0})


async def test_a_call_past_its_time_is_ended_and_others_of_its_connection_go_on(
    lab: GatewayLab, authority: Authority, channel: grpc.aio.Channel
) -> None:
    async with serving("one") as (_, one), serving("two") as (_, two):
        calls = []
        for one_of_both in (one, two):
            await push_grpc(lab, authority, one_of_both)
            call = channel.stream_stream("/shop.Cart/Echo")()
            await call.write(b"milk")
            assert await call.read() == b"MILK"
            calls.append(call)
        await push_grpc(lab, authority, MARK(one, weight=0, cut_streams=True), two)
        async with asyncio.timeout(5):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await calls[0].read()
        assert raised.value.code() == grpc.StatusCode.INTERNAL
        assert (await lab.gateway.report()).cut == {"one": 1}
        await calls[1].write(b"eggs")
        assert await calls[1].read() == b"EGGS"


def connections(calls: Calls) -> set[str]:
    """Those by which consumers came: the gateway's ids of requests have them."""
    return {heard["x-request-id"].rsplit("-", 3)[1] for heard in calls.heard}


async def test_who_speaks_http_2_is_told_to_go_and_loses_nothing(
    lab: GatewayLab, authority: Authority, channel: grpc.aio.Channel
) -> None:
    async with serving("one") as (calls, one):
        await push_grpc(lab, authority, one)
        stream = channel.stream_stream("/shop.Cart/Echo")()
        await stream.write(b"milk")
        assert await stream.read() == b"MILK"
        ask = channel.unary_unary("/shop.Cart/Name")
        asked: list[bytes] = []
        over = asyncio.Event()

        async def load() -> None:
            while not over.is_set():
                asked.append(await ask(b"?"))

        loads = [asyncio.create_task(load()) for _ in range(4)]
        try:
            await lab.process.drain()
            await lab.process.say_goodbye()
            async with asyncio.timeout(10):
                while len(connections(calls)) < 4:
                    await asyncio.sleep(0.05)
        finally:
            over.set()
            await asyncio.gather(*loads)
            await lab.process.start_or_adopt()
        assert set(asked) == {b"one ?"}
        await stream.write(b"eggs")
        assert await stream.read() == b"EGGS"
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
