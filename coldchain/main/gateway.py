"""gateway: one nginx and the loop that feeds it, on a machine that needs no controller.

nginx goes on without it. SIGINT ends this process alone, and the next one takes nginx over; SIGTERM has the gateway
leave: not ready, every answer closes its connection, nothing in flight, then nginx ends and the controllers are told.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import structlog

from coldchain.control.clock import SystemClock
from coldchain.control.gateway import feed_gateway
from coldchain.gateway.process import NginxProcess
from coldchain.gateway.push import NginxGateway
from coldchain.gateway.remote_feed import RemoteFeed
from coldchain.gateway.several_feeds import SeveralFeeds
from coldchain.main.gateway_settings import GatewayProcessSettings
from coldchain.main.systemd import tell_systemd
from coldchain.model.errors import ColdchainError, Rejected
from coldchain.model.rotation import GatewayReport
from coldchain.store.file import FileLock

GOODBYE_SHARE = 0.5
"""Of the time to drain, after which idle connections are not waited for any more. Until then each consumer that sends a
request is told by its answer, so that none is closed while a request is on its way."""
OWN_CONNECTIONS = 2
"""Of those that nginx counts: the loop's, and that of who looks how many there are."""
LOOK_SECONDS = 0.1
CUT_SECONDS = 1.0
"""What nginx itself gets to end in, once nothing is open or the time is over."""

log = structlog.get_logger(__name__)


async def gateway(settings: GatewayProcessSettings) -> int:
    """Run until SIGINT or SIGTERM. Raises ColdchainError when it cannot start; a controller that is away is waited
    for, with the rotation of before."""
    await asyncio.to_thread(settings.check)
    trust = await asyncio.to_thread(settings.trust)
    async with contextlib.AsyncExitStack() as closing:
        await asyncio.to_thread(_make_folder, settings.data)
        lock = await asyncio.to_thread(FileLock, settings.data / "gateway")
        closing.callback(lock.release)
        connections = await closing.enter_async_context(aiohttp.ClientSession())
        shown = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
        feeds = [RemoteFeed(connections, url.rstrip("/"), shown, trust) for url in settings.controllers]
        for url in settings.readable:
            log.warning("the token goes to this controller so that it can be read on the way", controller=url)
        running = _Running(settings, SeveralFeeds(feeds))
        closing.push_async_callback(running.plane.close)
        return await running.run()


class _Running:
    """nginx, the way into it, and whether it is to go."""

    def __init__(self, settings: GatewayProcessSettings, feed: SeveralFeeds) -> None:
        self._settings = settings
        self._feed = feed
        self._process = NginxProcess(settings.gateway_settings())
        self.plane = NginxGateway(settings.name, settings.gateway_settings())
        self._left, self._leaving, self._hurry = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._starting = asyncio.Lock()
        self._cut: dict[str, int] = {}

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._left.set)
        loop.add_signal_handler(signal.SIGTERM, self._leave_or_hurry)
        outcome = await self._process.start_or_adopt()
        log.info("gateway", nginx=outcome, name=self._settings.name)
        feeding = asyncio.create_task(feed_gateway(self.plane, self._feed, SystemClock(), self._revive))
        try:
            _say(f"gateway {self._settings.name} on {', '.join(self._settings.listen + self._settings.tls_listen)}")
            tell_systemd("READY=1")
            await self._until_told(feeding)
            tell_systemd("STOPPING=1")
            if self._leaving.is_set():
                await self._leave()
        finally:
            feeding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeding
        if not self._leaving.is_set():
            _say("stopped; nginx serves on. `coldchain gateway` takes it over again, SIGTERM has the gateway leave")
            return 0
        await self._process.stop(CUT_SECONDS)
        await self._say_farewell()
        cut = f", streams cut: {sum(self._cut.values())}" if self._cut else ""
        _say(f"gateway {self._settings.name} has left{cut}")
        return 0

    def _leave_or_hurry(self) -> None:
        (self._hurry if self._leaving.is_set() else self._leaving).set()

    async def _until_told(self, feeding: asyncio.Task[None]) -> None:
        """Raises what ended the loop, which nothing does by itself."""
        waiting = [asyncio.create_task(one.wait()) for one in (self._left, self._leaving)]
        await asyncio.wait({feeding, *waiting}, return_when=asyncio.FIRST_COMPLETED)
        for one in waiting:
            one.cancel()
        if feeding.done():
            await feeding

    async def _revive(self) -> None:
        """Start nginx again after something did not answer. Not once it is to go: it would be ready again."""
        async with self._starting:
            if self._leaving.is_set():
                return
            outcome = await self._process.start_or_adopt()
        if outcome != "adopted":
            log.warning("nginx did not answer", nginx=outcome)

    async def _leave(self) -> None:
        """Until nobody is here any more, while the loop goes on: what is in flight here, rollouts wait for."""
        _say("leaving: not ready any more, and every answer closes its connection; SIGTERM again cuts that short")
        began = asyncio.get_running_loop().time()
        async with self._starting:
            try:
                await self._process.drain()
            except ColdchainError as error:
                log.warning("nginx cannot be asked to drain", error=str(error))
                return
        goodbye_at = self._settings.leave_seconds + GOODBYE_SHARE * self._settings.drain_seconds
        said = False
        while not self._hurry.is_set():
            seconds = asyncio.get_running_loop().time() - began
            state = await self._process.state()
            if state is None:
                return
            if seconds >= self._settings.leave_seconds and state.connections <= OWN_CONNECTIONS:
                return
            if seconds >= goodbye_at and not said:
                said = True
                await self._order(self._process.say_goodbye)
            if seconds >= self._settings.leave_seconds + self._settings.drain_seconds:
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._hurry.wait()

        await self._cut_streams()

    async def _cut_streams(self) -> None:
        """End those that are still open, and see how many they were: workers look for them fifty times a second."""
        before = await self._process.state()
        await self._order(self._process.cut_streams)
        await asyncio.sleep(LOOK_SECONDS)
        after = await self._process.state()
        if before is not None and after is not None:
            counts = {name: count - before.cut.get(name, 0) for name, count in after.cut.items()}
            self._cut = {name: count for name, count in counts.items() if count}

    async def _order(self, order: Callable[[], Awaitable[None]]) -> None:
        try:
            await order()
        except ColdchainError as error:
            log.warning("nginx does not do what a leaving gateway asks of it", error=str(error))

    async def _say_farewell(self) -> None:
        """So that nobody waits for its lease. Where it is not heard, the lease ends by itself."""
        name, place = self._settings.name, self.plane.place
        report = GatewayReport(gateway=name, place=place, applied=0, cut=self._cut, leaving=True)
        try:
            await self._feed.exchange(report, 0.0)
        except ColdchainError as error:
            log.warning("no controller was told that the gateway has left", error=str(error))


def _make_folder(folder: Path) -> None:
    try:
        # Workers of nginx pass through; what is secret has its own rights.
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise Rejected(
            f"cannot make the data folder {folder}: {error.strerror}",
            todo="Run as root, or name another folder with --data.",
        ) from error


def _say(words: str) -> None:
    print(f"coldchain: {words}", file=sys.stderr)  # noqa: T201 -- for whoever started it
