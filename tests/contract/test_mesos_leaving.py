"""Engine mesos when it leaves the cluster for good, against a master that tells what a test lets it tell."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from coldchain.documents import keys
from coldchain.main.mesos import check_no_framework
from coldchain.model.errors import Rejected, Unavailable
from coldchain.testing.fake_master import ENDED, subscribed, update
from coldchain.testing.mesos_bench import Bench, spec_of, state_of, until


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Bench() as bench:
        yield bench


async def test_who_takes_leave_leaves_nothing_behind_and_does_not_come_back(bench: Bench) -> None:
    engine = await bench.engine()
    spec = spec_of("1")
    await bench.running(engine, spec)
    bench.master.say(update(spec.task_id, "TASK_KILLED", source="SOURCE_EXECUTOR"))

    async def ended() -> bool:
        return await state_of(engine, spec) == "killed"

    await until(ended)
    with pytest.raises(Rejected, match="run on a cluster of Mesos"):
        await check_no_framework(bench.store)
    # The stream of a framework that was torn down ends, and it may not begin anew: that would be another framework.
    bench.master.answers = lambda call: [{"type": ENDED}] if call["type"] == "TEARDOWN" else ()
    bench.master.script = [subscribed("another")]
    await engine.tear_down()
    await bench.master.until("TEARDOWN")
    with pytest.raises(Unavailable):
        while True:
            await engine.tasks()
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)  # longer than the first delay of a subscription
    assert len(bench.master.of("SUBSCRIBE")) == 1
    assert await bench.store.get(keys.mesos_framework("cluster")) is None
    assert (await bench.store.list(keys.mesos_tasks("cluster"))).entries == ()
    await check_no_framework(bench.store)


async def test_a_framework_that_mesos_cannot_be_asked_to_forget_is_kept(bench: Bench) -> None:
    engine = await bench.engine()
    assert await engine.tasks() == []
    bench.master.script = []
    await bench.master.stop()
    with pytest.raises(Unavailable):
        while True:
            await engine.tasks()
            await asyncio.sleep(0.01)
    await engine.tear_down()
    assert await bench.store.get(keys.mesos_framework("cluster")) is not None
