"""Engine mesos and what runs that nobody answers for: told as it is, ended by whoever lives beside it, asked for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from coldchain.control.clock import SystemClock
from coldchain.decisions import mesos_task
from coldchain.documents.executor_messages import decode, encode, executor_token
from coldchain.engines.mesos import MesosEngine, machines
from coldchain.model.executor import ExecutorQuestion, ExecutorReport
from coldchain.model.task import TaskSpec, TaskStatus
from coldchain.probes.prober import NetworkProber
from coldchain.runners.remote import RunnerServer
from coldchain.testing.fake_engine import FakeEngine
from coldchain.testing.fake_master import knows, offers, subscribed, update
from coldchain.testing.mesos_bench import Bench, report, spec_of, until

OTHER = "coldchain-other"


class Neighbour:
    """Another executor on agent S0, and all that runs there."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.machine = FakeEngine(SystemClock())
        self.server = RunnerServer(self.machine, NetworkProber(), executor_token(b"k", OTHER, "S0"), "127.0.0.1")

    def tell(self, *orphans: TaskStatus) -> None:
        told = ExecutorReport(executor_id=OTHER, address="127.0.0.1", port=self.server.port, orphans=orphans)
        named = {"agent_id": {"value": "S0"}, "executor_id": {"value": OTHER}, "data": encode(told)}
        self._bench.master.say({"type": "MESSAGE", "message": named})

    async def runs(self, spec: TaskSpec) -> TaskStatus:
        await self.machine.launch(spec)
        async with asyncio.timeout(5):
            while (found := self.machine.held[spec.task_id].status).state != "running":
                await asyncio.sleep(0.01)
        return found


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(mesos_task, "ADOPT_SECONDS", 0.2)
    monkeypatch.setattr(mesos_task, "END_SECONDS", 0.2)
    monkeypatch.setattr(machines, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(machines, "ASK_AGAIN_SECONDS", 0.6)
    async with Bench() as bench:
        yield bench


@pytest.fixture
async def neighbour(bench: Bench) -> AsyncIterator[Neighbour]:
    neighbour = Neighbour(bench)
    await neighbour.server.start()
    yield neighbour
    await neighbour.server.stop()


async def found(engine: MesosEngine, spec: TaskSpec) -> TaskStatus | None:
    return next((one for one in await engine.tasks() if one.task_id == spec.task_id), None)


async def orphaned(engine: MesosEngine, spec: TaskSpec) -> bool:
    status = await found(engine, spec)
    return status is not None and (status.state, status.orphaned) == ("running", "executor")


def executor_lost(spec: TaskSpec) -> dict[str, Any]:
    words = {"source": "SOURCE_AGENT", "reason": "REASON_EXECUTOR_TERMINATED"}
    return update(spec.task_id, "TASK_FAILED", uuid="gone", **words)


async def test_what_no_successor_took_over_runs_on_until_it_is_told_to_end(bench: Bench, neighbour: Neighbour) -> None:
    engine = await bench.engine()
    spec = spec_of("1")
    await bench.running(engine, spec)
    orphan = await neighbour.runs(spec)
    async with aclosing(engine.updates()) as updates:
        neighbour.tell(orphan)
        bench.master.say(executor_lost(spec))  # and no offer for a successor
        told = await anext(updates)
    assert (told.state, told.orphaned) == ("running", "executor")
    assert "executor terminated" in told.message
    await engine.kill(spec.task_id, 0.0)
    assert neighbour.machine.held[spec.task_id].status.state in ("killing", "killed")

    async def lost() -> bool:
        status = await found(engine, spec)
        return status is not None and status.state == "lost"

    await until(lost)
    await engine.forget(spec.task_id)
    neighbour.tell()
    await until(lambda: gone(engine, spec))


async def gone(engine: MesosEngine, spec: TaskSpec) -> bool:
    return await found(engine, spec) is None


async def test_who_takes_it_over_in_the_end_answers_for_it(bench: Bench) -> None:
    engine = await bench.engine()
    spec = spec_of("1")
    await bench.running(engine, spec)
    bench.master.say(executor_lost(spec))
    await until(lambda: orphaned(engine, spec))
    bench.master.say(offers("O2"))
    accept = (await bench.master.until("ACCEPT", 2))["accept"]
    (info,) = accept["operations"][0]["launch"]["task_infos"]
    bench.master.say(report(spec, "running", info["task_id"]["value"]))

    async def answered_for() -> bool:
        status = await found(engine, spec)
        return status is not None and (status.state, status.orphaned) == ("running", "")

    await until(answered_for)


async def test_an_orphan_that_no_record_tells_of_is_listed_and_ended_by_who_told_of_it(
    bench: Bench, neighbour: Neighbour
) -> None:
    engine = await bench.engine()
    spec = spec_of("9")
    assert await found(engine, spec) is None
    neighbour.tell(await neighbour.runs(spec))
    await until(lambda: orphaned(engine, spec))
    async with aclosing(engine.updates()) as updates:
        await engine.kill(spec.task_id, 0.0)
        assert neighbour.machine.held[spec.task_id].status.state in ("killing", "killed")
        neighbour.tell()
        assert (await anext(updates)).state == "killed"
    assert await found(engine, spec) is None


async def test_executors_are_asked_once_in_a_subscription_and_again_until_they_answer(bench: Bench) -> None:
    first = await bench.engine()
    spec = spec_of("1")
    await bench.running(first, spec)
    known = await bench.known(spec)
    assert known is not None
    asked = (await bench.master.until("MESSAGE"))["message"]
    assert (asked["agent_id"], asked["executor_id"]) == ({"value": "S0"}, {"value": known.executor_id})
    assert decode(asked["data"], ExecutorQuestion) == ExecutorQuestion()
    await bench.master.until("MESSAGE", 2)  # the first may have been lost
    answer = ExecutorReport(executor_id=known.executor_id, address="127.0.0.1", port=1)
    named = {"agent_id": {"value": "S0"}, "executor_id": {"value": known.executor_id}, "data": encode(answer)}
    bench.master.say({"type": "MESSAGE", "message": named})
    await asyncio.sleep(0.3)
    questions = len(bench.master.of("MESSAGE"))
    await asyncio.sleep(1.0)  # time for another one
    assert len(bench.master.of("MESSAGE")) == questions
    await first.close()
    bench.master.script = [subscribed()]
    bench.master.answers = lambda call: knows(call, **{spec.task_id: "TASK_RUNNING"})
    await bench.engine()
    await bench.master.until("MESSAGE", questions + 1)
