"""up: the platform on one machine as one process. Apps and gateway outlive it."""

import asyncio
import contextlib
import signal
import sys

import structlog

from coldchain.api.server import ApiServer
from coldchain.api.settings import ApiSettings
from coldchain.engines.local import not_offered
from coldchain.main.candidate import open_candidate
from coldchain.main.down import take_down
from coldchain.main.listeners import admit_callers, check_listeners, leader_trust, tls_context
from coldchain.main.memory import return_large_blocks
from coldchain.main.platform import Platform, open_platform
from coldchain.main.settings import PlatformSettings
from coldchain.model.app import App
from coldchain.model.errors import Problem
from coldchain.runners.docker.parameters import unknown_parameters

log = structlog.get_logger(__name__)


def _impossible(app: App) -> list[Problem]:
    return [*unknown_parameters(app), *not_offered(app)]


async def up(settings: PlatformSettings) -> int:
    """Run until SIGINT, SIGTERM or `coldchain down`. Raises ColdchainError when it cannot start."""
    return_large_blocks()
    left, down = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, left.set)
    check_listeners(settings)
    tls = await asyncio.to_thread(tls_context, settings)
    opening = open_platform if settings.store is None else open_candidate
    async with opening(settings) as platform:
        await admit_callers(settings, platform.controller.callers)
        if platform.candidate is not None:
            platform.candidate.credentials = platform.controller.callers.credentials
        offered = ApiSettings(
            check=_impossible,
            down=down.set,
            clock=platform.clock,
            tls=tls,
            certificate_role=settings.api_client_role if settings.api_client_authority else None,
            socket=settings.api_socket,
            leader_trust=await asyncio.to_thread(leader_trust, settings),
        )
        served = platform.candidate or platform.controller
        server = ApiServer(served, settings.api_host, settings.api_port, offered)
        await _open(platform, server)
        serving = asyncio.create_task(platform.serve())
        entry = f"gateway on {', '.join(settings.gateway)}" if platform.gateway else "no gateway: all agents are fake"
        _say(f"API on {'https' if tls else 'http'}://{server.address}, {entry}")
        try:
            told = platform.candidate.down if platform.candidate is not None else asyncio.Event()
            while (first := await _first(serving, left, down, told)) in (down, told):
                if first is told or await _stop_everything(platform, serving, left):
                    await take_down(platform, serving)
                    _say("everything is stopped; `coldchain up` starts it again")
                    return 0
                down.clear()
        finally:
            await server.stop()
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving
    if settings.fake_agents:
        _say("the tasks of fake agents ended with it")
    if settings.serves:
        _say("stopped; apps and gateway serve on. `coldchain up` takes them over again, `coldchain down` stops them")
    return 0


async def _stop_everything(platform: Platform, serving: asyncio.Task[None], left: asyncio.Event) -> bool:
    """False when the process is to end before, or another controller leads before, and goes on."""
    _say("going down: draining and stopping every instance")
    stopping = asyncio.create_task((platform.candidate or platform.controller).stop_everything())
    leaving = asyncio.create_task(left.wait())
    await asyncio.wait({stopping, serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if not stopping.done():
        stopping.cancel()
        return False
    if not await stopping:
        _say("another controller leads now, and goes on: ask again for everything to be stopped")
        return False
    return True


async def _open(platform: Platform, server: ApiServer) -> None:
    """Gateway and API, or none of both: whoever finds the API answering finds a whole platform."""
    outcome = await platform.gateway.process.start_or_adopt() if platform.gateway else "none"
    log.info("gateway", nginx=outcome)
    try:
        await server.start()
    except BaseException:
        if platform.gateway is not None and outcome == "started":
            await platform.gateway.process.stop()
        raise


async def _first(serving: asyncio.Task[None], *events: asyncio.Event) -> asyncio.Event | None:
    """The event that came first; raises what ended `serving`, if that came first."""
    waits = {asyncio.create_task(event.wait()): event for event in events}
    try:
        await asyncio.wait({serving, *waits}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            if not wait.done():
                wait.cancel()
    if serving.done():
        await serving
    return next((event for event in events if event.is_set()), None)


def _say(words: str) -> None:
    print(f"coldchain: {words}", file=sys.stderr)  # noqa: T201 -- for whoever started it
