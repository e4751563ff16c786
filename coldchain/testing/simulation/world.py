"""world: everything around the controller, the controllers one after the other, and the switches of the faults."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from coldchain.control.controller import Controller
from coldchain.control.gateway import feed_gateway
from coldchain.documents import stored
from coldchain.model.errors import ColdchainError
from coldchain.model.health import Probe, ProbeResult
from coldchain.model.instance import Instance, Phase
from coldchain.model.task import TaskSpec, TaskStatus
from coldchain.ports.engine import Engine
from coldchain.ports.store import Change, Guard
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_engine import ONE_AGENT, FakeTask, Life
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop
from coldchain.testing.simulation.checkers import Checkers
from coldchain.testing.simulation.coverage import Coverage
from coldchain.testing.simulation.faults import FAULTS
from coldchain.testing.simulation.ports import (
    EngineHandle,
    Existence,
    FeedLink,
    ProberHandle,
    SimulatedEngine,
    SimulatedGateway,
    StoreHandle,
)
from coldchain.testing.simulation.registered import Hearts, RegistryHandle
from coldchain.testing.simulation.schedule import Injection, Schedule

SNAPSHOTS_KEPT = 40
AIM_SECONDS = 10.0


class World:
    """`controller` None: none has started yet, or it is down. `hearts` None: nobody registers himself, and there is no
    registry. `draw` gives each kind of fault its own numbers, so
    that taking one out of a schedule leaves the others as they were. `faults`: the kinds that there are.
    `shared`: addresses of machines, which all tasks there have. `told_in_order`: errors in the log
    that faults cause."""

    faults = FAULTS
    shared: frozenset[str] = frozenset()
    told_in_order: frozenset[str] = frozenset()

    def __init__(self, loop: SimulatedLoop, schedule: Schedule) -> None:
        self.schedule = schedule
        self.clock = SimulatedClock(loop)
        self.store = MemoryStore()
        self.coverage = Coverage(self.faults)
        self.agents = schedule.agents or (ONE_AGENT,)
        self.engine = SimulatedEngine(self.clock, agents=self.agents, life=self.life_of)
        self.checkers = Checkers(self)
        self.hearts = Hearts(self) if any(app.registers_itself for app in schedule.apps) else None
        self.gateways = [SimulatedGateway(f"gateway-{n}", n, self) for n in range(schedule.gateways)]
        self.controller: Controller | None = None
        self.existence = Existence()
        self.foreign = [_foreign(number) for number in range(2)]
        self.controllers = 0
        self.killed: Counter[str] = Counter()
        self.deleted: Counter[str] = Counter()
        self.writes = 0
        self._active: dict[str, Injection] = {}
        self._draws: dict[str, random.Random] = {}
        self._snapshots: list[MemoryStore] = []
        self._restore: MemoryStore | None = None
        self._crash_at: tuple[str, int, bool] | None = None
        self._down_seconds = 0.2
        self.aim = ""
        self._awaited: dict[tuple[str, Phase], asyncio.Future[str]] = {}
        self._left: dict[Phase, asyncio.Future[str]] = {}
        self.feeds: list[asyncio.Task[None]] = []

    def draw(self, name: str) -> random.Random:
        """The numbers of one kind of fault, or of one thing about the tasks."""
        if name not in self._draws:
            self._draws[name] = random.Random(f"{name} {self.schedule.seed}")
        return self._draws[name]

    async def until(self, phase: Phase, app_id: str = "") -> str:
        """Wait until an instance (of the app) comes into the phase, or is there since a moment. Returns its id; empty
        when for as long as seems worth it none does."""
        name = await _within(self._awaited.setdefault((app_id, phase), asyncio.get_running_loop().create_future()))
        draw = self.draw("aim")
        await asyncio.sleep(draw.choice((0.0, 0.0, 0.1, 0.5, 1.5)) * draw.random() if name else 0.0)
        return name

    async def until_left(self, phase: Phase) -> str:
        """Wait until a write that leads an instance out of the phase is on its way, as `until`."""
        return await _within(self._left.setdefault(phase, asyncio.get_running_loop().create_future()))

    def on_its_way(self, changes: Sequence[Change]) -> bool:
        """A write was asked for. True when somebody waited for it, who strikes before it takes place."""
        waited = False
        for change in changes if self._left else ():
            before = self.checkers.ledger.records.get(change.key)
            if not isinstance(before, Instance) or before.phase not in self._left or change.value is None:
                continue
            if stored.decode(change.value, Instance).phase != before.phase:
                self._left.pop(before.phase).set_result(before.id)
                waited = True
        return waited

    def stepped(self, instance: Instance, phase: Phase) -> None:
        """An instance came into the phase."""
        for key in (("", phase), (instance.app_id, phase)):
            if key in self._awaited:
                self._awaited.pop(key).set_result(instance.id)

    # Faults

    def inject(self, injection: Injection, aim: str = "") -> None:
        """A fault happens, to the instance `aim` if it is of a kind that chooses one; or begins to strike."""
        self.aim = aim
        once = self.faults[injection.kind].once
        if once is not None:
            once(self, injection.amount)
        else:
            self._active[injection.kind] = injection

    def end(self, injection: Injection) -> None:
        """It does not strike any more."""
        if self._active.get(injection.kind) is injection:
            del self._active[injection.kind]

    def calm(self) -> None:
        """All faults off."""
        self._active.clear()
        self._crash_at = None
        if self.hearts is not None:
            self.hearts.calm()

    @property
    def quiet(self) -> bool:
        """Whether a controller runs and no fault holds."""
        return not self._active and self.controller is not None and not self.existence.dead.is_set()

    def hits(self, kind: str, *instance_ids: str, number: int | None = None) -> bool:
        """Whether the fault strikes this call; `number`: of the gateway that is asked."""
        active = self._active.get(kind)
        if active is None or (number is not None and int(active.amount * len(self.gateways)) != number):
            return False
        if active.rate < 1.0 and self.draw(kind).random() >= active.rate:
            return False
        self.struck(kind, *instance_ids)
        return True

    def delay(self, kind: str, *instance_ids: str) -> float:
        """How long the fault holds up this call, in seconds."""
        if not self.hits(kind, *instance_ids):
            return 0.0
        return self._active[kind].amount * self.draw(kind).random()

    def struck(self, kind: str, *instance_ids: str) -> None:
        """A fault struck these instances, or where none is named all."""
        records, phases = self.checkers.ledger.instances, self.faults[kind].phases
        names = [name for name in instance_ids or records if name in records]
        self.coverage.struck(kind, [name for name in names if records[name].phase in phases])

    def crash(self, kind: str, down_seconds: float) -> None:
        """The controller is gone from one moment to the next, and started again after a while."""
        if not self.existence.dead.is_set():
            self.struck(kind)
            self._down_seconds = down_seconds
            self.existence.dead.set()

    def crash_at_write(self, kind: str, writes: int, *, committed: bool) -> None:
        """As many writes from now on, the controller is killed."""
        self._crash_at = (kind, writes, committed)

    def dies_at_write(self, *, committed: bool) -> bool:
        """Asked before and after each write: True when the controller is dead by now."""
        if self._crash_at is None or self._crash_at[2] != committed:
            return False
        kind, writes, _ = self._crash_at
        self._crash_at = (kind, writes - 1, committed) if writes else None
        if not writes:
            self.crash(kind, self.draw(kind).random() * 3)
        return not writes

    def travel(self, share: float) -> None:
        """Restart on an older snapshot of the store."""
        if self._snapshots:
            self._restore = self._snapshots[int(share * len(self._snapshots))]
            if self.existence.dead.is_set():
                self.struck("time travel")
            self.crash("time travel", 1.0)

    # Store

    async def write(self, changes: Sequence[Change], guards: Sequence[Guard], asked_at: float, ready: set[str]) -> int:
        """A write that takes place, with what `Checkers.written` wants to know."""
        revision = await self.store.write(changes, guards)
        self.writes += 1
        self.checkers.written(changes, asked_at, ready)
        if len(self._snapshots) < SNAPSHOTS_KEPT and self.draw("snapshot").random() < 0.2:
            await self._keep_snapshot()
        return revision

    async def _keep_snapshot(self) -> None:
        if any(one.kind == "time travel" for one in self.schedule.injections):
            copy = MemoryStore()
            listing = await self.store.list("")
            await copy.write([Change(key=entry.key, value=entry.value) for entry in listing.entries])
            self._snapshots.append(copy)

    # Controllers

    async def supervise(self) -> None:
        """Keep a controller running, for ever, and the gateways beside it."""
        self.engine.world = self
        for number, gateway in enumerate(self.gateways):
            self.feeds.append(asyncio.create_task(feed_gateway(gateway, FeedLink(self, number), self.clock)))
        if self.hearts is not None:
            self.feeds.append(asyncio.create_task(self.hearts.run()))
        while True:
            existence = self.existence = Existence()
            self.controllers += 1
            if self.hearts is not None:
                self.hearts.believed()
            living = asyncio.create_task(self._live(existence))
            death = asyncio.create_task(existence.dead.wait())
            await asyncio.wait({living, death}, return_when=asyncio.FIRST_COMPLETED)
            existence.dead.set()
            self.controller = None
            living.cancel()
            death.cancel()
            await asyncio.gather(living, return_exceptions=True)
            existence.buried.set()
            await asyncio.sleep(self._down_seconds)
            self._down_seconds = 0.2
            if self._restore is not None:
                self.store, self._restore = self._restore, None
                self._snapshots.clear()
                await self.checkers.travelled(self.store)

    async def _live(self, existence: Existence) -> None:
        store = StoreHandle(self, existence)
        try:
            async with self.engine_of(store, existence) as engine:
                registry = RegistryHandle(self.hearts, existence) if self.hearts is not None else None
                controller = Controller(store, engine, ProberHandle(self, existence), self.clock, registry)
                await controller.start()
                await self._run(controller)
        except ColdchainError:
            return

    @contextlib.asynccontextmanager
    async def engine_of(self, store: StoreHandle, existence: Existence) -> AsyncIterator[Engine]:
        """As one controller has it."""
        yield EngineHandle(self, existence)

    async def _run(self, controller: Controller) -> None:
        self.controller = controller
        following = asyncio.create_task(self.checkers.follow(controller))
        try:
            await controller.run()
        except Exception as error:
            self.checkers.violated("alive", f"the controller ended by {error!r}")
        finally:
            following.cancel()

    # Tasks and instances

    def excused(self, task: FakeTask) -> bool:
        """Whether nobody can know that the task runs."""
        return False

    def amiss(self) -> str:
        """What of the engine is not as it is to be at rest; empty when nothing."""
        return (
            "" if all(one.status.state == "running" for one in self.engine.held.values()) else "tasks that do not run"
        )

    def life_of(self, spec: TaskSpec) -> Life:
        """How a task lives, by the first word of its image's tag."""
        draw = self.draw("life")
        kind = (spec.image or "").rpartition(":")[2].partition("-")[0]
        slow = self.delay("slow start", spec.instance_id)
        return Life(
            rejected="the image has no such program" if kind == "refused" else "",
            start_seconds=0.05 + 0.3 * draw.random() + slow,
            warm_seconds=3.0 * draw.random() if kind == "slow" else 0.0,
            healthy=kind not in ("sick", "crashing"),
            ends_after_seconds=0.2 + draw.random() if kind == "crashing" else None,
            stop_seconds=0.02 + 0.3 * draw.random(),
            ignores_sigterm=kind == "stubborn",
            output=self.hearts.output(spec) if self.hearts is not None else b"",
        )

    def request_seconds(self) -> float:
        """How long a request goes on that is open when its endpoint gets weight 0."""
        draw = self.draw("requests")
        return draw.choice((0.0, 0.3, 1.0, 3.0, 12.0)) * draw.random()

    def probed(self, probe: Probe, result: ProbeResult) -> ProbeResult:
        """An answer on its way to the controller."""
        self.checkers.probed(probe, result)
        return result


async def _within(came: asyncio.Future[str]) -> str:
    try:
        return await asyncio.wait_for(asyncio.shield(came), AIM_SECONDS)
    except TimeoutError:
        return ""


def _foreign(number: int) -> TaskStatus:
    """A container that somebody else started, with labels like ours."""
    return TaskStatus(
        task_id=f"other.instance-{number}._app.1",
        instance_id=f"other-{number}",
        app_id="/other",
        target="cluster",
        agent="agent-1",
        state="running",
        at=0.0,
        address=f"10.201.255.{number}",
        ports=(80,),
    )
