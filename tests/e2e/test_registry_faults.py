"""Faults of the registry under load: who serves loses no request, and who is silent gets none."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from coldchain.store.memory import MemoryStore
from coldchain.testing.consul import embedded_registry
from coldchain.testing.ports import free_port
from coldchain.testing.stage import Stage

HOST = "old.localhost"
APP = {"id": "/legacy", "service": "legacy", "instances": 0, "routes": [{"domains": [HOST]}]}
TTL_SECONDS, BEAT_SECONDS = 2, 0.4
NAMES = ("one", "two", "three")
PATIENCE_SECONDS = 60.0


class Crowd:
    """Servers that register themselves, say that they live, and register again when the registry has forgotten them."""

    def __init__(self, session: aiohttp.ClientSession, registry_port: int) -> None:
        self._session = session
        self._agent = f"http://127.0.0.1:{registry_port}/v1/agent"
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.beaten: Counter[str] = Counter()
        self.speaks = asyncio.Event()
        self.speaks.set()

    @contextlib.asynccontextmanager
    async def live(self) -> AsyncIterator[None]:
        """All of them, registered."""
        async with contextlib.AsyncExitStack() as closing:
            for name in NAMES:
                application = web.Application()
                application.router.add_route("*", "/", self._serve(name))
                server = await closing.enter_async_context(TestServer(application))
                self._tasks[name] = asyncio.create_task(self._keep(name, server.port or 0))
            try:
                await self.beat()
                yield
            finally:
                for task in self._tasks.values():
                    task.cancel()
                await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _serve(self, name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def serve(request: web.Request) -> web.Response:
            return web.Response(text=name)

        return serve

    async def _keep(self, name: str, port: int) -> None:
        check = {"TTL": f"{TTL_SECONDS}s", "Status": "passing"}
        own = {"ID": name, "Name": "legacy", "Address": "127.0.0.1", "Port": port, "Check": check}
        while True:
            await self.speaks.wait()
            with contextlib.suppress(aiohttp.ClientError):
                async with self._session.put(f"{self._agent}/check/pass/service:{name}") as answer:
                    status = answer.status
                if status != 200:
                    async with self._session.put(f"{self._agent}/service/register", json=own) as answer:
                        status = answer.status
                self.beaten[name] += status == 200
            await asyncio.sleep(BEAT_SECONDS)

    async def beat(self) -> None:
        """Until each has been heard twice more."""
        heard = dict(self.beaten)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while any(
                self.beaten[name] < heard.get(name, 0) + 2 for name, task in self._tasks.items() if not task.done()
            ):
                await asyncio.sleep(0.05)

    def fall_silent(self, name: str) -> None:
        """It serves on, and forgets to say so."""
        self._tasks[name].cancel()


class Asking:
    """Asks the gateway without pause: every answer's status, and who gave it."""

    def __init__(self, session: aiohttp.ClientSession, stage: Stage) -> None:
        self._session = session
        self._url = f"http://127.0.0.1:{stage.gateway_port}/"
        self.statuses: Counter[int] = Counter()
        self.who: Counter[str] = Counter()

    async def ask(self) -> tuple[int, str]:
        async with self._session.post(self._url, headers={"Host": HOST}) as answer:
            return answer.status, await answer.text()

    async def until_all(self) -> None:
        """Until the gateway leads to each."""
        found: set[str] = set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not set(NAMES) <= found:
                found.add((await self.ask())[1])
                await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def all_the_time(self) -> AsyncIterator[None]:
        """Meanwhile; in the end all answers were good."""

        async def run() -> None:
            while True:
                status, text = await self.ask()
                self.statuses[status] += 1
                self.who[text if status == 200 else "nobody"] += 1
                await asyncio.sleep(0.01)

        asking = asyncio.create_task(run())
        yield
        assert not asking.done(), asking.exception()
        asking.cancel()
        assert set(self.statuses) == {200}, self.who

    async def everybody_serves(self) -> None:
        """From now on each gets requests."""
        self.who.clear()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while set(self.who) != set(NAMES):
                await asyncio.sleep(0.05)


async def test_who_forgets_to_say_that_he_lives_is_left_out_and_a_restart_of_the_registry_loses_nothing(
    stage: Stage,
) -> None:
    await stage.start()
    async with aiohttp.ClientSession() as session:
        crowd, asking = Crowd(session, stage.registry_port), Asking(session, stage)
        async with crowd.live():
            await stage.create(APP)
            await asking.until_all()
            async with asking.all_the_time():
                stage.kill()
                await asyncio.sleep(TTL_SECONDS + 0.5)
                await stage.start()
                await crowd.beat()
                await asking.everybody_serves()
                crowd.fall_silent("one")
                began = asyncio.get_running_loop().time()
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while {one["id"]: one for one in await endpoints(stage)}["one"]["inRotation"]:
                        await asyncio.sleep(0.05)
                left_out = asyncio.get_running_loop().time() - began
                asking.who.clear()
                await asyncio.sleep(0.5)
                assert set(asking.who) == {"two", "three"}
            assert left_out < TTL_SECONDS + 3.0
            one = {each["id"]: each for each in await endpoints(stage)}["one"]
            assert (one["status"], one["inRotation"], one["registeredBy"]) == ("critical", False, "others")
            assert "TTL expired" in one["why"]


@pytest.mark.parametrize("gone_seconds", [4.0, pytest.param(60.0, marks=pytest.mark.long)])
async def test_a_registry_that_is_gone_and_comes_back_with_nothing_loses_nothing(
    stage: Stage, gone_seconds: float
) -> None:
    port, store = free_port(), MemoryStore()
    stage.options["--registry"] = f"consul://127.0.0.1:{port}"
    async with aiohttp.ClientSession() as session:
        crowd, asking = Crowd(session, port), Asking(session, stage)
        async with contextlib.AsyncExitStack() as first:
            await first.enter_async_context(embedded_registry(store, port=port))
            living = contextlib.AsyncExitStack()
            await living.enter_async_context(crowd.live())
            await stage.start()
            await stage.create(APP)
            await asking.until_all()
        async with living, asking.all_the_time():
            await asyncio.sleep(gone_seconds)
            async with embedded_registry(store, port=port):
                await crowd.beat()
                await asking.everybody_serves()
            # Another one in its place has nothing, until it hears of those who serve from themselves.
            crowd.speaks.clear()
            async with embedded_registry(port=port):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while "stays for a while" not in stage.log.read_text():
                        await asyncio.sleep(0.1)
                await asking.everybody_serves()
                assert {(one["status"], one["inRotation"]) for one in await endpoints(stage)} == {("unlisted", True)}
                crowd.speaks.set()
                await crowd.beat()
                await asking.everybody_serves()
                assert {(one["status"], one["inRotation"]) for one in await endpoints(stage)} == {("passing", True)}


async def endpoints(stage: Stage) -> list[dict[str, Any]]:
    [service] = (await stage.call("GET", "/v1/services"))["services"]
    found: list[dict[str, Any]] = service["endpoints"]
    return found
