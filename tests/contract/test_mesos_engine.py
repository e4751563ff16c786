"""Engine mesos against a master over HTTP that tells what a test lets it tell, and what real ones told in faults."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coldchain.documents import keys, stored
from coldchain.documents.executor_messages import decode
from coldchain.engines.mesos import MesosEngine, MesosSettings
from coldchain.engines.mesos.infos import kept_spec
from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.executor import TaskDescription, TaskReport
from coldchain.model.mesos import MesosFramework, MesosTask
from coldchain.ports.store import Change
from coldchain.testing.fake_master import ENDED, FakeMaster, knows, offers, subscribed, update
from coldchain.testing.mesos_bench import Bench, report, spec_of, state_of, until

RECORDED = Path(__file__).parent / "recorded" / "mesos"


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Bench() as bench:
        yield bench


async def test_launches_of_one_moment_go_in_one_call(bench: Bench) -> None:
    engine = await bench.engine()
    await engine.offers()
    specs = [spec_of(str(number)) for number in range(5)]
    launching = asyncio.gather(*(engine.launch(spec) for spec in specs))
    accept = (await bench.master.until("ACCEPT"))["accept"]
    infos = accept["operations"][0]["launch"]["task_infos"]
    assert [one["task_id"]["value"] for one in infos] == [spec.task_id for spec in specs]
    assert accept["offer_ids"] == [{"value": "O1"}]
    assert len({one["executor"]["executor_id"]["value"] for one in infos}) == 1
    assert decode(infos[0]["data"], TaskDescription) == TaskDescription(spec=specs[0])
    bench.master.say(*(report(spec, "running") for spec in specs))
    await launching
    assert len(bench.master.of("ACCEPT")) == 1


async def test_an_acknowledgement_waits_until_the_state_is_stored(bench: Bench) -> None:
    engine = await bench.engine()
    spec = spec_of("1")
    await bench.running(engine, spec)
    write = bench.store.write
    writing, allowed = asyncio.Event(), asyncio.Event()

    async def slow(changes: Any) -> int:
        writing.set()
        await allowed.wait()
        return await write(changes)

    await bench.master.until("ACKNOWLEDGE", 1)
    bench.store.write = slow  # type: ignore[method-assign]
    bench.master.say(report(spec, "failed", exit_status=3, message="exit status 3"))
    await writing.wait()
    assert await state_of(engine, spec) == "failed"
    await asyncio.sleep(0.2)  # time for one that does not wait
    assert len(bench.master.of("ACKNOWLEDGE")) == 1
    allowed.set()
    acknowledged = await bench.master.until("ACKNOWLEDGE", 2)
    assert acknowledged["acknowledge"]["uuid"].startswith("failed")
    known = await bench.known(spec)
    assert known is not None
    assert known.told.exit_status == 3


async def test_secrets_are_not_kept(bench: Bench) -> None:
    engine = await bench.engine()
    spec = spec_of("1")
    spec.app.env["PASSWORD"] = "hunter2 of the contract"
    await bench.running(engine, spec)
    for entry in (await bench.store.list("")).entries:
        assert b"hunter2" not in entry.value


async def test_an_offer_that_was_gone_is_made_up_for(bench: Bench) -> None:
    engine = await bench.engine()
    spec = spec_of("1")
    launching = asyncio.create_task(engine.launch(spec))
    await bench.master.until("ACCEPT")
    words = {"source": "SOURCE_MASTER", "reason": "REASON_INVALID_OFFERS"}
    bench.master.say(update(spec.task_id, "TASK_DROPPED", **words), offers("O2"))
    accept = await bench.master.until("ACCEPT", 2)
    assert accept["accept"]["offer_ids"] == [{"value": "O2"}]
    (info,) = accept["accept"]["operations"][0]["launch"]["task_infos"]
    again = info["task_id"]["value"]
    bench.master.say(update(spec.task_id, "TASK_DROPPED", **words), report(spec, "running", again))
    await launching
    assert (again, len(bench.master.of("ACCEPT"))) == ("shop.instance-1._app.2", 2)


async def test_what_was_refused_is_launched_again_as_another_task(bench: Bench) -> None:
    engine = await bench.engine()
    spec = spec_of("1")
    launching = asyncio.create_task(engine.launch(spec))
    await bench.master.until("ACCEPT")
    words = {"source": "SOURCE_AGENT", "reason": "REASON_EXECUTOR_TERMINATED", "uuid": "1"}
    ended = update(spec.task_id, "TASK_FAILED", **words)
    bench.master.say(ended, offers("O2"))
    with pytest.raises(Rejected, match="executor terminated"):
        await launching
    launching = asyncio.create_task(engine.launch(spec))
    (info,) = (await bench.master.until("ACCEPT", 2))["accept"]["operations"][0]["launch"]["task_infos"]
    again = info["task_id"]["value"]
    bench.master.say(report(spec, "running", again), ended)  # its agent has not heard that the end is known
    await launching
    await bench.master.until("ACKNOWLEDGE", 3)
    known = await bench.known(spec)
    assert known is not None
    assert (again, known.mesos_id, known.executor_gone_at) == ("shop.instance-1._app.2", again, None)


async def test_what_ended_before_this_controller_came_is_launched_as_another_task(bench: Bench) -> None:
    spec = spec_of("1")
    words = {"source": "SOURCE_MASTER", "reason": "REASON_RECONCILIATION"}
    bench.master.script.append(update(spec.task_id, "TASK_FAILED", **words))
    engine = await bench.engine()
    await engine.offers()
    launching = asyncio.create_task(engine.launch(spec))
    (info,) = (await bench.master.until("ACCEPT"))["accept"]["operations"][0]["launch"]["task_infos"]
    bench.master.say(report(spec, "running", info["task_id"]["value"]))
    await launching
    assert info["task_id"]["value"] == "shop.instance-1._app.2"


async def test_what_a_task_had_whose_end_is_yet_to_be_told_is_counted_once(bench: Bench) -> None:
    first, spec = await bench.engine(), spec_of("1")
    before = await first.offers()
    await bench.running(first, spec)
    await first.close()
    bench.master.script = [subscribed(), offers("O2")]
    bench.master.answers = lambda call: knows(call, **{spec.task_id: "TASK_FAILED"})
    second = await bench.engine()
    assert (await second.offers(), await state_of(second, spec)) == (before, "running")


async def test_a_launch_in_doubt_is_asked_for_soon(bench: Bench) -> None:
    engine = await bench.engine()
    spec = spec_of("1")
    bench.master.loses = lambda call: call["type"] == "ACCEPT"
    with pytest.raises(Unavailable):
        await engine.launch(spec)
    named = (await bench.master.until("RECONCILE", 3))["reconcile"]["tasks"]
    assert [one["task_id"]["value"] for one in named] == [spec.task_id]


async def test_an_agent_that_offers_too_little_is_said_and_not_believed_any_more(bench: Bench) -> None:
    bench.master.script = [subscribed(), offers("O1", cpus=1.0)]
    engine = await bench.engine()
    spec = spec_of("1")
    big = msgspec.structs.replace(spec, app=msgspec.structs.replace(spec.app, cpus=2.0))
    with pytest.raises(Rejected, match="agent-1 has offered too little"):
        await engine.launch(big)
    assert await engine.tasks() == []


async def test_who_waits_for_an_agent_that_is_gone_is_told_at_once(bench: Bench) -> None:
    bench.master.script = [subscribed(), offers("O1", cpus=1.0)]
    engine = await bench.engine(MesosSettings(settle_seconds=1.0, launch_seconds=60.0))
    await engine.offers()
    spec = spec_of("1")
    big = msgspec.structs.replace(spec, app=msgspec.structs.replace(spec.app, cpus=2.0))
    launching = asyncio.create_task(engine.launch(big))
    await asyncio.sleep(0)  # it waits
    bench.master.say({"type": "FAILURE", "failure": {"agent_id": {"value": "S0"}}})
    async with asyncio.timeout(10):
        with pytest.raises(Rejected, match="agent-1 does not answer any more"):
            await launching
        with pytest.raises(Rejected, match="agent-1 does not answer any more"):
            await engine.launch(spec)  # placed a moment before
    bench.master.say(offers("O2"))
    await until(engine.offers)
    await bench.running(engine, spec_of("2"))


async def test_what_was_stopped_before_it_was_started_is_told_so(bench: Bench) -> None:
    bench.master.script = [subscribed()]
    engine = await bench.engine()
    spec = spec_of("1")
    launching = asyncio.create_task(engine.launch(spec))
    await asyncio.sleep(0.1)
    await engine.kill(spec.task_id, 5.0)
    await launching
    assert await state_of(engine, spec) == "killed"
    bench.master.say(offers("O1"))
    await engine.forget(spec.task_id)
    assert await engine.tasks() == []
    assert bench.master.of("ACCEPT") == []


async def test_what_is_left_of_a_task_is_not_asked_of_an_executor_that_is_gone(bench: Bench) -> None:
    engine = await bench.engine()
    spec = spec_of("1")
    await bench.running(engine, spec)
    bench.master.say(report(spec, "failed", exit_status=3))

    async def failed() -> bool:
        return await state_of(engine, spec) == "failed"

    await until(failed)
    with pytest.raises(Unavailable, match="does not answer"):
        await engine.forget(spec.task_id)  # it may only be slow
    (info,) = bench.master.of("ACCEPT")[0]["accept"]["operations"][0]["launch"]["task_infos"]
    failure = {"agent_id": {"value": "S0"}, "executor_id": info["executor"]["executor_id"]}
    bench.master.say({"type": "FAILURE", "failure": failure}, offers("O2"))

    async def forgotten() -> bool:
        await engine.forget(spec.task_id)
        return await engine.tasks() == []

    await until(forgotten)


async def test_idle_offers_are_given_back_and_asked_for_again(bench: Bench) -> None:
    engine = await bench.engine(MesosSettings(hold_seconds=0.2, look_seconds=60.0))
    before = await engine.offers()
    declined = await bench.master.until("DECLINE")
    assert declined["decline"] == {"offer_ids": [{"value": "O1"}], "filters": {"refuse_seconds": 60.0}}
    await bench.master.until("SUPPRESS")
    assert await engine.offers() == before
    launching = asyncio.create_task(engine.launch(spec_of("1")))
    await bench.master.until("REVIVE")
    bench.master.say(offers("O2"))
    assert (await bench.master.until("ACCEPT"))["accept"]["offer_ids"] == [{"value": "O2"}]
    bench.master.say(report(spec_of("1"), "running"))
    await launching


async def test_what_does_not_fit_on_what_is_held_waits_for_no_round_of_the_master(bench: Bench) -> None:
    engine = await bench.engine()
    await bench.running(engine, spec_of("1"))  # the offer is spent
    assert bench.master.of("REVIVE") == []
    launching = asyncio.create_task(engine.launch(spec_of("2")))
    await bench.master.until("REVIVE")
    bench.master.say(offers("O2"))
    assert (await bench.master.until("ACCEPT", 2))["accept"]["offer_ids"] == [{"value": "O2"}]
    bench.master.say(report(spec_of("2"), "running"))
    await launching


async def test_a_silent_master_is_left(bench: Bench) -> None:
    bench.master.script = [subscribed(heartbeat_seconds=0.2)]
    await bench.engine()
    again = await bench.master.until("SUBSCRIBE", 2)
    assert again["framework_id"] == {"value": "F"}


async def test_a_standby_says_who_leads(bench: Bench) -> None:
    standby = FakeMaster()
    await standby.start()
    standby.leader, leader = bench.master.address, bench.master.address
    bench.master.address = standby.address
    engine = await bench.engine()
    assert await engine.tasks() == []
    assert bench.master.of("SUBSCRIBE")
    assert leader != standby.address
    await standby.stop()


async def test_who_is_not_subscribed_knows_nothing(bench: Bench) -> None:
    engine = await bench.engine()
    assert await engine.tasks() == []
    updates = engine.updates()
    bench.master.script = []
    await bench.master.stop()
    with pytest.raises(Unavailable):
        await anext(updates)
    for call in (engine.tasks, engine.offers, lambda: engine.launch(spec_of("1")), lambda: engine.kill("t", 1.0)):
        with pytest.raises(Unavailable):
            await call()


async def test_the_next_controller_goes_on_from_the_store(bench: Bench) -> None:
    first = await bench.engine()
    runs, ended = spec_of("1"), spec_of("2")
    await bench.running(first, runs)
    bench.master.say(offers("O2"))
    await bench.running(first, ended)
    bench.master.say(report(ended, "finished", exit_status=0))
    await bench.master.until("ACKNOWLEDGE", 3)
    before = await first.tasks()
    await first.close()
    bench.master.script = [subscribed(), offers("O3")]
    states = {runs.task_id: "TASK_RUNNING"}
    bench.master.answers = lambda call: knows(call, **states)
    second = await bench.engine()
    assert await second.tasks() == before
    assert bench.master.of("SUBSCRIBE")[-1]["framework_id"] == {"value": "F"}
    named = [one["reconcile"]["tasks"] for one in bench.master.of("RECONCILE")][-3]
    assert [one["task_id"]["value"] for one in named] == [runs.task_id]


async def test_nothing_is_said_before_the_master_has_answered(bench: Bench) -> None:
    first = await bench.engine()
    spec = spec_of("1")
    await bench.running(first, spec)
    await first.close()
    bench.master.script, bench.master.answers = [subscribed()], lambda call: ()
    second = await bench.engine(MesosSettings(settle_seconds=60.0))
    asking = asyncio.create_task(second.tasks())
    await bench.master.until("RECONCILE", 4)
    assert not asking.done()
    words = {"source": "SOURCE_MASTER", "reason": "REASON_RECONCILIATION"}
    bench.master.say(update(spec.task_id, "TASK_RUNNING", **words))
    await asyncio.sleep(0.1)
    assert not asking.done()
    bench.master.say(update("coldchain-end-of-reconciliation", "TASK_UNKNOWN", **words))
    assert [one.state for one in await asking] == ["running"]


async def test_a_live_task_that_no_record_tells_of_is_listed_and_can_be_ended(bench: Bench) -> None:
    name = "shop.instance-9._app.1"
    bench.master.answers = lambda call: knows(call, **{name: "TASK_RUNNING"})
    engine = await bench.engine()
    (found,) = await engine.tasks()
    assert (found.task_id, found.instance_id, found.state) == (name, "shop.instance-9", "running")
    await engine.kill(name, 3.0)
    kill = (await bench.master.until("KILL"))["kill"]
    assert kill == {"task_id": {"value": name}, "kill_policy": {"grace_period": {"nanoseconds": 3 * 10**9}}}
    bench.master.say(update(name, "TASK_KILLED", source="SOURCE_EXECUTOR"))
    await until(lambda: _none_left(engine))


async def _none_left(engine: MesosEngine) -> bool:
    return await engine.tasks() == []


async def test_another_controller_that_took_over_is_not_fought(bench: Bench) -> None:
    engine = await bench.engine()
    bench.master.say({"type": "ERROR", "error": {"message": "Framework failed over"}}, {"type": ENDED})
    with pytest.raises(Unavailable, match="failed over"):
        while True:
            await engine.tasks()
            await asyncio.sleep(0.01)
    await asyncio.sleep(1.0)
    assert len(bench.master.of("SUBSCRIBE")) == 1


# What real masters told


class Expected(msgspec.Struct, frozen=True):
    """`adopts`: a successor is launched, or waits for an offer. `orphaned`: what the controller hears of that."""

    state: str
    adopts: bool = False
    orphaned: str = ""


EXPECTED = {
    "agent_back_after_its_recovery_time": Expected("running", adopts=True),
    "agent_back_with_another_id": Expected("running", adopts=True),
    "agent_drained": Expected("killed"),
    "agent_killed_and_back": Expected("running"),
    "agent_killed_with_an_update_unacknowledged": Expected("running"),
    "agent_marked_gone": Expected("lost"),
    "agent_shut_down": Expected("running", adopts=True),
    "agent_unreachable_and_back": Expected("running"),
    "executor_changed": Expected("running"),
    "executor_killed": Expected("running", adopts=True),
    "framework_away_for_too_long": Expected("running", adopts=True),
    "framework_torn_down": Expected("running", adopts=True),
    "machine_frozen_and_back": Expected("running"),
    "machine_killed_and_back": Expected("running", adopts=True),
    "maintenance_begun": Expected("running", adopts=True),
    "maintenance_planned_and_cancelled": Expected("running"),
    "master_killed_and_another_leads": Expected("running"),
    "offer_too_small": Expected("running"),
    "offer_used_twice": Expected("running"),
    "subscribed_twice": Expected(""),
    "task_unknown": Expected("running", orphaned="agent"),
    "zookeeper_away_and_back": Expected("running"),
}


def test_every_recording_is_replayed() -> None:
    assert {path.stem for path in RECORDED.iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("fault", EXPECTED)
async def test_what_was_recorded_of_a_fault_leads_to(bench: Bench, fault: str) -> None:
    events = [json.loads(line)["event"] for line in (RECORDED / f"{fault}.jsonl").read_text().splitlines()]
    framework_id = events[0]["subscribed"]["framework_id"]["value"]
    spec = spec_of("1")
    task = MesosTask(
        target="cluster",
        task_id=spec.task_id,
        mesos_id="task",
        agent_id="S0",
        executor_id="bare",
        role="*",
        reserved_for="*",
        spec=kept_spec(spec),
        told=decode(report(spec, "running")["update"]["status"]["data"], TaskReport).status,
        launched_at=1.0,
        begun=True,
    )
    framework = MesosFramework(target="cluster", id=framework_id)
    await bench.store.write(
        [
            Change(key=keys.mesos_framework("cluster"), value=stored.encode(framework)),
            Change(key=keys.mesos_task(task), value=stored.encode(task)),
        ]
    )
    new = {"type": "SUBSCRIBED", "subscribed": {"framework_id": {"value": "new"}}}
    bench.master.script = [*events, *([new] if "framework" in fault else [])]
    bench.master.answers = lambda call: ()
    engine = await bench.engine(MesosSettings(settle_seconds=0.3))
    expected = EXPECTED[fault]
    asked = sum(1 for one in events if one["type"] == "UPDATE" and "uuid" in one["update"]["status"])
    if asked and {"type": ENDED} not in events:  # else they are lost with the stream, and told again
        await bench.master.until("ACKNOWLEDGE", asked)
    if not expected.state:
        with pytest.raises(Unavailable):
            await engine.tasks()
        return

    async def as_expected() -> bool:
        known = await bench.known(spec)
        waits = known is not None and (known.executor_gone_at is not None or known.adopting_since is not None)
        seen = next((one for one in await engine.tasks() if one.task_id == spec.task_id), None)
        return seen is not None and Expected(seen.state, waits, seen.orphaned) == expected

    await until(as_expected)
