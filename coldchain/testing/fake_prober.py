"""A prober without a network: scripted instances, on the clock it is given."""

from coldchain.model.base import Noun
from coldchain.model.health import Probe, ProbeResult
from coldchain.ports.clock import Clock


class ProbeAnswer(Noun, frozen=True, kw_only=True):
    """How an instance answers: refusing connections, or with a status after a delay (beyond the time-out: never)."""

    status: int = 200
    delay_seconds: float = 0.0
    refuses: bool = False


class FakeProber:
    """Implements `ports.prober.Prober`.

    Answers are looked up by instance id, then by (address, port), else it is `default`. Every probe is kept in `asked`.
    `cut_off` True: the prober's own side fails, every answer is unknown.
    """

    def __init__(self, clock: Clock, default: ProbeAnswer = ProbeAnswer()) -> None:  # noqa: B008 -- frozen
        self._clock = clock
        self.default = default
        self.answers: dict[str | tuple[str, int], ProbeAnswer] = {}
        self.asked: list[Probe] = []
        self.cut_off = False

    async def probe(self, probe: Probe) -> ProbeResult:
        self.asked.append(probe)
        if self.cut_off:
            return ProbeResult(outcome="unknown", detail="the prober cannot ask: cut off")
        place = (probe.address, probe.port)
        answer = self.answers.get(probe.instance_id, self.answers.get(place, self.default))
        if answer.refuses:
            return ProbeResult(outcome="failed", detail="connection refused")
        if probe.protocol == "TCP":
            return ProbeResult(outcome="passed", detail="connected")
        waited = min(answer.delay_seconds, probe.timeout_seconds)
        if waited:
            await self._clock.sleep(waited)
        if answer.delay_seconds >= probe.timeout_seconds:
            return ProbeResult(outcome="failed", detail=f"no answer in {probe.timeout_seconds:g} s", seconds=waited)
        wanted = probe.statuses if probe.statuses is not None else range(200, 400)
        passed = answer.status in wanted
        return ProbeResult(outcome="passed" if passed else "failed", detail=f"status {answer.status}", seconds=waited)

    async def close(self) -> None:
        return None
