"""`coldchain_register` against the embedded registry, and against servers that answer badly."""

import asyncio
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from coldchain.testing.consul import Asker, embedded_registry
from coldchain_register import AsyncRegistration, Registration, RegistryClient, Settings
from coldchain_register.asgi import RegisteredApp
from coldchain_register.client import RegistryRefused, RegistryUnavailable

ROOT = Path(__file__).parents[2]
OWN = """
import signal, sys, time
def own(number, frame):
    print("term", flush=True)
    sys.exit(7)
signal.signal(signal.SIGTERM, own)
"""
PROGRAMS = {
    "threads": f"""{OWN}
from coldchain_register import Registration
registration = Registration()
registration.start()
registration.end_on()
try:
    while True:
        time.sleep(60)
finally:
    registration.stop()
""",
    "asyncio": """
import asyncio, sys
from coldchain_register import AsyncRegistration
async def main():
    async with AsyncRegistration() as registration:
        await registration.released()
        print("term", flush=True)
asyncio.run(main())
sys.exit(7)
""",
    "wsgi": f"""{OWN}
from coldchain_register.wsgi import registered
application = registered(lambda environ, start_response: [])
while True:
    time.sleep(60)
""",
    "default": """
import time
from coldchain_register import Registration
registration = Registration()
registration.start()
registration.end_on()
print("term", flush=True)
time.sleep(60)
""",
    "stubborn": """
import signal, time
signal.signal(signal.SIGTERM, lambda number, frame: print("term", flush=True))
from coldchain_register import Registration
registration = Registration()
registration.start()
registration.end_on()
while True:
    time.sleep(60)
""",
}
STATUSES = {"threads": 7, "asyncio": 7, "wsgi": 7, "default": -signal.SIGTERM, "stubborn": -signal.SIGKILL}


class Lab:
    def __init__(self, ask: Asker, address: str) -> None:
        self.ask, self.address = ask, address

    def settings(self, **fields: Any) -> Settings:
        given = {
            "registry": self.address,
            "service": "shop",
            "registration_id": "shop-1",
            "port": 8080,
            "tags": ("blue",),
            "meta": {"app": "/shop"},
            "ttl_seconds": 1.0,
            "settle_seconds": 0.0,
        }
        return Settings(**(given | fields))

    async def statuses(self) -> list[str]:
        checks = (await self.ask("GET", "/v1/health/checks/shop")).json
        return sorted("marked" if one["CheckID"].startswith("_service") else one["Status"] for one in checks)

    async def until(self, *wanted: str) -> None:
        async with asyncio.timeout(20):
            while await self.statuses() != sorted(wanted):
                await asyncio.sleep(0.02)

    async def run(self, program: str, **variables: str) -> asyncio.subprocess.Process:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "register"),
            "COLDCHAIN_REGISTRY": self.address,
            "COLDCHAIN_SERVICE": "shop",
            "COLDCHAIN_SERVICE_ID": "shop-1",
            "COLDCHAIN_TTL_SECONDS": "3",
            "COLDCHAIN_SETTLE_SECONDS": "1",
            "COLDCHAIN_GRACE_SECONDS": "1",
        }
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, env=environment | variables, stdout=asyncio.subprocess.PIPE
        )


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with embedded_registry() as registry, aiohttp.ClientSession() as session:
        yield Lab(Asker(session, registry.server.address), registry.server.address)


@pytest.mark.parametrize("kind", PROGRAMS)
async def test_a_program_is_marked_and_hears_of_the_signal_after_the_settle_time(lab: Lab, kind: str) -> None:
    process = await lab.run(PROGRAMS[kind])
    try:
        await lab.until("passing")
        loop = asyncio.get_running_loop()
        began = loop.time()
        process.send_signal(signal.SIGTERM)
        await lab.until("marked", "passing")
        async with asyncio.timeout(20):
            output, _ = await process.communicate()
        assert loop.time() - began > 1.0
        assert (output, process.returncode) == (b"term\n", STATUSES[kind])
        assert await lab.statuses() == []
    finally:
        if process.returncode is None:
            process.kill()


async def test_who_was_marked_before_hears_of_it_at_once(lab: Lab) -> None:
    process = await lab.run(PROGRAMS["threads"], COLDCHAIN_SETTLE_SECONDS="60")
    await lab.until("passing")
    await lab.ask("PUT", "/v1/agent/service/maintenance/shop-1?enable=true&reason=draining")
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        assert await process.wait() == 7


