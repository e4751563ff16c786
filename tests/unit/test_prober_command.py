"""Checks by command: what each end of it means for an instance."""

import pytest

from coldchain.model.errors import ColdchainError, NotFound, Rejected, Unavailable
from coldchain.model.health import Probe, ProbeResult
from coldchain.model.task import Execution
from coldchain.probes.command import CommandProber


class Network:
    closed = False

    async def probe(self, probe: Probe) -> ProbeResult:
        return ProbeResult(outcome="passed", detail="over the network")

    async def close(self) -> None:
        self.closed = True


def probe(protocol: str = "COMMAND") -> Probe:
    fields = {"task_id": "t", "command": "test -e up", "timeout_seconds": 2.0}
    return Probe(instance_id="i", check="health/0", protocol=protocol, address="192.0.2.1", port=0, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("end", "outcome", "detail"),
    [
        (Execution(exit_status=0), "passed", "exit status 0"),
        (Execution(exit_status=0, output="fine\n"), "passed", "exit status 0: fine"),
        (Execution(exit_status=3, output="a\nb\x1b\n\n"), "failed", "exit status 3: b"),
        (Execution(exit_status=None, output="slow"), "failed", "no end in 2 s"),
        (NotFound("task t does not run"), "failed", "task t does not run"),
        (Rejected("no shell"), "failed", "no shell"),
        (Unavailable("Docker is away"), "unknown", "the prober cannot ask: Docker is away"),
    ],
)
async def test_ends(end: Execution | ColdchainError, outcome: str, detail: str) -> None:
    asked: list[tuple[str, str, float]] = []

    async def execute(task_id: str, command: str, timeout_seconds: float) -> Execution:
        asked.append((task_id, command, timeout_seconds))
        if isinstance(end, ColdchainError):
            raise end
        return end

    result = await CommandProber(execute, Network()).probe(probe())
    assert (result.outcome, result.detail) == (outcome, detail)
    assert asked == [("t", "test -e up", 2.0)]


async def test_the_rest_goes_over_the_network() -> None:
    async def execute(task_id: str, command: str, timeout_seconds: float) -> Execution:
        raise AssertionError("nothing is to be run")

    network = Network()
    prober = CommandProber(execute, network)
    assert (await prober.probe(probe("TCP"))).detail == "over the network"
    await prober.close()
    assert network.closed
