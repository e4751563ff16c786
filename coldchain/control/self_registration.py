"""self_registration: follows the registrations of apps that register themselves, and marks those that leave."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing

import msgspec
import structlog

from coldchain.control.belief import Believer
from coldchain.control.reconciler import Reconciler
from coldchain.control.registry import CALL_SECONDS, Registrar
from coldchain.control.state import State
from coldchain.decisions import instance as lives
from coldchain.decisions import self_registration as decide
from coldchain.decisions.health import Verdict
from coldchain.decisions.registration import DRAINING, Belief
from coldchain.decisions.rotation import LEAVING
from coldchain.documents.keys import Record
from coldchain.model.app import App
from coldchain.model.errors import ColdchainError, Rejected, Unavailable
from coldchain.model.instance import Instance
from coldchain.model.registration import ServiceEndpoint
from coldchain.model.version import AppRecord, Version
from coldchain.ports.clock import Clock
from coldchain.ports.engine import Engine
from coldchain.ports.registry import Registry

RETRY_SECONDS = 1.0
LISTEN_SECONDS, LISTEN_SECONDS_MAX = 2.0, 32.0
"""Between two looks at what an instance says that has not registered itself."""
BEGINNING_BYTES = 64 * 1024
"""So much of it is looked at."""

log = structlog.get_logger(__name__)


class SelfRegistrations:
    """One question that waits for each service in which apps register themselves. Nothing of the answers is stored:
    until the first one after a start, who has passed before is held for well. While the registry is silent its last
    answer stays. `lapsed_since`: who went bad by his registration, and when, in epoch seconds."""

    def __init__(
        self,
        registry: Registry,
        engine: Engine,
        state: State,
        clock: Clock,
        changed: Callable[[Collection[str]], None],
    ) -> None:
        self._registry = registry
        self._engine = engine
        self._state = state
        self._clock = clock
        self._changed = changed
        self._following: dict[str, asyncio.Task[None]] = {}
        self._found: dict[str, Belief] = {}
        self._matches: dict[str, dict[str, ServiceEndpoint]] = {}
        self._done: set[str] = set()
        self._wake = asyncio.Event()
        self._unheard = asyncio.Event()
        self.trouble = ""
        self.lapsed_since: dict[str, float] = {}

    def attach(self, reconciler: Reconciler, registrar: Registrar) -> None:
        """Have its say in the reconciler's decisions from now on, beside the registrar."""
        reconciler.unregistered = lambda one: registrar.waits_for(one) or self.waits_for(one)
        reconciler.heard = self.heard
        reconciler.lapsed_since = self.lapsed_since
        self._state.on_commit(self._committed)
        self._wake.set()

    def heard(self, instance: Instance, verdict: Verdict) -> Verdict:
        """What the checks say of an instance, and its registration with them."""
        app = self._state.app_of(instance)
        if not decide.by_itself(instance, app) or instance.phase in LEAVING:
            return verdict
        return decide.heard(instance, verdict, _service(app), self._matches.get(_service(app)))

    def owners(self, service: str) -> dict[str, Instance]:
        """The instances whose registrations are known, by the ids of these."""
        matches, instances = self._matches.get(service, {}), self._state.instances
        return {one.id: instances[name] for name, one in matches.items() if name in instances}

    def waits_for(self, instance: Instance) -> str:
        """What a leaving instance's mark waits for, in words; empty when it has it. What the registry does not let us
        mark marks itself, before it ends."""
        app = self._state.app_of(instance)
        if not decide.by_itself(instance, app) or instance.phase not in LEAVING:
            return ""
        service = _service(app)
        if service not in self._matches:
            return f"the registry has not said who is in service {service}" + (f": {self.trouble}" * bool(self.trouble))
        waiting = set(decide.unmarked([instance], self._matches[service])) - self._done
        return f"its mark is not in the registry yet: {self.trouble}".removesuffix(": ") if waiting else ""

    def _committed(self, pairs: Sequence[tuple[Record | None, Record | None]]) -> None:
        for before, after in pairs:
            if isinstance(before, Instance) and isinstance(after, Instance) and lives.moved(before, after):
                for matches in self._matches.values():
                    matches.pop(after.id, None)  # who is registered where it was may be somebody else
        if any(self._concerns(one) for pair in pairs for one in pair):
            self._wake.set()

    def _concerns(self, record: Record | None) -> bool:
        if isinstance(record, Version):
            return record.app.registers_itself
        return isinstance(record, AppRecord | Instance) and self._has_some(record.app_id)

    def _has_some(self, app_id: str) -> bool:
        """Whether any version of the app registers itself: an old one may still serve."""
        return any(one.app.registers_itself for one in self._state.versions.get(app_id, {}).values())

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep())
            group.create_task(self._listen())

    async def _keep(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._follow()
                self._match()
                try:
                    await self._mark()
                    self.trouble = ""
                except ColdchainError as error:
                    log.warning("the registry takes no mark of what leaves", error=str(error))
                    self.trouble = str(error)
                    await self._clock.sleep(RETRY_SECONDS)
                    self._wake.set()
        finally:
            for task in self._following.values():
                task.cancel()

    def _instances(self) -> dict[str, list[tuple[Instance, App]]]:
        """The live instances of apps that register themselves, by service."""
        found: dict[str, list[tuple[Instance, App]]] = {}
        for app in self._state.wanted_apps():
            if app.registers_itself:
                found.setdefault(_service(app), [])
        for app_id, instances in self._state.instances_of.items():
            for one in instances.values() if self._has_some(app_id) else ():
                app = self._state.app_of(one)
                if one.live and decide.by_itself(one, app):
                    found.setdefault(_service(app), []).append((one, app))
        return found

    def _follow(self) -> None:
        wanted = self._instances()
        for service in sorted(self._following.keys() - wanted.keys()):
            self._following.pop(service).cancel()
            self._found.pop(service, None)
            self._matches.pop(service, None)
        for service in sorted(wanted.keys() - self._following.keys()):
            self._following[service] = asyncio.create_task(self._watch(service))

    async def _watch(self, service: str) -> None:
        def trouble(words: str) -> None:
            if words != self.trouble:
                log.warning("the registry does not say who serves", service=service, error=words)
            self.trouble = words

        async def keep(belief: Belief) -> None:
            self._found[service] = belief
            # A registry that lost the mark has it in service again by its next heartbeat: it is marked anew.
            self._done -= {one.id for one in belief.listed if one.status != "maintenance"}
            self._wake.set()

        believer = Believer(service, self._clock, keep)
        while True:
            async with aclosing(self._registry.watch(service, trouble)) as watched, asyncio.TaskGroup() as group:
                async for sighting in watched:
                    self.trouble = ""
                    await believer.take(sighting, group)
            await self._clock.sleep(RETRY_SECONDS)

    def _match(self) -> None:
        """Whose registration is which, by what is known now; the apps of which that changes are looked at."""
        changed: set[str] = set()
        lapsed: set[str] = set()
        for service, listed in self._instances().items():
            if service not in self._found:
                continue
            before = self._matches.get(service)
            believed = self._found[service]
            after = decide.matched(service, listed, believed.endpoints, {one.id for one in believed.doubted})
            self._matches[service] = after
            for one, _ in listed:
                if before is None or before.get(one.id) != after.get(one.id):
                    changed.add(one.app_id)
                verdict = decide.heard(one, Verdict(standing="healthy"), service, after)
                if verdict.standing == "unhealthy" and not verdict.marked and one.phase not in LEAVING:
                    lapsed.add(one.id)
        for name in sorted(self.lapsed_since.keys() - lapsed):
            del self.lapsed_since[name]
        for name in sorted(lapsed):
            self.lapsed_since.setdefault(name, self._clock.now())
        if changed:
            self._changed(changed)
        if self._silent():
            self._unheard.set()

    def _silent(self) -> dict[str, Instance]:
        """Who runs and has not registered himself, by his id."""
        listed = self._instances().items()
        return {
            one.id: one
            for service, pairs in listed
            if service in self._matches
            for one in decide.unheard(pairs, self._matches[service])
        }

    async def _listen(self) -> None:
        """For ever: who has not registered himself may say that he cannot."""
        looks: dict[str, tuple[float, float]] = {}
        while True:
            await self._unheard.wait()
            await self._clock.sleep(LISTEN_SECONDS)
            silent = self._silent()
            if not silent:
                self._unheard.clear()
            looks = {name: looks.get(name, (0.0, LISTEN_SECONDS)) for name in silent}
            for name, (due, delay) in list(looks.items()):
                if self._clock.monotonic() >= due:
                    await self._hear_out(silent[name])
                    looks[name] = self._clock.monotonic() + delay, min(2 * delay, LISTEN_SECONDS_MAX)

    async def _hear_out(self, one: Instance) -> None:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                said = await self._beginning(one.task_id)
            if not decide.cannot_register(said):
                return
            async with self._state.lock:
                await self._state.fresh()
                record = self._state.instances.get(one.id)
                if record is not None and record.phase == "starting":
                    await self._state.commit([msgspec.structs.replace(record, cannot_register=True)])
                    log.warning("an instance cannot register itself: the platform does it", instance=one.id)
        except (ColdchainError, TimeoutError) as error:
            log.info("what an instance says that has not registered itself is not known", error=str(error))

    async def _beginning(self, task_id: str) -> bytes:
        said = b""
        output = self._engine.logs(task_id, follow=False, tail=None)
        try:
            async for piece in output:
                said += piece
                if len(said) >= BEGINNING_BYTES:
                    break
        finally:
            if isinstance(output, AsyncGenerator):
                await output.aclose()
        return said[:BEGINNING_BYTES]

    async def _mark(self) -> None:
        known = {one.id for found in self._found.values() for one in found.endpoints}
        self._done &= known
        for service, listed in self._instances().items():
            apps = {one.app_id for one, _ in listed}
            for name in decide.unmarked((one for one, _ in listed), self._matches.get(service, {})):
                if name not in self._done:
                    await self._mark_one(name)
                    self._done.add(name)
                    self._changed(apps)

    async def _mark_one(self, name: str) -> None:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._registry.maintain(name, DRAINING)
        except TimeoutError as error:
            raise Unavailable(f"the registry gave no answer in {CALL_SECONDS:g} s") from error
        except Rejected as error:
            # Such as of another machine's agent: then the app marks itself when it is told to end, and waits.
            log.info("left to the app to mark", registration=name, error=str(error))


def _service(app: App) -> str:
    assert app.service_name is not None, "admitted without a service"
    return app.service_name
