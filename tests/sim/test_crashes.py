"""The controller is killed at every single write of a move, and ends where it would have ended without."""

from collections.abc import Awaitable, Callable

import pytest

from coldchain.model.deployment import Deployment
from coldchain.model.errors import ColdchainError
from coldchain.testing.fake_engine import Life
from coldchain.testing.faulty_store import Fault
from coldchain.testing.platform import Platform, example_app, image, run, to

Move = Callable[[Platform], Awaitable[Deployment]]


async def rollout(platform: Platform) -> Deployment:
    return await platform.controller.operations.change("/shop", to(container=image("v2")), "test", force=False)


async def scale_and_replace(platform: Platform) -> Deployment:
    edit = to(container=image("v2"), instances=4)
    return await platform.controller.operations.change("/shop", edit, "test", force=False)


async def scale_down(platform: Platform) -> Deployment:
    return await platform.controller.operations.change("/shop", to(instances=1), "test", force=False)


async def delete(platform: Platform) -> Deployment:
    return await platform.controller.operations.delete("/shop", "test", force=False)


async def failing_rollout(platform: Platform) -> Deployment:
    edit = to(container=image("bad"), deadline_seconds=4.0)
    return await platform.controller.operations.change("/shop", edit, "test", force=False)


MOVES: dict[str, Move] = {
    "rollout": rollout,
    "scale and replace": scale_and_replace,
    "scale down": scale_down,
    "delete": delete,
    "failing rollout": failing_rollout,
}


async def settled(platform: Platform) -> dict[str, object]:
    """Wait until nothing is left to do; what then stands."""
    state = platform.controller.state

    def at_rest() -> bool:
        return not state.running and not state.in_doubt and all(one.in_rotation for one in state.instances.values())

    await platform.until(at_rest, within=600.0)
    version = state.wanted("/shop")
    return {
        "created": platform.engine.created["/shop"],
        "deployments": sorted((one.kind, one.state) for one in state.deployments.values()),
        "held": len(platform.engine.held),
        "images": sorted(str(one.spec.image) for one in platform.engine.held.values()),
        "instances": len(state.instances),
        "serving": len(platform.serving()),
        "versions": len(state.versions.get("/shop", {})),
        "wanted": version.app if version else None,
    }


async def begin(platform: Platform) -> int:
    """An app at rest; the number of writes until there."""
    platform.engine.life = lambda spec: Life(healthy="bad" not in (spec.image or ""))
    await platform.ended(await platform.controller.operations.create(example_app(instances=2), "test"))
    return platform.store.writes


def fault_free(move: Move, seed: int) -> tuple[dict[str, object], int]:
    """Where a move ends, and how many writes it takes."""
    found: list[tuple[dict[str, object], int]] = []

    async def program(platform: Platform) -> None:
        before = await begin(platform)
        await move(platform)
        found.append((await settled(platform), platform.store.writes - before))

    run(program, seed, gateways=2)
    return found[0]


@pytest.mark.parametrize("name", MOVES)
def test_killed_at_any_write_it_ends_as_if_nothing_had_happened(name: str) -> None:
    expected, writes = fault_free(MOVES[name], seed=1)
    assert writes > 4

    for number in range(1, writes + 1):
        for fault in ("unavailable", "lost reply"):

            async def program(platform: Platform, number: int = number, fault: Fault = fault) -> None:
                crash_at = await begin(platform) + number
                # The controller sees nothing any more from the moment at which it is killed.
                platform.store.fault = lambda write, changes: fault if write >= crash_at else None
                deployment = await asked(platform, MOVES[name])
                await platform.until(lambda: platform.store.writes >= crash_at)
                await platform.kill()
                platform.store.fault = lambda write, changes: None
                await platform.start()
                if deployment is None and len(platform.controller.state.deployments) == 1:
                    await MOVES[name](platform)  # it never got into the store, and whoever asked was told so
                assert await settled(platform) == expected, f"{fault} at write {number}"

            run(program, seed=1, gateways=2)


async def asked(platform: Platform, move: Move) -> Deployment | None:
    try:
        return await move(platform)
    except ColdchainError:
        return None


@pytest.mark.parametrize("fault", ["unavailable", "lost reply", "lost update"])
@pytest.mark.parametrize("name", MOVES)
def test_a_store_that_fails_at_any_write_changes_nothing_in_the_end(name: str, fault: Fault) -> None:
    expected, writes = fault_free(MOVES[name], seed=1)

    for number in range(2, writes + 1):

        async def program(platform: Platform, number: int = number) -> None:
            at = await begin(platform) + number
            platform.store.fault = lambda write, changes: fault if write == at else None
            await MOVES[name](platform)
            assert await settled(platform) == expected, f"{fault} at write {number}"

        run(program, seed=1, gateways=2)


@pytest.mark.parametrize("seed", range(3))
def test_a_request_whose_reply_was_lost_is_carried_out_with_nobody_asking_again(seed: int) -> None:
    async def program(platform: Platform) -> None:
        at = await begin(platform) + 1
        platform.store.fault = lambda write, changes: "lost reply" if write == at else None
        assert await asked(platform, rollout) is None
        await platform.until(lambda: {one.spec.image for one in platform.engine.held.values()} == {"sha256:shop:v2"})
        assert (await settled(platform))["created"] == 4

    run(program, seed)
