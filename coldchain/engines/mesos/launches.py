"""launches: what waits for room on its agent, packed onto offers; and what was accepted and has not begun yet."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

import msgspec
import structlog

from coldchain.decisions.containerizer import unsupported
from coldchain.decisions.mesos_task import succeed
from coldchain.engines.mesos.containers import container_task
from coldchain.engines.mesos.idling import Demand
from coldchain.engines.mesos.infos import (
    amounts_of,
    executor_info,
    executor_version,
    kept_spec,
    next_mesos_id,
    reserved_for,
    roles_for,
    task_info,
)
from coldchain.engines.mesos.link import Link
from coldchain.engines.mesos.offer_book import Acceptance, Fitted, OfferBook, Wanted
from coldchain.engines.mesos.resources import ALL, Amounts
from coldchain.engines.mesos.settings import MesosSettings
from coldchain.engines.mesos.task_book import TaskBook
from coldchain.model.errors import ColdchainError, Rejected, Unavailable
from coldchain.model.executor import ExecutorSettings
from coldchain.model.mesos import MesosTask
from coldchain.model.task import TaskSpec, TaskStatus
from coldchain.ports.clock import Clock

SCOUT = Amounts(cpus=0.01, mem=1.0)
"""What a scout takes, for a moment."""
FILTER_SECONDS = 0.01
"""What is left of an accepted offer is to come back at once."""

log = structlog.get_logger(__name__)


@dataclass(kw_only=True, eq=False)
class Launching:
    """`outcome`: once it is known whether it began. `adopts`: what runs already. `since`: on the monotonic clock."""

    spec: TaskSpec
    adopts: bool
    since: float
    outcome: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def begun(self) -> None:
        if not self.outcome.done():
            self.outcome.set_result(None)

    def failed(self, error: ColdchainError) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)
            self.outcome.exception()  # whoever waits hears of it; if nobody does, nobody needs to


class Launches:
    """`unsettled` is told of offers that were taken, if nobody knows whether, and `doubted` that Mesos is to be asked
    for what was launched with them; `keep` stores a record of a task; `kept` waits until all are stored."""

    def __init__(
        self,
        settings: MesosSettings,
        executor: ExecutorSettings,
        key: bytes,
        book: TaskBook,
        offers: OfferBook,
        link: Link,
        clock: Clock,
    ) -> None:
        self.waiting: dict[str, Launching] = {}
        self.accepted: dict[str, Launching] = {}
        self.wake = asyncio.Event()
        self.keep: Callable[[MesosTask], None] = lambda task: None
        self.executor_version = executor_version(settings, executor, key)
        self.unsettled: Callable[[Collection[str]], None] = lambda offer_ids: None
        self.doubted: Callable[[], None] = lambda: None
        self._settings = settings
        self._executor = executor
        self._key = key
        self._book = book
        self._offers = offers
        self._link = link
        self._clock = clock
        self._executors: dict[tuple[str, str], dict[str, object]] = {}

    def add(self, spec: TaskSpec, *, adopts: bool = False) -> Launching:
        """Wait for room. The same task again waits once."""
        known = self.waiting.get(spec.task_id) or self.accepted.get(spec.task_id)
        if known is not None and not adopts:
            return known
        launching = Launching(spec=spec, adopts=adopts, since=self._clock.monotonic())
        if not adopts and self._offers.is_lost(spec.agent):  # it was placed by what was known a moment ago
            launching.failed(_gone(spec.agent))
            return launching
        self.accepted.pop(spec.task_id, None)
        self.waiting[spec.task_id] = launching
        self.wake.set()
        return launching

    def again(self, task_id: str) -> bool:
        """Mesos dropped it: nothing of it was carried out. False: nobody waits for it to begin."""
        launching = self.accepted.pop(task_id, None)
        if launching is None:
            return False
        self.waiting[task_id] = launching
        self._book.waiting.add(task_id)
        self.wake.set()
        return True

    def drop(self, task_id: str) -> Launching | None:
        """It waits no more."""
        self.accepted.pop(task_id, None)
        self._book.waiting.discard(task_id)
        return self.waiting.pop(task_id, None)

    @property
    def hopeful(self) -> bool:
        """Whether something waits for room on an agent that is there."""
        return any(self._offers.agent_named(one.spec.agent) is not None for one in self.waiting.values())

    def give_up(self) -> None:
        """Of those that waited for too long, who is not to take over what runs is refused."""
        now = self._clock.monotonic()
        for task_id, one in tuple(self.waiting.items()):
            if now - one.since < self._settings.launch_seconds or one.adopts:
                continue
            self.drop(task_id)
            self._offers.disbelieve(one.spec.agent)
            words = f"agent {one.spec.agent} has offered too little in {self._settings.launch_seconds:g} s"
            todo = "Other frameworks may have taken it: it is placed anew."
            one.failed(Rejected(words, todo=todo))

    def agent_lost(self, agent: str) -> None:
        """Of those that wait for it, who is not to take over what runs is refused: elsewhere there may be room."""
        for task_id, one in tuple(self.waiting.items()):
            if one.spec.agent == agent and not one.adopts:
                self.drop(task_id)
                one.failed(_gone(agent))

    def disconnected(self, trouble: str) -> None:
        """Nothing can be launched; who waits asks again."""
        for task_id, one in tuple(self.waiting.items()):
            if not one.adopts:
                self.drop(task_id)
                one.failed(Unavailable(f"Mesos does not answer: {trouble}"))
        self._executors.clear()

    def demand(self, *, lacking: bool) -> Demand:
        """What is waited for."""
        specs = [one.spec for one in self.waiting.values()]
        roles = self._settings.roles
        return Demand(
            places=frozenset((spec.agent, role) for spec in specs for role in roles_for(spec.app, roles)),
            lacking=lacking,
        )

    async def dispatch(self, kept: Callable[[], object]) -> None:
        """Pack what waits onto what is held; all that fits, in one call for each agent."""
        wanted = [
            Wanted(
                task_id=task_id,
                agent=one.spec.agent,
                roles=roles_for(one.spec.app, self._settings.roles),
                reserved_for=reserved_for(one.spec.app),
                amounts=amounts_of(one.spec),
                adopts=one.adopts,
                needs_executor=bool(unsupported(one.spec.app)),
            )
            for task_id, one in self.waiting.items()
        ]
        acceptances = self._offers.pack(wanted, self._make_executor)
        if not acceptances:
            return
        calls = [self._prepare(one) for one in acceptances]
        waiting = kept()
        if asyncio.isfuture(waiting) or asyncio.iscoroutine(waiting):
            await waiting
        await asyncio.gather(*(self._accept(one, infos) for one, infos in calls))

    def pack_scout(self, spec: TaskSpec, task_id: str) -> Acceptance | None:
        """Room beside the task for a scout, and for an executor of this version; spent."""
        reserved = tuple(dict.fromkeys((ALL, *self._settings.roles)))
        wanted = Wanted(task_id=task_id, agent=spec.agent, reserved_for=reserved, amounts=SCOUT, adopts=True)
        return next(iter(self._offers.pack([wanted], self._make_executor)), None)

    async def send_scout(self, spec: TaskSpec, task_id: str, acceptance: Acceptance) -> bool:
        """It is to take over what does not run: so whoever hears of it starts nothing, and answers. False: nobody knows
        whether it goes."""
        nothing = msgspec.structs.replace(spec, task_id=task_id, instance_id=task_id)
        (fitted,) = acceptance.fitted
        executor, agent_id = acceptance.executor, acceptance.agent_id
        assert executor is not None, "whoever adopts needs one"
        info = task_info(nothing, task_id, agent_id, executor, fitted.resources, adopts=True)
        return await self._accept(acceptance, [info])

    def _make_executor(self, agent_id: str, resources: list[dict[str, object]]) -> dict[str, object]:
        key = agent_id, repr(resources)
        if key not in self._executors:
            framework_id = self._link.framework_id
            self._executors[key] = executor_info(
                self._settings, self._executor, self._key, framework_id, agent_id, resources
            )
        return self._executors[key]

    def _prepare(self, acceptance: Acceptance) -> tuple[Acceptance, list[dict[str, object]]]:
        """Record who is launched, before Mesos hears of it."""
        infos: list[dict[str, object]] = []
        for fitted in acceptance.fitted:
            launching = self.waiting.pop(fitted.task_id)
            self.accepted[fitted.task_id] = launching
            task = self._record(acceptance, fitted, launching)
            if acceptance.executor is not None:
                task = self._with_executor(task)
            self._book.waiting.discard(task.task_id)
            self._book.in_flight.add(task.task_id)
            self.keep(task)
            infos.append(self._info(task, acceptance, fitted, launching))
        return acceptance, infos

    def _info(self, task: MesosTask, acceptance: Acceptance, fitted: Fitted, launching: Launching) -> dict[str, object]:
        spec, place = launching.spec, (task.mesos_id, acceptance.agent_id)
        if acceptance.executor is None:
            return container_task(spec, *place, fitted.resources, pids_max=self._settings.pids_max)
        return task_info(spec, *place, acceptance.executor, fitted.resources, adopts=launching.adopts)

    def _record(self, acceptance: Acceptance, fitted: Fitted, launching: Launching) -> MesosTask:
        spec, now = launching.spec, self._clock.now()
        executor_id = str(acceptance.executor["executor_id"]["value"]) if acceptance.executor is not None else ""
        known = self._book.tasks.get(spec.task_id)
        if known is not None and launching.adopts:
            return succeed(known, next_mesos_id(known.mesos_id), acceptance.agent_id, executor_id, now)
        told = TaskStatus(
            task_id=spec.task_id,
            instance_id=spec.instance_id,
            app_id=spec.app_id,
            target=spec.target,
            agent=spec.agent,
            state="staging",
            at=now,
            host_ports=spec.host_ports,
        )
        return MesosTask(
            target=spec.target,
            task_id=spec.task_id,
            # What Mesos dropped or refused is another task to it: that it was may be told once more.
            mesos_id=self._book.unused_id(spec.task_id),
            agent_id=acceptance.agent_id,
            executor_id=executor_id,
            role=acceptance.role,
            reserved_for=fitted.reserved_for,
            spec=kept_spec(spec),
            told=told,
            launched_at=now,
            agent_url=acceptance.agent_url,
        )

    def _with_executor(self, task: MesosTask) -> MesosTask:
        share = self._settings.executor
        return msgspec.structs.replace(
            task, executor_version=self.executor_version, executor_cpus=share.cpus, executor_mem=share.mem
        )

    async def _accept(self, acceptance: Acceptance, infos: Iterable[dict[str, object]]) -> bool:
        """Whether Mesos has heard of it for certain."""
        operation = {"type": "LAUNCH", "launch": {"task_infos": list(infos)}}
        try:
            await self._link.call(
                "ACCEPT",
                accept={
                    "offer_ids": [{"value": offer_id} for offer_id in acceptance.offer_ids],
                    "operations": [operation],
                    "filters": {"refuse_seconds": FILTER_SECONDS},
                },
            )
        except ColdchainError as error:
            log.warning("launches are in doubt", agent=acceptance.agent, error=str(error))
            self.unsettled(acceptance.offer_ids)
            self.doubted()
            for fitted in acceptance.fitted:
                launching = self.accepted.pop(fitted.task_id, None)
                if launching is not None:
                    launching.failed(error)
            return False
        finally:
            self._book.in_flight.difference_update(fitted.task_id for fitted in acceptance.fitted)
        return True


def _gone(agent: str) -> Rejected:
    return Rejected(f"agent {agent} does not answer any more", todo="It is placed anew.")
