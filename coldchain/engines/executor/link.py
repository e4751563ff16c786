"""Link: the subscription to the agent, again and again until the executor is to leave."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

import structlog

from coldchain.clients.mesos.executor import AgentRefused, AgentUnavailable, ExecutorClient
from coldchain.engines.executor.environment import ExecutorEnvironment
from coldchain.ports.clock import Clock

BACKOFF_SECONDS = 0.1

log = structlog.get_logger(__name__)

Document = dict[str, Any]
Unacknowledged = Callable[[], tuple[Sequence[Document], Sequence[Document]]]
"""The updates (`Call.Update`) and tasks (`TaskInfo`) that the agent has not acknowledged, in their order."""


class Link:
    """What is sent while nobody listens goes with the next subscription, if it is an update; all else is lost."""

    def __init__(
        self,
        client: ExecutorClient,
        environment: ExecutorEnvironment,
        clock: Clock,
        unacknowledged: Unacknowledged,
        handle: Callable[[Document], Awaitable[None]],
    ) -> None:
        self._client = client
        self._environment = environment
        self._clock = clock
        self._unacknowledged = unacknowledged
        self._handle = handle
        self._sending: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()

    def update(self, status: Document) -> None:
        self._sending.put_nowait(lambda: self._client.update(status))

    def message(self, data: str) -> None:
        self._sending.put_nowait(lambda: self._client.message(data))

    async def run(self) -> str:
        """Why the executor is to leave, in words."""
        lost_at, delay = self._clock.monotonic(), BACKOFF_SECONDS
        while True:
            subscribed = False
            try:
                async with contextlib.aclosing(self._events()) as events:
                    async for event in events:
                        subscribed = True
                        if event["type"] == "SHUTDOWN":
                            return "the agent said so"
                        await self._handle(event)
            except AgentRefused as error:
                return f"the agent does not know this executor: {error}"
            except AgentUnavailable as error:
                log.info("no subscription", reason=str(error))
            if not self._environment.checkpoint:
                return "the agent is lost, and nothing is kept over that"
            if subscribed:
                lost_at, delay = self._clock.monotonic(), BACKOFF_SECONDS
            if self._clock.monotonic() - lost_at >= self._environment.recovery_seconds:
                return f"the agent was away for {self._environment.recovery_seconds:g} s"
            # All executors of an agent come back to it at once: they spread themselves.
            await self._clock.sleep(delay * (1 - 0.5 * self._clock.random()))
            delay = min(2 * delay, max(BACKOFF_SECONDS, self._environment.backoff_seconds_max))

    async def _events(self) -> AsyncGenerator[Document, None]:
        """Of one subscription. Raises AgentRefused, AgentUnavailable; also where an update cannot be sent."""
        updates, tasks = self._unacknowledged()
        self._sending = asyncio.Queue()  # all that was to be sent is in the subscription
        sending: asyncio.Task[None] | None = None
        async with contextlib.aclosing(self._client.subscribe(updates, tasks)) as events:
            upcoming = asyncio.ensure_future(anext(events))
            try:
                while True:
                    waiting: set[asyncio.Future[Any]] = {upcoming, *([sending] if sending else [])}
                    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    if sending is not None and sending.done():
                        await sending
                    if upcoming.done():
                        event = upcoming.result()
                        upcoming = asyncio.ensure_future(anext(events))
                        sending = sending or asyncio.create_task(self._send())
                        yield event
            finally:
                for waiting_for in (upcoming, sending):
                    if waiting_for is not None:
                        waiting_for.cancel()
                        await asyncio.gather(waiting_for, return_exceptions=True)

    async def _send(self) -> None:
        """In order. Ends by raising AgentUnavailable."""
        while True:
            send = await self._sending.get()
            try:
                await send()
            except AgentRefused as error:
                raise AgentUnavailable(f"the agent does not take it: {error}") from error
