"""world: a whole cluster of Mesos around the controllers, which come one after the other."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from coldchain.decisions.mesos_task import orphan_at
from coldchain.decisions.orphan import SWEEPER
from coldchain.documents import keys, stored
from coldchain.documents.executor_messages import decode
from coldchain.engines.mesos import MesosEngine, MesosSettings
from coldchain.engines.mesos.infos import amounts_of
from coldchain.model.app import App
from coldchain.model.executor import ExecutorSettings, TaskReport
from coldchain.model.mesos import MesosTask
from coldchain.model.offer import Offer
from coldchain.model.task import ORDER, TaskSpec
from coldchain.ports.store import Change, Guard
from coldchain.testing.fake_engine import FakeTask, Life
from coldchain.testing.simulated_loop import SimulatedLoop
from coldchain.testing.simulation.mesos.agent import TERMINAL, Agent
from coldchain.testing.simulation.mesos.amounts import Amount, total
from coldchain.testing.simulation.mesos.faults import MESOS_FAULTS
from coldchain.testing.simulation.mesos.machine import ORPHAN_SECONDS, ExecutorProcess, Machine, Reached
from coldchain.testing.simulation.mesos.master import Masters
from coldchain.testing.simulation.mesos.scheduler import SimulatedScheduler
from coldchain.testing.simulation.ports import Existence, SimulatedEngine, StoreHandle
from coldchain.testing.simulation.schedule import Schedule
from coldchain.testing.simulation.world import World

TICK_SECONDS = 1e-6
"""Between two of one way: what comes at one moment comes in any order."""
EXECUTOR_KILLED = "executor killed"
YOUNG_SECONDS = 2.0
"""So long nobody may have heard yet that a task runs."""
TROUBLED_SECONDS = 150.0
"""After a machine was struck so long nobody can be sure what runs there."""


class MesosLoop(SimulatedLoop):
    """What an executor would do in a thread is done at once."""

    def run_in_executor(self, executor: object, work: Callable[..., Any], *arguments: object) -> asyncio.Future[Any]:
        future = self.create_future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


class Containers(SimulatedEngine):
    """All containers of all machines, whoever knows of them."""

    world: "MesosWorld"

    def task_at(self, address: str, port: int) -> FakeTask | None:
        task = super().task_at(address, port)
        return None if task is not None and self.world.machine(task.spec.agent).cut_off else task

    def _create(self, spec: TaskSpec, life: Life) -> None:
        """It is reached at the address of its machine."""
        super()._create(spec, life)
        self.world.begun.add(spec.task_id)
        task = self.held[spec.task_id]
        task.status = msgspec.structs.replace(task.status, ports=tuple(port for port in spec.host_ports if port))

    def launched(self, machine: str, spec: TaskSpec) -> None:
        """A runner is about to start it."""
        checkers = self.world.checkers
        if machine != spec.agent:
            checkers.violated("once", f"{spec.task_id} of {spec.agent} is started on {machine}")
        if spec.task_id not in self.held and spec.task_id in self.world.begun:
            checkers.violated("once", f"{spec.task_id} is started a second time")
        others = [one for one in self.held.values() if one.spec.agent == machine and one.spec.task_id != spec.task_id]
        used = [one.spec for one in others if not one.status.terminal and not self._given_up(one)]
        amount = total(_amount(one) for one in (*used, spec))
        if not self.world.machine(machine).amount.covers(amount):
            checkers.violated("room", f"{machine} has no room for {spec.task_id}: {amount}")

    def _given_up(self, task: FakeTask) -> bool:
        """Nobody could end it in time, as its machine was struck: it runs, and its room is given to others."""
        record = self.world.checkers.ledger.instances.get(task.spec.instance_id)
        return record is None or (record.phase == "stopped" and self.world.excused(task))

    def stopped(self, task_id: str, holder: str) -> None:
        """Somebody on the machine ends it."""
        task = self.held.get(task_id)
        if task is None or task.status.terminal:
            return
        record = self.world.checkers.ledger.instances.get(task.spec.instance_id)
        if holder == SWEEPER:
            self.world.killed[task.spec.app_id] += 1
            if record is not None and record.phase == "serving" and not self.world.excused(task):
                self.world.checkers.violated("orphan", f"{task_id} serves and is swept")
        elif task.spec.instance_id not in self.world.ordered:
            self.world.checkers.violated("ended", f"{task_id} is ended by nobody's order")


class CheckedEngine(MesosEngine):
    """The real one; what the controller orders is noted."""

    world: "MesosWorld"

    async def launch(self, spec: TaskSpec) -> None:
        self.world.checkers.launch(spec)
        await super().launch(spec)

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        name = self.world.instance_of(task_id)
        if name not in self.world.ordered:  # it is asked again until it has ended
            self.world.checkers.kill(task_id)
            self.world.ordered.add(name)
        task = self._book.tasks.get(task_id)
        if task is not None and orphan_at(task) is not None:
            self.world.ended_as_orphans.add(task_id)
        await super().kill(task_id, grace_seconds)

    async def forget(self, task_id: str) -> None:
        self.world.forgettable.add(task_id)
        await super().forget(task_id)

    async def offers(self) -> Sequence[Offer]:
        rows = await super().offers()
        for row in rows:
            amount = self.world.machine(row.agent).amount.plus(self._ended_by_now(row.agent))
            if row.cpus * 1000 > amount.cpus + 1 or row.mem * 1000 > amount.mem + 1:
                self.world.checkers.violated(
                    "counted twice", f"{row.agent} is said to have {row.cpus} of {amount.cpus}"
                )
        return rows

    def _ended_by_now(self, agent: str) -> Amount:
        """What tasks have whose end Mesos knows, and has not told yet."""
        known = self.world.masters.agents.get(self.world.machine(agent).agent.id)
        tasks = known.tasks if known is not None else {}
        live = {name for name, one in tasks.items() if one.state not in TERMINAL}
        ours = (one for one in self._book.in_mesos() if one.spec.agent == agent and one.mesos_id not in live)
        return total(_amount(one.spec)._replace(ports=frozenset()) for one in ours)


class MesosWorld(World):
    """`ordered`: instances of which the controller ordered the end; `forgettable`: tasks that it let be forgotten;
    `ended_as_orphans`: those whose end it ordered, and nobody answered for them then or since. `kept`: the engine's
    records in the store; `told`: what agents told the engine, by uuid."""

    faults = MESOS_FAULTS
    told_in_order = frozenset({"Mesos ends the subscription"})

    def __init__(self, loop: SimulatedLoop, schedule: Schedule) -> None:
        super().__init__(loop, schedule)
        self.engine: Containers = Containers(self.clock, agents=self.agents, life=self.life_of, image=_name)
        self.engine.world = self
        self.machines = [Machine(self, number, _capacity(one)) for number, one in enumerate(self.agents)]
        self.shared = frozenset(one.address for one in self.machines)
        self.masters = Masters(self)
        self.servers: dict[tuple[str, int], ExecutorProcess] = {}
        self.version = 1
        self.ordered: set[str] = set()
        self.begun: set[str] = set()
        self.forgettable: set[str] = set()
        self.ended_as_orphans: set[str] = set()
        self.kept: dict[str, MesosTask] = {}
        self.told: dict[str, dict[str, Any]] = {}
        self.mesos: MesosEngine | None = None
        self._numbers = 0
        self._alone = len({one.kind for one in schedule.injections}) == 1
        self._troubled: dict[str, float] = {}
        self._arrivals: dict[tuple[str, bool], float] = {}
        self._held_up: dict[str, list[tuple[int, Callable[[], object]]]] = {}

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def later(self, seconds: float, work: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_later(seconds, work)

    def machine(self, name: str) -> Machine:
        return next(one for one in self.machines if one.name == name)

    # The life

    async def supervise(self) -> None:
        for machine in self.machines:
            machine.agent.start()
        self.masters.round()
        await super().supervise()

    @contextlib.asynccontextmanager
    async def engine_of(self, store: StoreHandle, existence: Existence) -> AsyncIterator[MesosEngine]:
        engine = CheckedEngine(
            SimulatedScheduler(self, existence),  # type: ignore[arg-type]
            store,
            self.clock,
            MesosSettings(reconcile_seconds=60.0),
            ExecutorSettings(
                controller_id="c", version=str(self.version), orphan_seconds=ORPHAN_SECONDS, orphan_grace_seconds=1.0
            ),
            key=b"key",
            reach=lambda url, token: Reached(self, url, existence.reach),  # type: ignore[arg-type, return-value]
        )
        engine.world = self
        try:
            await engine.start()
            self.mesos = engine
            yield engine
        finally:
            self.mesos = None
            await engine.close()

    async def write(self, changes: Sequence[Change], guards: Sequence[Guard], asked_at: float, ready: set[str]) -> int:
        revision = await super().write(changes, guards, asked_at, ready)
        prefix = keys.mesos_tasks("cluster")
        for change in changes:
            if not change.key.startswith(prefix):
                continue
            before = self.kept.pop(change.key, None)
            if change.value is not None:
                task = stored.decode(change.value, MesosTask)
                self.kept[change.key] = task
                if task.kill_asked_at is not None and orphan_at(task) is not None:
                    self.ended_as_orphans.add(task.task_id)
                if before is not None and before.told.terminal and task.told.state != before.told.state:
                    self.checkers.violated("forgotten", f"{task.task_id} had {before.told.state}")
            elif before is not None and before.begun and before.task_id not in self.forgettable:
                self.checkers.violated("forgotten", f"the record of {before.task_id} is removed")
        return revision

    # Ways

    def along(self, agent: Agent, work: Callable[[], object], *, back: bool = False) -> None:
        """Between an agent and the master that it is registered with, in order for each direction; while the machine is
        cut off nothing comes. From a master of before nothing is heard: agents of Mesos look whom a message is from,
        and a launch that the next master never heard of does not begin. What was for one of before is lost with it."""
        machine = agent.machine
        term = self.masters.term if back else agent.term
        seconds = 0.002 * self.draw("way").random() + self.delay("agent slow", *self.beside(machine))
        key = machine.name, back
        at = self._arrivals[key] = max(self._arrivals.get(key, 0.0) + TICK_SECONDS, self.clock.monotonic() + seconds)
        epoch = agent.epoch

        def arrive() -> None:
            if machine.cut_off:
                self._held_up.setdefault(machine.name, []).append((epoch, arrive))
            elif term == (agent.term if back else self.masters.term):
                work()

        asyncio.get_running_loop().call_at(at, arrive)

    def heal(self, machine: Machine) -> None:
        """What was on its way comes, if both ends are still who they were."""
        machine.cut_off = False
        for epoch, work in self._held_up.pop(machine.name, ()):
            if machine.agent.epoch == epoch and machine.agent.registered:
                work()

    # Who is struck

    def instance_of(self, mesos_id: str) -> str:
        return mesos_id.partition("._app.")[0].rpartition("instance-")[2]

    def on(self, machine: Machine, mesos_id: str) -> list[str]:
        return [self.instance_of(mesos_id)]

    def beside(self, machine: Machine) -> list[str]:
        """The instances on it; a name of none where there are none."""
        if "agent slow" not in self._active:
            return []
        return self._on(machine)

    def _on(self, machine: Machine) -> list[str]:
        return [one.id for one in self.checkers.ledger.instances.values() if one.agent == machine.name] or ["none"]

    def chosen(self, amount: float) -> Machine:
        """That of the instance which is aimed at."""
        record = self.checkers.ledger.instances.get(self.aim)
        if record is not None and record.agent is not None:
            return self.machine(record.agent)
        return self.machines[int(amount) % len(self.machines)]

    def hit(self, kind: str, machine: Machine) -> None:
        self.struck(kind, *self._on(machine))
        if kind == EXECUTOR_KILLED and self._alone:
            return  # another one takes over in time
        self._troubled[machine.name] = self.clock.monotonic() + TROUBLED_SECONDS

    def trouble_everywhere(self) -> None:
        for machine in self.machines:
            self._troubled[machine.name] = self.clock.monotonic() + TROUBLED_SECONDS

    def excused(self, task: FakeTask) -> bool:
        status = task.status
        if task.spec.task_id in self.ended_as_orphans:
            return True  # nobody may be there to end it before its machine sweeps
        young = status.state != "running" or self.clock.now() - status.at < YOUNG_SECONDS
        return young or self._troubled.get(task.spec.agent, 0.0) > self.clock.monotonic()

    def lose_containers(self, machine: Machine) -> None:
        for name in [one.spec.task_id for one in self.engine.held.values() if one.spec.agent == machine.name]:
            task = self.engine.held[name]
            self.killed[task.spec.app_id] += not task.status.terminal
            self.engine.vanish(name)
            self.begun.discard(name)

    def renew_offers(self, machine: Machine) -> None:
        known = self.masters.agents.get(machine.agent.id)
        if known is not None:
            self.masters.rescind(known)

    # What must hold

    def acknowledged(self, mesos_id: str, uuid: str) -> None:
        """The engine says that it has the update; it is to be in the store by now."""
        status = self.told.pop(uuid, None)
        task = next((one for one in self.kept.values() if one.mesos_id == mesos_id), None)
        if status is None or task is None:
            return
        if status["source"] == "SOURCE_EXECUTOR":
            report = decode(status["data"], TaskReport)
            good = ORDER[task.told.state] >= ORDER[report.status.state]
        else:
            good = task.told.terminal or task.executor_gone_at is not None or status["state"] not in TERMINAL
        # One that was dropped is launched again; that it was is told again where it matters.
        if not good and status["state"] != "TASK_DROPPED":
            words = f"{mesos_id} is {status['state']}, acknowledged while {task.told.state} is stored"
            self.checkers.violated("acknowledged", words)

    def amiss(self) -> str:
        engine = self.mesos
        if engine is None or not engine._link.up or engine._launches.waiting or engine._launches.accepted:
            return "the engine is not at rest"
        if engine._keeper._changes or engine._keeper._after:
            return "the engine has something to store"
        agents = [one.agent for one in self.machines]
        if any(one.machine.cut_off or not one.registered or one.leaving is not None for one in agents):
            return "an agent is away, or is to be"
        if any(one.unavailable_from is not None for one in engine._offers.agents.values()):
            return "the engine is yet to hear that an agent stays"
        book = {one.mesos_id: one for one in engine._book.tasks.values()}
        if {one.mesos_id for one in self.kept.values()} != book.keys() or engine._book.strangers:
            return "the engine knows other tasks than are stored"
        wanted, until, now = engine._launches.executor_version, engine._handover._refused_until, self.clock.monotonic()
        if any(one.executor_version != wanted and until.get(one.spec.agent, now) <= now for one in book.values()):
            return "tasks are to be handed to another version of the executor"
        for machine in self.machines:
            here = {task.task_id for task in book.values() if task.spec.agent == machine.name}
            if set(machine.live()) != here:
                return f"{machine.name} runs {machine.live()}, not {here}"
            known = self.masters.agents.get(machine.agent.id)
            in_mesos = {name for name, one in known.tasks.items() if one.state not in TERMINAL} if known else set()
            if in_mesos != {name for name, task in book.items() if task.spec.agent == machine.name}:
                return f"Mesos has {in_mesos} on {machine.name}"
            if any(machine.claims[name].holder not in machine.executors for name in here):
                return f"nobody answers for what runs on {machine.name}"
            if machine.agent.untold:
                return f"{machine.name} has updates to tell"
            for task in book.values():
                if task.spec.agent == machine.name and task.standing != "reachable":
                    return f"{task.task_id} is {task.standing}"
        return ""


def _name(app: App) -> str:
    """What an image is called where no executor is there yet to be asked."""
    return app.container.docker.image if app.container else ""


def _capacity(offer: Offer) -> Amount:
    ports = frozenset(port for first, last in offer.port_ranges for port in range(first, last + 1))
    return Amount(cpus=round(offer.cpus * 1000), mem=round(offer.mem * 1000), ports=ports)


def _amount(spec: TaskSpec) -> Amount:
    found = amounts_of(spec)
    ports = frozenset(port for port in spec.host_ports if port)
    return Amount(cpus=round(found.cpus * 1000), mem=round(found.mem * 1000), ports=ports)
