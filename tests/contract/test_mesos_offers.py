"""How engine mesos treats offers, against a master that tells what a test lets it tell."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from coldchain.engines.mesos import MesosEngine, MesosSettings
from coldchain.testing.fake_master import knows, offers, subscribed
from coldchain.testing.mesos_bench import Bench, report, spec_of


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Bench() as bench:
        yield bench


def of_role(*names: str, role: str, **more: Any) -> dict[str, Any]:
    return offers(*names, allocation_info={"role": role}, **more)  # their word


async def agents(engine: MesosEngine, number: int) -> list[str]:
    """Their names, once there are so many."""
    async with asyncio.timeout(10):
        while len(found := [row.agent for row in await engine.offers()]) < number:
            await asyncio.sleep(0.01)
        return found


async def test_only_the_roles_that_something_waits_for_are_asked_for(bench: Bench) -> None:
    bench.master.script = [subscribed(), of_role("O1", role="old"), of_role("O2", role="shop", agent="agent-2")]
    engine = await bench.engine(MesosSettings(roles=("old", "shop"), hold_seconds=0.2, look_seconds=60.0))
    await engine.offers()
    suppressed = await bench.master.until("SUPPRESS")
    assert suppressed["suppress"] == {"roles": ["old", "shop"]}
    spec = spec_of("1")
    spec = msgspec.structs.replace(spec, app=msgspec.structs.replace(spec.app, role="shop"))
    launching = asyncio.create_task(engine.launch(spec))
    revived = await bench.master.until("REVIVE")
    assert revived["revive"] == {"roles": ["shop"]}
    bench.master.say(of_role("O3", role="old"))  # on its way before
    declined = await bench.master.until("DECLINE", 2)
    assert declined["decline"]["offer_ids"] == [{"value": "O3"}]
    bench.master.say(of_role("O4", role="shop"))
    accepted = await bench.master.until("ACCEPT")
    assert accepted["accept"]["offer_ids"] == [{"value": "O4"}]
    bench.master.say(report(spec, "running"))
    await launching


async def test_while_an_instance_finds_no_room_everything_new_is_told(bench: Bench) -> None:
    engine = await bench.engine(MesosSettings(hold_seconds=0.1, look_seconds=60.0))
    await bench.master.until("SUPPRESS")
    engine.lacks_room = lambda: True
    await bench.master.until("REVIVE")
    bench.master.say(offers("O2", agent="agent-2"))
    assert await agents(engine, 2) == ["agent-1", "agent-2"]
    declined = await bench.master.until("DECLINE", 2)  # known, and left to others
    assert declined["decline"]["offer_ids"] == [{"value": "O2"}]
    launching = asyncio.create_task(engine.launch(spec_of("1")))
    await bench.master.until("REVIVE", 2)  # what was declined is needed after all
    bench.master.say(offers("O3"))
    await bench.master.until("ACCEPT")
    bench.master.say(report(spec_of("1"), "running"))
    await launching
    engine.lacks_room = lambda: False
    await bench.master.until("SUPPRESS", 2)


async def test_what_nobody_needs_is_not_kept_because_something_else_is_waited_for(bench: Bench) -> None:
    bench.master.script = [subscribed(), offers("O1", cpus=0.1), offers("O2", agent="agent-2")]
    engine = await bench.engine(MesosSettings(hold_seconds=0.3, look_seconds=60.0))
    launching = asyncio.create_task(engine.launch(spec_of("1")))  # on agent-1, which has too little
    declined = await bench.master.until("DECLINE")
    assert declined["decline"] == {"offer_ids": [{"value": "O2"}], "filters": {"refuse_seconds": 5.0}}
    assert bench.master.of("SUPPRESS") == []
    bench.master.say(offers("O3"))
    accepted = await bench.master.until("ACCEPT")
    assert accepted["accept"]["offer_ids"] == [{"value": "O1"}, {"value": "O3"}]
    bench.master.say(report(spec_of("1"), "running"))
    await launching


async def test_a_look_is_taken_now_and_then(bench: Bench) -> None:
    engine = await bench.engine(MesosSettings(hold_seconds=0.1, look_seconds=3.0))
    await engine.offers()
    await bench.master.until("SUPPRESS")
    await bench.master.until("REVIVE")
    bench.master.say(offers("O2", agent="agent-2"))
    assert await agents(engine, 2) == ["agent-1", "agent-2"]
    await bench.master.until("SUPPRESS", 2)


async def test_an_offer_whose_return_was_not_heard_is_given_back_again(bench: Bench) -> None:
    def answers(call: dict[str, Any]) -> Iterable[dict[str, Any]]:
        if call["type"] == "DECLINE" and len(bench.master.of("DECLINE")) == 1:
            raise web.HTTPServiceUnavailable
        return knows(call)

    bench.master.answers = answers
    await bench.engine(MesosSettings(hold_seconds=0.1, look_seconds=60.0))
    again = await bench.master.until("DECLINE", 2)
    assert again["decline"] == {"offer_ids": [{"value": "O1"}], "filters": {"refuse_seconds": 0.0}}
