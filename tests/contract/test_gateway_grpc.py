"""What consumers that speak gRPC see of limits, of instances that fail, and of all that the gateway answers itself: one
worker, by HTTP/2 over TLS, with gRPC's own client."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
import pytest_asyncio

from coldchain.documents.certificate_file import read_certificate
from coldchain.model.app import RouteFilters
from coldchain.model.gateway_resource import Certificate
from coldchain.model.limit import Ejection, Limit
from coldchain.model.rotation import RouteRule, ServiceRotation
from coldchain.model.route_access import ApiKeyPlace, Authentication
from coldchain.testing.certificates import Authority
from coldchain.testing.gateway_lab import GatewayLab, endpoint, running_gateway
from coldchain.testing.ports import free_ports

pytestmark = pytest.mark.asyncio(loop_scope="module")

Status = grpc.StatusCode
NAME, HOLD = "/shop.Cart/Name", "/shop.Cart/Hold"


class Instance(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers with `status`; at /shop.Cart/Hold once it is told to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.status = Status.OK
        self.answered = 0
        self.released = asyncio.Event()
        self.port = 0

    def service(self, details: Any) -> Any:
        answers = {NAME: self.tell, HOLD: self.hold}.get(details.method)
        return answers and grpc.unary_unary_rpc_method_handler(answers)

    async def tell(self, request: bytes, context: Any) -> bytes:
        self.answered += 1
        if self.status is not Status.OK:
            await context.abort(self.status, "told so")
        return self.name.encode()

    async def hold(self, request: bytes, context: Any) -> bytes:
        self.answered += 1
        await self.released.wait()
        return b""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[GatewayLab]:
    (port,) = free_ports(1)
    async with running_gateway(worker_processes=1, tls_listen=(f"127.0.0.1:{port}",)) as lab:
        yield lab


@pytest_asyncio.fixture(loop_scope="module")
async def instances() -> AsyncIterator[list[Instance]]:
    async with contextlib.AsyncExitStack() as stack:
        made = [Instance(name) for name in ("one", "two")]
        for one in made:
            server = grpc.aio.server()
            server.add_generic_rpc_handlers((one,))
            one.port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            stack.push_async_callback(server.stop, 0)
            stack.callback(one.released.set)
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def channel(lab: GatewayLab, authority: Authority) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.ssl_target_name_override", "grpc.test"), ("grpc.default_authority", "grpc.test")]
    trusted = grpc.ssl_channel_credentials(authority.file.read_bytes())
    async with grpc.aio.secure_channel(lab.settings.tls_listen[0], trusted, options=options) as channel:
        yield channel


async def push(lab: GatewayLab, authority: Authority, instances: list[Instance], **filters: Any) -> None:
    """Nothing is known any more of what was before."""
    found = read_certificate(authority.made_for("grpc", "grpc.test").read_text(), time.time())
    certificate = Certificate(name="grpc", domains=found.domains, chain=found.chain, key=found.key)
    rule = RouteRule(
        path="/shop.Cart",
        service="cart",
        name=f"lab{lab.revision}",
        filters=RouteFilters(protocol="grpc", **filters),
    )
    listed = tuple(endpoint(f"{one.name}-{lab.revision}", one.port) for one in instances)
    await lab.push({"cart": ServiceRotation(endpoints=listed)}, {"grpc.test": (rule,)}, [certificate])


async def call(channel: grpc.aio.Channel, method: str = NAME, **options: Any) -> tuple[grpc.StatusCode, str, Any]:
    """What became of it, in which words, and its last metadata."""
    try:
        return Status.OK, (await channel.unary_unary(method)(b"?", timeout=30, **options)).decode(), None
    except grpc.aio.AioRpcError as error:
        return (
            error.code(),
            error.details() or "",
            {**dict(error.initial_metadata()), **dict(error.trailing_metadata())},
        )


async def test_a_rate_says_that_it_was_too_much_and_when_to_come_again(
    lab: GatewayLab, authority: Authority, instances: list[Instance], channel: grpc.aio.Channel
) -> None:
    await push(lab, authority, instances, limits=(Limit(rate=1, per_seconds=600, burst=2),))
    found = [await call(channel) for _ in range(4)]
    assert [status for status, _, _ in found] == [Status.OK, Status.OK, *[Status.RESOURCE_EXHAUSTED] * 2]
    _, words, metadata = found[2]
    assert (words, metadata["ratelimit-remaining"]) == ("too many requests", "0")
    assert 1 <= int(metadata["retry-after"]) <= 600
    assert sum(one.answered for one in instances) == 2


@pytest.mark.parametrize(
    ("by", "status"), [("route", Status.UNAVAILABLE), ("address", Status.RESOURCE_EXHAUSTED)], ids=["route", "address"]
)
async def test_open_calls_are_limited_and_each_end_makes_room(
    lab: GatewayLab,
    authority: Authority,
    instances: list[Instance],
    channel: grpc.aio.Channel,
    by: Any,
    status: grpc.StatusCode,
) -> None:
    await push(lab, authority, instances, limits=(Limit(concurrency=2, by=by),))
    held = [asyncio.create_task(call(channel, HOLD)) for _ in range(2)]
    while sum(one.answered for one in instances) < 2:
        await asyncio.sleep(0.01)
    assert (await call(channel))[:2] == (status, "too many open requests")
    for one in instances:
        one.released.set()
    assert [found for found, _, _ in await asyncio.gather(*held)] == [Status.OK] * 2
    assert (await call(channel))[0] is Status.OK


@pytest.mark.parametrize(
    ("status", "fails"),
    [
        (Status.UNAVAILABLE, True),
        (Status.INTERNAL, True),
        (Status.UNKNOWN, True),
        (Status.INVALID_ARGUMENT, False),
        (Status.UNIMPLEMENTED, False),
        (Status.RESOURCE_EXHAUSTED, False),
    ],
)
async def test_an_instance_whose_calls_fail_is_left_alone_and_one_that_refuses_is_not(
    lab: GatewayLab,
    authority: Authority,
    instances: list[Instance],
    channel: grpc.aio.Channel,
    status: grpc.StatusCode,
    fails: bool,
) -> None:
    """gRPC's answers all have status 200."""
    await push(lab, authority, instances, ejection=Ejection(consecutive_errors=2, seconds=60))
    instances[0].status = status
    found = [(await call(channel))[0] for _ in range(12)]
    assert (found.count(status), found.count(Status.OK)) == ((2, 10) if fails else (6, 6))


