"""Sweeper: ends tasks of a machine that no executor answers for. An executor sweeps for as long as it lives; when none
does, a process of its own."""

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog

from coldchain.decisions import orphan
from coldchain.engines.executor.claims import Claims, in_thread
from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.model.executor import ExecutorSettings
from coldchain.model.task import TaskStatus
from coldchain.ports.clock import Clock
from coldchain.ports.runner import Runner

LOOK_SECONDS = 5.0

log = structlog.get_logger(__name__)


class Sweeper:
    """Remembers since when it has known each orphan; another one begins anew."""

    def __init__(self, runner: Runner, claims: Claims, settings: ExecutorSettings, clock: Clock) -> None:
        self._runner = runner
        self._claims = claims
        self._settings = settings
        self._clock = clock
        self._since: dict[str, float] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}

    async def sweep(self, found: Sequence[TaskStatus]) -> tuple[TaskStatus, ...]:
        """Begin to end what is due; the orphans that run. Raises Unavailable."""
        claims, living = await in_thread(self._look)
        now, wait = self._clock.monotonic(), self._settings.orphan_seconds
        outcome = orphan.sweep(found, claims, living, self._since, now, wait)
        self._since = outcome.since
        for task_id in outcome.ended:
            if task_id not in self._ending:
                ending = asyncio.create_task(self._end(task_id), name=f"sweep {task_id}")
                self._ending[task_id] = ending
                ending.add_done_callback(partial(self._ended, task_id))
        for task_id in outcome.forgotten:
            await self._runner.forget(task_id)
        await in_thread(self._claims.clear, {one.task_id for one in found})
        return outcome.orphans

    def _ended(self, task_id: str, ending: asyncio.Task[None]) -> None:
        del self._ending[task_id]

    def _look(self) -> tuple[dict[str, orphan.Claim], frozenset[str]]:
        # Claims before those who live: who comes between the two is not taken for dead.
        claims = self._claims.all()
        return claims, self._claims.living()

    async def _end(self, task_id: str) -> None:
        try:
            # Who claims it in this very moment keeps it, and who comes later does not get it.
            if why := await in_thread(self._claims.take, task_id, orphan.SWEEPER):
                log.info("not swept", task=task_id, reason=why)
                return
            log.warning("ending what no executor answers for", task=task_id)
            await self._runner.kill(task_id, self._settings.orphan_grace_seconds)
        except ColdchainError as error:
            log.warning("cannot end it now", task=task_id, error=str(error))


async def sweep_alone(runner: Runner, claims: Claims, settings: ExecutorSettings, clock: Clock) -> None:
    """Sweep until an executor lives again, or until nothing is left."""
    if not await in_thread(claims.sweep_alone):
        return
    sweeper = Sweeper(runner, claims, settings, clock)
    while True:
        try:
            if await in_thread(claims.living):
                return
            found = await runner.tasks()
            await sweeper.sweep(found)
            if not found:
                return
        except Unavailable as error:
            log.warning("a runner does not answer", error=str(error))
        await clock.sleep(min(LOOK_SECONDS, settings.orphan_seconds))
