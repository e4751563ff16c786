"""Prober: asks an instance one question."""

from typing import Protocol

from coldchain.model.health import Probe, ProbeResult


class Prober(Protocol):
    async def probe(self, probe: Probe) -> ProbeResult:
        """Never raises for what the instance does; `unknown` when it could not ask at all."""
        ...

    async def close(self) -> None: ...
