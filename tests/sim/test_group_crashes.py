"""The controller is killed at every single write of a group deployment, and ends where it would have ended without."""

import pytest

from coldchain.decisions.group import GroupUpdate
from coldchain.documents.group import GroupRequest
from coldchain.model.app import App
from coldchain.model.group import GroupDeployment
from coldchain.testing.crashes import Crashes, Move
from coldchain.testing.fake_engine import Life
from coldchain.testing.faulty_store import Fault
from coldchain.testing.platform import Platform, example_app, image

IDS = ("/g/a", "/g/b")


def member(name: str, tag: str, **fields: object) -> App:
    return example_app(id=name, instances=1, routes=(), container=image(tag), **fields)


def request(*apps: App) -> GroupRequest:
    return GroupRequest("/g", GroupUpdate(id="/g", apps=apps), None, None, {})


async def changed(platform: Platform, *apps: App) -> GroupDeployment:
    return await platform.controller.group_operations.change(request(*apps), "test", force=False)


async def rollout(platform: Platform) -> GroupDeployment:
    return await changed(platform, member(IDS[0], "v2"), member(IDS[1], "v2", dependencies=IDS[:1]))


async def one_goes_and_one_comes(platform: Platform) -> GroupDeployment:
    return await changed(platform, member(IDS[1], "v2", dependencies=("/g/c",)), member("/g/c", "v1"))


async def failing(platform: Platform) -> GroupDeployment:
    bad = member(IDS[1], "bad", dependencies=IDS[:1], deadline_seconds=4.0)
    return await changed(platform, member(IDS[0], "v2"), bad)


async def delete(platform: Platform) -> GroupDeployment:
    return await platform.controller.group_operations.delete("/g", "test", force=False)


MOVES: dict[str, Move] = {
    "rollout": rollout,
    "one goes and one comes": one_goes_and_one_comes,
    "failing": failing,
    "delete": delete,
}


async def settled(platform: Platform) -> dict[str, object]:
    """Wait until nothing is left to do; what then stands."""
    state = platform.controller.state

    def at_rest() -> bool:
        busy = state.running or state.moved_by or state.in_doubt
        return not busy and all(one.in_rotation for one in state.instances.values())

    await platform.until(at_rest, within=600.0, every=0.1)
    return {
        "created": dict(platform.engine.created),
        "deployments": sorted((one.app_id, one.kind, one.state) for one in state.deployments.values()),
        "group deployments": sorted((one.kind, one.state) for one in state.group_deployments.values()),
        "images": sorted(f"{one.spec.app_id} {one.spec.image}" for one in platform.engine.held.values()),
        "groups": sorted(state.groups),
        "versions of the group": len(state.group_versions["/g"]),
        "wanted": {app.id: app for app in state.wanted_apps()},
    }


async def begin(platform: Platform) -> int:
    """A group at rest; the number of writes until there."""
    platform.engine.life = lambda spec: Life(healthy="bad" not in (spec.image or ""))
    group = await changed(platform, member(IDS[0], "v1"), member(IDS[1], "v1"))
    await platform.until(lambda: not platform.controller.state.group_deployments[group.id].running)
    return platform.store.writes


CRASHES = Crashes(begin=begin, settled=settled, recorded=lambda platform: platform.controller.state.group_deployments)


@pytest.mark.parametrize("name", MOVES)
def test_killed_at_any_write_it_ends_as_if_nothing_had_happened(name: str) -> None:
    CRASHES.killed_at_each_write(MOVES[name])


@pytest.mark.parametrize("fault", ["unavailable", "lost reply", "lost update"])
@pytest.mark.parametrize("name", MOVES)
def test_a_store_that_fails_at_any_write_changes_nothing_in_the_end(name: str, fault: Fault) -> None:
    CRASHES.failing_at_each_write(MOVES[name], fault)
