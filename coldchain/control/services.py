"""services: follows in the registry the services that others run, and keeps on record what it says of them."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import structlog

from coldchain.control.belief import Believer
from coldchain.control.state import State
from coldchain.decisions.registration import Belief
from coldchain.documents.keys import Record
from coldchain.model.errors import ColdchainError
from coldchain.model.registration import ExternalService, ServiceEndpoint
from coldchain.model.version import AppRecord, Version
from coldchain.ports.clock import Clock
from coldchain.ports.registry import Registry

RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class ServiceWatcher:
    """One question that waits for each app without instances of its own. While the registry does not answer the last
    answer stays, also over a restart: endpoints go only because the registry says so, and while that may be for its own
    loss they stay for a while."""

    def __init__(self, registry: Registry, state: State, clock: Clock) -> None:
        self._registry = registry
        self._state = state
        self._clock = clock
        self._following: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self._wake = asyncio.Event()

    def start(self) -> None:
        """Follow the records from now on."""
        self._state.on_commit(self._committed)
        self._wake.set()

    def _committed(self, pairs: Sequence[tuple[Record | None, Record | None]]) -> None:
        if any(isinstance(one, AppRecord | Version) for pair in pairs for one in pair):
            self._wake.set()

    async def run(self) -> None:
        """For ever."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                wanted = {app.id: app.service for app in self._state.wanted_apps() if app.external and app.service}
                self._follow(wanted)
                try:
                    await self._forget(wanted)
                except ColdchainError as error:
                    log.warning("what is left of a service is taken away later", error=str(error))
                    await self._clock.sleep(RETRY_SECONDS)
                    self._wake.set()
        finally:
            self._follow({})

    def _follow(self, wanted: dict[str, str]) -> None:
        for app_id, (service, task) in list(self._following.items()):
            if wanted.get(app_id) != service:
                task.cancel()
                del self._following[app_id]
        for app_id, service in wanted.items():
            if app_id not in self._following:
                self._following[app_id] = service, asyncio.create_task(self._watch(app_id, service))

    async def _forget(self, wanted: dict[str, str]) -> None:
        async with self._state.lock:
            await self._state.fresh()
            gone = [one for app_id, one in self._state.externals.items() if wanted.get(app_id) != one.service]
            await self._state.commit(remove=gone)

    async def _watch(self, app_id: str, service: str) -> None:
        def trouble(words: str) -> None:
            log.warning("the registry does not say who serves", service=service, error=words)

        record = self._state.externals.get(app_id)
        known = record.endpoints if record is not None and record.service == service else ()

        async def keep(belief: Belief) -> None:
            await self._keep(app_id, service, belief.endpoints)

        believer = Believer(service, self._clock, keep, known)
        while True:
            try:
                async with aclosing(self._registry.watch(service, trouble)) as watched, asyncio.TaskGroup() as group:
                    async for sighting in watched:
                        await believer.take(sighting, group)
            except* ColdchainError as errors:
                log.warning("not written, the registry will be asked again", service=service, error=str(errors))
            await self._clock.sleep(RETRY_SECONDS)

    async def _keep(self, app_id: str, service: str, found: Sequence[ServiceEndpoint]) -> None:
        async with self._state.lock:
            await self._state.fresh()
            record = self._state.apps.get(app_id)
            if record is not None:
                kept = ExternalService(app_id=app_id, target=record.target, service=service, endpoints=tuple(found))
                await self._state.commit([kept])
