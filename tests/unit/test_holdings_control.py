"""What instances have of each agent is always what counting them all anew would say."""

import random
from itertools import groupby

import msgspec
import pytest

from coldchain.control.holdings import Holdings
from coldchain.control.state import State
from coldchain.decisions.placement import Held, Room, Waiting, held_by, place_beside
from coldchain.documents.keys import Record
from coldchain.model.app import App
from coldchain.model.instance import Instance
from coldchain.model.offer import Offer
from coldchain.model.version import AppRecord, Version
from coldchain.store.memory import MemoryStore

APP = App(id="/shop", cpus=0.5, mem=64.0, disk=8.0)
AGENTS = ("agent-1", "agent-2", "agent-3")
OFFERS = [
    Offer(
        agent=agent,
        target=target,
        hostname=agent,
        role=role,
        cpus=8.0,
        mem=mem,
        disk=999.0,
        port_ranges=((31000, 32000),),
    )
    for agent, target, role, mem in (
        ("agent-1", "cluster", "*", 1000.0),
        ("agent-2", "cluster", "*", 900.0),
        ("agent-2", "cluster", "ours", 1000.0),
        ("agent-3", "cluster", "*", 1000.0),
        ("agent-4", "elsewhere", "*", 1000.0),
    )
]
PHASES = ("launching", "serving", "stopping", "stopped")


def instance(draw: random.Random, name: str) -> Instance:
    placed = draw.random() < 0.8
    return Instance(
        id=name,
        app_id=APP.id,
        version_id="V1",
        target="cluster",
        task_id=f"shop.instance-{name}._app.1",
        phase=draw.choice(PHASES) if placed else "scheduled",
        since=0.0,
        created_at=draw.random(),
        agent=draw.choice(AGENTS) if placed else None,
        address=f"10.0.0.{draw.randint(2, 250)}" if placed else None,
        host_ports=(draw.randint(31000, 32000), 0) if placed else (),
    )


def counted(state: State, changes: dict[str, Instance | None]) -> dict[str, Held]:
    after = [one for one in (state.instances | changes).values() if one is not None and one.agent is not None]
    after.sort(key=lambda one: one.agent or "")
    return {
        agent or "": held_by((one, APP) for one in some) for agent, some in groupby(after, key=lambda one: one.agent)
    }


def placed(draw: random.Random, room: Room) -> object:
    """Where the next few go: they take from what is left one after the other."""
    app = App(id="/next", cpus=0.5, mem=draw.choice((64.0, 700.0)), accepted_resource_roles=("*", "ours"))
    waiting = [
        Instance(
            id=f"next-{number}",
            app_id=app.id,
            version_id="V1",
            target="cluster",
            task_id=f"next-{number}",
            phase="scheduled",
            since=0.0,
            created_at=float(number),
        )
        for number in range(5)
    ]
    return place_beside([Waiting(instance=one, app=app) for one in waiting], room, {})


@pytest.mark.parametrize("seed", range(20))
async def test_what_is_counted_is_what_all_instances_have(seed: int) -> None:
    draw = random.Random(seed)
    state = State(MemoryStore())
    await state.load()
    holdings = Holdings(state)
    version = Version(app=APP, id="V1", config_id="V1")
    await state.commit([version, AppRecord(app_id=APP.id, version_id="V1", target="cluster", cause="test")])
    offers = OFFERS
    for number in range(60):
        known = list(state.instances.values())
        put: list[Record] = [instance(draw, f"{number}-{copy}") for copy in range(draw.randint(0, 2))]
        gone = draw.sample(known, min(len(known), draw.randint(0, 2)))
        put += [
            msgspec.structs.replace(one, phase=draw.choice(PHASES))
            for one in draw.sample(known, min(len(known), 3))
            if one.agent is not None and one not in gone
        ]
        changes: dict[str, Instance | None] = {one.id: one for one in put if isinstance(one, Instance)}
        changes |= {one.id: None for one in gone}
        found = holdings.with_changes(changes)
        assert {agent: held for agent, held in found.items() if held != Held()} == counted(state, changes)
        fate = random.Random(number)
        if draw.random() < 0.2:
            offers = [*offers]  # the engine was asked again
        if draw.random() < 0.7:
            room, anew = holdings.room(offers, changes), Room(offers, counted(state, changes))
            assert placed(fate, room) == placed(random.Random(number), anew)
        if draw.random() < 0.7:
            await state.commit(put, gone)
        assert set(holdings.with_changes({})) <= set(AGENTS)
        assert {a: held for a, held in holdings.with_changes({}).items() if held != Held()} == counted(state, {})
