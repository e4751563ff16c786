"""leadership: lives of several controllers of one store under faults, and what must hold at every step of them: nobody
acts or writes who does not lead, no result is forgotten, nothing is restarted, and the lead is not free for long."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any

import structlog.testing

from coldchain.control.controller import Controller
from coldchain.control.fence import FencedStore
from coldchain.control.leadership import Leadership
from coldchain.control.rotation import Publisher
from coldchain.control.state import KINDS
from coldchain.decisions.leadership import Timing
from coldchain.decisions.rotation import GatewaySession
from coldchain.documents import keys, stored
from coldchain.model.base import Noun
from coldchain.model.errors import ColdchainError
from coldchain.model.leader import Leader
from coldchain.ports.store import Change, Guard
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_engine import FakeEngine
from coldchain.testing.fake_prober import FakeProber, answers_of
from coldchain.testing.fake_registry import FakeRegistry
from coldchain.testing.freezing_loop import FreezingLoop, Process
from coldchain.testing.platform import example_app, image, to
from coldchain.testing.simulated_loop import SimulatedClock, simulate
from coldchain.testing.simulation.candidates import Machine
from coldchain.testing.simulation.planting import swapped

KINDS_OF_FAULT = ("crash", "pause", "pause at a write", "pause at a write", "cut off", "cut off", "slow", "abdicate")
FREE_SECONDS_MAX = Timing().rest_seconds + 4.0
"""For so long nobody may lead while somebody could and nobody else has the key: the rest after a give-up, and a moment
to notice, to read and to start."""
REST_SECONDS = 240.0
ROLLOUTS = 6


class Strike(Noun, frozen=True, kw_only=True):
    """A fault of one machine, or with `leader` of the one that leads then: at that moment, for so long (seconds)."""

    kind: str
    at: float
    machine: int
    leader: bool
    seconds: float


class Life(Noun, frozen=True, kw_only=True):
    """What came of a seed."""

    seed: int
    violations: tuple[str, ...]
    leaders: int
    strikes: tuple[Strike, ...]


def strikes_of(seed: int) -> tuple[Strike, ...]:
    """The faults of a seed."""
    draw = random.Random(f"strikes {seed}")
    found = [
        Strike(
            kind=draw.choice(KINDS_OF_FAULT),
            at=round(draw.uniform(3.0, 40.0), 3),
            machine=draw.randrange(3),
            leader=draw.random() < 0.75,
            seconds=round(draw.choice((0.5, 2.0, 4.0, 12.0)) * draw.uniform(0.5, 1.5), 3),
        )
        for _ in range(draw.randint(3, 9))
    ]
    return tuple(sorted(found, key=lambda one: one.at))


class Election:
    """The world of one life."""

    def __init__(self, loop: FreezingLoop, seed: int) -> None:
        self.loop = loop
        self.seed = seed
        self.clock = SimulatedClock(loop)
        self.store = MemoryStore()
        self.engine = FakeEngine(self.clock)
        self.registry = FakeRegistry(self.clock)
        self.prober = FakeProber(self.clock, answers_of(self.engine))
        self.graves: list[tuple[Process, asyncio.Task[None]]] = []
        self.machines = [Machine(self, number) for number in range(3)]
        self.violations: list[str] = []
        self.leaders: list[str] = []
        self.accepted: list[str] = []
        self.on_their_way: list[asyncio.Task[Any]] = []
        self._free_since = 0.0
        self.ended = False

    async def over(self) -> None:
        """The life ends: what stands still or is dead goes on, to be cleaned up, and nothing of it counts."""
        self.ended = True
        for machine in self.machines:
            machine.cut_off = False
            machine.crash()
        for process, running in self.graves:
            running.cancel()
            process.thaw()
        ending = [*(running for _, running in self.graves), *self.on_their_way]
        await asyncio.gather(*ending, return_exceptions=True)

    def violated(self, words: str) -> None:
        if self.ended:
            return
        self.violations.append(f"{self.loop.time():.3f} s: {words}")

    async def holder(self) -> Leader | None:
        """Who leads, as the store has it at this moment."""
        entry = await self.store.get(keys.LEADER)
        return stored.decode(entry.value, Leader) if entry is not None else None

    async def written(self, name: str, changes: Sequence[Change], guards: Sequence[Guard]) -> int:
        """A write arrives at the store."""
        leader = await self.holder()
        revision = await self.store.write(changes, guards)
        told = [one.key for one in changes if one.key.partition("/")[0] in KINDS or one.key == keys.CONTROLLER_TERM]
        if told and (leader is None or leader.name != name):
            self.violated(f"{name} wrote {told[0]} while {leader.name if leader else 'nobody'} led")
        if any(one.key == keys.LEADER for one in changes):
            self.leaders.append(name)
        return revision

    def acted(self, name: str, order: str) -> None:
        """An order arrives at the engine."""
        entry = self.store._entries.get(keys.LEADER)
        leader = stored.decode(entry.value, Leader) if entry is not None else None
        if leader is None or leader.name != name:
            self.violated(f"{order} of {name} arrived while {leader.name if leader else 'nobody'} led")

    async def killed(self, task_id: str, grace_seconds: float) -> None:
        task = self.engine.held.get(task_id)
        for gateway in (one.gateway for one in self.machines):
            if task is not None and gateway.routes_to(task.spec.instance_id):
                self.violated(f"{task_id} killed while {gateway.name} routes to it")
        await self.engine.kill(task_id, grace_seconds)

    def leading(self) -> Controller | None:
        """The controller of a machine that leads."""
        for machine in self.machines:
            candidate = machine.candidate
            if machine.well and candidate is not None and candidate.leads:
                return candidate.controller
        return None

    async def strike(self, strike: Strike) -> None:
        """Let a fault happen."""
        await self.clock.sleep(strike.at - self.clock.monotonic())
        leader = await self.holder()
        machine = self.machines[strike.machine]
        for one in self.machines:
            if strike.leader and leader is not None and one.candidate is not None:
                machine = one if one.candidate.me.name == leader.name else machine
        process, candidate = machine.process, machine.candidate
        if process is None or process.frozen:
            return
        match strike.kind:
            case "crash":
                machine.crash()
                await self.clock.sleep(strike.seconds)
                machine.start()
            case "pause":
                machine.pause(strike.seconds)
            case "pause at a write":
                machine.pauses_at_write_seconds = strike.seconds
            case "cut off":
                machine.cut_off = True
                await self.clock.sleep(strike.seconds)
                machine.cut_off = False
            case "slow":
                machine.slow_seconds = 1.5
                await self.clock.sleep(strike.seconds)
                machine.slow_seconds = 0.0
            case "abdicate":
                with contextlib.suppress(ColdchainError):
                    if candidate is not None:
                        candidate.leadership.abdicate()

    async def watch_lead(self) -> None:
        """The lead is not free for long while somebody could take it."""
        while True:
            await self.clock.sleep(0.25)
            holder = await self.holder()
            names = [one.candidate.me.name for one in self.machines if one.well and one.candidate is not None]
            held_by_ill = holder is not None and holder.name not in names
            if self.leading() is not None or held_by_ill or not names:
                self._free_since = self.clock.monotonic()
            elif self.clock.monotonic() - self._free_since > FREE_SECONDS_MAX:
                self.violated(f"nobody has led for {FREE_SECONDS_MAX} s")
                self._free_since = self.clock.monotonic()

    async def deploy(self, number: int) -> None:
        """What the user does: he asks until somebody takes it, and may not hear so."""
        for _ in range(400):
            controller = self.leading()
            if controller is not None:
                edit = to(container=image(f"v{number}")) if number else (lambda app: example_app())
                with contextlib.suppress(ColdchainError, TimeoutError):
                    async with asyncio.timeout(3.0):
                        made = await controller.operations.change("/shop", edit, "user", force=True)
                        if made is not None:
                            self.accepted.append(made.id)
                        return
            await self.clock.sleep(0.3)
        self.violated(f"deployment {number} found nobody")


async def _live(election: Election, strikes: Sequence[Strike]) -> None:
    clock = election.clock
    for machine in election.machines:
        machine.start()
    watching = [
        asyncio.create_task(election.watch_lead()),
        *(asyncio.create_task(election.strike(one)) for one in strikes),
    ]
    await clock.sleep(1.0)
    await _until(election, election.leading)
    first = election.leading()
    if first is not None:
        await first.operations.create(example_app(id="/still", routes=(), service="still"), "user")
    await _until(election, lambda: _serving(election, "/still", 2))
    still = sorted(task for task, one in election.engine.held.items() if one.spec.app_id == "/still")
    for number in range(ROLLOUTS + 1):
        await election.deploy(number)
        await clock.sleep(random.Random(f"{election.seed} {number}").uniform(1.0, 8.0))
    await clock.sleep(max(0.0, 60.0 - clock.monotonic()))
    if not await _until(election, lambda: _at_rest(election), REST_SECONDS):
        election.violated(f"not at rest: {_picture(election)}")
    now = sorted(task for task, one in election.engine.held.items() if one.spec.app_id == "/still")
    if now != still:
        election.violated(f"/still had {still} and has {now}")
    controller = election.leading()
    for name in election.accepted if controller is not None else ():
        if name not in controller.state.deployments:  # type: ignore[union-attr]
            election.violated(f"deployment {name} was accepted and is forgotten")
    for task in watching:
        task.cancel()
    await election.over()


async def _until(election: Election, found: Callable[[], object], within: float = 60.0) -> object:
    limit = election.clock.monotonic() + within
    while election.clock.monotonic() < limit:
        value = found()
        if value:
            return value
        await election.clock.sleep(0.1)
    return None


def _serving(election: Election, app_id: str, count: int) -> bool:
    controller = election.leading()
    known = controller.state.instances_of.get(app_id, {}).values() if controller is not None else ()
    return sum(one.phase == "serving" for one in known) == count


def _at_rest(election: Election) -> bool:
    controller = election.leading()
    if controller is None or controller.state.running:
        return False
    if not all(
        one.gateway.ready and one.gateway.rotation == controller.publisher.rotation for one in election.machines
    ):
        return False
    wanted = controller.state.wanted("/shop")
    serving = _serving(election, "/shop", 2) and _serving(election, "/still", 2)
    return wanted is not None and serving and all(one.running is False for one in controller.state.deployments.values())


def _picture(election: Election) -> str:
    controller = election.leading()
    if controller is None:
        return "nobody leads"
    phases = [f"{one.app_id} {one.version_id} {one.phase}" for one in controller.state.instances.values()]
    return f"{phases}, {list(controller.state.running.values())}"


def live(seed: int) -> Life:
    """Live the life of a seed in virtual time."""
    loop = FreezingLoop(seed)
    found: list[Election] = []
    strikes = strikes_of(seed)

    async def whole() -> None:
        election = Election(loop, seed)
        found.append(election)
        await _live(election, strikes)

    with structlog.testing.capture_logs():
        simulate(whole(), loop)
    election = found[0]
    return Life(seed=seed, violations=tuple(election.violations), leaders=len(election.leaders), strikes=strikes)


Swap = tuple[object, str, object]


def _no_guard() -> Swap:
    async def write(self: FencedStore, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        self._authority.check()
        return await self._store.write(changes, guards)

    return FencedStore, "write", write


def _never_ends_by_itself() -> Swap:
    return Timing, "sure_until", lambda self, asked_at, granted_seconds: asked_at + 1000.0 * granted_seconds


def _counts_from_the_answer() -> Swap:
    real = Timing.sure_until

    def sure_until(self: Timing, asked_at: float, granted_seconds: float) -> float:
        return real(self, asked_at, granted_seconds) + 2.0

    return Timing, "sure_until", sure_until


def _loops_go_on() -> Swap:
    return Leadership, "_step_down", _step_down_without_end


async def _step_down_without_end(self: Leadership, why: str) -> None:
    from coldchain.decisions import leadership as decisions

    self.authority = self._leading = None
    lease, self._lease = self._lease, None
    self._note(decisions.stepped_down(self._seen, self._clock.monotonic(), self._timing))
    if lease is not None:
        with contextlib.suppress(ColdchainError):
            await lease.revoke()


def _waits_for_one_gateway() -> Swap:
    real = Publisher.live

    def live(self: Publisher) -> list[GatewaySession]:
        return real(self)[:1]

    return Publisher, "live", live


PLANTED: dict[str, Callable[[], Swap]] = {
    "no guard": _no_guard,
    "acts until it is told to stop": _never_ends_by_itself,
    "counts its lease from too late": _counts_from_the_answer,
    "waits for one gateway alone": _waits_for_one_gateway,
    "loops go on after stepping down": _loops_go_on,
}


def find(name: str, seeds: range) -> Life | None:
    """The first life that shows the bug; None when it is not found."""
    with swapped([PLANTED[name]()]):
        for seed in seeds:
            life = live(seed)
            if life.violations:
                return life
    return None
