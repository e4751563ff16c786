"""controller: the loops put together. Everything it needs is handed over; it starts no server of its own."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec
import structlog

from coldchain.control.agents import AgentOperations
from coldchain.control.audit import AuditLog
from coldchain.control.callers import Callers
from coldchain.control.certificates import Certificates
from coldchain.control.clock import SteadyClock
from coldchain.control.consumers import Consumers
from coldchain.control.container_networks import ContainerNetworks
from coldchain.control.dubbo import Connections, DubboWatcher, OpenRegistry, unseen
from coldchain.control.events import EventLog
from coldchain.control.group_operations import GroupOperations
from coldchain.control.groups import Groups
from coldchain.control.happenings import Happenings
from coldchain.control.health import HealthWatcher
from coldchain.control.key_sets import KeySets
from coldchain.control.launch import Launcher
from coldchain.control.network_check import NetworkCheck
from coldchain.control.network_policy import NetworkPolicy
from coldchain.control.nodes import Nodes
from coldchain.control.operations import Operations
from coldchain.control.pools import Pools
from coldchain.control.reconciler import Reconciler
from coldchain.control.recorder import Recorder
from coldchain.control.registry import Registrar
from coldchain.control.rotation import Publisher
from coldchain.control.secrets import Secrets
from coldchain.control.self_registration import SelfRegistrations
from coldchain.control.services import ServiceWatcher
from coldchain.control.state import State, app_id_of
from coldchain.control.tasks import TaskWatcher
from coldchain.control.traffic import TrafficWatcher
from coldchain.decisions.admission import Policy
from coldchain.documents import keys
from coldchain.documents.keys import Record
from coldchain.model.agent import AgentDrain
from coldchain.model.certificate import KeptCertificate
from coldchain.model.consumer import KeptConsumer
from coldchain.model.gateway_resource import Resource, resource_key
from coldchain.model.group import GroupDeployment
from coldchain.model.instance import Instance
from coldchain.model.key_set import KeptKeySet
from coldchain.ports.cipher import Cipher
from coldchain.ports.clock import Clock
from coldchain.ports.dubbo_qos import DubboQos
from coldchain.ports.engine import Engine
from coldchain.ports.prober import Prober
from coldchain.ports.registry import Registry
from coldchain.ports.store import ABSENT, Change, Guard, Store

log = structlog.get_logger(__name__)


class Controller:
    """One controller of one store. `start` reads everything; `run` goes on until cancelled; apps outlive it. Without a
    registry nothing is registered, and nobody waits for that."""

    publisher: Publisher
    events: EventLog

    def __init__(
        self,
        store: Store,
        engine: Engine,
        prober: Prober,
        clock: Clock,
        registry: Registry | None = None,
        policy: Policy | None = None,
        cipher: Cipher | None = None,
    ) -> None:
        clock = SteadyClock(clock)
        policy = policy or Policy()
        self._registry = registry
        self.registrar: Registrar | None = None
        self.outsiders: ServiceWatcher | None = None
        self.registered: SelfRegistrations | None = None
        self._store = store
        self._clock = clock
        self.engine = engine
        self.state = State(store)
        self.resource_makers: list[Callable[[], Iterable[Resource]]] = []
        self.tasks = TaskWatcher(engine, clock, self._mark)
        self.health = HealthWatcher(self.state, prober, clock, self._mark)
        self.traffic = TrafficWatcher(self.state, clock)
        self.reconciler = Reconciler(self.state, engine, clock, lambda: self.publisher, self.tasks, self.health)
        self.recorder = Recorder()
        self.reconciler.on_decision = self.recorder.record
        self.reconciler.observed = self.traffic.observed
        self.tasks.on_listed = self.reconciler.listed
        self.secrets = Secrets(store, self.state, clock, cipher)
        self.certificates = Certificates(self.state, clock, cipher)
        self.consumers = Consumers(self.state, clock, cipher)
        self.key_sets = KeySets(self.state, clock)
        self.resource_makers += [self.certificates.resources, self.consumers.resources, self.key_sets.resources]
        self.tasks.without_secrets = self.secrets.without_secrets
        self.launcher = Launcher(self.state, engine, policy, self.secrets)
        self.reconciler.launch = self.launcher.launch
        self.pools = Pools(store)
        self.container_networks = ContainerNetworks(store, self.state.apps_in_network)
        self.network_check = NetworkCheck(store, clock, self.pools)
        self.network_policy = NetworkPolicy(store)
        self.callers = Callers(self.state, clock)
        self.audit = AuditLog(store, self.state)
        self.nodes = Nodes(store)
        self.operations = Operations(self.state, clock, policy, self.secrets)
        self.groups = Groups(self.state, clock)
        self.reconciler.lead = self.groups.lead
        self.dubbo: DubboWatcher | None = None
        self.agents = AgentOperations(self.operations, self.state, self.tasks, clock)
        self.group_operations = GroupOperations(self.operations, self.groups, self.state, clock)

    def _mark(self, app_ids: Collection[str]) -> None:
        self.reconciler.mark(app_ids)

    def _mark_changed(self, pairs: Sequence[tuple[Record | None, Record | None]]) -> None:
        changed = (after or before for before, after in pairs)
        marked = {app_id for record in changed if record and (app_id := app_id_of(record))}
        if any(isinstance(record, AgentDrain) for pair in pairs for record in pair):
            self.reconciler.mark_all()
        if any(isinstance(record, KeptCertificate | KeptConsumer | KeptKeySet) for pair in pairs for record in pair):
            self.publisher.refresh_resources()
        # A pass over any app brings all group deployments as far as they are.
        groups = [one for _, one in pairs if isinstance(one, GroupDeployment) and one.running]
        marked.update(next(iter(one.members)) for one in groups)
        self._mark(marked)

    async def start(self) -> None:
        """Take the next term, read the records, and begin every time limit anew. Raises LostUpdate when another
        controller starts at this moment, Unavailable when the store does not answer."""
        term = await self._next_term()
        await self.state.load()
        await self.audit.start()
        await self._begin_waits_anew()
        self.events = EventLog(self._clock, term)
        happenings = Happenings(
            self.events,
            self._clock,
            self.state.version_of,
            lambda name: self.state.deployments.get(name),
            self.health.condemned,
        )
        self.state.on_commit(happenings.committed)
        self.state.on_commit(self._mark_changed)
        self.tasks.on_update = lambda status: happenings.task_updated(
            status, self.state.instances.get(status.instance_id)
        )
        self.health.on_standing = lambda instance, verdict: happenings.health_changed(
            instance, verdict.standing, verdict.detail
        )
        self.health.on_failed = happenings.check_failed
        self.tasks.on_engine = lambda trouble, first: happenings.engine_changed(
            self.engine.target, trouble, first=first and term == 1
        )
        self.operations.on_refused = happenings.change_refused
        self.reconciler.on_brake = happenings.brake_changed
        self.reconciler.on_refused = happenings.refused
        self.publisher = Publisher(self.state, self._clock, term, self.reconciler.mark)
        self.publisher.on_left = happenings.gateway_left
        if self._registry is not None:
            self.registrar = Registrar(self._registry, self.state, self._clock, self.reconciler.mark)
            self.registrar.offers = lambda: self.tasks.offers
            self.publisher.on_published = self.registrar.published
            marks = self.reconciler.mark
            self.registered = SelfRegistrations(self._registry, self.engine, self.state, self._clock, marks)
            self.registered.attach(self.reconciler, self.registrar)
            self.outsiders = ServiceWatcher(self._registry, self.state, self._clock)
            self.outsiders.start()
        if self.dubbo is not None:
            self.dubbo.start()
        self.key_sets.start()
        self.publisher.on_report = self.traffic.reported
        self.publisher.resources = self._resources
        self.publisher.start()
        self.health.start()
        log.info("controller started", term=term, apps=len(self.state.apps), instances=len(self.state.instances))

    def follow_dubbo(
        self, open_registry: OpenRegistry, connections: Connections = unseen, qos: DubboQos | None = None
    ) -> None:
        """Before `start`: instances that provide services of Dubbo enter and leave by what ZooKeeper says of them."""
        self.dubbo = DubboWatcher(self.state, self._clock, self.reconciler.mark, open_registry, connections, qos)
        self.reconciler.unannounced = self.dubbo.waits_for
        self.reconciler.calls = self.dubbo.calls
        self.reconciler.lingers = self.dubbo.lingers

    def _resources(self) -> dict[str, Resource]:
        """What the gateways are to know beside services and routes. Who makes some adds himself to `resource_makers`
        before `start`, and calls `publisher.refresh_resources` when they change."""
        return {resource_key(one): one for make in self.resource_makers for one in make()}

    def stand_by(self) -> None:
        """Instead of `start`: its state is followed, and nothing is watched, probed or published."""
        self.events = EventLog(self._clock, 0)
        self.publisher = Publisher(self.state, self._clock, 0, self.reconciler.mark)

    async def _next_term(self) -> int:
        entry = await self._store.get(keys.CONTROLLER_TERM)
        term = int(entry.value) + 1 if entry else 1
        expected = entry.revision if entry else ABSENT
        # Not in a store that somebody empties into another one at this moment.
        here = [Guard(key=keys.STORE_MOVE, revision=ABSENT)]
        await self._store.write([Change(key=keys.CONTROLLER_TERM, value=str(term).encode(), expected=expected)], here)
        return term

    async def _begin_waits_anew(self) -> None:
        """What was on record was timed by another clock, or by this one before it was set."""
        now = self._clock.now()
        renewed: list[Record] = [
            msgspec.structs.replace(
                one,
                started_at=now,
                deadline_at=now + (one.deadline_at - one.started_at),
                paused_at=None if one.paused_at is None else now,
                resumes_at=None
                if one.resumes_at is None or one.paused_at is None
                else now + (one.resumes_at - one.paused_at),
            )
            for one in self.state.running.values()
        ]
        renewed += [
            msgspec.structs.replace(one, since=now, streams_cut_at=None if one.streams_cut_at is None else now)
            for one in self.state.instances.values()
            if one.phase in ("closing", "stopped")
        ]
        for app_id, backoff in self.state.backoffs.items():
            version = self.state.versions.get(app_id, {}).get(backoff.version_id)
            latest = now + (version.app.max_launch_delay_seconds if version else 0.0)
            renewed.append(msgspec.structs.replace(backoff, until=min(backoff.until, latest)))
        await self.state.commit(renewed)

    async def run(self) -> None:
        """The loops, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.tasks.run())
                group.create_task(self.reconciler.run())
                if self.key_sets.source is not None:
                    group.create_task(self.key_sets.run())
                if self.registrar is not None:
                    group.create_task(self.registrar.run())
                if self.dubbo is not None:
                    group.create_task(self.dubbo.run())
                if self.registered is not None:
                    group.create_task(self.registered.run())
                if self.outsiders is not None:
                    group.create_task(self.outsiders.run())
        finally:
            await self.reconciler.stop()
            await self.health.stop()

    async def stop_everything(self) -> bool:
        """Drain and stop every instance of every app, in order; the definitions stay. True when nothing runs."""
        self.operations.closed_because = "The platform is going down; nothing can be changed."
        self.reconciler.stopping = True
        self.reconciler.mark_all()
        while not self.tasks.known or any(one.live or self._runs(one) for one in self.state.instances.values()):
            await self._clock.sleep(0.1)
        return True

    def _runs(self, instance: Instance) -> bool:
        """Whether its task does though it was given up, and somebody could end it."""
        task = self.tasks.tasks.get(instance.task_id)
        return task is not None and not task.terminal and not task.orphaned
