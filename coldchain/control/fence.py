"""fence: what stands between a leader and all that it changes, so that one who leads no more changes nothing.

The store checks every write: it is held to the revision of the leader's key. Engine and registry cannot, so a leader
asks nothing of them any more once its lease may have ended, which is before anybody else can lead. What a machine had
sent on its way before it stood still, and what one whose clock stood still does, is the engine's own matter: Mesos
closes the connection of who subscribed before.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence

from coldchain.model.app import App
from coldchain.model.dubbo import Announced, Announcement
from coldchain.model.errors import Unavailable
from coldchain.model.offer import Offer
from coldchain.model.registration import KnownService, Registration, Sighting
from coldchain.model.rotation import GatewayReport, RotationUpdate
from coldchain.model.task import Execution, TaskSpec, TaskStatistics, TaskStatus
from coldchain.ports.clock import Clock
from coldchain.ports.dubbo_qos import DubboQos
from coldchain.ports.dubbo_registry import DubboRegistry
from coldchain.ports.engine import Engine, Progress
from coldchain.ports.registry import Registry
from coldchain.ports.rotation_feed import RotationFeed
from coldchain.ports.session import Session, TerminalSize
from coldchain.ports.store import ABSENT, Change, Changed, Entry, Guard, Lease, Listing, LostUpdate, Store


class Deposed(Unavailable):
    """This controller leads no more. Whoever leads now answers."""


class Authority:
    """The right of one leader, from its election until it ends. `token`: the revision of its key."""

    def __init__(self, clock: Clock, key: str, token: int, until: float) -> None:
        self._clock = clock
        self._until = until
        self._ended = ""
        self.guard = Guard(key=key, revision=token)

    @property
    def token(self) -> int:
        return self.guard.revision

    @property
    def holds(self) -> bool:
        """Whether it may act at this moment. Once it may not it never may again."""
        if not self._ended and self._clock.monotonic() >= self._until:
            self._ended = "its lease may have ended"
        return not self._ended

    def extend(self, until: float) -> None:
        """It holds until then; never for one that has ended."""
        if self.holds:
            self._until = max(self._until, until)

    def end(self, why: str) -> None:
        """From here on nothing passes."""
        self._ended = self._ended or why

    def check(self) -> None:
        """Raises Deposed."""
        if not self.holds:
            raise Deposed(f"This controller leads no more: {self._ended}", todo="Ask again; another takes over.")


class FencedStore:
    """Implements ports.store.Store: reads as they are, writes only while it leads. `on_deposed` is called when the
    store says that somebody else does."""

    def __init__(self, store: Store, authority: Authority, on_deposed: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._authority = authority
        self._on_deposed = on_deposed

    async def get(self, key: str) -> Entry | None:
        return await self._store.get(key)

    async def list(self, prefix: str) -> Listing:
        self._authority.check()
        listing = await self._store.list(prefix)
        if listing.revision < self._authority.token:
            # What those before it wrote last would be missing.
            raise Unavailable("the store showed a state from before this controller led")
        return listing

    async def write(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        self._authority.check()
        guard = self._authority.guard
        try:
            return await self._store.write(changes, (*guards, guard))
        except LostUpdate:
            entry = await self._store.get(guard.key)
            if (entry.revision if entry else ABSENT) != guard.revision:
                self._authority.end("the store has another leader" if entry else "its lease has ended")
                self._on_deposed()
                self._authority.check()
            raise

    def watch(self, prefix: str, after: int) -> AsyncIterator[Changed]:
        return self._store.watch(prefix, after)

    async def lease(self, seconds: float) -> Lease:
        self._authority.check()
        return await self._store.lease(seconds)

    async def close(self) -> None:
        """It is not the leader's alone."""


