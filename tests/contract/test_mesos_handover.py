"""Engine mesos with tasks of executors of another version: they are handed over, and the controller hears nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from coldchain.documents.executor_messages import decode
from coldchain.engines.mesos import MesosEngine, MesosSettings, handover
from coldchain.model.executor import TaskDescription
from coldchain.model.task import TaskSpec, TaskStatus
from coldchain.testing.fake_master import knows, offers, subscribed, update
from coldchain.testing.mesos_bench import Bench, report, spec_of, until

NEXT = MesosSettings(settle_seconds=1.0, launch_seconds=1.0, executor_environment={"VERSION": "2"})
BY_EXECUTOR = {"source": "SOURCE_EXECUTOR"}
GONE = {"source": "SOURCE_AGENT", "reason": "REASON_EXECUTOR_TERMINATED", "message": "Executor terminated"}


Answers = Callable[[dict[str, Any]], Iterable[dict[str, Any]]]


class Upgrade:
    """A task of an executor of before, and an engine whose executors are others."""

    def __init__(self, bench: Bench) -> None:
        self.master = bench.master
        self.bench = bench
        self.spec = spec_of("1")
        self.told: list[TaskStatus] = []

    async def begin(
        self, *given: dict[str, Any], settings: MesosSettings = NEXT, answers: Answers | None = None
    ) -> None:
        first = await self.bench.engine()
        await self.bench.running(first, self.spec)
        known = await self.bench.known(self.spec)
        assert known is not None
        self.before = known
        await first.close()
        self.master.script = [subscribed(), *given]
        self.master.answers = answers or (lambda call: knows(call, **{self.spec.task_id: "TASK_RUNNING"}))
        self.engine: MesosEngine = await self.bench.engine(settings)
        self.following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for status in self.engine.updates():
            self.told.append(status)

    async def launched(self, number: int) -> dict[str, Any]:
        """The only task of this ACCEPT."""
        accept = (await self.master.until("ACCEPT", number))["accept"]
        (info,) = accept["operations"][0]["launch"]["task_infos"]
        return info  # type: ignore[no-any-return]

    async def runs(self) -> bool:
        (found,) = await self.engine.tasks()
        return (found.state, found.orphaned) == ("running", "")


@pytest.fixture
async def upgrade(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Upgrade]:
    monkeypatch.setattr(handover, "OFFERS_SECONDS", 0.2)
    monkeypatch.setattr(handover, "LOOK_SECONDS", 0.0)
    async with Bench() as bench:
        upgrade = Upgrade(bench)
        yield upgrade
        upgrade.following.cancel()
        await asyncio.gather(upgrade.following, return_exceptions=True)


def shown(spec: TaskSpec, info: dict[str, Any]) -> TaskDescription:
    described = decode(info["data"], TaskDescription)
    assert described.spec.task_id == spec.task_id
    return described


async def acknowledged(upgrade: Upgrade, uuid: str) -> bool:
    return any(one["acknowledge"]["uuid"] == uuid for one in upgrade.master.of("ACKNOWLEDGE"))


async def test_running_tasks_go_to_the_new_executor_once_it_is_known_to_start(upgrade: Upgrade) -> None:
    await upgrade.begin(offers("O2"))
    scout = await upgrade.launched(2)
    assert scout["task_id"]["value"].startswith("coldchain-scout-")
    assert decode(scout["data"], TaskDescription).adopts
    old, new = upgrade.before.executor_id, scout["executor"]["executor_id"]["value"]
    assert old != new
    assert upgrade.master.of("SHUTDOWN") == []
    upgrade.master.say(update(scout["task_id"]["value"], "TASK_FAILED", uuid="scout", **BY_EXECUTOR))
    leaves = (await upgrade.master.until("SHUTDOWN"))["shutdown"]
    assert leaves == {"executor_id": {"value": old}, "agent_id": {"value": "S0"}}
    assert await upgrade.runs()
    upgrade.master.say(update(upgrade.spec.task_id, "TASK_FAILED", uuid="gone", **GONE), offers("O3"))
    successor = await upgrade.launched(3)
    assert shown(upgrade.spec, successor).adopts
    assert successor["executor"]["executor_id"]["value"] == new
    assert await upgrade.runs()
    upgrade.master.say(report(upgrade.spec, "running", successor["task_id"]["value"]))

    async def answered_for() -> bool:
        known = await upgrade.bench.known(upgrade.spec)
        assert known is not None
        return (known.executor_id, known.adopting_since) == (new, None) and bool(known.port)

    await until(answered_for)
    assert await upgrade.runs()
    assert {one.state for one in upgrade.told} <= {"running"}
    assert not any(one.orphaned for one in upgrade.told)
    await asyncio.sleep(1.2)  # time for more of the same
    assert len(upgrade.master.of("SHUTDOWN")) == 1
    assert len(upgrade.master.of("ACCEPT")) == 3
    assert await acknowledged(upgrade, "scout")
    assert await acknowledged(upgrade, "gone")


async def test_where_the_new_executor_does_not_start_the_old_one_stays(upgrade: Upgrade) -> None:
    await upgrade.begin(offers("O2"))
    scout = await upgrade.launched(2)
    upgrade.master.say(update(scout["task_id"]["value"], "TASK_FAILED", uuid="scout", **GONE), offers("O3"))
    await until(lambda: acknowledged(upgrade, "scout"))
    await asyncio.sleep(1.2)  # time for another try
    assert upgrade.master.of("SHUTDOWN") == []
    assert len(upgrade.master.of("ACCEPT")) == 2
    assert await upgrade.runs()
    await upgrade.engine.kill(upgrade.spec.task_id, 0.0)
    assert (await upgrade.master.until("KILL"))["kill"]["task_id"] == {"value": upgrade.spec.task_id}


async def test_a_scout_whose_offer_was_gone_goes_again(upgrade: Upgrade) -> None:
    await upgrade.begin(offers("O2"))
    scout = await upgrade.launched(2)
    words = {"source": "SOURCE_MASTER", "reason": "REASON_INVALID_OFFERS"}
    upgrade.master.say(update(scout["task_id"]["value"], "TASK_DROPPED", **words), offers("O3"))
    again = await upgrade.launched(3)
    assert again["task_id"] != scout["task_id"]


async def test_after_a_scout_of_which_nobody_knows_whether_it_went_another_one_goes_in_its_time(
    upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "OFFERS_SECONDS", 1.5)
    upgrade.master.loses = lambda call: call["type"] == "ACCEPT" and len(upgrade.master.of("ACCEPT")) == 2
    await upgrade.begin()
    await asyncio.sleep(1.0)  # offers come late, and late again
    upgrade.master.say(offers("O2"))
    scout = await upgrade.launched(2)
    await asyncio.sleep(1.0)
    upgrade.master.say(offers("O3"))
    again = await upgrade.launched(3)
    assert again["task_id"] != scout["task_id"]
    assert upgrade.master.of("SHUTDOWN") == []


async def test_no_scout_goes_for_what_ended_while_offers_were_asked_for(
    upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "OFFERS_SECONDS", 0.0)

    def answers(call: dict[str, Any]) -> Iterable[dict[str, Any]]:
        yield from knows(call, **{upgrade.spec.task_id: "TASK_RUNNING"})
        if call["type"] == "REVIVE":
            upgrade.master.answering.clear()
            yield report(upgrade.spec, "finished")

    async def ended() -> bool:
        known = await upgrade.bench.known(upgrade.spec)
        return known is not None and known.told.terminal

    await upgrade.begin(settings=replace(NEXT, hold_seconds=0.0), answers=answers)
    await until(ended)
    upgrade.master.answering.set()
    await asyncio.sleep(1.2)  # time for it to go
    assert len(upgrade.master.of("ACCEPT")) == 1
    assert [one.state for one in await upgrade.engine.tasks()] == ["finished"]


@pytest.mark.parametrize("offered", [[], [offers("O2", cpus=0.1)]], ids=["nothing", "little"])
async def test_where_there_is_no_room_beside_it_what_comes_free_is_counted(
    upgrade: Upgrade, offered: list[dict[str, Any]]
) -> None:
    await upgrade.begin(*offered)
    await upgrade.master.until("SHUTDOWN")
    assert len(upgrade.master.of("ACCEPT")) == 1
    upgrade.master.say(update(upgrade.spec.task_id, "TASK_FAILED", uuid="gone", **GONE), offers("O3"))
    successor = await upgrade.launched(2)
    assert shown(upgrade.spec, successor).adopts


async def test_what_is_of_the_same_version_stays_where_it_is(upgrade: Upgrade) -> None:
    await upgrade.begin(offers("O2"))
    await upgrade.launched(2)
    await upgrade.engine.close()
    upgrade.following.cancel()
    upgrade.master.script = [subscribed(), offers("O3")]
    upgrade.engine = await upgrade.bench.engine()
    await until(upgrade.runs)
    await asyncio.sleep(1.2)  # time for a scout
    assert len(upgrade.master.of("ACCEPT")) == 2
    assert upgrade.master.of("SHUTDOWN") == []