async def test_one_that_was_left_alone_comes_back(
    lab: GatewayLab, authority: Authority, instances: list[Instance], channel: grpc.aio.Channel
) -> None:
    await push(lab, authority, instances, ejection=Ejection(consecutive_errors=1, seconds=0.2))
    bad = instances[0]
    bad.status = Status.UNAVAILABLE
    while not bad.answered:
        await call(channel)
    bad.status = Status.OK
    began, before = time.monotonic(), bad.answered
    while bad.answered == before:
        assert (await call(channel))[0] is Status.OK
    assert time.monotonic() - began >= 0.15


async def test_whatever_the_gateway_answers_itself_is_an_answer_of_grpc(
    lab: GatewayLab, authority: Authority, instances: list[Instance], channel: grpc.aio.Channel
) -> None:
    await push(lab, authority, instances)
    assert (await call(channel, "/shop.Till/Open"))[:2] == (Status.UNIMPLEMENTED, "no route for this host and path")
    keyed = Authentication(api_key=ApiKeyPlace(header="x-api-key"))
    await push(lab, authority, instances, authentication=keyed)
    assert (await call(channel))[0] is Status.UNAUTHENTICATED
    await push(lab, authority, [])
    assert (await call(channel))[:2] == (Status.UNAVAILABLE, "no instance is in rotation")
    gone = Instance("gone")
    (gone.port,) = free_ports(1)
    await push(lab, authority, [gone])
    assert (await call(channel))[:2] == (Status.UNAVAILABLE, "no instance can be reached")
    await push(lab, authority, instances, timeout_seconds=0.2)
    assert (await call(channel, HOLD))[:2] == (Status.UNAVAILABLE, "the instance did not answer in time")


async def test_who_does_not_speak_grpc_gets_json_and_numbers_tell_what_was_meant(
    lab: GatewayLab, authority: Authority, channel: grpc.aio.Channel
) -> None:
    await push(lab, authority, [])
    await call(channel)
    for kind in ("application/json", "application/grpc", "application/grpc-web"):
        answer = await lab.ask("POST", "/shop.Cart/Name", headers={"Host": "grpc.test", "Content-Type": kind})
        assert (answer.status, answer.headers["Content-Type"]) == (503, "application/json")
    labels = f'service="cart",route="lab{lab.revision - 1}"'
    async with asyncio.timeout(10):
        while f'route_requests_total{{{labels},status="5xx"}} 4' not in await metrics(lab.consumer, lab):
            await asyncio.sleep(0.05)
    assert f'route_requests_total{{{labels},status="2xx"}}' not in await metrics(lab.consumer, lab)


async def metrics(consumer: aiohttp.ClientSession, lab: GatewayLab) -> str:
    async with consumer.get(f"http://{lab.settings.status_listen}/metrics") as answer:
        return await answer.text()
