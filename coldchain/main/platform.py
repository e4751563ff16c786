"""platform: the parts of a platform on one machine, made and handed to each other. `up` and `down` run it."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from coldchain.clients.consul import ConsulClient
from coldchain.clients.docker import DockerClient
from coldchain.control.clock import SystemClock
from coldchain.control.controller import Controller
from coldchain.control.gateway import feed_gateway
from coldchain.documents import keys
from coldchain.engines.local import LocalEngine
from coldchain.gateway.process import NginxProcess
from coldchain.gateway.push import NginxGateway
from coldchain.main.listeners import Known
from coldchain.main.settings import PlatformSettings
from coldchain.model.errors import ColdchainError, Rejected, Unavailable
from coldchain.ports.store import ABSENT, Change, Store
from coldchain.probes.command import CommandProber
from coldchain.probes.prober import NetworkProber
from coldchain.registry.consul import ConsulRegistry
from coldchain.registry.server.embedded import EmbeddedRegistry, local_node
from coldchain.runners.docker.runner import DockerRunner
from coldchain.runners.process import ProcessRunner
from coldchain.store.cipher import KeyFileCipher
from coldchain.store.sqlite import SQLiteStore

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What `up` and `down` run. The gateway's nginx outlives it."""

    controller: Controller
    nginx: NginxProcess
    gateway: NginxGateway
    clock: SystemClock
    registry: EmbeddedRegistry | None
    """None where a Consul is used."""

    async def serve(self, *, keep_gateway: bool = True) -> None:
        """All loops, until cancelled. Apps and nginx go on afterwards. `keep_gateway`: start nginx when it is gone."""
        revive = self._revive if keep_gateway else None
        async with asyncio.TaskGroup() as group:
            if self.registry is not None:
                group.create_task(self.registry.run())
            group.create_task(self.controller.run())
            group.create_task(feed_gateway(self.gateway, self.controller.publisher, self.clock, revive))

    async def _revive(self) -> None:
        outcome = await self.nginx.start_or_adopt()
        log.warning("gateway did not answer", nginx=outcome)


@contextlib.asynccontextmanager
async def open_platform(settings: PlatformSettings) -> AsyncIterator[Platform]:
    """Open the store and read it; only the registry listens yet, and an error leaves nothing behind."""
    gateway_settings, docker = settings.gateway_settings(), settings.docker_settings()
    offered = settings.engine_settings()
    store = await asyncio.to_thread(_open_store, settings)
    async with contextlib.AsyncExitStack() as closing:
        closing.push_async_callback(store.close)
        clock = SystemClock()
        cipher = await asyncio.to_thread(KeyFileCipher, settings.secret_keys_file)
        client = DockerClient(settings.docker_socket)
        controller_id = await _controller_id(store, clock)
        runner = DockerRunner(client, controller_id, settings.agent, docker)
        closing.push_async_callback(runner.close)
        process = ProcessRunner(settings.data / "tasks" / controller_id, settings.process_settings())
        closing.push_async_callback(process.close)
        engine = LocalEngine(settings.agent, {"docker": runner, "process": process}, offered, subnet=runner.subnet)
        await _check_docker(engine, settings)
        network = NetworkProber(gateway_settings.status_address, engine.network_namespace)
        prober = CommandProber(engine.execute, network)
        closing.push_async_callback(prober.close)
        gateway = NginxGateway(settings.agent, gateway_settings)
        closing.push_async_callback(gateway.close)
        embedded = None
        if settings.consul is None:
            node = local_node(settings.agent, controller_id, settings.registry_addresses()[0][0])
            embedded = EmbeddedRegistry(store, prober, clock, node, *settings.registry_addresses())
        own_token = secrets.token_urlsafe(32) if embedded is not None and embedded.server.exposed else ""
        consul = ConsulClient(settings.consul or (embedded.server.reached_at if embedded else ""), token=own_token)
        registry = ConsulRegistry(consul, controller_id)
        closing.push_async_callback(registry.close)
        controller = Controller(store, engine, prober, clock, registry, settings.admission_policy(), cipher)
        await controller.start()
        if embedded is not None:
            embedded.server.known = Known(own_token, controller.callers).caller
            await embedded.start()
            closing.push_async_callback(embedded.stop)
        nginx = NginxProcess(gateway_settings)
        yield Platform(controller=controller, nginx=nginx, gateway=gateway, clock=clock, registry=embedded)


def _open_store(settings: PlatformSettings) -> SQLiteStore:
    try:
        # Workers of nginx pass through; what is secret has its own rights.
        settings.data.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise Rejected(
            f"cannot make the data folder {settings.data}: {error.strerror}",
            todo="Run as root, or name another folder with --data.",
        ) from error
    return SQLiteStore(settings.store_file)


async def _controller_id(store: Store, clock: SystemClock) -> str:
    """The id by which tasks know whose they are: made once for a store."""
    entry = await store.get(keys.CONTROLLER_ID)
    if entry is not None:
        return entry.value.decode()
    name = clock.unique()
    await store.write([Change(key=keys.CONTROLLER_ID, value=name.encode(), expected=ABSENT)])
    return name


async def _check_docker(engine: LocalEngine, settings: PlatformSettings) -> None:
    try:
        await engine.tasks()
    except Unavailable as error:
        raise Rejected(
            f"no Docker Engine answers on {settings.docker_socket}: {error.message}",
            todo="Install docker.io and start it (`systemctl start docker`), or name its socket with --docker-socket.",
        ) from error


def describe(error: BaseException) -> str:
    """The words for an error that ends the process: the first of a group is the cause, the rest follow from it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, ColdchainError) else f"{type(error).__name__}: {error}"
