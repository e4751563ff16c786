"""platform: the parts of a platform on one machine, made and handed to each other. `up` and `down` run it."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import structlog

from coldchain.control.candidate import Candidate
from coldchain.control.clock import SystemClock
from coldchain.control.controller import Controller
from coldchain.control.fence import Authority, FencedEngine, FencedRegistry, FencedStore
from coldchain.control.gateway import feed_gateway
from coldchain.control.store_move import check_usable
from coldchain.documents import keys
from coldchain.engines.mesos import MesosEngine
from coldchain.gateway.key_source import HttpKeySource
from coldchain.gateway.process import NginxProcess
from coldchain.gateway.push import NginxGateway
from coldchain.main.dubbo import follow_dubbo
from coldchain.main.engines import open_engines
from coldchain.main.listeners import Known
from coldchain.main.registries import open_registries
from coldchain.main.settings import PlatformSettings
from coldchain.main.stores import open_etcd
from coldchain.model.errors import ColdchainError, Rejected
from coldchain.ports.cipher import Cipher
from coldchain.ports.prober import Prober
from coldchain.ports.store import ABSENT, Change, LostUpdate, Store
from coldchain.probes.command import CommandProber
from coldchain.probes.fake import FakeAgentsProber
from coldchain.probes.prober import NetworkProber
from coldchain.probes.remote import BesideProber
from coldchain.registry.server.embedded import EmbeddedRegistry
from coldchain.store.cipher import KeyFileCipher
from coldchain.store.file import FileLock
from coldchain.store.sqlite import SQLiteStore

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """nginx, and the way into it. It outlives the platform."""

    process: NginxProcess
    plane: NginxGateway

    async def revive(self) -> None:
        """Start it again after it did not answer."""
        outcome = await self.process.start_or_adopt()
        if outcome != "adopted":  # else it is a controller that does not answer
            log.warning("gateway did not answer", nginx=outcome)


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What `up` and `down` run."""

    controller: Controller
    gateway: Gateway | None
    """None where all agents are fake: nobody is there to send requests to."""
    clock: SystemClock
    registry: EmbeddedRegistry | None
    """None where a Consul is used."""

    mesos: MesosEngine | None = None
    """Where tasks run on a cluster of Mesos: it takes leave of it when everything is stopped."""

    candidate: Candidate | None = None
    """Where several controllers share the store: the one of this process, which starts what it needs when it leads."""

    async def serve(self, *, keep_gateway: bool = True) -> None:
        """All loops, until cancelled. Apps and nginx go on afterwards. `keep_gateway`: start nginx when it is gone."""
        gateway, feed = self.gateway, self.candidate or self.controller.publisher
        async with asyncio.TaskGroup() as group:
            if self.registry is not None:
                group.create_task(self.registry.run())
            group.create_task((self.candidate or self.controller).run())
            if gateway is not None:
                revive = gateway.revive if keep_gateway else None
                group.create_task(feed_gateway(gateway.plane, feed, self.clock, revive))


