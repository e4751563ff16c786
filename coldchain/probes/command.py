"""Asks by a command beside the task; whatever is asked over the network goes to the prober for that."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from coldchain.model.errors import ColdchainError, NotFound, Rejected
from coldchain.model.health import Outcome, Probe, ProbeResult
from coldchain.model.task import Execution
from coldchain.ports.prober import Prober

DETAIL_CHARACTERS_MAX = 200
COMMANDS_AT_ONCE = 8
"""Each is a process or two; more of them at once would only make each other late."""

Execute = Callable[[str, str, float], Awaitable[Execution]]
"""`ports.engine.Engine.execute`."""


class CommandProber:
    """Implements `ports.prober.Prober`: exit status 0 passes. `network` answers all other probes, and is closed with
    it."""

    def __init__(self, execute: Execute, network: Prober) -> None:
        self._execute = execute
        self._network = network
        self._slots = asyncio.Semaphore(COMMANDS_AT_ONCE)

    async def probe(self, probe: Probe) -> ProbeResult:
        if probe.protocol != "COMMAND":
            return await self._network.probe(probe)
        async with self._slots:
            began = monotonic()
            outcome, detail = await self._run(probe)
        return ProbeResult(outcome=outcome, detail=detail, seconds=monotonic() - began)

    async def _run(self, probe: Probe) -> tuple[Outcome, str]:
        try:
            ended = await self._execute(probe.task_id, probe.command, probe.timeout_seconds)
        except (NotFound, Rejected) as error:
            return "failed", _last_line(str(error))
        except ColdchainError as error:
            return "unknown", _last_line(f"the prober cannot ask: {error}")
        if ended.exit_status is None:
            return "failed", f"no end in {probe.timeout_seconds:g} s"
        said = _last_line(ended.output)
        words = f"exit status {ended.exit_status}"
        return ("passed" if ended.exit_status == 0 else "failed"), f"{words}: {said}" if said else words

    async def close(self) -> None:
        await self._network.close()


def _last_line(text: str) -> str:
    """The last line that says something, fit for a log."""
    line = next((line for line in reversed(text.splitlines()) if line.strip()), "")
    plain = "".join(character for character in line.strip() if character.isprintable())
    return plain[:DETAIL_CHARACTERS_MAX]
