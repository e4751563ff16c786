"""reconciliation: asks the master for all that it knows: of our tasks by their ids, and of those we do not know."""

import asyncio
import contextlib
from collections.abc import Iterable

from coldchain.engines.mesos.link import Link
from coldchain.engines.mesos.settings import MesosSettings
from coldchain.engines.mesos.task_book import TaskBook
from coldchain.model.mesos import MesosTask
from coldchain.ports.clock import Clock

TASKS_MAX = 500
"""Of one question."""
ASK_AGAIN_SECONDS = 2.0
END_MARK = "coldchain-end-of-reconciliation"
"""No task has this id: the master answers what it is asked in order, so that its answer to this is the last."""


class Reconciliation:
    """It is `done` once all has been answered since the subscription, or was not within the time for it: what was known
    before counts then."""

    def __init__(self, settings: MesosSettings, book: TaskBook, link: Link, clock: Clock) -> None:
        self.done = False
        self._moved = asyncio.Event()
        self._settings = settings
        self._book = book
        self._link = link
        self._clock = clock
        self._unanswered: set[str] = set()
        self._began = 0.0
        self._asked_at = 0.0
        self._doubted_at: float | None = None

    def begin(self) -> None:
        """A new subscription: everything is open."""
        self.done = False
        self._began = self._clock.monotonic()
        self._unanswered = {END_MARK, *(one.mesos_id for one in self._book.to_be_asked_for())}

    def disconnected(self) -> None:
        self.done = False
        self._unanswered = set()
        self._move()

    def heard(self, mesos_id: str) -> None:
        """A status of this task came."""
        if self._unanswered:
            self._unanswered.discard(mesos_id)
            if not self._unanswered:
                self._finish()

    async def ended(self, patience_seconds: float) -> bool:
        """Until it is done, or the subscription ends. False: it is not done."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                while self._link.up and not self.done:
                    await self._moved.wait()
        return self.done

    def _finish(self) -> None:
        self._unanswered = set()
        self.done = True
        self._move()

    def _move(self) -> None:
        """Whoever waits looks again."""
        self._moved.set()
        self._moved = asyncio.Event()

    def doubt(self) -> None:
        """Nobody knows whether a launch came to the master. It is asked soon, when what was on its way is there."""
        self._doubted_at = self._clock.monotonic()

    async def tick(self) -> None:
        """Ask again what was not answered, what is in doubt, and all of it now and then."""
        now = self._clock.monotonic()
        if not self._link.up:
            return
        if not self.done:
            if now - self._began >= self._settings.settle_seconds:
                self._finish()
            elif now - self._asked_at >= ASK_AGAIN_SECONDS:
                await self.ask()
        elif now - self._asked_at >= self._settings.reconcile_seconds or self._is_doubtful(now):
            await self.ask()

    def _is_doubtful(self, now: float) -> bool:
        return self._doubted_at is not None and now - self._doubted_at >= ASK_AGAIN_SECONDS

    async def ask(self) -> None:
        """All that should live, each by its id; then everything that the master knows; and the mark."""
        self._asked_at = self._clock.monotonic()
        if self._is_doubtful(self._asked_at):
            self._doubted_at = None
        await self._explicit(self._book.to_be_asked_for())
        await self._link.try_call("RECONCILE", reconcile={"tasks": []})
        await self._link.try_call("RECONCILE", reconcile={"tasks": [{"task_id": {"value": END_MARK}}]})

    async def _explicit(self, tasks: Iterable[MesosTask]) -> None:
        named = [{"task_id": {"value": one.mesos_id}, "agent_id": {"value": one.agent_id}} for one in tasks]
        for start in range(0, len(named), TASKS_MAX):
            await self._link.try_call("RECONCILE", reconcile={"tasks": named[start : start + TASKS_MAX]})
