"""handover: carries out what `decisions.handover` says: running tasks go from executors of another version to ours."""

import structlog

from coldchain.clients.mesos.events import Status
from coldchain.decisions.handover import RETRY_SECONDS, Aboard, Scout, SendAway, next_step
from coldchain.decisions.mesos_task import orphan_at
from coldchain.documents.executor_messages import ID_PREFIX
from coldchain.engines.mesos.idling import Idling
from coldchain.engines.mesos.launches import Launches
from coldchain.engines.mesos.link import Link
from coldchain.engines.mesos.offer_book import OfferBook
from coldchain.engines.mesos.resources import Amounts
from coldchain.engines.mesos.settings import MesosSettings
from coldchain.engines.mesos.statuses import DROPPED, ENDED, SOURCE_EXECUTOR
from coldchain.engines.mesos.task_book import TaskBook
from coldchain.model.base import Noun
from coldchain.model.mesos import MesosTask
from coldchain.model.task import TaskSpec
from coldchain.ports.clock import Clock

SCOUT_PREFIX = "coldchain-scout-"
"""Of the ids of scouts: no task of an app begins like that."""
LOOK_SECONDS = 2.0
"""Between two looks while there is nothing to hand over."""
SCOUT_SECONDS = 60.0
"""How long an executor may take to start."""
LEAVE_SECONDS = 30.0
"""How long one may take to leave: Mesos ends it by force long before."""
AGAIN_SECONDS = 8.0
"""Until one that has not left is told again: Mesos passes that on once, and the agent may not hear it."""
OFFERS_SECONDS = 5.0
"""An agent that has offered nothing for so long, though it was asked, is full."""
FULL_SECONDS = 60.0
"""For how long a full agent is taken to be full."""

log = structlog.get_logger(__name__)


class Scouting(Noun, frozen=True, kw_only=True):
    """The scout that is on its way. `since`: on the monotonic clock."""

    task_id: str
    agent: str
    agent_id: str
    executor_id: str
    since: float


