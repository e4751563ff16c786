"""machines: what executors tell of their machines: where they listen, and what runs there that nobody answers for.

Mesos knows nothing of it, and passes it on by messages that it may lose. So each executor is asked once in every
subscription, and again until it has answered, or while a task of its own has no address to ask it at.
"""

import asyncio
from collections.abc import Iterable

import msgspec
import structlog

from coldchain.documents.executor_messages import ID_PREFIX, encode
from coldchain.engines.mesos.link import Link
from coldchain.engines.mesos.task_book import TaskBook
from coldchain.model.base import Noun
from coldchain.model.executor import ExecutorQuestion, ExecutorReport
from coldchain.model.mesos import MesosTask
from coldchain.model.task import TaskStatus
from coldchain.ports.clock import Clock

LOOK_SECONDS = 2.0
"""Between two looks at who is to be asked."""
ASK_AGAIN_SECONDS = 10.0
ORPHANED = "no executor answers for it"
QUESTIONS_MAX = 32
"""On their way at once."""

log = structlog.get_logger(__name__)


class Place(Noun, frozen=True, kw_only=True):
    """Where an executor listens, and what its token is made of."""

    agent_id: str
    executor_id: str
    address: str
    port: int


def place_of(task: MesosTask) -> Place:
    """Where the executor of a task listens."""
    return Place(agent_id=task.agent_id, executor_id=task.executor_id, address=task.address, port=task.port)


class Machines:
    """`orphans` by the runner's id of the task: what it is, and who told. Those of a task on record are no news: what
    becomes of it is decided there."""

    def __init__(self, target: str, book: TaskBook, link: Link, clock: Clock) -> None:
        self._target = target
        self._book = book
        self._link = link
        self._clock = clock
        self._told: dict[tuple[str, str], tuple[Place, tuple[TaskStatus, ...]]] = {}
        self._heard: set[tuple[str, str]] = set()
        self._asked_at: dict[tuple[str, str], float] = {}
        self._look_at = 0.0

    def subscribed(self) -> None:
        """Whoever answers now may know other things than before."""
        self._heard.clear()
        self._asked_at.clear()

    def heard(self, agent_id: str, agent: str, report: ExecutorReport) -> tuple[TaskStatus, ...]:
        """A report. What is news of orphans that no record tells of: those that it tells of, and, as killed, those that
        are there no more."""
        key = agent_id, report.executor_id
        place = Place(agent_id=agent_id, executor_id=report.executor_id, address=report.address, port=report.port)
        before = {one.task_id: one for one in self._told[key][1]} if key in self._told else {}
        orphans = tuple(
            msgspec.structs.replace(
                one, target=self._target, agent=one.agent or agent, orphaned="executor", message=ORPHANED
            )
            for one in report.orphans
        )
        self._told[key] = place, orphans
        self._heard.add(key)
        after = {one.task_id for one in orphans}
        now = self._clock.now()
        gone = tuple(
            msgspec.structs.replace(one, state="killed", at=max(one.at, now), orphaned="", message="it ended")
            for name, one in before.items()
            if name not in after and name not in self._book.tasks and self.place_of_orphan(name) is None
        )
        return (*(one for one in orphans if one.task_id not in self._book.tasks), *gone)

    def executor_lost(self, agent_id: str, executor_id: str) -> None:
        """It tells nothing any more."""
        self._told.pop((agent_id, executor_id), None)

    def agent_lost(self, agent_id: str) -> None:
        for key in [key for key in self._told if key[0] == agent_id]:
            del self._told[key]

    def orphans(self) -> Iterable[TaskStatus]:
        """Those that no record tells of, each once."""
        known = {one.task_id: one for _, told in self._told.values() for one in told}
        return [one for name, one in known.items() if name not in self._book.tasks]

    def place_of_orphan(self, task_id: str) -> Place | None:
        """Who can end it."""
        for place, told in self._told.values():
            if any(one.task_id == task_id for one in told):
                return place
        return None

    async def ask(self) -> None:
        """Those executors of ours that are to be asked now."""
        now = self._clock.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        open_ones = [(one.agent_id, one.executor_id) for one in self._book.in_mesos() if self._is_open(one)]
        # That its orphans are gone an executor tells once, and the message may be lost.
        with_orphans = [key for key, (_, orphans) in self._told.items() if orphans]
        due = dict.fromkeys((*open_ones, *with_orphans))
        chosen = [key for key in due if now - self._asked_at.get(key, -ASK_AGAIN_SECONDS) >= ASK_AGAIN_SECONDS]
        chosen = chosen[:QUESTIONS_MAX]
        self._asked_at.update(dict.fromkeys(chosen, now))
        question = encode(ExecutorQuestion())
        await asyncio.gather(*(self._ask(agent_id, executor_id, question) for agent_id, executor_id in chosen))

    def _is_open(self, task: MesosTask) -> bool:
        if not task.executor_id.startswith(ID_PREFIX) or task.standing != "reachable" or not task.begun:
            return False
        return (task.agent_id, task.executor_id) not in self._heard or not task.port

    async def _ask(self, agent_id: str, executor_id: str, question: str) -> None:
        named = {"agent_id": {"value": agent_id}, "executor_id": {"value": executor_id}, "data": question}
        await self._link.try_call("MESSAGE", message=named)