@contextlib.asynccontextmanager
async def open_platform(settings: PlatformSettings) -> AsyncIterator[Platform]:
    """Open the store and read it; only the registry listens yet, and an error leaves nothing behind. In a store that
    several controllers share, not while one of them leads."""
    settings.check()
    async with contextlib.AsyncExitStack() as closing:
        store = await open_store(settings, closing)
        clock = SystemClock()
        if settings.store is not None:
            await check_nobody_leads(store)
            store = FencedStore(store, Authority(clock, keys.LEADER, ABSENT, math.inf))
        cipher = await asyncio.to_thread(KeyFileCipher, settings.secret_keys_file)
        name = await controller_id(store, clock)
        opened = await closing.enter_async_context(open_controller(settings, store, clock, name, cipher))
        gateway = await open_gateway(settings, closing)
        await opened.controller.start()
        await opened.start_registry(closing)
        yield Platform(
            controller=opened.controller, gateway=gateway, clock=clock, registry=opened.registry, mesos=opened.mesos
        )


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A controller that is not started, and the registry that is to run beside it, if any."""

    controller: Controller
    registry: EmbeddedRegistry | None
    own_token: str
    mesos: MesosEngine | None

    async def start_registry(self, closing: contextlib.AsyncExitStack) -> None:
        """Have it listen."""
        if self.registry is not None:
            self.registry.server.known = Known(self.own_token, self.controller.callers).caller
            await self.registry.start()
            closing.push_async_callback(self.registry.stop)


@contextlib.asynccontextmanager
async def open_controller(
    settings: PlatformSettings,
    store: Store,
    clock: SystemClock,
    name: str,
    cipher: Cipher,
    authority: Authority | None = None,
) -> AsyncIterator[Opened]:
    """With engines, prober and registry, which are closed at the end. `authority`: of the leader that it is for."""
    async with contextlib.AsyncExitStack() as closing:
        opening = open_engines(settings, name, clock, store, cipher)
        engine, fake, mesos = await closing.enter_async_context(opening)
        status_address = settings.gateway_settings().status_address
        network: Prober = NetworkProber(status_address, engine.network_namespace)
        if mesos is not None:
            network = BesideProber(mesos.probe, network)
        prober: Prober = CommandProber(engine.execute, network)
        if fake is not None:
            prober = FakeAgentsProber(fake.healthy, prober)
        closing.push_async_callback(prober.close)
        registries = await asyncio.to_thread(open_registries, settings, store, prober, clock, name)
        registry = registries.registry
        closing.push_async_callback(registry.close)
        if authority is not None:
            engine, registry = FencedEngine(engine, authority), FencedRegistry(registry, authority)
        controller = Controller(store, engine, prober, clock, registry, settings.admission_policy(), cipher)
        controller.operations.default_network = settings.default_network
        controller.key_sets.source = source = HttpKeySource(settings.key_set_networks)
        closing.push_async_callback(source.close)
        follow_dubbo(controller, name, settings.agent, authority)
        controller.launcher.registry_of = _registry_of(controller, settings)
        if mesos is not None:
            mesos.lacks_room = lambda: bool(controller.reconciler.refused)
        yield Opened(controller=controller, registry=registries.embedded, own_token=registries.own_token, mesos=mesos)


def _registry_of(controller: Controller, settings: PlatformSettings) -> Callable[[str], str]:
    """Where a task on an agent finds the registry. Only a controller that has started knows what agents say of it."""
    access = settings.registry_access()

    def found(agent: str) -> str:
        return access.of_agent(agent, controller.registrar.said_by(agent) if controller.registrar is not None else "")

    return found


async def open_gateway(settings: PlatformSettings, closing: contextlib.AsyncExitStack) -> Gateway | None:
    """None where there is nothing that requests could go to."""
    if not settings.serves:
        return None
    prefix = settings.gateway_settings()
    gateway = Gateway(process=NginxProcess(prefix), plane=NginxGateway(settings.gateway_name or settings.agent, prefix))
    closing.push_async_callback(gateway.plane.close)
    return gateway


async def check_nobody_leads(store: Store) -> None:
    """Raises Rejected where a controller of the store runs."""
    if await store.get(keys.LEADER) is not None:
        raise Rejected(
            "another controller of this store leads",
            todo="Run this where one of its controllers runs, or ask its API: POST /v1/down.",
        )


async def open_store(settings: PlatformSettings, closing: contextlib.AsyncExitStack) -> Store:
    await asyncio.to_thread(_make_data_folder, settings)
    store: Store
    if settings.store is None:
        store = await asyncio.to_thread(SQLiteStore, settings.store_file)
        closing.push_async_callback(store.close)
    else:
        # Also without the file: one controller at a time uses a folder.
        lock = await asyncio.to_thread(FileLock, settings.store_file)
        closing.callback(lock.release)
        store = cluster = open_etcd(settings.store, settings.etcd)
        closing.push_async_callback(store.close)
        await cluster.check_limits()
    await check_usable(store)
    return store


def _make_data_folder(settings: PlatformSettings) -> None:
    try:
        # Workers of nginx pass through; what is secret has its own rights.
        settings.data.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise Rejected(
            f"cannot make the data folder {settings.data}: {error.strerror}",
            todo="Run as root, or name another folder with --data.",
        ) from error


async def controller_id(store: Store, clock: SystemClock) -> str:
    """The id by which tasks know whose they are: made once for a store."""
    entry = await store.get(keys.CONTROLLER_ID)
    if entry is not None:
        return entry.value.decode()
    name = clock.unique()
    try:
        await store.write([Change(key=keys.CONTROLLER_ID, value=name.encode(), expected=ABSENT)])
    except LostUpdate:
        return await controller_id(store, clock)  # another controller began at this moment
    return name


def describe(error: BaseException) -> str:
    """The words for an error that ends the process: the first of a group is the cause, the rest follow from it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, ColdchainError) else f"{type(error).__name__}: {error}"
