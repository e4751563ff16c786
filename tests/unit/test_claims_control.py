"""What apps claim is always what walking through all apps and instances would say."""

import random

import msgspec
import pytest

from coldchain.control.claims import Claims
from coldchain.control.state import State
from coldchain.decisions.route import conflicts
from coldchain.documents.keys import Record
from coldchain.model.app import App, Container, Docker, PortMapping, Route
from coldchain.model.instance import Instance
from coldchain.model.version import AppRecord, Version
from coldchain.store.memory import MemoryStore

APPS = ("/one", "/two", "/three")
PHASES = ("serving", "draining", "stopped")


def definition(draw: random.Random, app_id: str) -> App:
    ports = [PortMapping(container_port=80, service_port=draw.randint(10_000, 10_005)) for _ in range(2)]
    routes = [Route(domains=(draw.choice("abc"),), port_index=draw.randint(0, 1)) for _ in range(draw.randint(0, 2))]
    return App(
        id=app_id,
        container=Container(docker=Docker(image="x"), port_mappings=tuple(ports)),
        routes=tuple(routes),
        service=draw.choice([None, "shop", "till"]),
    )


def instance(draw: random.Random, name: str, version: Version) -> Instance:
    return Instance(
        id=name,
        app_id=version.app.id,
        version_id=version.id,
        target="cluster",
        task_id=name,
        phase=draw.choice(PHASES),
        since=0.0,
        created_at=0.0,
    )


def change(draw: random.Random, state: State, number: int) -> tuple[list[Record], list[Record]]:
    """What one write puts, and what it takes away: a new version of an app, or none any more; instances moved."""
    put: list[Record] = []
    remove: list[Record] = []
    app_id = draw.choice(APPS)
    if draw.random() < 0.3 and app_id in state.apps:
        remove.append(state.apps[app_id])
    elif draw.random() < 0.6:
        made = Version(app=definition(draw, app_id), id=f"V{number}", config_id=f"V{number}")
        put += [made, AppRecord(app_id=app_id, version_id=made.id, target="cluster", cause="test")]
        put += [instance(draw, f"{number}-{copy}", made) for copy in range(2)]
    for one in draw.sample(list(state.instances.values()), min(len(state.instances), 3)):
        put.append(msgspec.structs.replace(one, phase=draw.choice(PHASES)))
    gone = {one.id for one in put if isinstance(one, Instance)}
    remove += [one for one in state.instances.values() if one.id not in gone and draw.random() < 0.2]
    return put, remove


def live_apps(state: State) -> list[App]:
    return [state.app_of(one) for one in state.instances.values() if one.live]


@pytest.mark.parametrize("seed", range(20))
async def test_claims_are_those_of_all_apps_and_of_those_that_are_leaving(seed: int) -> None:
    draw = random.Random(seed)
    state = State(MemoryStore())
    claims = Claims(state)
    await state.load()
    for number in range(60):
        await state.commit(*change(draw, state, number))
        if draw.random() < 0.1:
            await state.load()
        known = [*state.wanted_apps(), *live_apps(state)]
        assert set(claims.service_ports) == {port for app in known for port in app.service_ports}
        asked = definition(draw, draw.choice(APPS))
        leaving = [app for app in live_apps(state) if app.id != asked.id]
        assert claims.may_collide(asked) or not conflicts(asked, state.wanted_apps(), leaving)


async def test_what_nobody_claims_any_more_is_not_looked_at() -> None:
    draw = random.Random(1)
    state = State(MemoryStore())
    claims = Claims(state)
    version = Version(app=msgspec.structs.replace(definition(draw, "/one"), service="shop"), id="V1", config_id="V1")
    heir = msgspec.structs.replace(version.app, id="/two", routes=())
    serving = msgspec.structs.replace(instance(draw, "i", version), phase="serving")
    await state.load()
    assert not claims.may_collide(heir)
    await state.commit([version, AppRecord(app_id="/one", version_id="V1", target="cluster", cause="test"), serving])
    assert claims.may_collide(heir)
    assert not claims.may_collide(version.app)
    await state.commit(remove=[state.apps["/one"]])
    assert claims.may_collide(heir)
    await state.commit([msgspec.structs.replace(serving, phase="stopped")])
    assert not claims.may_collide(heir)
    assert not claims.service_ports
