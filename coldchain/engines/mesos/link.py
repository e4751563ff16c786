"""link: the subscription to the leading master, made again whenever it ends."""

import asyncio
import contextlib
from typing import Any, Protocol

import structlog

from coldchain.clients.mesos.events import Event
from coldchain.clients.mesos.scheduler import MesosRefused, MesosUnavailable, SchedulerClient
from coldchain.engines.mesos.infos import framework_info
from coldchain.engines.mesos.settings import MesosSettings
from coldchain.model.errors import Rejected, Unavailable
from coldchain.ports.clock import Clock

RETRY_SECONDS, RETRY_SECONDS_MAX = 0.2, 5.0
REMOVED = "removed"
"""In Mesos's words for a framework that was torn down, or away for longer than its failover time."""
FAILED_OVER = "failed over"
"""In its words to a subscription that another one of the same framework took the place of."""

log = structlog.get_logger(__name__)


class Events(Protocol):
    """Who hears what the master tells."""

    async def subscribed(self, framework_id: str) -> None: ...

    async def happened(self, event: Event) -> None: ...

    def disconnected(self, trouble: str) -> None: ...


class Link:
    """`framework_id`: empty for a framework that is yet to be. `superseded`: another controller has subscribed as this
    framework, or it was taken leave of; this one says no more. `tried`: the first subscription is there, or was not to
    be had."""

    def __init__(
        self, client: SchedulerClient, settings: MesosSettings, clock: Clock, framework_id: str, events: Events
    ) -> None:
        self.framework_id = framework_id
        self.up = False
        self.superseded = False
        self.trouble = "not subscribed to a master yet"
        self.tried = asyncio.Event()
        self._client = client
        self._settings = settings
        self._clock = clock
        self._events = events

    async def run(self) -> None:
        """Until another controller takes over."""
        delay = RETRY_SECONDS
        while not self.superseded:
            try:
                async with contextlib.aclosing(
                    self._client.subscribe(framework_info(self._settings, self.framework_id))
                ) as events:
                    async for event in events:
                        delay = RETRY_SECONDS
                        await self._take(event)
            except (MesosUnavailable, MesosRefused, Unavailable, _Ended) as error:
                self._down(str(error))
                if isinstance(error, MesosRefused) and REMOVED in error.message:
                    self.framework_id = ""
            await self._clock.sleep(delay * (0.5 + 0.5 * self._clock.random()))
            delay = min(RETRY_SECONDS_MAX, 2 * delay)

    async def _take(self, event: Event) -> None:
        if event.subscribed is not None:
            self.framework_id = event.subscribed.framework_id.value
            log.info("subscribed", master=self._client.master, framework=self.framework_id)
            self.up, self.trouble = True, ""
            await self._events.subscribed(self.framework_id)
            self.tried.set()
        elif event.error is not None:
            words = event.error.message
            log.error("Mesos ends the subscription", words=words)
            self.superseded = FAILED_OVER in words
            if REMOVED in words:
                self.framework_id = ""
            raise _Ended(words)
        else:
            await self._events.happened(event)

    def _down(self, trouble: str) -> None:
        if self.up or trouble != self.trouble:
            log.warning("no subscription to Mesos", reason=trouble)
        self.up, self.trouble = False, trouble
        self._events.disconnected(trouble)
        self.tried.set()

    async def call(self, kind: str, **content: Any) -> None:
        """Raises Unavailable, also while not subscribed; and Rejected with Mesos's words."""
        if not self.up:
            raise Unavailable(f"Mesos does not answer: {self.trouble}")
        try:
            await self._client.call(kind, **content)
        except MesosUnavailable as error:
            raise Unavailable(f"Mesos does not answer: {error}") from error
        except MesosRefused as error:
            raise Rejected(f"Mesos refuses {kind}: {error.message}") from error

    async def leave(self) -> None:
        """Have Mesos forget the framework, and say no more. Raises as `call`."""
        self.superseded = True  # before the stream ends, or it would begin anew
        try:
            await self.call("TEARDOWN")
        except (Unavailable, Rejected):
            self.superseded = False
            raise

    async def try_call(self, kind: str, **content: Any) -> None:
        """One that is made again anyway if it is lost."""
        try:
            await self.call(kind, **content)
        except (Unavailable, Rejected) as error:
            log.info("a call is lost", kind=kind, error=str(error))


class _Ended(Exception):  # noqa: N818
    """The master said so."""
