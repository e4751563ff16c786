"""composition: one copy of the composition layer: a file, the callers of services, and the server.

SIGHUP reads the file again; one that is wrong is told and changes nothing. SIGTERM and SIGINT end it gracefully.
"""

import asyncio
import contextlib
import signal
from functools import partial
from pathlib import Path

import structlog

from coldchain.clients.zookeeper_address import ZooKeeperAddress
from coldchain.composition.prepared import Callers, Loaded
from coldchain.composition.server import CompositionServer, CompositionService
from coldchain.control.clock import SystemClock
from coldchain.documents.composition import decode_yaml
from coldchain.http.caller import AiohttpCaller
from coldchain.main.composition_settings import CompositionSettings
from coldchain.model.composition import Compositions, Dubbo
from coldchain.model.dubbo import Consumer
from coldchain.model.errors import ColdchainError, MalformedDocument
from coldchain.ports.service_caller import ServiceCaller

log = structlog.get_logger(__name__)


async def composition(settings: CompositionSettings) -> int:
    """Run until SIGTERM or SIGINT. Raises ColdchainError when it cannot start."""
    ended, again = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, again.set)
    async with contextlib.AsyncExitStack() as closing:
        http = await closing.enter_async_context(AiohttpCaller())
        registries = Registries(settings.address)
        closing.push_async_callback(registries.close)
        file = await asyncio.to_thread(read_file, settings.file)
        service = CompositionService(Loaded(file, Callers(http, registries.caller(file.dubbo))), SystemClock())
        server = CompositionServer(service, settings.listen, settings.status)
        await server.start()
        log.info("composition layer serves", port=server.port, compositions=len(file.compositions))
        reloading = asyncio.create_task(_reload(settings.file, service, registries, again))
        closing.callback(reloading.cancel)
        await ended.wait()
        log.info("composition layer leaves", requests=service.requests_open)
        await server.stop(settings.settle_seconds, settings.drain_seconds)
    log.info("composition layer has ended")
    return 0


def read_file(path: Path) -> Compositions:
    """Raises ColdchainError. Blocking."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ColdchainError(f"{path} cannot be read: {error.strerror}", todo="Name a file of compositions.") from error
    try:
        return decode_yaml(text)
    except MalformedDocument as error:
        raise MalformedDocument(f"{path}: {error.message}", todo=error.todo) from error


class Registries:
    """A caller for each registry of Dubbo that a file has named; they are kept to the end, since requests that began by
    an earlier file go on by it."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._callers: dict[Dubbo, ServiceCaller] = {}
        self._closing = contextlib.AsyncExitStack()

    def caller(self, dubbo: Dubbo | None) -> ServiceCaller | None:
        if dubbo is None:
            return None
        if dubbo not in self._callers:
            # Who names no service of Dubbo does not pay for its modules.
            from coldchain.clients.zookeeper import ZooKeeper
            from coldchain.dubbo.caller import DubboCaller
            from coldchain.dubbo.discovery import Directory

            named = ZooKeeperAddress.parse(dubbo.registry)
            zookeeper = ZooKeeper(named.hosts)
            consumer = Consumer(host=self._address, application=dubbo.application)
            directory = Directory(zookeeper, consumer, root=named.path)
            caller = DubboCaller(directory, SystemClock())
            for close in (zookeeper.close, directory.close, caller.close):
                self._closing.push_async_callback(close)
            self._callers[dubbo] = caller
        return self._callers[dubbo]

    async def close(self) -> None:
        await self._closing.aclose()


async def _reload(path: Path, service: CompositionService, registries: Registries, again: asyncio.Event) -> None:
    while True:
        await again.wait()
        again.clear()
        try:
            file = await asyncio.to_thread(partial(read_file, path))
        except ColdchainError as error:
            service.meter.reloads["refused"] += 1
            problems = [str(one) for one in getattr(error, "problems", ())] or [str(error)]
            log.error("the file is wrong; what was read before is served on", file=str(path), problems=problems)
            continue
        callers = Callers(service.loaded.callers.http, registries.caller(file.dubbo))
        service.loaded = Loaded(file, callers)
        service.meter.reloads["taken"] += 1
        log.info("the file was read anew", file=str(path), compositions=len(file.compositions))