class Handover:
    """Nothing of it is kept: the next controller sees from its records which tasks are of another version."""

    def __init__(
        self,
        settings: MesosSettings,
        book: TaskBook,
        offers: OfferBook,
        launches: Launches,
        link: Link,
        idling: Idling,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._book = book
        self._offers = offers
        self._launches = launches
        self._link = link
        self._idling = idling
        self._clock = clock
        self._scouting: Scouting | None = None
        self._found: dict[str, str] = {}
        self._away: dict[str, tuple[float, SendAway]] = {}
        self._told_at = 0.0
        self._sent = ""
        self._full_at: dict[str, float] = {}
        self._wanting_since: float | None = None
        self._refused_until: dict[str, float] = {}
        self._look_at = 0.0

    def subscribed(self) -> None:
        """What was under way is seen again by what comes of it."""
        self._scouting = None
        self._away.clear()
        self._wanting_since = None

    def executor_lost(self, agent_id: str, executor_id: str) -> None:
        if self._found.get(agent_id) == executor_id:
            del self._found[agent_id]

    def is_scout(self, mesos_id: str) -> bool:
        return mesos_id.startswith(SCOUT_PREFIX)

    def heard(self, status: Status) -> None:
        """Of a scout: its executor says that there is nothing of it, or Mesos says why there is no executor."""
        scouting = self._scouting
        if scouting is None or scouting.task_id != status.task_id.value or status.state not in {*ENDED, "TASK_GONE"}:
            return
        self._scouting = None
        if status.source == SOURCE_EXECUTOR:
            self._found[scouting.agent_id] = scouting.executor_id
            log.info("the new executor lives", agent=scouting.agent)
        elif status.state != DROPPED:
            self._refuse(scouting.agent, f"the new executor does not start: {status.message or status.reason}")

    async def tick(self) -> None:
        """Look, and do one thing."""
        now = self._clock.monotonic()
        if now < self._look_at:
            return
        aboard = self._aboard()
        moving = self._moving({one.agent for one in aboard})
        if not aboard:
            self._wanting_since = None
            self._look_at = now + LOOK_SECONDS
            return
        step = next_step(
            aboard,
            moving=moving,
            proven=bool(self._found) or any(self._is_new(one) and one.port for one in self._book.in_mesos()),
            refused_until=self._refused_until,
            now=now,
        )
        if isinstance(step, Scout):
            await self._scout(step.agent, now)
        elif isinstance(step, SendAway):
            await self._send_away(step, now)
        elif now - self._told_at >= AGAIN_SECONDS:
            for _, told in tuple(self._away.values()):
                await self._tell_to_leave(told, now)

    # What there is

    def _is_new(self, task: MesosTask) -> bool:
        return task.executor_version == self._launches.executor_version

    def _is_old(self, task: MesosTask) -> bool:
        return task.executor_id.startswith(ID_PREFIX) and not self._is_new(task)

    def _of_before(self, agent: str) -> TaskSpec | None:
        """A task there of an executor of another version."""
        return next((one.spec for one in self._book.in_mesos() if one.spec.agent == agent and self._is_old(one)), None)

    def _aboard(self) -> list[Aboard]:
        of_agent: dict[str, list[MesosTask]] = {}
        for task in self._book.in_mesos():
            of_agent.setdefault(task.spec.agent, []).append(task)
        strangers = {one.agent for one in self._book.strangers.values()}
        found = []
        for agent, tasks in of_agent.items():
            old = [one for one in tasks if self._is_old(one)]
            if old:
                found.append(self._aboard_of(agent, tasks, old, settled=agent not in strangers))
        return found

    def _aboard_of(self, agent: str, tasks: list[MesosTask], old: list[MesosTask], *, settled: bool) -> Aboard:
        launching = self._book.in_flight | self._launches.accepted.keys()
        shares = {one.executor_id: Amounts(cpus=one.executor_cpus, mem=one.executor_mem) for one in old}
        room = self._offers.spare(agent)
        for share in shares.values():
            room = room.plus(share)
        now = self._clock.monotonic()
        return Aboard(
            agent=agent,
            agent_id=old[0].agent_id,
            executors=tuple(sorted(shares)),
            settled=settled
            and all(one.begun and one.adopting_since is None and one.standing == "reachable" for one in old)
            and not any(one.task_id in launching for one in old)
            and len({one.agent_id for one in old}) == 1,
            ready=old[0].agent_id in self._found or any(self._is_new(one) and one.port for one in tasks),
            full=now - self._full_at.get(agent, -FULL_SECONDS) < FULL_SECONDS,
            room_after=room.covers(self._settings.executor),
        )

    def _moving(self, aboard: set[str]) -> set[str]:
        """Where something waits to be taken over, is tried, or is to leave."""
        now = self._clock.monotonic()
        moving = {one.spec.agent for one in self._book.tasks.values() if self._waits(one)}
        if (scouting := self._scouting) is not None:
            moving.add(scouting.agent)
            if now - scouting.since >= SCOUT_SECONDS:
                self._scouting = None
                self._refuse(scouting.agent, f"the new executor has not answered in {SCOUT_SECONDS:g} s")
        for agent, (since, _) in tuple(self._away.items()):
            if agent not in aboard:
                del self._away[agent]
            elif now - since >= LEAVE_SECONDS:
                del self._away[agent]
                self._sent = ""
                self._refuse(agent, f"the executor of before has not left in {LEAVE_SECONDS:g} s")
            else:
                moving.add(agent)
        if self._sent and self._sent not in moving:
            log.info("its tasks are taken over by the new executor", agent=self._sent, left=len(aboard))
            self._sent = ""
        return moving

    def _waits(self, task: MesosTask) -> bool:
        if task.told.terminal or not task.begun or not task.executor_id.startswith(ID_PREFIX):
            return False
        waits = task.executor_gone_at is not None or task.adopting_since is not None
        late = orphan_at(task)
        if waits and task.spec.agent == self._sent and late is not None and self._clock.now() >= late:
            # They serve on, and are replaced; no other agent is to come to that.
            for agent in {one.spec.agent for one in self._book.in_mesos() if self._is_old(one)}:
                self._refuse(agent, f"what runs on {self._sent} was not taken over in time")
            self._sent = ""
        return waits

    def _refuse(self, agent: str, reason: str) -> None:
        self._refused_until[agent] = self._clock.monotonic() + RETRY_SECONDS
        log.warning("tasks stay with the executor that they have", agent=agent, reason=reason, seconds=RETRY_SECONDS)

    # What is done

    async def _scout(self, agent: str, now: float) -> None:
        if self._wanting_since is None:
            self._wanting_since = now
        await self._idling.need()
        held = self._offers.agent_named(agent)
        if (held is None or not held.offers) and now - self._wanting_since < OFFERS_SECONDS:
            return
        spec = self._of_before(agent)
        if spec is None:
            return  # while offers were asked for the last of them has ended
        task_id = f"{SCOUT_PREFIX}{self._clock.unique()}"
        acceptance = self._launches.pack_scout(spec, task_id)
        self._wanting_since = None  # what the next one needs is asked for anew, and takes as long to come
        if acceptance is None:
            self._full_at[agent] = now
            return
        assert acceptance.executor is not None, "whoever adopts needs one"
        self._scouting = Scouting(
            task_id=task_id,
            agent=agent,
            agent_id=acceptance.agent_id,
            executor_id=str(acceptance.executor["executor_id"]["value"]),
            since=now,
        )
        log.info("a scout goes to see whether the new executor starts", agent=agent)
        if not await self._launches.send_scout(spec, task_id, acceptance):
            self._scouting = None  # that it is not heard of says nothing of the executor: another one goes

    async def _send_away(self, step: SendAway, now: float) -> None:
        log.info("executors of another version are to leave", agent=step.agent, executors=step.executors)
        self._away[step.agent] = now, step
        self._sent = step.agent
        await self._idling.need()
        await self._tell_to_leave(step, now)

    async def _tell_to_leave(self, step: SendAway, now: float) -> None:
        self._told_at = now
        for executor_id in step.executors:
            named = {"executor_id": {"value": executor_id}, "agent_id": {"value": step.agent_id}}
            await self._link.try_call("SHUTDOWN", shutdown=named)
