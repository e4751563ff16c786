"""Several engines as one: each is a target of its own."""

import asyncio
import ipaddress
from typing import Literal

import msgspec
import pytest

from coldchain.control.clock import SystemClock
from coldchain.engines.fake import AGENTS_MAX, FakeAgents, fake_offers
from coldchain.main.engines import Targets
from coldchain.model.errors import NotFound, Rejected, Unavailable
from coldchain.model.health import Probe, ProbeResult
from coldchain.model.task import TaskSpec
from coldchain.probes.fake import FakeAgentsProber
from coldchain.testing.engine_labs import SERVES, make_spec
from coldchain.testing.fake_engine import FakeEngine, Life


class Bench:
    """Two engines, and specs for each."""

    def __init__(self) -> None:
        clock = SystemClock()
        life = Life(start_seconds=0.0, stop_seconds=0.0, output=b"begun\n")
        self.cluster = FakeEngine(clock, life=lambda spec: life)
        offers = fake_offers(2, target="fake", cpus=4.0, mem=1024.0)
        self.fake = FakeAgents(clock, target="fake", agents=offers, life=lambda spec: life)
        self.targets = Targets([self.cluster, self.fake])

    def spec(self, target: str) -> TaskSpec:
        spec = make_spec(SERVES, target=target, agent="agent-1" if target == "cluster" else "fake-1")
        return msgspec.structs.replace(spec, app=msgspec.structs.replace(spec.app, target=target))

    async def running(self, target: str) -> TaskSpec:
        """A task that runs there."""
        spec, updates = self.spec(target), self.targets.updates()
        following = asyncio.ensure_future(anext(updates))
        await asyncio.sleep(0)
        await self.targets.launch(spec)
        while (await following).state != "running":
            following = asyncio.ensure_future(anext(updates))
        await updates.aclose()  # type: ignore[attr-defined]
        return spec


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_what_is_launched_goes_to_the_engine_of_its_target(bench: Bench) -> None:
    specs = [await bench.running(target) for target in ("cluster", "fake")]
    assert [*bench.cluster.held] == [specs[0].task_id]
    assert [*bench.fake.held] == [specs[1].task_id]
    assert {one.task_id for one in await bench.targets.tasks()} == {one.task_id for one in specs}
    assert [(one.agent, one.target) for one in await bench.targets.offers()] == [
        ("agent-1", "cluster"),
        ("fake-1", "fake"),
        ("fake-2", "fake"),
    ]


async def test_an_image_is_prepared_where_it_will_run(bench: Bench) -> None:
    for target in ("fake", "cluster"):
        app = bench.spec(target).app
        assert await bench.targets.prepare(app, None, lambda words: None) is not None
    assert bench.cluster.prepared.total() == 1


async def test_a_target_that_is_not_there_is_refused(bench: Bench) -> None:
    with pytest.raises(Rejected, match="there is no target vms"):
        await bench.targets.launch(bench.spec("vms"))


@pytest.mark.parametrize("target", ["cluster", "fake"])
async def test_a_task_is_found_wherever_it_runs(bench: Bench, target: str) -> None:
    spec = await bench.running(target)
    targets = bench.targets
    assert [line async for line in targets.logs(spec.task_id, follow=False, tail=None)] == [b"begun\n"]
    assert (await targets.execute(spec.task_id, "true", 1.0)).exit_status == 0
    assert await targets.network_namespace(spec.task_id) is None
    await targets.kill(spec.task_id, 1.0)
    while not all(one.terminal for one in await targets.tasks()):
        await asyncio.sleep(0)
    await targets.forget(spec.task_id)
    assert await targets.tasks() == []
    with pytest.raises(NotFound):
        await targets.execute(spec.task_id, "true", 1.0)
    await targets.close()


async def test_nothing_is_known_unless_all_answer(bench: Bench) -> None:
    await bench.running("fake")
    bench.cluster.available = False
    with pytest.raises(Unavailable):
        await bench.targets.tasks()
    with pytest.raises(Unavailable):
        await bench.targets.offers()


async def test_a_session_beside_what_runs_nothing_is_refused(bench: Bench) -> None:
    spec = await bench.running("fake")
    with pytest.raises(Rejected, match="its agent is a fake"):
        await bench.targets.open_session(spec.task_id, ["true"], None)


@pytest.mark.parametrize(("agents", "addresses"), [(1, 256), (512, 256), (513, 128), (AGENTS_MAX, 16)])
def test_agents_are_of_one_size_and_have_addresses_of_their_own(agents: int, addresses: int) -> None:
    offers = fake_offers(agents, target="cluster", cpus=2.0, mem=128.0)
    assert len({one.subnet for one in offers}) == len({one.agent for one in offers}) == agents
    assert {(one.cpus, one.mem) for one in offers} == {(2.0, 128.0)}
    assert {ipaddress.ip_network(one.subnet or "").num_addresses for one in offers} == {addresses}


async def test_fake_agents_answer_for_their_tasks_and_no_one_else_is_asked(bench: Bench) -> None:
    asked: list[str] = []

    class Network:
        async def probe(self, probe: Probe) -> ProbeResult:
            asked.append(probe.instance_id)
            return ProbeResult(outcome="failed")

        async def close(self) -> None:
            asked.append("closed")

    spec, other = await bench.running("fake"), await bench.running("cluster")
    prober = FakeAgentsProber(bench.fake.healthy, Network())

    async def outcome(spec: TaskSpec, protocol: Literal["HTTP", "COMMAND"] = "HTTP") -> str:
        question = Probe(
            instance_id=spec.instance_id, check="health/0", protocol=protocol, address="192.0.2.1", port=80
        )
        return (await prober.probe(question)).outcome

    async with asyncio.timeout(5):
        while await outcome(spec) != "passed":
            await asyncio.sleep(0)
    assert asked == []
    assert [await outcome(other), await outcome(spec, "COMMAND")] == ["failed", "failed"]
    assert asked == [other.instance_id, spec.instance_id], "commands are the engine's"
    await bench.fake.kill(spec.task_id, 0.0)
    async with asyncio.timeout(5):
        while await outcome(spec) == "passed":
            await asyncio.sleep(0)
    await bench.fake.forget(spec.task_id)
    assert bench.fake.healthy(spec.instance_id) is None
    await prober.close()
    assert asked[-1] == "closed"