async def test_the_heartbeat_says_how_the_app_is_and_what_was_lost_comes_back(lab: Lab) -> None:
    well = True

    def health() -> bool:
        if not well:
            raise OSError("no database")
        return True

    registration = Registration(health, lab.settings())
    registration.start()
    await lab.until("passing")
    [found] = (await lab.ask("GET", "/v1/health/service/shop?passing")).json
    service = found["Service"]
    assert (service["ID"], service["Port"], service["Tags"]) == ("shop-1", 8080, ["blue"])
    assert (service["Address"], service["Meta"]["app"]) == ("127.0.0.1", "/shop")
    well = False
    await lab.until("critical")
    [check] = (await lab.ask("GET", "/v1/health/checks/shop")).json
    assert check["Output"] == "OSError: no database"
    well = True
    await lab.until("passing")
    await lab.ask("PUT", "/v1/agent/service/deregister/shop-1")
    await lab.until("passing")
    await asyncio.to_thread(registration.drain)
    await lab.until("marked", "passing")
    # Marked, it does not come back when the registry loses it.
    await lab.ask("PUT", "/v1/agent/service/deregister/shop-1")
    await asyncio.sleep(1.0)
    assert await lab.statuses() == []
    await asyncio.to_thread(registration.stop)


async def test_a_loop_that_is_stuck_and_an_async_health_are_seen(lab: Lab) -> None:
    well = False

    async def health() -> bool:
        await asyncio.sleep(0)
        return well

    async with AsyncRegistration(health, lab.settings(ttl_seconds=6.0)):
        await lab.until("critical")
        well = True
        await lab.until("passing")
    assert await lab.statuses() == []


Scope = dict[str, Any]


async def knows_lifespan(scope: Scope, receive: Callable[[], Any], send: Callable[[Scope], Any]) -> None:
    assert (await receive())["type"] == "lifespan.startup"
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    await send({"type": "lifespan.shutdown.complete"})


async def knows_none(scope: Scope, receive: Callable[[], Any], send: Callable[[Scope], Any]) -> None:
    assert scope["type"] == "http"


@pytest.mark.parametrize("app", [knows_lifespan, knows_none])
async def test_an_asgi_app_is_registered_while_its_server_runs(lab: Lab, app: Any) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    to_app: asyncio.Queue[Any] = asyncio.Queue()
    to_server: asyncio.Queue[Any] = asyncio.Queue()
    running = asyncio.create_task(
        RegisteredApp(app, settings=lab.settings())({"type": "lifespan"}, to_app.get, to_server.put)
    )
    try:
        await to_app.put({"type": "lifespan.startup"})
        assert (await to_server.get())["type"] == "lifespan.startup.complete"
        await lab.until("passing")
        await to_app.put({"type": "lifespan.shutdown"})
        assert (await to_server.get())["type"] == "lifespan.shutdown.complete"
        await running
        assert await lab.statuses() == []
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


async def test_an_asgi_app_that_fails_to_start_is_not_registered(lab: Lab) -> None:
    async def fails(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    sent: asyncio.Queue[Any] = asyncio.Queue()
    given: asyncio.Queue[Any] = asyncio.Queue()
    await given.put({"type": "lifespan.startup"})
    await RegisteredApp(fails, settings=lab.settings())({"type": "lifespan"}, given.get, sent.put)
    assert [sent.get_nowait()["type"]] == ["lifespan.startup.failed"]
    assert await lab.statuses() == []


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [(403, "Permission denied", RegistryRefused), (500, "", RegistryRefused), (200, "<html>", RegistryUnavailable)],
)
async def test_bad_answers_are_told_apart(status: int, text: str, error: type[Exception]) -> None:
    tokens = []

    async def bad(request: web.Request) -> web.Response:
        tokens.append(request.headers.get("X-Consul-Token"))
        return web.Response(status=status, text=text)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", bad)
    async with TestServer(application) as server:
        settings = Settings(f"127.0.0.1:{server.port}", "shop", "shop-1", token="t")
        with pytest.raises(error):
            await asyncio.to_thread(RegistryClient(settings).is_marked)
    assert tokens == ["t"]
    with pytest.raises(RegistryUnavailable):
        await asyncio.to_thread(RegistryClient(Settings("127.0.0.1:1", "shop", "shop-1")).register)


def test_without_the_platform_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLDCHAIN_REGISTRY", raising=False)
    with Registration() as registration:
        assert registration.settings is None


def test_the_wheel_brings_package_and_entry(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT / "register", check=True)
    [wheel] = tmp_path.glob("coldchain_register-*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        metadata = opened.read(next(one for one in names if one.endswith("METADATA"))).decode()
    assert {"coldchain_register/py.typed", "coldchain_register/asgi.py"} <= set(names)
    assert any(one.endswith(".data/scripts/coldchain-entry") for one in names)
    assert "Requires-Dist" not in metadata
