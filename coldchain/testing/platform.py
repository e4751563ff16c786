"""A whole platform in virtual time: the real control loops on fakes, and a watcher of what must never happen."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from coldchain.control.controller import Controller
from coldchain.control.dubbo import Connections, unseen
from coldchain.control.gateway import feed_gateway
from coldchain.decisions.deployment import capacity
from coldchain.documents.keys import Record
from coldchain.model.app import App, Container, Docker, HealthCheck, PortDefinition, PortMapping, Route
from coldchain.model.deployment import Deployment
from coldchain.model.instance import Instance
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_dubbo_qos import FakeDubboQos
from coldchain.testing.fake_dubbo_registry import FakeDubboRegistry
from coldchain.testing.fake_engine import FakeEngine
from coldchain.testing.fake_gateway import FakeGateway
from coldchain.testing.fake_prober import FakeProber, answers_of
from coldchain.testing.fake_registry import FakeRegistry
from coldchain.testing.faulty_store import FaultyStore
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate

Pairs = Sequence[tuple[Record | None, Record | None]]

T = TypeVar("T")

APPLY_SECONDS = 0.002


def example_app(**fields: object) -> App:
    """An app with one port, one health check and one route; `fields` replace or add."""
    given: dict[str, object] = {
        "id": "/shop",
        "instances": 2,
        "cpus": 0.1,
        "mem": 16.0,
        "container": Container(docker=Docker(image="shop:v1"), port_mappings=(PortMapping(container_port=8080),)),
        "health_checks": (HealthCheck(path="/health", interval_seconds=1.0, timeout_seconds=0.5),),
        "routes": (Route(domains=("shop.test",)),),
        "drain_seconds": 5.0,
        "deadline_seconds": 60.0,
    }
    return App(**(given | fields))  # type: ignore[arg-type]


LEGACY = example_app(
    id="/legacy",
    service="legacy",
    instances=0,
    container=None,
    health_checks=(),
    routes=(Route(domains=("old.test",)),),
    port_definitions=(PortDefinition(name="default"),),
)
"""An app without instances of its own: others run its service."""


def image(tag: str) -> Container:
    """The example app's container with another image."""
    return Container(docker=Docker(image=f"shop:{tag}"), port_mappings=(PortMapping(container_port=8080),))


def to(**fields: object) -> Callable[[App | None], App]:
    """An edit that changes these fields."""

    def edit(app: App | None) -> App:
        assert app is not None
        return msgspec.structs.replace(app, **fields)

    return edit


