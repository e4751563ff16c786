"""listening: what the master tells, taken into the books, stored, acknowledged and told to the controller."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import structlog

from coldchain.clients.mesos.events import Event, Message, Status
from coldchain.decisions.mesos_task import (
    UNKNOWN_SECONDS,
    ExecutorGone,
    Reported,
    hear,
    in_doubt,
    same_standing,
    seen,
    successor_at,
    wants_successor,
)
from coldchain.documents import keys, stored
from coldchain.documents.executor_messages import decode
from coldchain.documents.stored import UnreadableDocument
from coldchain.engines.mesos.containers import heard_of_container
from coldchain.engines.mesos.handover import Handover
from coldchain.engines.mesos.idling import Idling
from coldchain.engines.mesos.infos import kept_spec, kill_policy
from coldchain.engines.mesos.keeper import Keeper
from coldchain.engines.mesos.launches import Launches
from coldchain.engines.mesos.link import Link
from coldchain.engines.mesos.machines import Machines
from coldchain.engines.mesos.maintenance import Maintenance
from coldchain.engines.mesos.offer_book import OfferBook
from coldchain.engines.mesos.reconciliation import Reconciliation
from coldchain.engines.mesos.statuses import DRAINING, DROPPED, ENDED, NOT_THERE, RECONCILIATION, heard_of, stranger
from coldchain.engines.mesos.task_book import TaskBook
from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.executor import ExecutorReport
from coldchain.model.mesos import MesosFramework, MesosTask
from coldchain.model.task import TaskSpec, TaskStatus
from coldchain.ports.clock import Clock

ACKNOWLEDGEMENTS_MAX = 32
"""On their way at once."""

log = structlog.get_logger(__name__)


class Listening:
    """An acknowledgement goes out only after what it acknowledges is stored; until then the agent tells it again."""

    def __init__(
        self, target: str, framework_id: str, book: TaskBook, offers: OfferBook, keeper: Keeper, clock: Clock
    ) -> None:
        self._target = target
        self._framework_id = framework_id
        self._book = book
        self._offers = offers
        self._keeper = keeper
        self._clock = clock
        self._subscribed_at = 0.0
        self._told: dict[str, TaskStatus] = {}
        self._doubtful: set[str] = set()
        self._listeners: list[asyncio.Queue[TaskStatus | Unavailable]] = []
        self._acknowledgements: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._calls: set[asyncio.Task[None]] = set()

    def connect(
        self,
        link: Link,
        launches: Launches,
        reconciliation: Reconciliation,
        idling: Idling,
        machines: Machines,
        handover: Handover,
        maintenance: Maintenance,
    ) -> None:
        """To whom it passes things on."""
        self._link, self._launches, self._machines = link, launches, machines
        self._reconciliation, self._idling, self._handover = reconciliation, idling, handover
        self._maintenance = maintenance

    # The subscription

    async def subscribed(self, framework_id: str) -> None:
        """What was offered before is void; what runs is asked for."""
        self._offers.reset()
        self._maintenance.wishes.reset()
        self._subscribed_at = self._clock.monotonic()
        if framework_id != self._framework_id:
            self._renewed(framework_id)
        self._idling.subscribed()
        self._machines.subscribed()
        self._handover.subscribed()
        self._reconciliation.begin()
        self._begin(self._reconciliation.ask())
        for task in list(self._book.tasks.values()):
            self._succeed(task)
            if task.kill_grace_seconds is not None and not task.told.terminal:
                self._kill_again(task)

    def _renewed(self, framework_id: str) -> None:
        """Mesos has forgotten the framework of before, and ended its executors: what they started may run."""
        self._framework_id = framework_id
        record = MesosFramework(target=self._target, id=framework_id)
        self._keeper.keep(keys.mesos_framework(self._target), stored.encode(record))
        gone = ExecutorGone(at=self._clock.now(), message="Mesos has forgotten this framework")
        for task in list(self._book.tasks.values()):
            self._note(task, hear(task, gone))

    def disconnected(self, trouble: str) -> None:
        self._reconciliation.disconnected()
        self._launches.disconnected(trouble)
        for listener in self._listeners:
            listener.put_nowait(Unavailable(f"Mesos does not answer: {trouble}"))

    async def happened(self, event: Event) -> None:
        if event.update is not None:
            self._heard(event.update.status)
        elif event.offers is not None:
            self._offers.offered(event.offers.offers)
            self._idling.came()
            if self._launches.waiting:
                self._launches.wake.set()
        elif event.rescind is not None:
            self._offers.rescinded(event.rescind.offer_id.value)
        elif event.inverse_offers is not None:
            for one in event.inverse_offers.inverse_offers:
                if one.agent_id is not None:
                    self._offers.unavailable(one.agent_id.value, one.unavailability.start.seconds)
            self._maintenance.wishes.came(event.inverse_offers.inverse_offers, self._clock.now())
        elif event.rescind_inverse_offer is not None:
            agent_id = self._maintenance.wishes.rescinded(event.rescind_inverse_offer.inverse_offer_id.value)
            if agent_id is not None:  # where only the time has changed the next one says so at once
                self._offers.unavailable(agent_id, None)
        elif event.message is not None:
            self._report(event.message)
        elif event.failure is not None and event.failure.agent_id is not None:
            if event.failure.executor_id is not None:
                self._executor_lost(event.failure.agent_id.value, event.failure.executor_id.value)
            else:
                if name := self._offers.name_of(event.failure.agent_id.value):
                    self._launches.agent_lost(name)
                self._offers.agent_lost(event.failure.agent_id.value)
                self._machines.agent_lost(event.failure.agent_id.value)

    def _executor_lost(self, agent_id: str, executor_id: str) -> None:
        self._offers.executor_lost(agent_id, executor_id)
        self._machines.executor_lost(agent_id, executor_id)
        self._handover.executor_lost(agent_id, executor_id)

    # Tasks

    def _heard(self, status: Status) -> None:
        mesos_id = status.task_id.value
        self._reconciliation.heard(mesos_id)
        task = self._book.of_mesos(mesos_id)
        now = self._clock.now()
        if status.reason == DRAINING and status.agent_id is not None:
            self._offers.drained(status.agent_id.value)
            self._begin(self._maintenance.send_away(status.agent_id.value))
        if self._handover.is_scout(mesos_id):
            self._handover.heard(status)
        elif task is None:
            self._heard_of_stranger(status, now)
        elif status.state == DROPPED and self._launches.again(task.task_id):
            log.info("launched again", task=task.task_id, reason=status.message)
        elif task.task_id in self._book.in_flight and status.state in NOT_THERE:
            log.info("a master does not know yet what it is being told of", task=task.task_id)
        elif task.task_id not in self._book.waiting:
            if status.state in ENDED and status.reason == RECONCILIATION:
                self._book.given_back.add(mesos_id)
            settled = self._clock.monotonic() - self._subscribed_at >= UNKNOWN_SECONDS
            if task.agent_url:
                hearing = heard_of_container(task, status, now, settled=settled)
            else:
                hearing = heard_of(status, now, settled=settled)
            self._note(task, hear(task, hearing))
        if status.uuid and status.agent_id is not None:
            named = {
                "agent_id": {"value": status.agent_id.value},
                "task_id": {"value": mesos_id},
                "uuid": status.uuid,
            }
            self._keeper.after(lambda: self._acknowledgements.put_nowait(named))

    def _heard_of_stranger(self, status: Status, now: float) -> None:
        mesos_id = status.task_id.value
        agent_id = status.agent_id.value if status.agent_id else ""
        known = stranger(status, self._target, self._offers.name_of(agent_id) or agent_id, now)
        if status.state in ENDED:
            self._book.spend(mesos_id)
        if (successor := self._book.successor_of(mesos_id)) is not None:
            if known is not None and successor.told.terminal:
                # That one was never to be, and what was to be taken over ran on under this one.
                named = {"task_id": {"value": mesos_id}, "agent_id": {"value": agent_id}}
                self._begin(self._link.try_call("KILL", kill=named))
            return
        if known is not None:
            self._book.strangers[mesos_id] = known
            self._tell(known)
        elif (gone := self._book.strangers.pop(mesos_id, None)) is not None:
            self._tell(msgspec.structs.replace(gone, state="killed", at=now))

    def _note(self, before: MesosTask, after: MesosTask) -> None:
        """Keep what changed, pass it on, and do what follows from it."""
        if after == before:
            return
        if same_standing(before, after):
            self._book.put(after)  # what is on record says the same
            return
        if after.executor_gone_at is not None and before.executor_gone_at is None:
            self._executor_lost(after.agent_id, after.executor_id)
        now = self._clock.now()
        status = seen(after, now)
        launching = self._launches.accepted.get(after.task_id)
        if launching is not None and not launching.adopts and (after.begun or status.terminal):
            self._launches.accepted.pop(after.task_id)
            if status.state == "failed" and not after.begun:
                # It never was: whoever launches it hears why, and nothing of it is kept.
                self.remove(after.task_id)
                self._book.spend(after.mesos_id)
                launching.failed(Rejected(status.message, todo="Correct the app's definition, or its agent"))
                return
            launching.begun()
        self.keep(after)
        waiting = self._launches.waiting.get(after.task_id)
        if waiting is not None and waiting.adopts and after.told.terminal:
            self._launches.drop(after.task_id)  # nothing is left to be taken over
        if launching is not None and launching.adopts and after.adopting_since is None:
            self._launches.accepted.pop(after.task_id, None)
            if after.kill_grace_seconds is not None:
                self._kill_again(after)
        self._succeed(after)
        self.tell(after)

    def _succeed(self, task: MesosTask) -> None:
        wanted = wants_successor(task) and self._clock.now() >= successor_at(task)
        if wanted and task.task_id not in self._launches.waiting:
            words = task.executor_gone_message or task.standing_message
            log.warning("its executor is gone; another one is to take it over", task=task.task_id, reason=words)
            self._launches.add(task.spec, adopts=True)
            self._begin(self._idling.need(self._launches.demand(lacking=False).roles))

    def keep(self, task: MesosTask) -> None:
        """Into book and store."""
        self._book.put(task)
        self._keeper.keep(keys.mesos_task(task), stored.encode(task))
        if in_doubt(task):
            self._doubtful.add(task.task_id)

    def remove(self, task_id: str) -> None:
        task = self._book.remove(task_id)
        self._told.pop(task_id, None)
        self._doubtful.discard(task_id)
        if task is not None:
            self._keeper.keep(keys.mesos_task(task), None)

    def to_be_killed(self, task: MesosTask, grace_seconds: float) -> MesosTask:
        """With the shorter of two graces."""
        grace = min(grace_seconds, task.kill_grace_seconds if task.kill_grace_seconds is not None else grace_seconds)
        if grace != task.kill_grace_seconds:
            since = task.kill_asked_at if task.kill_asked_at is not None else self._clock.now()
            task = msgspec.structs.replace(task, kill_grace_seconds=grace, kill_asked_at=since)
            self.keep(task)
        return task

    def never_launched(self, spec: TaskSpec, message: str) -> None:
        """It waited for an offer, and does so no more."""
        now = self._clock.now()
        told = TaskStatus(
            task_id=spec.task_id,
            instance_id=spec.instance_id,
            app_id=spec.app_id,
            target=spec.target,
            agent=spec.agent,
            state="killed",
            at=now,
            host_ports=spec.host_ports,
            message=message,
        )
        task = MesosTask(
            target=spec.target,
            task_id=spec.task_id,
            mesos_id=spec.task_id,
            agent_id="",
            executor_id="",
            role="",
            reserved_for="",
            spec=kept_spec(spec),
            told=told,
            launched_at=now,
        )
        self.keep(task)
        self.tell(task)

    def look_at_doubtful(self) -> None:
        """Time passes: whom does nobody answer for by now, and who is lost?"""
        for task_id in sorted(self._doubtful):
            task = self._book.tasks.get(task_id)
            if task is None or not in_doubt(task):
                self._doubtful.discard(task_id)
            if task is not None:
                self._succeed(task)
                self.tell(task)

    def _kill_again(self, task: MesosTask) -> None:
        policy = kill_policy(task.kill_grace_seconds or 0.0)
        named = {"task_id": {"value": task.mesos_id}, "agent_id": {"value": task.agent_id}, "kill_policy": policy}
        self._begin(self._link.try_call("KILL", kill=named))

    def _report(self, message: Message) -> None:
        """An executor tells all that it knows."""
        try:
            report = decode(message.data, ExecutorReport)
        except UnreadableDocument as error:
            log.warning("an executor says what means nothing", error=str(error))
            return
        for mesos_id, status in report.tasks.items():
            task = self._book.of_mesos(mesos_id)
            if task is not None and task.executor_id == report.executor_id and task.task_id not in self._book.waiting:
                self._note(task, hear(task, Reported(status=status, address=report.address, port=report.port)))
        agent_id = message.agent_id.value
        for status in self._machines.heard(agent_id, self._offers.name_of(agent_id) or agent_id, report):
            self._tell(status)
            if status.terminal:
                self._told.pop(status.task_id, None)

    # The controller

    def tell(self, task: MesosTask) -> None:
        """What is new for the controller."""
        self._tell(seen(task, self._clock.now()))

    def _tell(self, status: TaskStatus) -> None:
        if self._told.get(status.task_id) == status:
            return
        self._told[status.task_id] = status
        for listener in self._listeners:
            listener.put_nowait(status)

    def updates(self, trouble: str) -> AsyncGenerator[TaskStatus, None]:
        """From this call on."""
        listener: asyncio.Queue[TaskStatus | Unavailable] = asyncio.Queue()
        if trouble:
            listener.put_nowait(Unavailable(f"Mesos does not answer: {trouble}"))
        self._listeners.append(listener)
        return self._updates(listener)

    async def _updates(self, listener: asyncio.Queue[TaskStatus | Unavailable]) -> AsyncGenerator[TaskStatus, None]:
        try:
            while True:
                item = await listener.get()
                if isinstance(item, Unavailable):
                    raise item
                yield item
        finally:
            self._listeners.remove(listener)

    # Calls that nobody waits for

    async def acknowledge(self) -> None:
        """For ever. One that is lost is asked for again by the agent."""
        while True:
            batch = [await self._acknowledgements.get()]
            while not self._acknowledgements.empty() and len(batch) < ACKNOWLEDGEMENTS_MAX:
                batch.append(self._acknowledgements.get_nowait())
            await asyncio.gather(*(self._link.try_call("ACKNOWLEDGE", acknowledge=one) for one in batch))

    def _begin(self, work: Any) -> None:
        call = asyncio.create_task(work)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def close(self) -> None:
        for call in tuple(self._calls):
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