class FencedEngine:
    """Implements ports.engine.Engine: what changes something only while it leads."""

    def __init__(self, engine: Engine, authority: Authority) -> None:
        self._engine = engine
        self._authority = authority
        self.target = engine.target

    async def offers(self) -> Sequence[Offer]:
        self._authority.check()
        return await self._engine.offers()

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None:
        self._authority.check()
        return await self._engine.prepare(app, image, progress)

    async def launch(self, spec: TaskSpec) -> None:
        self._authority.check()
        await self._engine.launch(spec)

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        self._authority.check()
        await self._engine.kill(task_id, grace_seconds)

    async def forget(self, task_id: str) -> None:
        self._authority.check()
        await self._engine.forget(task_id)

    async def tasks(self) -> Sequence[TaskStatus]:
        self._authority.check()
        return await self._engine.tasks()

    def updates(self) -> AsyncGenerator[TaskStatus, None]:
        self._authority.check()
        return self._engine.updates()

    def logs(self, task_id: str, *, follow: bool, tail: int | None, since: float | None = None) -> AsyncIterator[bytes]:
        return self._engine.logs(task_id, follow=follow, tail=tail, since=since)

    async def execute(self, task_id: str, command: str, timeout_seconds: float) -> Execution:
        self._authority.check()
        return await self._engine.execute(task_id, command, timeout_seconds)

    async def network_namespace(self, task_id: str) -> str | None:
        return await self._engine.network_namespace(task_id)

    async def statistics(self, task_id: str) -> TaskStatistics:
        return await self._engine.statistics(task_id)

    async def open_session(self, task_id: str, command: Sequence[str], size: TerminalSize | None) -> Session:
        self._authority.check()
        return await self._engine.open_session(task_id, command, size)

    async def close(self) -> None:
        await self._engine.close()


class FencedRegistry:
    """Implements ports.registry.Registry: what changes something only while it leads."""

    def __init__(self, registry: Registry, authority: Authority) -> None:
        self._registry = registry
        self._authority = authority

    @property
    def unreachable(self) -> Mapping[str, str]:
        return self._registry.unreachable

    @property
    def stale(self) -> bool:
        return self._registry.stale

    def places(self, agent: str, said: str) -> Sequence[str]:
        return self._registry.places(agent, said)

    async def registrations(self) -> Sequence[Registration]:
        self._authority.check()
        return await self._registry.registrations()

    async def register(self, registration: Registration) -> None:
        self._authority.check()
        await self._registry.register(registration)

    async def deregister(self, registration: Registration) -> None:
        self._authority.check()
        await self._registry.deregister(registration)

    async def maintain(self, registration_id: str, reason: str) -> None:
        self._authority.check()
        await self._registry.maintain(registration_id, reason)

    async def services(self) -> Sequence[KnownService]:
        return await self._registry.services()

    def watch(self, service: str, on_trouble: Callable[[str], None]) -> AsyncGenerator[Sighting, None]:
        return self._registry.watch(service, on_trouble)

    async def follow(self, note: Callable[[str], None]) -> None:
        await self._registry.follow(note)

    async def close(self) -> None:
        await self._registry.close()


class FencedDubboRegistry:
    """Implements ports.dubbo_registry.DubboRegistry: what changes something only while it leads."""

    def __init__(self, registry: DubboRegistry, authority: Authority) -> None:
        self._registry = registry
        self._authority = authority

    def watch(self, on_trouble: Callable[[str], None]) -> AsyncGenerator[Announced, None]:
        return self._registry.watch(on_trouble)

    async def switch_off(self, one: Announcement) -> None:
        self._authority.check()
        await self._registry.switch_off(one)

    async def withdraw(self, one: Announcement) -> None:
        self._authority.check()
        await self._registry.withdraw(one)

    async def switch_on(self, one: Announcement) -> None:
        self._authority.check()
        await self._registry.switch_on(one)

    async def close(self) -> None:
        await self._registry.close()


class FencedDubboQos:
    """Implements ports.dubbo_qos.DubboQos: what changes something only while it leads."""

    def __init__(self, qos: DubboQos, authority: Authority) -> None:
        self._qos = qos
        self._authority = authority

    async def offline(self, host: str, port: int) -> None:
        self._authority.check()
        await self._qos.offline(host, port)

    async def online(self, host: str, port: int) -> None:
        self._authority.check()
        await self._qos.online(host, port)


class FencedFeed:
    """Implements ports.rotation_feed.RotationFeed: a gateway gets its lease only from who leads."""

    def __init__(self, feed: RotationFeed, authority: Authority) -> None:
        self._feed = feed
        self._authority = authority

    @property
    def lease_seconds(self) -> float:
        return self._feed.lease_seconds

    async def exchange(self, report: GatewayReport, wait_seconds: float) -> RotationUpdate | None:
        self._authority.check()
        update = await self._feed.exchange(report, wait_seconds)
        self._authority.check()
        return update

    def shares(self, gateway: str) -> Mapping[str, float]:
        return self._feed.shares(gateway)
