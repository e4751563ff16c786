"""checks: the loop of all that ends by mere time (TTLs of checks and sessions), and one for each question we ask."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import structlog

from coldchain.decisions import catalog as rules
from coldchain.decisions.catalog import Streak
from coldchain.model.catalog import CatalogCheck, CatalogRecord, CatalogSession
from coldchain.model.errors import ColdchainError
from coldchain.model.health import Probe
from coldchain.ports.clock import Clock
from coldchain.ports.prober import Prober
from coldchain.registry.server.content import Content
from coldchain.registry.server.deadlines import Deadlines

SESSION_TTLS = 2.0
"""A session ends after so many of its TTLs without a renewal: Consul's, whose clients count on at least one."""
LATE_SECONDS = 1.0
"""Who looks at the deadlines later than this was held up, and heartbeats with it: that says nothing against anybody."""
FIRST_SECONDS_MAX = 1.0
AGAIN_SECONDS = 1.0

log = structlog.get_logger(__name__)
Name = tuple[str, str]


class CheckRunner:
    """Begins with what the content has when `start` is called: every TTL has its whole time, in its last state."""

    def __init__(self, content: Content, prober: Prober, clock: Clock) -> None:
        self._content = content
        self._prober = prober
        self._clock = clock
        self._deadlines: Deadlines[Name] = Deadlines()
        self._ends: dict[Name, tuple[float, Callable[[], Awaitable[None]]]] = {}
        self._asking: dict[str, tuple[CatalogCheck, asyncio.Task[None]]] = {}
        self._wake = asyncio.Event()

    def start(self) -> None:
        """Follow the content from now on."""
        for record in self._content.everything():
            self._changed(None, record)
        self._content.on_change(self._changed)

    async def stop(self) -> None:
        """End all loops."""
        tasks = [task for _, task in self._asking.values()]
        self._asking.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def run(self) -> None:
        """For ever."""
        while True:
            due = self._deadlines.next()
            if due is not None and due <= self._clock.monotonic():
                await self._end_what_is_due(due)
                continue
            self._wake.clear()
            waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._wake.wait())]
            if due is not None:
                waits.append(asyncio.ensure_future(self._clock.sleep(due - self._clock.monotonic())))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    async def _end_what_is_due(self, due: float) -> None:
        now = self._clock.monotonic()
        late = now - due
        if late > LATE_SECONDS:
            log.warning("held up: all that waits for a sign of life begins anew", seconds=round(late, 3))
            for name, (seconds, _) in self._ends.items():
                self._deadlines.set(name, now + seconds)
            return
        for name in self._deadlines.take(now):
            if name not in self._ends or name in self._deadlines:
                continue  # the end of another one before it took it along, or it was heard of meanwhile
            seconds, end = self._ends.pop(name)
            try:
                await end()
            except ColdchainError as error:
                log.warning("not written, will be tried again", what=name, error=str(error))
                if name not in self._ends:
                    self._ends[name] = seconds, end
                    self._deadlines.set(name, self._clock.monotonic() + AGAIN_SECONDS)

    def _end(self, name: Name, seconds: float, end: Callable[[], Awaitable[None]]) -> None:
        self._ends[name] = seconds, end
        if self._deadlines.set(name, self._clock.monotonic() + seconds):
            self._wake.set()

    def _forget(self, name: Name) -> None:
        self._ends.pop(name, None)
        self._deadlines.drop(name)

    def _changed(self, before: CatalogRecord | None, after: CatalogRecord | None) -> None:
        if isinstance(before, CatalogCheck) and after is None:
            self._leave(before)
        elif isinstance(before, CatalogSession) and after is None:
            self._forget(("session", before.id))
        if isinstance(after, CatalogSession) and after.ttl_seconds:
            end = partial(self._content.end_session, after.id)
            self._end(("session", after.id), SESSION_TTLS * after.ttl_seconds, end)
        elif isinstance(after, CatalogCheck):
            self._follow(after)

    def _leave(self, check: CatalogCheck) -> None:
        self._forget(("check", check.id))
        self._forget(("critical", check.id))
        if check.id in self._asking:
            self._asking.pop(check.id)[1].cancel()

    def _follow(self, check: CatalogCheck) -> None:
        known = self._asking.get(check.id)
        if check.kind in ("http", "tcp"):
            self._forget(("check", check.id))
            if known is None or _question(known[0]) != _question(check):
                if known is not None:
                    known[1].cancel()
                self._asking[check.id] = check, asyncio.create_task(self._ask(check))
        elif known is not None:
            self._asking.pop(check.id)[1].cancel()
        if check.kind == "ttl":
            self._end(("check", check.id), check.ttl_seconds, partial(self._expire, check.id))
        if check.status != "critical" or not check.deregister_seconds:
            self._forget(("critical", check.id))
        elif ("critical", check.id) not in self._ends:
            self._end(("critical", check.id), check.deregister_seconds, partial(self._take_out, check))

    async def _expire(self, check_id: str) -> None:
        check = self._content.checks.get(check_id)
        if check is not None:
            await self._content.observe(rules.expired(check))

    async def _take_out(self, check: CatalogCheck) -> None:
        if check.service_id in self._content.services:
            log.warning("critical for too long, taken out", service=check.service_id, check=check.id)
            await self._content.deregister(check.service_id)

    async def _ask(self, check: CatalogCheck) -> None:
        probe = Probe(
            instance_id=check.service_id,
            check=check.id,
            protocol="HTTP" if check.kind == "http" else "TCP",
            address=check.host,
            port=check.port,
            path=check.path,
            timeout_seconds=check.timeout_seconds,
            statuses=rules.HTTP_PASSES,
        )
        streak = Streak()
        await self._clock.sleep(min(FIRST_SECONDS_MAX, check.interval_seconds) * self._clock.random())
        while True:
            result = await self._prober.probe(probe)
            known = self._content.checks.get(check.id)
            if known is None:
                return
            after, streak = rules.observe(known, streak, result)
            try:
                await self._content.observe(after)
            except ColdchainError as error:
                log.warning("not written, will be asked again", check=check.id, error=str(error))
            await self._clock.sleep(check.interval_seconds)


def _question(check: CatalogCheck) -> tuple[object, ...]:
    asked = (check.kind, check.host, check.port, check.path)
    return (*asked, check.service_id, check.interval_seconds, check.timeout_seconds)
