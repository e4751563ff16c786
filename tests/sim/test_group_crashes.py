"""The controller is killed at every single write of a group deployment, and ends where it would have ended without."""

from collections.abc import Awaitable, Callable

import pytest

from coldchain.decisions.group import GroupUpdate
from coldchain.documents.group import GroupRequest
from coldchain.model.app import App
from coldchain.model.errors import ColdchainError
from coldchain.model.group import GroupDeployment
from coldchain.testing.fake_engine import Life
from coldchain.testing.faulty_store import Fault
from coldchain.testing.platform import Platform, example_app, image, run

Move = Callable[[Platform], Awaitable[GroupDeployment]]
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

    await platform.until(at_rest, within=600.0)
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


def fault_free(move: Move) -> tuple[dict[str, object], int]:
    """Where a move ends, and how many writes it takes."""
    found: list[tuple[dict[str, object], int]] = []

    async def program(platform: Platform) -> None:
        before = await begin(platform)
        await move(platform)
        found.append((await settled(platform), platform.store.writes - before))

    run(program, 1)
    return found[0]


@pytest.mark.parametrize("name", MOVES)
def test_killed_at_any_write_it_ends_as_if_nothing_had_happened(name: str) -> None:
    expected, writes = fault_free(MOVES[name])
    assert writes > 4

    for number in range(1, writes + 1):
        for fault in ("unavailable", "lost reply"):

            async def program(platform: Platform, number: int = number, fault: Fault = fault) -> None:
                crash_at = await begin(platform) + number
                platform.store.fault = lambda write, changes: fault if write >= crash_at else None
                group = await asked(platform, MOVES[name])
                await platform.until(lambda: platform.store.writes >= crash_at)
                await platform.kill()
                platform.store.fault = lambda write, changes: None
                await platform.start()
                if group is None and len(platform.controller.state.group_deployments) == 1:
                    await MOVES[name](platform)  # it never got into the store, and whoever asked was told so
                assert await settled(platform) == expected, f"{fault} at write {number}"

            run(program, 1)


async def asked(platform: Platform, move: Move) -> GroupDeployment | None:
    try:
        return await move(platform)
    except ColdchainError:
        return None


@pytest.mark.parametrize("fault", ["unavailable", "lost reply", "lost update"])
@pytest.mark.parametrize("name", MOVES)
def test_a_store_that_fails_at_any_write_changes_nothing_in_the_end(name: str, fault: Fault) -> None:
    expected, writes = fault_free(MOVES[name])

    for number in range(2, writes + 1):

        async def program(platform: Platform, number: int = number) -> None:
            at = await begin(platform) + number
            platform.store.fault = lambda write, changes: fault if write == at else None
            await MOVES[name](platform)
            assert await settled(platform) == expected, f"{fault} at write {number}"

        run(program, 1)