class Platform:
    """Controller, gateways and engine; the controller can be killed and started again on the same store."""

    def __init__(self, loop: SimulatedLoop, *, gateways: int = 1) -> None:
        self.clock = SimulatedClock(loop)
        self.store = FaultyStore(MemoryStore())
        self.engine = FakeEngine(self.clock)
        self.prober = FakeProber(self.clock, answers_of(self.engine))
        self.gateways = [FakeGateway(f"gateway-{n}", self.clock) for n in range(gateways)]
        for gateway in self.gateways:
            gateway.apply_seconds, gateway.applied = APPLY_SECONDS, self._check_rotation
        self.registry = FakeRegistry(self.clock)
        self.dubbo: FakeDubboRegistry | None = None
        """What apps find at the ZooKeeper that they name; to be set before `start`."""
        self.qos: FakeDubboQos | None = None
        self.connections: Connections = unseen
        self.violations: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._live: dict[str, int] = {}
        self._kill = self.engine.kill
        self.engine.kill = self._watched_kill  # type: ignore[method-assign]

    async def start(self) -> None:
        """Start a controller, as `coldchain up` does."""
        self.controller = Controller(self.store, self.engine, self.prober, self.clock, self.registry)
        if self.dubbo is not None:
            dubbo = self.dubbo
            self.controller.follow_dubbo(lambda address: dubbo, self.connections, self.qos)
        await self.controller.start()
        self.controller.state.on_commit(self._check)
        self._tasks = [asyncio.create_task(self.controller.run())]
        for gateway in self.gateways:
            self._tasks.append(asyncio.create_task(feed_gateway(gateway, self.controller.publisher, self.clock)))

    async def kill(self) -> None:
        """The controller is gone from one moment to the next; tasks and gateways go on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ended(self, deployment: Deployment, within: float = 300.0) -> Deployment:
        """Wait for the end of a deployment."""
        await self.until(lambda: not self.controller.state.deployments[deployment.id].running, within)
        return self.controller.state.deployments[deployment.id]

    async def until(self, found: Callable[[], T], within: float = 60.0, *, every: float = 0.01) -> T:
        """Wait until `found` gives something true, and return it. `every`: seconds between two looks, which take most
        of the time of long lives."""
        limit = self.clock.monotonic() + within
        while True:
            value = found()
            if value:
                return value
            if self.clock.monotonic() > limit:
                raise TimeoutError(self.picture())
            await self.clock.sleep(every)

    def instances(self, app_id: str = "/shop") -> list[Instance]:
        """The live instances of an app."""
        return [one for one in self.controller.state.instances_of.get(app_id, {}).values() if one.live]

    def serving(self, app_id: str = "/shop") -> list[Instance]:
        """Those in rotation."""
        return [one for one in self.instances(app_id) if one.in_rotation]

    def picture(self) -> str:
        """What stands where, for the message of a failed test."""
        lines = [f"{one.id[-4:]} {one.version_id} {one.phase}" for one in self.instances()]
        lines += [str(one) for one in self.controller.state.running.values()]
        return "\n".join(lines)

    async def _watched_kill(self, task_id: str, grace_seconds: float) -> None:
        task = self.engine.held.get(task_id)
        if task is not None:
            for gateway in self.gateways:
                if gateway.routes_to(task.spec.instance_id):
                    self.violations.append(f"{task_id} killed while {gateway.name} routes to it")
            for registration in self.registry.held.values():
                if registration.meta["instance"] == task.spec.instance_id and not registration.out_of_service:
                    self.violations.append(f"{task_id} killed while the registry has it in service")
        await self._kill(task_id, grace_seconds)

    def _check_rotation(self, gateway: FakeGateway) -> None:
        """No traffic to what never passed a probe."""
        for service in gateway.rotation.services.values():
            for endpoint in service.endpoints:
                if endpoint.weight and endpoint.instance_id not in self.prober.passed:
                    self.violations.append(f"{gateway.name} routes to {endpoint.instance_id}, which never passed")

    def _check(self, pairs: Pairs) -> None:
        """What must hold after every write."""
        for app_id in self.controller.state.apps:
            self._check_capacity(app_id, pairs)
        held = Counter(
            (one.agent, place)
            for one in self.controller.state.instances.values()
            if one.agent is not None
            for place in (one.address, *one.host_ports)
            if place
        )
        self.violations += [f"{place} was given twice" for place, count in held.items() if count > 1]
        self.violations += [f"no decision on {name}: {why}" for name, why in self.controller.reconciler.broken.items()]

    def _check_capacity(self, app_id: str, pairs: Pairs) -> None:
        version = self.controller.state.wanted(app_id)
        assert version is not None
        minimum, maximum = capacity(version.app)
        live = len(self.instances(app_id))
        if live > self._live.get(app_id, 0) and live > maximum + (minimum >= maximum):
            self.violations.append(f"{app_id}: {live} live, at most {maximum} allowed")
        self._live[app_id] = live
        drained = [
            after
            for before, after in pairs
            if isinstance(before, Instance) and isinstance(after, Instance) and after.app_id == app_id
            if before.phase == "serving" and after.phase == "draining"
        ]
        serving = len(self.serving(app_id))
        if drained and serving < minimum and not self.controller.reconciler.stopping:
            self.violations.append(f"{app_id}: drained to {serving} in rotation, at least {minimum} wanted")


def run(
    program: Callable[[Platform], Awaitable[None]],
    seed: int,
    *,
    gateways: int = 1,
    prepare: Callable[[Platform], None] = lambda platform: None,
) -> None:
    """Run a program against a platform in virtual time; fails if anything happened that must not. `prepare`: what is
    done to it before it is started."""
    loop = SimulatedLoop(seed)

    async def whole() -> None:
        platform = Platform(loop, gateways=gateways)
        prepare(platform)
        await platform.start()
        await program(platform)
        assert platform.violations == []

    simulate(whole(), loop)
