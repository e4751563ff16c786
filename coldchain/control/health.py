"""health: one loop per check of each running instance asks, and keeps what the answers mean."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

import structlog

from coldchain.control.state import State
from coldchain.decisions import health as decide
from coldchain.decisions import instance as lives
from coldchain.decisions.health import Verdict
from coldchain.documents.keys import Record
from coldchain.model.app import App, HealthCheck
from coldchain.model.health import CheckHealth, Health, Probe, ProbeResult
from coldchain.model.instance import Instance
from coldchain.ports.clock import Clock
from coldchain.ports.prober import Prober

log = structlog.get_logger(__name__)


class HealthWatcher:
    """`changed(app ids)` is called when a verdict changes. After a start nothing is known, which is not unhealthy.

    `bad_since`: the instances whose checks fail, with the epoch seconds when that began.
    """

    def __init__(self, state: State, prober: Prober, clock: Clock, changed: Callable[[Collection[str]], None]) -> None:
        self._state = state
        self._prober = prober
        self._clock = clock
        self._changed = changed
        self._loops: dict[str, list[asyncio.Task[None]]] = {}
        self.on_standing: Callable[[Instance, Verdict], None] = lambda instance, verdict: None
        self.on_failed: Callable[[Instance, HealthCheck, str], None] = lambda instance, check, detail: None
        self.health: dict[str, Health] = {}
        self._verdicts: dict[str, Verdict] = {}
        self.bad_since: dict[str, float] = {}
        self._broken = ""

    def start(self) -> None:
        """Begin with the records as they were read, and follow them from now on."""
        now = self._clock.now()
        for instance in self._state.instances.values():
            self._follow(instance, now)
        self._state.on_commit(self._committed)

    async def stop(self) -> None:
        """End all loops."""
        loops = [loop for loops in self._loops.values() for loop in loops]
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        self._loops.clear()

    def verdict(self, instance: Instance) -> Verdict:
        """What the checks say of an instance."""
        return self._verdicts.get(instance.id) or decide.verdict(self._state.app_of(instance), None)

    def condemned(self, instance: Instance) -> str:
        """Why it should be replaced, in words; empty where it should not."""
        verdict = self._verdicts.get(instance.id)
        return verdict.detail if verdict is not None and verdict.condemned else ""

    def _committed(self, pairs: Sequence[tuple[Record | None, Record | None]]) -> None:
        for before, after in pairs:
            if isinstance(after, Instance):
                moved = isinstance(before, Instance) and lives.moved(before, after)
                if moved:
                    self._leave(after.id)  # what was answered where it is not says nothing of it
                self._follow(after, self._clock.now() if moved else after.since)
            elif isinstance(before, Instance) and after is None:
                self._leave(before.id)

    def _follow(self, instance: Instance, since: float) -> None:
        if instance.phase not in decide.PROBED:
            self._leave(instance.id)
            return
        if instance.id in self._loops:
            return
        app = self._state.app_of(instance)
        probes = decide.questions(app, instance)
        if not probes:
            return  # its verdict follows from the definition alone
        passed = decide.passed_before(instance)
        known = (CheckHealth(check=probe.check, ever_passed=passed) for probe in probes)
        health = Health(instance_id=instance.id, since=since, checks=tuple(known))
        self._keep(health, decide.verdict(app, health))
        self._loops[instance.id] = [asyncio.create_task(self._ask(app, instance, probe)) for probe in probes]

    def _keep(self, health: Health, verdict: Verdict) -> None:
        self.health[health.instance_id] = health
        self._verdicts[health.instance_id] = verdict

    def _leave(self, instance_id: str) -> None:
        for loop in self._loops.pop(instance_id, ()):
            loop.cancel()
        self.health.pop(instance_id, None)
        self._verdicts.pop(instance_id, None)
        self.bad_since.pop(instance_id, None)

    async def _ask(self, app: App, instance: Instance, probe: Probe) -> None:
        delay: float | None = getattr(decide.definition(app, probe.check), "delay_seconds", 0.0)
        while delay is not None:
            await self._clock.sleep(delay)
            result = await self._answer(probe)
            after = decide.observe(app, self.health[instance.id], probe.check, result, self._clock.now())
            counted = _failures(after, probe.check) - _failures(self.health[instance.id], probe.check)
            was, now = self._verdicts[instance.id], decide.verdict(app, after)
            self._keep(after, now)
            asked = decide.definition(app, probe.check)
            if counted > 0 and isinstance(asked, HealthCheck):
                self.on_failed(instance, asked, result.detail)
            if was.standing != now.standing:
                if now.standing == "unhealthy":
                    self.bad_since[instance.id] = self._clock.now()
                else:
                    self.bad_since.pop(instance.id, None)
                self.on_standing(instance, now)
            if (was.standing, was.ready, was.condemned) != (now.standing, now.ready, now.condemned):
                self._changed({instance.app_id})
            check = _find(after.checks, probe.check)
            delay = decide.next_probe_seconds(app, check, self._clock.random())

    async def _answer(self, probe: Probe) -> ProbeResult:
        """A bug of the prober's must not end the questions: it says nothing of the instance."""
        try:
            return await self._prober.probe(probe)
        except Exception as error:
            detail = f"the probe broke: {error!r}"
            if detail != self._broken:
                self._broken = detail
                log.exception(detail, instance=probe.instance_id, check=probe.check)
            return ProbeResult(outcome="unknown", detail=detail)


def _failures(health: Health, check: str) -> int:
    return next((one.failed_in_a_row for one in health.checks if one.check == check), 0)


def _find(checks: Iterable[CheckHealth], name: str) -> CheckHealth:
    return next(one for one in checks if one.check == name)
