"""MesosEngine: a cluster of Apache Mesos as an engine."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any, Protocol

import structlog

from coldchain.clients.mesos.agent import AgentClient
from coldchain.clients.mesos.scheduler import SchedulerClient
from coldchain.decisions.mesos_task import seen
from coldchain.documents import keys, stored
from coldchain.documents.executor_messages import executor_token
from coldchain.engines.mesos.handover import Handover
from coldchain.engines.mesos.idling import Idling
from coldchain.engines.mesos.infos import kill_policy, roles_for
from coldchain.engines.mesos.keeper import Keeper
from coldchain.engines.mesos.launches import Launches
from coldchain.engines.mesos.link import Link
from coldchain.engines.mesos.listening import Listening
from coldchain.engines.mesos.machines import Machines, Place, place_of
from coldchain.engines.mesos.maintenance import Maintenance
from coldchain.engines.mesos.offer_book import OfferBook
from coldchain.engines.mesos.reconciliation import Reconciliation
from coldchain.engines.mesos.sandbox import Sandboxes
from coldchain.engines.mesos.settings import MesosSettings
from coldchain.engines.mesos.task_book import TaskBook
from coldchain.model.app import App
from coldchain.model.errors import ColdchainError, NotFound, Rejected, Unavailable
from coldchain.model.executor import ExecutorSettings
from coldchain.model.health import Probe, ProbeResult
from coldchain.model.mesos import MesosFramework, MesosTask
from coldchain.model.offer import Offer
from coldchain.model.task import Execution, TaskSpec, TaskStatistics, TaskStatus
from coldchain.ports.clock import Clock
from coldchain.ports.engine import Progress
from coldchain.ports.prober import Prober
from coldchain.ports.runner import Runner
from coldchain.ports.session import Session, TerminalSize
from coldchain.ports.store import Store

TICK_SECONDS = 0.5
FIRST_OFFERS_SECONDS = 2.0
"""After a subscription offers come within one round of the master; until then nobody is told that there are none."""
FIRST_TRY_SECONDS = 5.0
LAST_WRITE_SECONDS = 0.5
CLEAR_SECONDS = 60.0
"""How long after its end a task's executor is waited for, to remove what is left of it."""
READY_SECONDS = 20.0
"""How long a question waits for a subscription that has just begun."""
NOTHING_BESIDE = "its agent runs the Docker containerizer of Mesos, and nothing of ours is there"


class Machine(Runner, Prober, Protocol):
    """That of an executor."""


Reach = Callable[[str, str], Machine]
"""It, by the address of the executor's server and by its token."""

log = structlog.get_logger(__name__)


