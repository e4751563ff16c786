"""ports: what stands between the real loops and the fakes: each call passes here and asks whether a fault strikes it.

Every controller has handles of its own. When it is killed they go dead with it: whatever it was doing ends between two
moments, nothing more of it reaches a store, an engine or an instance, and it hears no answer.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, TypeVar

from coldchain.control.rotation import LEASE_SECONDS
from coldchain.model.app import App
from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.health import Probe, ProbeResult
from coldchain.model.offer import Offer
from coldchain.model.rotation import GatewayReport, RotationUpdate, ServiceRotation
from coldchain.model.task import Execution, TaskSpec, TaskState, TaskStatistics, TaskStatus
from coldchain.model.traffic import TrafficNews
from coldchain.ports.engine import Progress
from coldchain.ports.session import Session, TerminalSize
from coldchain.ports.store import Change, Changed, Entry, Guard, Lease, Listing, LostUpdate
from coldchain.testing.fake_engine import FakeEngine, FakeTask, Life
from coldchain.testing.fake_gateway import FakeGateway
from coldchain.testing.simulation.gray import untold
from coldchain.testing.simulation.traffic import counted

if TYPE_CHECKING:
    from coldchain.testing.simulation.world import World

T = TypeVar("T")

AIMED_WRITE_SECONDS = 0.02
"""So long takes a write that somebody waited for, so that what they do happens before it."""


class Existence:
    """One controller's, from its start until it is killed; then `buried`, when nothing of it runs any more."""

    def __init__(self) -> None:
        self.dead = asyncio.Event()
        self.buried = asyncio.Event()

    async def reach(self) -> None:
        """Who is dead waits until it is cancelled. Its callers go on then, and hear that it is gone."""
        if self.dead.is_set():
            await self.buried.wait()
            raise Unavailable("the controller died")


class Handle:
    """Common to all that a controller holds."""

    def __init__(self, world: "World", existence: Existence) -> None:
        self._world = world
        self._existence = existence

    async def _wait(self, kind: str) -> None:
        await self._existence.reach()
        seconds = self._world.delay(kind)
        if seconds:
            await asyncio.sleep(seconds)
            await self._existence.reach()


