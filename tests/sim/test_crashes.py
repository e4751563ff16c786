"""The controller is killed at every single write of a move, and ends where it would have ended without."""

import pytest

from coldchain.model.deployment import Deployment
from coldchain.testing.crashes import Crashes, Move, asked
from coldchain.testing.fake_engine import Life
from coldchain.testing.faulty_store import Fault
from coldchain.testing.platform import Platform, example_app, image, run, to


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

    await platform.until(at_rest, within=600.0, every=0.1)
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


CRASHES = Crashes(
    begin=begin, settled=settled, recorded=lambda platform: platform.controller.state.deployments, gateways=2
)


@pytest.mark.parametrize("name", MOVES)
def test_killed_at_any_write_it_ends_as_if_nothing_had_happened(name: str) -> None:
    CRASHES.killed_at_each_write(MOVES[name])


@pytest.mark.parametrize("fault", ["unavailable", "lost reply", "lost update"])
@pytest.mark.parametrize("name", MOVES)
def test_a_store_that_fails_at_any_write_changes_nothing_in_the_end(name: str, fault: Fault) -> None:
    CRASHES.failing_at_each_write(MOVES[name], fault)


@pytest.mark.parametrize("seed", range(3))
def test_a_request_whose_reply_was_lost_is_carried_out_with_nobody_asking_again(seed: int) -> None:
    async def program(platform: Platform) -> None:
        at = await begin(platform) + 1
        platform.store.fault = lambda write, changes: "lost reply" if write == at else None
        assert await asked(platform, rollout) is None
        await platform.until(lambda: {one.spec.image for one in platform.engine.held.values()} == {"sha256:shop:v2"})
        assert (await settled(platform))["created"] == 4

    run(program, seed)