class MesosEngine:
    """`key`: from which the tokens of executors are made; the same for all controllers of a store. `lacks_room`:
    whether instances find no agent in what is offered. To be started."""

    def __init__(
        self,
        client: SchedulerClient,
        store: Store,
        clock: Clock,
        settings: MesosSettings,
        executor: ExecutorSettings,
        *,
        key: bytes,
        reach: Reach,
        agents: AgentClient | None = None,
        target: str = "cluster",
    ) -> None:
        self.target = target
        self._client = client
        self._store = store
        self._clock = clock
        self._settings = settings
        self._executor = executor
        self._key = key
        self._reach = reach
        self._book = TaskBook()
        self._offers = OfferBook(target, settings.executor, settings.containerizer)
        self._sandboxes = Sandboxes(agents or AgentClient(), clock)
        self._keeper = Keeper(store, clock)
        self._runners: dict[Place, Machine] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._failure: BaseException | None = None
        self.lacks_room: Callable[[], bool] = lambda: False

    async def start(self) -> None:
        """Read what the controller before has left, and try to subscribe. Raises what the store raises."""
        entry = await self._store.get(keys.mesos_framework(self.target))
        framework_id = stored.decode(entry.value, MesosFramework).id if entry is not None else ""
        entries = (await self._store.list(keys.mesos_tasks(self.target))).entries
        tasks = [stored.decode(one.value, MesosTask) for one in entries]
        for task in sorted(tasks, key=lambda one: one.launched_at):
            self._book.put(task)
        listening = self._listening = Listening(
            self.target, framework_id, self._book, self._offers, self._keeper, self._clock
        )
        self._link = Link(self._client, self._settings, self._clock, framework_id, listening)
        self._launches = Launches(
            self._settings, self._executor, self._key, self._book, self._offers, self._link, self._clock
        )
        self._reconciliation = Reconciliation(self._settings, self._book, self._link, self._clock)
        self._idling = Idling(self._settings, self._offers, self._link, self._clock)
        self._machines = Machines(self.target, self._book, self._link, self._clock)
        self._handover = Handover(
            self._settings, self._book, self._offers, self._launches, self._link, self._idling, self._clock
        )
        self._maintenance = Maintenance(self._settings, self._book, self._offers, self._link, self._clock)
        listening.connect(
            self._link,
            self._launches,
            self._reconciliation,
            self._idling,
            self._machines,
            self._handover,
            self._maintenance,
        )
        self._launches.keep = listening.keep
        self._launches.unsettled = self._idling.unsettled
        self._launches.doubted = self._reconciliation.doubt
        self._loops = [
            asyncio.create_task(self._loop(work), name=f"mesos {work.__name__}")
            for work in (
                self._link.run,
                self._keeper.run,
                self._dispatch,
                self._idling.run,
                self._tick,
                listening.acknowledge,
            )
        ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_TRY_SECONDS):
                await self._link.tried.wait()

    async def close(self) -> None:
        """Tasks and executors go on."""
        if self._loops:
            with contextlib.suppress(TimeoutError):  # of what is not stored Mesos tells the next controller again
                async with asyncio.timeout(LAST_WRITE_SECONDS):
                    await self._keeper.kept()
        for one in self._loops:
            one.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        if self._loops:
            self._launches.disconnected("closed")
            self._listening.disconnected("closed")
            await self._listening.close()
        for runner in self._runners.values():
            await runner.close()
        await self._sandboxes.close()
        await self._client.close()

    async def tear_down(self) -> None:
        """Take leave of Mesos for good, once nothing runs any more: it ends executors, and forgets the framework.
        Where Mesos does not answer all stays as it is, for the next time."""
        try:
            await self._ready()
            for task_id in tuple(self._book.tasks):
                with contextlib.suppress(ColdchainError):  # what is left on its agent is swept there
                    await self.forget(task_id)
            await self._link.leave()
        except ColdchainError as error:
            log.warning("Mesos keeps the framework until its failover time is over", reason=str(error))
            return
        for task_id in tuple(self._book.tasks):
            self._listening.remove(task_id)
        self._keeper.keep(keys.mesos_framework(self.target), None)
        await self._keeper.kept()

    async def _loop(self, work: Callable[[], Any]) -> None:
        try:
            await work()
        except Exception as error:
            log.exception("a bug of ours: engine mesos has ended", loop=work.__name__)
            self._failure = error
            self._listening.disconnected(f"a bug of ours: {error}")

    async def _dispatch(self) -> None:
        while True:
            await self._launches.wake.wait()
            self._launches.wake.clear()
            if self._link.up:
                await self._launches.dispatch(self._keeper.kept)
                if self._launches.hopeful:
                    self._idling.hasten()

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(TICK_SECONDS)
            self._launches.give_up()
            self._listening.look_at_doubtful()
            await self._reconciliation.tick()
            await self._maintenance.tick()
            await self._idling.tick(self._launches.demand(lacking=self.lacks_room()))
            await self._machines.ask()
            if self._link.up and self._reconciliation.done:
                await self._handover.tick()

    # Port Engine: the cluster

    async def offers(self) -> Sequence[Offer]:
        await self._ready()
        await self._idling.first_offers(FIRST_OFFERS_SECONDS)
        self._check_up()
        used = self._book.used({one.id for one in self._offers.agents.values()})
        return self._offers.capacity(used, self._clock.now() + self._settings.leave_seconds)

    async def launch(self, spec: TaskSpec) -> None:
        await self._ready()
        known = self._book.tasks.get(spec.task_id)
        if known is None or spec.task_id in self._launches.accepted:
            launching = self._launches.add(spec)
            await self._idling.need(roles_for(spec.app, self._settings.roles))
            await asyncio.shield(launching.outcome)

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        await self._ready()
        waiting = self._launches.waiting.get(task_id)
        if waiting is not None and not waiting.adopts:
            self._launches.drop(task_id)
            self._listening.never_launched(waiting.spec, "it was stopped before it was started")
            waiting.begun()
            return
        task = self._book.tasks.get(task_id)
        if task is not None and not task.told.terminal:
            task = self._listening.to_be_killed(task, grace_seconds)
            if task.executor_gone_at is None:
                await self._kill(task.mesos_id, task.agent_id, task.kill_grace_seconds or 0.0)
            if seen(task, self._clock.now()).orphaned:
                await self._end_orphan(task_id, task.kill_grace_seconds or 0.0)
        elif task is None and self._machines.place_of_orphan(task_id) is not None:
            await self._end_orphan(task_id, grace_seconds)
        elif task is None and task_id in self._book.strangers:
            await self._kill(task_id, "", grace_seconds)

    async def _kill(self, mesos_id: str, agent_id: str, grace_seconds: float) -> None:
        named: dict[str, Any] = {"task_id": {"value": mesos_id}, "kill_policy": kill_policy(grace_seconds)}
        if agent_id:
            named["agent_id"] = {"value": agent_id}
        await self._link.call("KILL", kill=named)

    async def _end_orphan(self, task_id: str, grace_seconds: float) -> None:
        """By whoever lives on its machine and answers; where nobody does, its machine sweeps it."""
        place, task = self._machines.place_of_orphan(task_id), self._book.tasks.get(task_id)
        if place is None and task is not None and task.port and task.executor_gone_at is None:
            place = place_of(task)  # its agent is away, its executor may not be
        if place is not None:
            try:
                await self._machine(place).kill(task_id, grace_seconds)
            except ColdchainError as error:
                log.info("an orphan is left to its machine's sweeper", task=task_id, error=str(error))
                if not self._offers.has_executor(place.agent_id, place.executor_id):
                    # Its end may never be told, as when its agent came back under another id.
                    self._machines.executor_lost(place.agent_id, place.executor_id)

    async def forget(self, task_id: str) -> None:
        await self._ready()
        task = self._book.tasks.get(task_id)
        if task is None or not seen(task, self._clock.now()).terminal:
            return
        if task.told.terminal and task.port and self._offers.name_of(task.agent_id) is not None:
            await self._clear(task)
        self._launches.drop(task_id)
        self._listening.remove(task_id)

    async def _clear(self, task: MesosTask) -> None:
        """Remove what is left of it on its machine. Where its executor is gone for good, the next sweep there does."""
        try:
            await self._runner(task).forget(task.task_id)
        except Unavailable:
            lives = self._offers.has_executor(task.agent_id, task.executor_id)
            if lives and self._clock.now() - task.told.at < CLEAR_SECONDS:
                raise
            log.info("what is left of a task is left to the sweeper", task=task.task_id, agent=task.spec.agent)

    async def tasks(self) -> Sequence[TaskStatus]:
        await self._ready()
        now = self._clock.now()
        strangers = (*self._book.strangers.values(), *self._machines.orphans())
        return [*(seen(one, now) for one in self._book.tasks.values()), *strangers]

    def updates(self) -> AsyncGenerator[TaskStatus, None]:
        trouble = "" if self._loops and self._link.up else self._trouble()
        return self._listening.updates(trouble) if self._loops else _unavailable(trouble)

    # Port Engine: the machine of a task

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None:
        """Executors fetch images at the start of a task. Which one a name stands for is asked of one of them, and where
        there is none yet the name goes as it is."""
        await self._ready()
        if app.container is None:
            return None
        for task in tuple(self._book.in_mesos()):
            if task.port and task.standing == "reachable":
                try:
                    return await self._runner(task).prepare(app, image, progress)
                except Unavailable as error:
                    log.info("an executor does not answer", agent=task.spec.agent, error=str(error))
        return image or app.container.docker.image

    async def logs(
        self, task_id: str, *, follow: bool, tail: int | None, since: float | None = None
    ) -> AsyncIterator[bytes]:
        await self._ready()
        if (contained := self._book.tasks.get(task_id)) is not None and contained.agent_url:
            output = self._sandboxes.logs(
                contained, self._link.framework_id, tail=tail, live=lambda: follow and self._is_live(task_id)
            )
            async for piece in output:
                yield piece
            return
        runner = self._runner(self._reachable(task_id, f"no output of task {task_id} is kept"))
        async for piece in runner.logs(task_id, follow=follow, tail=tail, since=since):
            yield piece

    async def execute(self, task_id: str, command: str, timeout_seconds: float) -> Execution:
        await self._ready()
        return await self._runner(self._beside(task_id)).execute(task_id, command, timeout_seconds)

    async def network_namespace(self, task_id: str) -> str | None:
        """It is on another machine, where nobody can enter it from here."""
        await self._ready()
        self._running(task_id)
        return None

    async def statistics(self, task_id: str) -> TaskStatistics:
        await self._ready()
        return await self._runner(self._beside(task_id)).statistics(task_id)

    async def open_session(self, task_id: str, command: Sequence[str], size: TerminalSize | None) -> Session:
        await self._ready()
        return await self._runner(self._beside(task_id)).open_session(task_id, command, size)

    async def probe(self, probe: Probe) -> ProbeResult | None:
        """As port Prober, from the machine of the task; None for one that is not here."""
        task = self._book.tasks.get(probe.task_id)
        if task is None:
            return None
        if task.agent_url:
            return ProbeResult(outcome="unknown", detail=NOTHING_BESIDE)
        if not task.port:
            return ProbeResult(outcome="unknown", detail="its executor has not said yet where it listens")
        return await self._runner(task).probe(probe)

    # Parts

    async def _ready(self) -> None:
        """Raises Unavailable until all that lives is known."""
        if not self._loops:
            raise Unavailable("engine mesos is not started")
        self._check_up()
        done = await self._reconciliation.ended(READY_SECONDS)
        self._check_up()
        if not done:
            raise Unavailable("Mesos has not told yet what runs")

    def _check_up(self) -> None:
        if not self._link.up or self._failure is not None:
            raise Unavailable(f"Mesos does not answer: {self._trouble()}")

    def _trouble(self) -> str:
        if self._failure is not None:
            return f"a bug of ours: {self._failure}"
        return self._link.trouble if self._loops else "not started"

    def _reachable(self, task_id: str, words: str) -> MesosTask:
        task = self._book.tasks.get(task_id)
        if task is None or not (task.port or task.agent_url):
            raise NotFound(words, todo="See the app's last failure")
        return task

    def _running(self, task_id: str) -> MesosTask:
        task = self._reachable(task_id, f"task {task_id} does not run")
        if task.told.state not in ("running", "killing"):
            raise NotFound(f"task {task_id} does not run", todo="`coldchain status APP` shows what does")
        return task

    def _beside(self, task_id: str) -> MesosTask:
        """One that runs, with an executor of ours. Raises Rejected for another."""
        task = self._running(task_id)
        if task.agent_url:
            raise Rejected(f"task {task_id} cannot be reached: {NOTHING_BESIDE}", todo=f"Its agent: {task.spec.agent}")
        return task

    def _is_live(self, task_id: str) -> bool:
        task = self._book.tasks.get(task_id)
        return task is not None and not seen(task, self._clock.now()).terminal

    def _runner(self, task: MesosTask) -> Machine:
        """Of its executor."""
        return self._machine(place_of(task))

    def _machine(self, place: Place) -> Machine:
        if place not in self._runners:
            host = f"[{place.address}]" if ":" in place.address else place.address
            token = executor_token(self._key, place.executor_id, place.agent_id)
            self._runners[place] = self._reach(f"http://{host}:{place.port}", token)
        return self._runners[place]


async def _unavailable(trouble: str) -> AsyncGenerator[TaskStatus, None]:
    raise Unavailable(f"Mesos does not answer: {trouble}")
    yield
