"""Has tasks of other machines asked there, where a probe is to come from beside them."""

from collections.abc import Awaitable, Callable

from coldchain.model.health import Probe, ProbeResult
from coldchain.ports.prober import Prober


class BesideProber:
    """Implements `ports.prober.Prober`. `elsewhere` asks from the machine of the task; None for one that is on none of
    those, which `others` asks, as it does all that is asked over the network. It is closed with this."""

    def __init__(self, elsewhere: Callable[[Probe], Awaitable[ProbeResult | None]], others: Prober) -> None:
        self._elsewhere = elsewhere
        self._others = others

    async def probe(self, probe: Probe) -> ProbeResult:
        result = await self._elsewhere(probe) if probe.beside else None
        return result if result is not None else await self._others.probe(probe)

    async def close(self) -> None:
        await self._others.close()
