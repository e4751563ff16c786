"""registered: apps that register themselves, in some of the lives of the simulation: their heartbeats, a registry that
forgets, and what must hold of them. Drawn apart from all else, so that a life without them is as it was."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Literal

import msgspec

from coldchain.decisions.registration import registration_id
from coldchain.decisions.self_registration import CANNOT
from coldchain.engines.fake import FakeTask
from coldchain.model.app import App
from coldchain.model.errors import Unavailable
from coldchain.model.instance import Instance
from coldchain.model.registration import EndpointStatus, KnownService, Registration, ServiceEndpoint, Sighting
from coldchain.model.rotation import Rotation
from coldchain.model.task import TaskSpec
from coldchain.testing.fake_registry import FakeRegistry

if TYPE_CHECKING:
    from coldchain.testing.simulation.ports import Existence
    from coldchain.testing.simulation.schedule import Operation
    from coldchain.testing.simulation.world import World

RegistrationKind = Literal["heart stops", "registry away", "registry forgets"]

REGISTERED = 0.3
"""The share of the impatient lives in which apps register themselves."""
MUTE = 0.15
"""The share of their tasks that cannot."""
BEAT_SECONDS, TTL_SECONDS, FORGOTTEN_SECONDS = 1.0, 3.0, 60.0
SERVED_SILENT_SECONDS = 12.0
"""So long nothing stood in the way, and one of whom the registry says that he is silent still gets requests."""
SEEN_SECONDS = 5.0
"""What the registry was told so long ago has reached the controller."""
REWOUND_SECONDS = 30.0
"""So long after the store was put back to older data a rotation may be by the records that were lost."""
AWAY_SECONDS, SILENT_SECONDS = 20.0, 40.0


def with_registrations(
    seed: int, apps: tuple[App, ...], operations: Sequence["Operation"]
) -> tuple[tuple[App, ...], list["Operation"]]:
    """The apps, perhaps some that register themselves among them; then also what befalls their hearts and the
    registry, beside the operations."""
    draw = random.Random(f"registrations {seed}")
    if draw.random() >= REGISTERED or not operations:
        return apps, list(operations)
    changed = tuple(_registering(draw, app) for app in apps)
    if changed == apps:
        return apps, list(operations)
    found: list[Operation] = []
    for operation in operations:
        found.append(operation)
        while draw.random() < 0.4:
            kind: RegistrationKind = draw.choice(("heart stops", "heart stops", "registry away", "registry forgets"))
            blank = msgspec.structs.replace(operation, image=None, instances=None, drain_seconds=None, images={})
            seconds = draw.choice((0.0, 0.3, 2.0, 8.0)) * draw.random()
            phase = operation.phase if draw.random() < 0.5 else None
            found.append(
                msgspec.structs.replace(blank, kind=kind, factor=draw.random(), pause_seconds=seconds, phase=phase)
            )
    return changed, found


def _registering(draw: random.Random, app: App) -> App:
    registers, probed = draw.random() < 0.7, draw.random() < 0.5
    if not registers or app.service_name is None:
        return app
    return msgspec.structs.replace(app, registration="self", health_checks=app.health_checks if probed else ())


class Heart:
    """Of one task. `silent_until`: it sends nothing; `lapsed_at`: since when the registry has it for silent."""

    def __init__(self, task: FakeTask, endpoint: ServiceEndpoint, beats_at: float) -> None:
        self.task = task
        self.endpoint = endpoint
        self.service = task.spec.app.service_name or ""
        self.silent_until = 0.0
        self.beats_at = beats_at
        self.last_at = 0.0
        self.registered_at = 0.0
        self.good_seconds = 0.0


class Hearts:
    """All of them, and the registry that hears them. One clock ticks for all."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.registry = FakeRegistry(world.clock)
        self._hearts: dict[str, Heart] = {}
        self._passed: set[str] = set()
        self._gone: set[str] = set()
        self._controllers = 0
        self._away_until = 0.0

    @property
    def away(self) -> bool:
        """Whether no controller reaches the registry."""
        return self._world.clock.monotonic() < self._away_until

    def strike(self, operation: "Operation") -> None:
        """What befalls one of the hearts, or the registry."""
        now = self._world.clock.monotonic()
        if operation.kind == "registry away":
            self._away_until = now + operation.factor * AWAY_SECONDS
            self.registry.look_again()
        elif operation.kind == "registry forgets":
            if not self.registry.silent:  # else it is at it already
                self.registry.silent = True
                asyncio.get_running_loop().create_task(self._forget(operation.factor))
        else:
            beating = [one for one in self._hearts.values() if one.last_at and one.silent_until <= now]
            if beating:
                beating[int(operation.factor * len(beating))].silent_until = now + operation.factor * SILENT_SECONDS

    async def _forget(self, choice: float) -> None:
        """It is started again without its disk."""
        self._controllers = self._world.controllers
        self.registry.look_again()
        await asyncio.sleep(1.1 + 4.0 * choice)
        self.registry.others.clear()
        self.registry.silent = False
        self.registry.lose()
        self.believed()

    def calm(self) -> None:
        """Nothing befalls them any more."""
        self._away_until = 0.0
        for one in self._hearts.values():
            one.silent_until = 0.0

    # Tasks

    def output(self, spec: TaskSpec) -> bytes:
        """What a task says at its start: some cannot register themselves."""
        mute = spec.app.registers_itself and self._world.draw("mute").random() < MUTE
        return CANNOT + b" there is no program\n" if mute else b""

    def created(self, task: FakeTask) -> None:
        """It will register itself, by the id that it was given or by its place."""
        app, draw = task.spec.app, self._world.draw("hearts")
        late = draw.choice((0.0, 0.3, 2.0, 8.0)) * draw.random()
        by_place, elsewhere = draw.random() < 0.3, draw.random() < 0.2
        if not app.registers_itself or task.life.output:
            return
        name = registration_id(app.service_name or "", task.spec.instance_id)
        endpoint = ServiceEndpoint(
            id=f"own-{len(self._passed)}-{task.spec.task_id}" if by_place else name,
            address="10.250.0.1" if elsewhere and not by_place else task.status.address or task.spec.address or "",
            port=8080,
            status="critical",
        )
        beats_at = self._world.clock.monotonic() + late
        self._hearts[task.spec.task_id] = Heart(task, endpoint, beats_at)

    def ended(self, task: FakeTask, *, in_order: bool) -> None:
        """`in_order`: its entry takes the registration away; else that ends by its TTL."""
        heart = self._hearts.pop(task.spec.task_id, None)
        if heart is None or not heart.last_at:
            return
        self._gone.add(task.spec.instance_id)
        if in_order and not self.registry.silent:
            self._tell(heart, None)
        else:
            asyncio.get_running_loop().create_task(self._run_out(heart))

    async def _run_out(self, heart: Heart) -> None:
        await asyncio.sleep(TTL_SECONDS)
        self._tell(heart, "critical")
        await asyncio.sleep(FORGOTTEN_SECONDS)
        self._tell(heart, None)

    def _known(self, heart: Heart) -> ServiceEndpoint | None:
        listed = self.registry.others.get(heart.service, ())
        return next((one for one in listed if one.id == heart.endpoint.id), None)

    def _tell(self, heart: Heart, status: EndpointStatus | None, *, new: bool = False) -> None:
        """What the registry has of it from now on; None: nothing. A mark stays."""
        known = self._known(heart)
        if (known is None and not new) or (known is not None and status in ("maintenance", known.status)):
            return
        if known is not None and known.status == "maintenance" and status is not None:
            return
        others = [one for one in self.registry.others.get(heart.service, ()) if one.id != heart.endpoint.id]
        if status is not None:
            others.append(msgspec.structs.replace(heart.endpoint, status=status))
        self.registry.set_others(heart.service, *others)

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            for heart in list(self._hearts.values()):
                self._beat(heart)
            # The registry may tell of their end before the engine does.
            self._gone &= self._world.checkers.ledger.instances.keys()
            for name in self._gone:
                self._world.checkers.failed_at[name] = self._world.clock.monotonic()

    def _beat(self, heart: Heart) -> None:
        now, status = self._world.clock.monotonic(), heart.task.status
        name, failed_at = heart.task.spec.instance_id, self._world.checkers.failed_at
        if (self.away or self.registry.silent) and now - failed_at.get(name, -SEEN_SECONDS) < 2 * BEAT_SECONDS:
            failed_at[name] = now  # who was silent when nobody hears of him any more is held for silent so long
        if now < heart.beats_at or status.state not in ("running", "killing") or self.registry.silent:
            return
        if now >= heart.silent_until:
            heart.endpoint = msgspec.structs.replace(
                heart.endpoint, address=heart.endpoint.address or status.address or ""
            )
            if self._known(heart) is None:
                heart.registered_at = now
            heart.last_at, heart.good_seconds = now, 0.0
            well = heart.task.healthy
            self._tell(heart, "passing" if well else "critical", new=True)
            if well:
                self._passed.add(name)
            else:
                failed_at[name] = now
        elif now - heart.last_at > TTL_SECONDS:
            self._tell(heart, "critical")
            failed_at[name] = now
            self._look_at(heart)
        self._believe(heart)

    def believed(self) -> None:
        """A controller that begins while they come back to a registry that lost all believes it, at once."""
        for heart in self._hearts.values() if not self.registry.silent else ():
            self._believe(heart)

    def _believe(self, heart: Heart) -> None:
        if self._known(heart) is None and self._controllers != self._world.controllers:
            self._world.checkers.failed_at[heart.task.spec.instance_id] = self._world.clock.monotonic()

    # What must hold

    def _look_at(self, heart: Heart) -> None:
        """Who is silent leaves, unless more than half of his app are bad, or something stands in the way."""
        world, name = self._world, heart.task.spec.instance_id
        record = world.checkers.ledger.instances.get(name)
        # Who was lost by the registry and does not come back is held for well for two minutes.
        steady = world.quiet and not self.away and self._known(heart) is not None
        steady = steady and record is not None and record.phase == "serving"
        heart.good_seconds = heart.good_seconds + BEAT_SECONDS if steady else 0.0
        if heart.good_seconds < SERVED_SILENT_SECONDS:
            return
        beside = [one for one in world.checkers.ledger.instances_of(heart.task.spec.app_id) if one.in_rotation]
        bad = [one for one in beside if self._bad(one)]
        if 2 * len(bad) > len(beside):
            return
        for gateway in world.gateways:
            if gateway.ready and gateway.routes_to(name):
                world.checkers.violated("registration", f"{gateway.name} routes to {name}, which has been silent")

    def _bad(self, one: Instance) -> bool:
        since = self._world.clock.monotonic() - SEEN_SECONDS
        return self._world.checkers.failed_at.get(one.id, -SEEN_SECONDS) >= since

    def applied(self, gateway: str, rotation: Rotation) -> None:
        """A gateway works by a rotation: nobody twice, and nobody who never was registered and passing."""
        checkers = self._world.checkers
        services = {one.service for one in self._hearts.values()}
        for name, service in rotation.services.items():
            served = [one for one in service.endpoints if one.weight]
            places = Counter((one.address, one.port) for one in served)
            if name in services and max(places.values(), default=0) > 1:
                checkers.violated("registration", f"{gateway} has a place of {name} twice")
            # Who has said that he cannot register himself, or had registered, may be known by lost records alone.
            rewound = self._world.clock.monotonic() - checkers.travelled_at < REWOUND_SECONDS
            for one in served if not rewound else ():
                record = checkers.ledger.instances.get(one.instance_id)
                if record is None or record.cannot_register or one.instance_id in self._passed:
                    continue
                if checkers.ledger.versions[record.app_id][record.version_id].app.registers_itself:
                    words = f"{gateway} routes {name} to {one.instance_id}, which never registered itself"
                    checkers.violated("registration", words)

    def killed(self, task_id: str) -> None:
        """A task is ended: the registry has it marked, unless it could not be told or has just been told otherwise."""
        heart, now = self._hearts.get(task_id), self._world.clock.monotonic()
        if heart is None or self.registry.silent or now - self._away_until < SEEN_SECONDS:
            return
        known, record = self._known(heart), self._world.checkers.ledger.instances.get(heart.task.spec.instance_id)
        if known is None or record is None or known.status not in ("passing", "warning"):
            return
        if not record.served or record.phase != "stopping":  # given up, or never in rotation
            return
        if now - heart.registered_at > SEEN_SECONDS:
            self._world.checkers.violated("registration", f"{task_id} is killed while the registry has it in service")


