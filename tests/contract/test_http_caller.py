"""The contract of `ports.service_caller.HttpCaller`, for the fake and for aiohttp's with a server on loopback."""

import asyncio
import ssl
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from coldchain.control.clock import SystemClock
from coldchain.http.caller import AiohttpCaller
from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.http_call import HttpAnswer, HttpCall
from coldchain.model.service_call import InDoubt
from coldchain.ports.service_caller import HttpCaller
from coldchain.testing.certificates import Authority
from coldchain.testing.fake_http_caller import FakeHttpCaller
from coldchain.testing.ports import free_port

SHORT_SECONDS = 0.2
LARGE = 1000


class World:
    """A service and who calls it. `seen`: method, path and what it was sent, of each request that reached it."""

    caller: HttpCaller
    url: str

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes]] = []
        self.losing = 0

    async def start(self) -> None: ...

    async def close(self) -> None:
        await self.caller.close()

    def lose_answers(self, count: int) -> None:
        """So many of the next requests are carried out, and the connection ends without an answer."""
        self.losing = count

    async def reply(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> HttpAnswer:
        self.seen.append((method, path, body))
        if path.startswith("/slow"):
            await asyncio.sleep(2 * SHORT_SECONDS)
        if path.startswith("/large"):
            return HttpAnswer(status=200, body=b"x" * (LARGE + 1))
        if path.startswith("/moved"):
            return HttpAnswer(status=302, headers={"Location": f"{self.url}/there"})
        told = ",".join((headers.get("X-Gray", ""), headers["Host"]))
        return HttpAnswer(
            status=404 if path.startswith("/none") else 200, body=told.encode(), headers={"X-Told": "yes"}
        )


class FakeWorld(World):
    url = "http://shop:80"

    def __init__(self) -> None:
        super().__init__()
        self.caller = self.fake = FakeHttpCaller(SystemClock())
        self.fake.hosts["shop:80"] = self.answer

    async def answer(self, call: HttpCall) -> HttpAnswer:
        headers = {"Host": call.host or "shop:80", **call.headers}
        return await self.reply(call.method, call.url.removeprefix(self.url), call.body or b"", headers)

    def lose_answers(self, count: int) -> None:
        self.fake.loses_answers = count


class AiohttpWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.caller = AiohttpCaller()

    async def start(self) -> None:
        self.runner = web.ServerRunner(web.Server(self.answer, access_log=None), shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def close(self) -> None:
        await super().close()
        await self.runner.cleanup()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path
        reply = await self.reply(request.method, path, await request.read(), dict(request.headers))
        if self.losing:
            self.losing -= 1
            assert request.transport is not None
            request.transport.abort()
        if path.startswith("/packed"):
            body = zlib.compress(b"x" * LARGE * 100)
            return web.Response(body=body, headers={"Content-Encoding": "deflate"})
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)


@pytest.fixture(params=[FakeWorld, AiohttpWorld], ids=["fake", "aiohttp"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    world: World = request.param()
    await world.start()
    yield world
    await world.close()


def call_of(world: World, path: str = "/", **more: object) -> HttpCall:
    return HttpCall(**({"service": "shop", "url": f"{world.url}{path}"} | more))  # type: ignore[arg-type]


async def test_what_is_sent_arrives_as_it_is_and_so_does_the_answer(world: World) -> None:
    call = call_of(world, "/a%2Fb?c=%20d", method="PUT", body=b"{}", headers={"X-Gray": "gray"}, host="shop.example")
    answer = await world.caller.send(call)
    assert (answer.status, answer.body, answer.headers["X-Told"]) == (200, b"gray,shop.example", "yes")
    assert world.seen == [("PUT", "/a%2Fb?c=%20d", b"{}")]


async def test_any_status_is_an_answer_and_redirections_are_not_followed(world: World) -> None:
    assert (await world.caller.send(call_of(world, "/none"))).status == 404
    assert (await world.caller.send(call_of(world, "/moved"))).status == 302
    assert len(world.seen) == 2


async def test_one_that_takes_too_long_is_in_doubt(world: World) -> None:
    with pytest.raises(InDoubt, match=r"no answer in 0\.2 s"):
        await world.caller.send(call_of(world, "/slow", timeout_seconds=SHORT_SECONDS))
    assert len(world.seen) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_one_whose_connection_ended_is_in_doubt_and_not_sent_again(world: World, method: str) -> None:
    await world.caller.send(call_of(world))
    world.lose_answers(1)
    with pytest.raises(InDoubt, match="the connection ended"):
        await world.caller.send(call_of(world, method=method))
    assert len(world.seen) == 2


async def test_an_answer_that_is_too_large_is_refused(world: World) -> None:
    with pytest.raises(Rejected, match="larger than 1000 bytes"):
        await world.caller.send(call_of(world, "/large", answer_bytes_max=LARGE))
    assert (await world.caller.send(call_of(world, "/large"))).body == b"x" * (LARGE + 1)


async def test_who_cannot_be_reached_is_unavailable(world: World) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await world.caller.send(HttpCall(service="shop", url=f"http://127.0.0.1:{free_port()}/"))


# aiohttp's alone


async def test_an_answer_that_grows_when_it_is_unpacked_is_refused() -> None:
    world = AiohttpWorld()
    await world.start()
    with pytest.raises(Rejected, match="larger than 1000 bytes"):
        await world.caller.send(call_of(world, "/packed", answer_bytes_max=LARGE))
    await world.close()


async def test_a_server_whose_certificate_nobody_vouches_for_is_unavailable(tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(Authority(tmp_path).made("shop", "server", ["127.0.0.1"]))
    world = AiohttpWorld()
    runner = web.ServerRunner(web.Server(world.answer, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    with pytest.raises(Unavailable, match="certificate"):
        await world.caller.send(HttpCall(service="shop", url=f"https://127.0.0.1:{runner.addresses[0][1]}/"))
    assert world.seen == []
    await world.caller.close()
    await runner.cleanup()