class StoreHandle(Handle):
    """Implements ports.store.Store."""

    async def get(self, key: str) -> Entry | None:
        await self.ask()
        return await self._world.store.get(key)

    async def list(self, prefix: str) -> Listing:
        await self.ask()
        return await self._world.store.list(prefix)

    async def write(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        asked_at = self._world.clock.monotonic()
        ready = {one.name for one in self._world.gateways if one.ready}
        if self._world.on_its_way(changes):
            await asyncio.sleep(AIMED_WRITE_SECONDS)
        await self.ask()
        if self._world.hits("write refused"):
            raise Unavailable("the store does not answer")
        if self._world.hits("write conflicts"):
            raise LostUpdate("somebody else wrote the key")
        if self._world.dies_at_write(committed=False):
            await self._existence.reach()
        revision = await self._world.write(changes, guards, asked_at, ready)
        if self._world.dies_at_write(committed=True):
            await self._existence.reach()
        if self._world.hits("write reply lost"):
            raise Unavailable("the store's reply was lost")
        return revision

    def watch(self, prefix: str, after: int) -> AsyncIterator[Changed]:
        return self._world.store.watch(prefix, after)

    async def lease(self, seconds: float) -> Lease:
        await self.ask()
        return LeaseHandle(self, await self._world.store.lease(seconds))

    async def close(self) -> None:
        """Others use it too."""

    async def ask(self) -> None:
        await self._wait("store slow")
        if self._world.hits("store silent"):
            raise Unavailable("the store does not answer")


class LeaseHandle:
    """Implements ports.store.Lease: as far away as its store."""

    def __init__(self, store: StoreHandle, lease: Lease) -> None:
        self._store = store
        self._lease = lease
        self.id = lease.id
        self.seconds = lease.seconds

    async def keep_alive(self) -> float:
        await self._store.ask()
        return await self._lease.keep_alive()

    async def revoke(self) -> None:
        await self._store.ask()
        await self._lease.revoke()


class EngineHandle(Handle):
    """Implements ports.engine.Engine."""

    target = "cluster"

    async def offers(self) -> Sequence[Offer]:
        await self._ask()
        return await self._world.engine.offers()

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None:
        await self._ask()
        prepared = await self._world.engine.prepare(app, image, progress)
        return await self._answered("prepare", prepared)

    async def launch(self, spec: TaskSpec) -> None:
        self._world.checkers.launch(spec)
        await self._ask()
        if self._world.hits("launch refused", spec.instance_id) and spec.task_id not in self._world.engine.held:
            raise Rejected("the engine has a reason")
        await self._world.engine.launch(spec)
        await self._answered("launch", None, spec.instance_id)

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        await self._ask()
        self._world.checkers.kill(task_id)
        if self._world.hearts is not None:
            self._world.hearts.killed(task_id)
        instance_id = self._instance_of(task_id)
        await self._world.engine.kill(task_id, grace_seconds)
        await self._answered("kill", None, instance_id)

    async def forget(self, task_id: str) -> None:
        await self._ask()
        instance_id = self._instance_of(task_id)
        await self._world.engine.forget(task_id)
        await self._answered("forget", None, instance_id)

    async def tasks(self) -> Sequence[TaskStatus]:
        await self._ask()
        listed = await self._world.engine.tasks()
        await self._wait("engine slow")
        return listed

    async def updates(self) -> AsyncGenerator[TaskStatus, None]:
        await self._existence.reach()
        if self._world.hits("engine away"):
            raise Unavailable("the engine does not answer")
        async with aclosing(self._world.engine.updates()) as updates:
            async for status in updates:
                await self._existence.reach()
                yield status

    def logs(self, task_id: str, *, follow: bool, tail: int | None, since: float | None = None) -> AsyncIterator[bytes]:
        return self._world.engine.logs(task_id, follow=follow, tail=tail, since=since)

    async def execute(self, task_id: str, command: str, timeout_seconds: float) -> Execution:
        await self._ask()
        return await self._world.engine.execute(task_id, command, timeout_seconds)

    async def network_namespace(self, task_id: str) -> str | None:
        await self._ask()
        return await self._world.engine.network_namespace(task_id)

    async def statistics(self, task_id: str) -> TaskStatistics:
        await self._ask()
        return await self._world.engine.statistics(task_id)

    async def open_session(self, task_id: str, command: Sequence[str], size: TerminalSize | None) -> Session:
        return await self._world.engine.open_session(task_id, command, size)

    async def close(self) -> None:
        """It goes on without its controller."""

    async def _ask(self) -> None:
        await self._wait("engine slow")
        if self._world.hits("engine away"):
            raise Unavailable("the engine does not answer")

    def _instance_of(self, task_id: str) -> str:
        """Its own id for a task that the engine does not have: no instance is called that."""
        task = self._world.engine.held.get(task_id)
        return task.spec.instance_id if task is not None else task_id

    async def _answered(self, order: str, answer: T, instance_id: str = "") -> T:
        await self._existence.reach()
        if self._world.hits(f"{order} reply lost", instance_id):
            raise Unavailable(f"the reply to {order} was lost")
        return answer


class ProberHandle(Handle):
    """Implements ports.prober.Prober: sees what the tasks of the fake engine would answer."""

    async def probe(self, probe: Probe) -> ProbeResult:
        await asyncio.sleep(0.001)
        await self._existence.reach()
        world = self._world
        if world.hits("prober cut off", probe.instance_id):
            return world.probed(probe, ProbeResult(outcome="unknown", detail="the prober cannot ask"))
        if world.hits("probes hang", probe.instance_id):
            await asyncio.sleep(probe.timeout_seconds)
            await self._existence.reach()
            return world.probed(probe, ProbeResult(outcome="failed", detail="no answer"))
        task = world.engine.task_at(probe.address, probe.port)
        if task is None:
            return world.probed(probe, ProbeResult(outcome="failed", detail="connection refused"))
        if not task.healthy or world.hits("probes fail", probe.instance_id):
            return world.probed(probe, ProbeResult(outcome="failed", detail="status 503"))
        return world.probed(probe, ProbeResult(outcome="passed", detail="status 200"))

    async def close(self) -> None:
        """Nothing to close."""


class SimulatedEngine(FakeEngine):
    """With updates that are lost, doubled or late, and containers of others beside ours on the same agent."""

    world: "World"
    ours_only = True

    def _tell(self, status: TaskStatus) -> None:
        world = self.world
        if world.hits("update lost", status.instance_id):
            return
        if world.hits("update doubled", status.instance_id):
            super()._tell(status)
        seconds = world.delay("update late", status.instance_id)
        if seconds:
            asyncio.get_running_loop().call_later(seconds, super()._tell, status)
        else:
            super()._tell(status)

    def _create(self, spec: TaskSpec, life: Life) -> None:
        super()._create(spec, life)
        self.world.checkers.created(self.held[spec.task_id])
        if self.world.hearts is not None:
            self.world.hearts.created(self.held[spec.task_id])

    def _end(self, task: FakeTask, state: TaskState, exit_status: int | None, message: str) -> None:
        if not task.status.terminal:
            self.world.checkers.ended(task)
            if self.world.hearts is not None:
                self.world.hearts.ended(task, in_order=True)
        super()._end(task, state, exit_status, message)

    def _drop(self, task_id: str) -> None:
        if not self.held[task_id].status.terminal:
            self.world.checkers.ended(self.held[task_id])
            if self.world.hearts is not None:
                self.world.hearts.ended(self.held[task_id], in_order=False)
        super()._drop(task_id)

    async def tasks(self) -> Sequence[TaskStatus]:
        """As a runner lists containers: those with the label of its controller."""
        listed = await super().tasks()
        return listed if self.ours_only else [*listed, *self.world.foreign]


class SimulatedGateway(FakeGateway):
    """Its requests: when an endpoint gets weight 0 some are open there, and end after a while. `given_at`: when its
    process was last given an update (monotonic seconds)."""

    def __init__(self, name: str, number: int, world: "World") -> None:
        super().__init__(name, world.clock)
        self._number = number
        self._world = world
        self.given_at = 0.0
        self._open: dict[str, list[float]] = {}
        self._before = self.rotation

    async def apply(self, update: RotationUpdate) -> None:
        if self._world.hits("gateway refuses", number=self._number):
            raise Unavailable(f"gateway {self.name} does not answer")
        await super().apply(update)
        self._note_open(self._before.services)
        self._world.checkers.applied(self, self._before, self.rotation)
        for words in untold(self.rotation, self._world.checkers.ledger.deployments.values()):
            if self.given_at >= self._world.checkers.travelled_at:
                self._world.checkers.violated("gray", f"{self.name}: {words}")
        if self._world.hearts is not None:
            self._world.hearts.applied(self.name, self.rotation)
        if self._world.hits("gateway reply lost"):
            raise Unavailable(f"the reply of gateway {self.name} was lost")

    async def report(self) -> GatewayReport:
        if self._world.hits("gateway refuses", number=self._number):
            raise Unavailable(f"gateway {self.name} does not answer")
        self.open_requests = {name: count for name in list(self._open) if (count := self.in_flight(name))}
        return await super().report()

    async def traffic(self, since: int) -> TrafficNews:
        draw = self._world.draw("traffic")
        errors = 0.0 if self._world.schedule.patient else draw.choice((0.0, 0.0, 0.0, 0.6))
        counted(self.counts, self.rotation, self._world.checkers.failing(), errors, draw)
        return await super().traffic(since)

    async def _receive(self) -> None:
        self.delay_seconds = self._world.delay("gateway slow")
        await super()._receive()
        self._before = self.rotation

    def in_flight(self, instance_id: str) -> int:
        """Requests open at an instance of weight 0."""
        now = self._clock.monotonic()
        self._open[instance_id] = [until for until in self._open.get(instance_id, ()) if until > now]
        if not self._open[instance_id]:
            del self._open[instance_id]
            return 0
        return len(self._open[instance_id])

    def forget(self) -> None:
        super().forget()
        self._open.clear()

    def _note_open(self, before: dict[str, ServiceRotation]) -> None:
        leaving = {e.instance_id for s in self.rotation.services.values() for e in s.endpoints if e.weight == 0}
        for service in before.values():
            for endpoint in service.endpoints:
                if endpoint.weight and endpoint.instance_id in leaving:
                    until = self._clock.monotonic() + self._world.request_seconds()
                    self._open.setdefault(endpoint.instance_id, []).append(until)


class FeedLink:
    """Implements ports.rotation_feed.RotationFeed: the way from one gateway process to whichever controller runs."""

    def __init__(self, world: "World", number: int) -> None:
        self._world = world
        self._number = number

    @property
    def lease_seconds(self) -> float:
        return LEASE_SECONDS

    async def exchange(self, report: GatewayReport, wait_seconds: float) -> RotationUpdate | None:
        self._pass()
        controller, existence = self._world.controller, self._world.existence
        if controller is None or existence.dead.is_set():
            raise Unavailable("the controller does not answer")
        update = await controller.publisher.exchange(report, wait_seconds)
        if existence.dead.is_set():
            raise Unavailable("the controller does not answer")
        self._pass()
        if update is not None:
            self._world.gateways[self._number].given_at = self._world.clock.monotonic()
        return update

    def shares(self, gateway: str) -> Mapping[str, float]:
        return self._world.controller.publisher.shares(gateway) if self._world.controller is not None else {}

    def _pass(self) -> None:
        for kind in ("gateway away briefly", "gateway away long"):
            if self._world.hits(kind, number=self._number):
                raise Unavailable("the controller does not answer")
