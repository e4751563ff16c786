"""candidates: several controllers of one store, the machines that they run on, and what stands between them, the store
and the engine. What a controller asks for arrives after a while, also when the controller stands still or is gone."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from coldchain.control.candidate import Candidate
from coldchain.control.controller import Controller
from coldchain.control.fence import Authority, FencedEngine, FencedRegistry
from coldchain.control.gateway import feed_gateway
from coldchain.control.rotation import LEASE_SECONDS
from coldchain.control.standby import NoEngine
from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.model.leader import Leader
from coldchain.model.rotation import GatewayReport, RotationUpdate
from coldchain.model.task import TaskSpec, TaskStatus
from coldchain.ports.rotation_feed import RotationFeed
from coldchain.ports.store import Change, Changed, Entry, Guard, Lease, Listing, Store
from coldchain.testing.fake_gateway import FakeGateway
from coldchain.testing.fake_prober import FakeProber, answers_of
from coldchain.testing.freezing_loop import FreezingLoop, Process, outside
from coldchain.testing.simulated_loop import SimulatedClock

if TYPE_CHECKING:
    from coldchain.testing.simulation.leadership import Election

T = TypeVar("T")

SILENCE_SECONDS = 1.0
"""After so long a store that does not answer is said not to."""
WAY_SECONDS_MAX = 0.15
"""How long an order is on its way to the engine: less than the margin that a leader leaves."""
SKEW = 0.009


class MachineClock(SimulatedClock):
    """One machine's: it began at another moment, and goes a little faster or slower than the others."""

    def __init__(self, loop: FreezingLoop, draw: random.Random) -> None:
        super().__init__(loop)
        self.rate = 1.0 + draw.uniform(-SKEW, SKEW)
        self._began = draw.uniform(0.0, 100000.0)
        self.offset = draw.uniform(-30.0, 30.0)
        self._draw = draw

    def monotonic(self) -> float:
        return self._began + self._loop.time() * self.rate

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / self.rate)

    def unique(self) -> str:
        return f"{self._draw.getrandbits(128):032x}"


class Machine:
    """What a controller runs on. `cut_off`: nothing of it reaches the store; `slow_seconds`: how long that takes."""

    def __init__(self, election: "Election", number: int) -> None:
        self.election = election
        self.number = number
        self.draw = random.Random(f"machine {election.seed} {number}")
        self.clock = MachineClock(election.loop, self.draw)
        self.cut_off = False
        self.slow_seconds = 0.0
        self.pauses_at_write_seconds = 0.0
        self.lives = 0
        self.gateway = FakeGateway(f"gateway-{number}", self.clock)
        self.process: Process | None = None
        self.candidate: Candidate | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def well(self) -> bool:
        """Whether it could lead."""
        process = self.process
        return process is not None and not process.frozen and not self.cut_off and not self.slow_seconds

    def start(self) -> None:
        self.lives += 1
        self.process = Process(self.election.loop)
        self._running = self.process.start(self._run(self.process, f"candidate-{self.number}-{self.lives}"))

    async def _run(self, process: Process, name: str) -> None:
        store = MachineStore(self, process, name)
        me = Leader(name=name, url=f"http://{name}:8080", secret=f"secret of {name}")
        engine, registry, prober = self.election.engine, self.election.registry, self.election.prober

        @asynccontextmanager
        async def opening(fenced: Store, authority: Authority) -> AsyncIterator[Controller]:
            handle: Any = MachineEngine(self, process, name)
            own = FakeProber(self.clock, answers_of(engine))
            own.passed = prober.passed
            yield Controller(
                fenced, FencedEngine(handle, authority), own, self.clock, FencedRegistry(registry, authority)
            )

        def standing_by(readable: Store) -> Controller:
            return Controller(readable, NoEngine(), prober, self.clock)

        def feed_of(leader: Leader) -> RotationFeed:
            return MachineFeed(self, process, name, leader)

        candidate = self.candidate = Candidate(store, self.clock, me, opening, standing_by, feed_of=feed_of)
        async with asyncio.TaskGroup() as group:
            group.create_task(candidate.run())
            group.create_task(feed_gateway(self.gateway, candidate, self.clock))

    def pause(self, seconds: float) -> None:
        """It stands still for so long."""
        process = self.process
        if process is not None and not process.frozen:
            process.frozen = True
            self.election.loop.call_later(seconds, self._thaw, process)

    def _thaw(self, process: Process) -> None:
        if self.process is process:
            process.thaw()

    def crash(self) -> None:
        """From one moment to the next; what is on its way arrives."""
        process, running = self.process, self._running
        if process is None or running is None:
            return
        process.frozen = True  # not one step more, not even to clean up
        self.process = self.candidate = None
        self.election.graves.append((process, running))


class _Handle:
    def __init__(self, machine: Machine, process: Process, name: str) -> None:
        self._machine = machine
        self._process = process
        self._name = name
        self._election = machine.election

    def _way_seconds(self) -> float:
        return self._machine.draw.random() ** 3 * WAY_SECONDS_MAX


