"""Answers for tasks on fake agents, which nobody else could: nothing is sent to their made-up addresses."""

from collections.abc import Callable

from coldchain.model.health import Probe, ProbeResult
from coldchain.ports.prober import Prober


class FakeAgentsProber:
    """Implements `ports.prober.Prober`. `healthy`: whether the task of this instance is; None for one that is on no
    fake agent, which `others` asks, as it does all that is asked by a command. It is closed with this."""

    def __init__(self, healthy: Callable[[str], bool | None], others: Prober) -> None:
        self._healthy = healthy
        self._others = others

    async def probe(self, probe: Probe) -> ProbeResult:
        healthy = self._healthy(probe.instance_id)
        if healthy is None or probe.protocol == "COMMAND":
            return await self._others.probe(probe)
        words = "its agent is a fake, and answers for it"
        return ProbeResult(outcome="passed" if healthy else "failed", detail=words)

    async def close(self) -> None:
        await self._others.close()