class RegistryHandle:
    """Implements ports.registry.Registry: as one controller reaches it, which may die or be cut off."""

    unreachable: dict[str, str] = {}
    stale = False

    def __init__(self, hearts: Hearts, existence: "Existence") -> None:
        self._hearts = hearts
        self._registry = hearts.registry
        self._existence = existence

    def places(self, agent: str, said: str) -> Sequence[str]:
        return self._registry.places(agent, said)

    async def registrations(self) -> Sequence[Registration]:
        await self._ask()
        return await self._registry.registrations()

    async def register(self, registration: Registration) -> None:
        await self._ask()
        await self._registry.register(registration)

    async def deregister(self, registration: Registration) -> None:
        await self._ask()
        await self._registry.deregister(registration)

    async def maintain(self, registration_id: str, reason: str) -> None:
        await self._ask()
        await self._registry.maintain(registration_id, reason)

    async def services(self) -> Sequence[KnownService]:
        await self._ask()
        return await self._registry.services()

    async def watch(self, service: str, on_trouble: Callable[[str], None]) -> AsyncGenerator[Sighting, None]:
        while True:
            await self._existence.reach()
            if self._hearts.away:
                on_trouble("the registry does not answer")
                await asyncio.sleep(1.0)
                continue
            async with aclosing(self._registry.watch(service, on_trouble)) as watched:
                async for sighting in watched:
                    await self._existence.reach()
                    if self._hearts.away:
                        break
                    yield sighting

    async def follow(self, note: Callable[[str], None]) -> None:
        await self._registry.follow(note)

    async def close(self) -> None:
        """Others use it too."""

    async def _ask(self) -> None:
        await self._existence.reach()
        if self._hearts.away:
            raise Unavailable("the registry does not answer")
