"""tasks: what the engine says of its tasks, kept up to date by its updates and checked against full listings."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing

import structlog

from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.model.offer import Offer
from coldchain.model.task import TaskStatus
from coldchain.ports.clock import Clock
from coldchain.ports.engine import Engine

LISTING_SECONDS = 5.0
"""Between two full listings: how long a lost update can go unnoticed."""
LISTING_SECONDS_MAX = 30.0
"""An engine that takes longer for a listing does not answer."""
RETRY_SECONDS = 0.5
SKEW_SECONDS = 1.0
"""How far the clocks of machines may be apart."""

log = structlog.get_logger(__name__)


class TaskWatcher:
    """`known` is False until the first full listing. While the engine does not answer everything stays as it was
    last seen: unknown is not gone. `changed(app ids)` is called for what changed, `on_listed(first)` after each full
    listing, `on_engine(trouble, first)` when the engine does not answer any more, and without trouble when it does
    again, or for the first time. `listed_at`: when the last listing began, on the monotonic
    clock. `drained`: the agents that are to be empty by their engine's word."""

    def __init__(self, engine: Engine, clock: Clock, changed: Callable[[Collection[str]], None]) -> None:
        self._engine = engine
        self._clock = clock
        self._changed = changed
        self._updated_at: dict[str, float] = {}
        self._listing = asyncio.Lock()
        self.on_update: Callable[[TaskStatus], None] = lambda status: None
        self.on_listed: Callable[[bool], None] = lambda first: None
        self.on_engine: Callable[[str, bool], None] = lambda trouble, first: None
        self.without_secrets: Callable[[TaskStatus], TaskStatus] = lambda status: status
        self.known = False
        self.listed_at = 0.0
        self.trouble = ""
        self.tasks: dict[str, TaskStatus] = {}
        self.offers: Sequence[Offer] = ()
        self.drained: frozenset[str] = frozenset()

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._list())

    async def _list(self) -> None:
        while True:
            try:
                await self.list_now()
                await self._clock.sleep(LISTING_SECONDS)
            except ColdchainError as error:
                self._troubled(error)
                await self._clock.sleep(RETRY_SECONDS)

    async def _follow(self) -> None:
        while True:
            try:
                async with aclosing(self._engine.updates()) as updates:
                    async for status in updates:
                        if not self.note(status):
                            await self.list_now()
            except ColdchainError as error:
                self._troubled(error)
            await self._clock.sleep(RETRY_SECONDS)
            try:
                await self.list_now()  # what happened while nobody listened
            except ColdchainError as error:
                self._troubled(error)

    def _troubled(self, error: ColdchainError) -> None:
        if not self.trouble:
            log.warning("engine does not answer", engine=self._engine.target, error=str(error))
            self.on_engine(str(error), not self.known)
        self.trouble = str(error)

    async def list_now(self) -> None:
        """One full listing. What was updated while it was made is newer than it and stays. Raises Unavailable."""
        async with self._listing:  # one at a time: of two, the older could come last
            began = self._clock.monotonic()
            try:
                async with asyncio.timeout(LISTING_SECONDS_MAX):
                    listed = {one.task_id: self.without_secrets(one) for one in await self._engine.tasks()}
                    offers = await self._engine.offers()
            except TimeoutError as error:
                raise Unavailable(f"no listing of tasks in {LISTING_SECONDS_MAX:g} s") from error
            self.offers = offers
            self.drained = frozenset(one.agent for one in offers if one.draining)
            self._take_over(began, listed)

    def _take_over(self, began: float, listed: dict[str, TaskStatus]) -> None:
        newer = {task_id for task_id, at in self._updated_at.items() if at >= began}
        after = {task_id: one for task_id, one in listed.items() if task_id not in newer}
        after |= {task_id: one for task_id, one in self.tasks.items() if task_id in newer}
        touched = {
            one.app_id
            for task_id in after.keys() | self.tasks.keys()
            for one in (after.get(task_id), self.tasks.get(task_id))
            if one is not None and after.get(task_id) != self.tasks.get(task_id)
        }
        unheard = [one for task_id, one in listed.items() if task_id not in newer and one != self.tasks.get(task_id)]
        first, self.known = not self.known, True
        self.tasks = after
        self.listed_at = began
        self._updated_at = {task_id: at for task_id, at in self._updated_at.items() if at >= began}
        if self.trouble:
            log.info("engine answers again", engine=self._engine.target)
        if self.trouble or first:
            self.trouble = ""
            self.on_engine("", first)
        for status in unheard if not first else ():
            self.on_update(status)
        self._changed(touched)
        self.on_listed(first)

    def note(self, status: TaskStatus) -> bool:
        """An update. False where only a full listing can tell what it means.

        Nothing brings a terminal task back to life, so a late one is told by that; and one from before what is known is
        of an earlier task of the same name, which the engine lost (where a clock was set back, the next full listing
        makes up for what is left out). Of one from the future nobody can tell what it came after: a clock was set back
        since, ours or its machine's.
        """
        status = self.without_secrets(status)
        known = self.tasks.get(status.task_id)
        if status.at > self._clock.now() + SKEW_SECONDS:
            return False
        if known is not None and (status.at < known.at or (known.terminal and not status.terminal)):
            return True
        self.tasks[status.task_id] = status
        self._updated_at[status.task_id] = self._clock.monotonic()
        if known != status:
            self.on_update(status)
            self._changed({status.app_id})
        return True

    def drop(self, task_id: str) -> None:
        """The engine was told to forget it and did."""
        status = self.tasks.pop(task_id, None)
        self._updated_at.pop(task_id, None)
        if status is not None:
            self._changed({status.app_id})