class MachineStore(_Handle):
    """Implements ports.store.Store for one machine."""

    async def get(self, key: str) -> Entry | None:
        return await outside(self.ask(partial(self._election.store.get, key)))

    async def list(self, prefix: str) -> Listing:
        return await outside(self.ask(partial(self._election.store.list, prefix)))

    async def write(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        return await outside(self._written(changes, guards))

    async def _written(self, changes: Sequence[Change], guards: Sequence[Guard]) -> int:
        revision = await self.ask(partial(self._election.written, self._name, changes, guards))
        pause, machine = self._machine.pauses_at_write_seconds, self._machine
        if pause and machine.process is self._process and any(one.key.startswith("instance/") for one in changes):
            # Between what it wrote and what it does about it.
            machine.pauses_at_write_seconds = 0.0
            machine.pause(pause)
        return revision

    async def watch(self, prefix: str, after: int) -> AsyncIterator[Changed]:
        async with aclosing(self._election.store.watch(prefix, after)) as changes:  # type: ignore[type-var]
            async for changed in changes:
                while self._machine.cut_off:
                    await asyncio.sleep(SILENCE_SECONDS)
                    if not self._machine.cut_off:
                        raise Unavailable("the watch was lost")
                yield changed

    async def lease(self, seconds: float) -> Lease:
        return MachineLease(self, await outside(self.ask(partial(self._election.store.lease, seconds))))

    async def close(self) -> None:
        """Others use it too."""

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """There and back; nobody knows which of both a lost answer was lost on."""
        machine = self._machine
        lost = machine.cut_off
        await asyncio.sleep(self._way_seconds() + machine.slow_seconds * machine.draw.random())
        if lost or (machine.cut_off and machine.draw.random() < 0.5):
            if machine.draw.random() < 0.5:
                self._election.on_their_way.append(asyncio.create_task(self._late(question)))
            await asyncio.sleep(SILENCE_SECONDS)
            raise Unavailable("the store does not answer")
        answer = await question()
        await asyncio.sleep(self._way_seconds() + machine.slow_seconds * machine.draw.random())
        if machine.cut_off:
            await asyncio.sleep(SILENCE_SECONDS)
            raise Unavailable("the store's reply was lost")
        return answer

    async def _late(self, question: Callable[[], Awaitable[object]]) -> None:
        """Sent again and again by the network itself, it arrives when that heals, long after its sender gave it up."""
        while self._machine.cut_off:
            await asyncio.sleep(0.05)
        with suppress(ColdchainError):
            await question()


class MachineLease:
    """Implements ports.store.Lease for one machine."""

    def __init__(self, store: MachineStore, lease: Lease) -> None:
        self._store = store
        self._lease = lease
        self.id = lease.id
        self.seconds = lease.seconds

    async def keep_alive(self) -> float:
        return await outside(self._store.ask(self._lease.keep_alive))

    async def revoke(self) -> None:
        await outside(self._store.ask(self._lease.revoke))


class MachineFeed(_Handle):
    """Implements ports.rotation_feed.RotationFeed: the way of a machine's gateway to the leader on another machine,
    which does not lead over the store."""

    lease_seconds = LEASE_SECONDS

    def __init__(self, machine: Machine, process: Process, name: str, leader: Leader) -> None:
        super().__init__(machine, process, name)
        self._leader = leader

    async def exchange(self, report: GatewayReport, wait_seconds: float) -> RotationUpdate | None:
        return await outside(self._arrive(report, wait_seconds))

    def shares(self, gateway: str) -> Mapping[str, float]:
        return {}

    async def _arrive(self, report: GatewayReport, wait_seconds: float) -> RotationUpdate | None:
        await asyncio.sleep(self._way_seconds())
        for machine in self._election.machines:
            process, candidate = machine.process, machine.candidate
            if process is not None and candidate is not None and candidate.me.name == self._leader.name:
                answering = process.start(_answered(candidate, report, wait_seconds))
                self._election.on_their_way.append(answering)
                await asyncio.wait({answering}, timeout=wait_seconds + SILENCE_SECONDS)
                if not answering.done():
                    raise Unavailable("the leader does not answer")
                await asyncio.sleep(self._way_seconds())
                return answering.result()
        raise Unavailable("the leader is gone")


async def _answered(candidate: Candidate, report: GatewayReport, wait_seconds: float) -> RotationUpdate | None:
    if candidate.own_feed is None:
        raise Unavailable("it does not lead")
    return await candidate.own_feed.exchange(report, wait_seconds)


class MachineEngine(_Handle):
    """What of ports.engine.Engine a controller uses here; all but orders passes as it is."""

    target = "cluster"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._election.engine, name)

    async def launch(self, spec: TaskSpec) -> None:
        await outside(self._arrive(f"launch {spec.task_id}", partial(self._election.engine.launch, spec)))

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        await outside(self._arrive(f"kill {task_id}", partial(self._election.killed, task_id, grace_seconds)))

    async def forget(self, task_id: str) -> None:
        await outside(self._arrive(f"forget {task_id}", partial(self._election.engine.forget, task_id)))

    async def tasks(self) -> Sequence[TaskStatus]:
        await asyncio.sleep(self._way_seconds())
        return await self._election.engine.tasks()

    async def updates(self) -> AsyncGenerator[TaskStatus, None]:
        async with aclosing(self._election.engine.updates()) as updates:
            async for status in updates:
                yield status

    async def _arrive(self, order: str, carry_out: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(self._way_seconds())
        self._election.acted(self._name, order)
        await carry_out()
