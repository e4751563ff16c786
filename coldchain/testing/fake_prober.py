"""A prober without a network: scripted instances, on the clock it is given."""

from collections.abc import Callable

from coldchain.model.base import Noun
from coldchain.model.health import Probe, ProbeResult, Response
from coldchain.ports.clock import Clock
from coldchain.testing.fake_engine import FakeEngine

ANSWER_SECONDS = 0.001


class ProbeAnswer(Noun, frozen=True, kw_only=True):
    """How an instance answers: refusing connections, or with a status after a delay (beyond the time-out: never)."""

    status: int = 200
    delay_seconds: float = 0.0
    refuses: bool = False


class FakeProber:
    """Implements `ports.prober.Prober`.

    `answer` says how an instance answers a probe, `failing` which probes get the status 503 all the same (over
    HTTP; whoever accepts connections does so). `passed`: the
    instances that ever passed. `cut_off` True: the prober's own side fails, every answer is unknown.
    """

    def __init__(self, clock: Clock, answer: Callable[[Probe], ProbeAnswer] = lambda probe: ProbeAnswer()) -> None:
        self._clock = clock
        self.answer = answer
        self.failing: Callable[[Probe], bool] = lambda probe: False
        self.passed: set[str] = set()
        self.cut_off = False

    async def probe(self, probe: Probe) -> ProbeResult:
        result = await self._ask(probe)
        if result.outcome == "passed":
            self.passed.add(probe.instance_id)
        return result

    async def _ask(self, probe: Probe) -> ProbeResult:
        if self.cut_off:
            return ProbeResult(outcome="unknown", detail="the prober cannot ask: cut off")
        answer = self.answer(probe)
        waited = min(answer.delay_seconds, probe.timeout_seconds)
        if waited and (probe.protocol != "TCP" or answer.refuses):
            await self._clock.sleep(waited)
        if answer.refuses:
            return ProbeResult(outcome="failed", detail="connection refused", seconds=waited)
        if probe.protocol == "TCP":
            return ProbeResult(outcome="passed", detail="connected")
        if answer.delay_seconds >= probe.timeout_seconds:
            return ProbeResult(outcome="failed", detail=f"no answer in {probe.timeout_seconds:g} s", seconds=waited)
        status = 503 if self.failing(probe) else answer.status
        passed = status in (probe.statuses if probe.statuses is not None else range(200, 400))
        return ProbeResult(
            outcome="passed" if passed else "failed",
            detail=f"status {status}",
            seconds=waited,
            response=Response(status=status, content_type="", body=""),
        )

    async def close(self) -> None:
        return None


def answers_of(engine: FakeEngine) -> Callable[[Probe], ProbeAnswer]:
    """What the engine's tasks answer."""

    def answer(probe: Probe) -> ProbeAnswer:
        task = engine.task_at(probe.address, probe.port)
        if task is None:
            return ProbeAnswer(refuses=True, delay_seconds=ANSWER_SECONDS)
        return ProbeAnswer(status=200 if task.healthy else 503, delay_seconds=ANSWER_SECONDS)

    return answer
