"""Gray rollouts, on the real control loops in virtual time: who stands beside whom, and who may leave when."""

import asyncio
from collections import Counter
from itertools import pairwise

import msgspec
import pytest

from coldchain.decisions.group import GroupUpdate
from coldchain.documents.group import GroupRequest, Path
from coldchain.model.app import Rollout, RolloutStep
from coldchain.model.deployment import Deployment
from coldchain.model.errors import Conflict, NotFound
from coldchain.model.gateway_resource import SHARES, GrayRelease, gray_key
from coldchain.model.gray import GrayPlan, GrayRollout, GrayRule
from coldchain.model.group import GroupDeployment
from coldchain.model.traffic import Traffic
from coldchain.testing.fake_engine import Life
from coldchain.testing.fake_gateway import FakeGateway
from coldchain.testing.platform import Platform, example_app, image, run, to

PLAN = Rollout(
    steps=(
        RolloutStep(share=0.0, pause_seconds=10.0),
        RolloutStep(share=0.05, pause_seconds=10.0),
        RolloutStep(share=0.5),
        RolloutStep(share=1.0, pause_seconds=10.0),
    ),
    gray=GrayPlan(mark="spring", rules=(GrayRule(by="hash", who="cookie", name="id"),)),
)
USERS = range(0, SHARES, 100)
"""By the number that their hash is."""


class Watcher:
    """What each user gets at each gateway: never 503, and never to and fro."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.sides: dict[tuple[str, int], list[str]] = {}
        for gateway in platform.gateways:
            gateway.applied = self.applied

    def applied(self, gateway: FakeGateway) -> None:
        """An update is in force at a gateway."""
        service = gateway.rotation.services.get("shop")
        serving = [one for one in service.endpoints if one.weight] if service else []
        release = gateway.rotation.resources.get(gray_key("shop"))
        if not serving:
            return
        versions = {one.version for one in serving}
        if not isinstance(release, GrayRelease):
            if len(versions) > 1:
                self.platform.violations.append(f"{gateway.name} serves {versions} without telling them apart")
            return
        for user in USERS:
            chosen = release.only or ("gray" if user < release.share else "normal")
            found = "gray" if release.version in versions and (chosen == "gray" or len(versions) == 1) else "normal"
            if found == "normal" and release.normal not in (None, *versions):
                self.platform.violations.append(f"{gateway.name}: nobody of {release.normal} serves, of {versions}")
            if release.only and found != release.only:
                self.platform.violations.append(f"{gateway.name}: {release.only} only, and it cannot serve")
            sides = self.sides.setdefault((gateway.name, user), [])
            if not sides or sides[-1] != found:
                sides.append(found)

    def moves(self) -> Counter[tuple[str, ...]]:
        """How many users at gateways went which way."""
        return Counter(tuple(sides) for sides in self.sides.values())


async def begun(platform: Platform, rollout: Rollout = PLAN, instances: int = 3, **fields: object) -> Deployment:
    """A gray rollout of a new version over one that serves."""
    operations = platform.controller.operations
    await platform.ended(await operations.create(example_app(instances=instances, **fields), "test"))
    edit = to(container=image("v2"), rollout=rollout)
    return await operations.change("/shop", edit, "test", force=False)


def running(platform: Platform) -> Deployment:
    return platform.controller.state.running["/shop"]


def gray(platform: Platform) -> GrayRollout:
    found = running(platform).gray
    assert found is not None
    return found


def mix(platform: Platform) -> dict[str, int]:
    """How many instances of each image are in rotation."""
    tags = (platform.controller.state.app_of(one).container for one in platform.serving())
    return dict(Counter(one.docker.image.partition(":")[2] for one in tags if one is not None))


async def reached(platform: Platform, steps: int) -> None:
    await platform.until(lambda: (running(platform).steps_done, running(platform).paused_by) == (steps, "plan"))


@pytest.mark.parametrize("seed", range(5))
def test_the_shares_grow_beside_the_old_version_which_leaves_when_it_gets_nothing(seed: int) -> None:
    async def program(platform: Platform) -> None:
        watcher = Watcher(platform)
        rollout = await begun(platform)
        for steps, share in ((1, 0.0), (2, 0.05), (3, 0.5)):
            await reached(platform, steps)
            assert (gray(platform).share, mix(platform)) == (share, {"v1": 3, "v2": 3})
        await asyncio.sleep(1000)
        assert running(platform).steps_done == 3
        await platform.controller.operations.resume("/shop")
        await reached(platform, 4)
        assert (gray(platform).state, mix(platform)) == ("open", {"v1": 3, "v2": 3})
        ended = await platform.ended(rollout)
        assert (ended.state, mix(platform)) == ("succeeded", {"v2": 3})
        assert watcher.moves() == {("normal", "gray"): 2 * len(USERS)}
        await platform.until(lambda: all(not one.rotation.resources for one in platform.gateways))

    run(program, seed, gateways=2)


@pytest.mark.parametrize("seed", range(5))
def test_promote_and_abort_send_all_to_one_version_before_anybody_leaves(seed: int) -> None:
    async def program(platform: Platform) -> None:
        watcher = Watcher(platform)
        operations = platform.controller.operations
        rollout = await begun(platform)
        await reached(platform, 2)
        back = await operations.cancel(rollout.id, "test", force=False)
        assert back is not None
        assert (await platform.ended(back)).state == "succeeded"
        assert mix(platform) == {"v1": 3}
        assert watcher.moves() == {("normal",): 2 * 95, ("normal", "gray", "normal"): 2 * 5}
        watcher.sides.clear()
        again = await operations.change("/shop", to(container=image("v3"), rollout=PLAN), "test", force=False)
        await reached(platform, 1)
        await operations.promote("/shop")
        assert (await platform.ended(again)).state == "succeeded"
        assert mix(platform) == {"v3": 3}
        assert watcher.moves() == {("normal", "gray"): 2 * len(USERS)}

    run(program, seed, gateways=2)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("abort", [True, False], ids=["abort", "promote"])
def test_nobody_leaves_while_a_gateway_has_not_heard(seed: int, abort: bool) -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        rollout = await begun(platform)
        await reached(platform, 2)
        platform.gateways[1].apply_seconds = 2.0
        if abort:
            await operations.cancel(rollout.id, "test", force=False)
        else:
            await operations.promote("/shop")
        await platform.until(lambda: platform.gateways[0].rotation.resources[gray_key("shop")].only is not None)  # type: ignore[union-attr]
        await asyncio.sleep(1.0)
        assert mix(platform) == {"v1": 3, "v2": 3}
        await platform.ended(running(platform))
        assert mix(platform) == ({"v1": 3} if abort else {"v2": 3})

    run(program, seed, gateways=2)


@pytest.mark.parametrize("seed", range(20))
def test_a_controller_that_is_killed_goes_on_from_the_records(seed: int) -> None:
    async def program(platform: Platform) -> None:
        watcher = Watcher(platform)
        rollout = await begun(
            platform,
            msgspec.structs.replace(
                PLAN, steps=tuple(msgspec.structs.replace(one, pause_seconds=3.0) for one in PLAN.steps)
            ),
        )
        for _ in range(4):
            await asyncio.sleep(0.3 + seed * 0.37)
            await platform.kill()
            await asyncio.sleep(seed % 3)
            await platform.start()
        now = platform.controller.state.running.get("/shop")
        if seed % 2 and now is not None and now.gray is not None and now.gray.state == "open":
            back = await platform.controller.operations.cancel(rollout.id, "test", force=False)
            assert back is not None
            rollout = back
        assert (await platform.ended(rollout)).state == "succeeded"
        assert mix(platform) in ({"v1": 3}, {"v2": 3})
        for sides in watcher.moves():
            assert all(before != after for before, after in pairwise(sides))
            assert len(sides) <= 2 + (rollout.kind == "rollback")

    run(program, seed, gateways=2)


def test_a_version_that_never_gets_well_gets_nothing_and_is_taken_back() -> None:
    async def program(platform: Platform) -> None:
        watcher = Watcher(platform)
        rollout = await begun(platform)
        platform.engine.life = lambda spec: Life(healthy=spec.version_id != rollout.to_version)
        failed = await platform.ended(rollout, within=2000)
        assert failed.state == "failed"
        back = running(platform)
        assert (back.rollback_of, gray(platform).state) == (rollout.id, "aborted")
        assert (await platform.ended(back)).state == "succeeded"
        assert (mix(platform), watcher.moves()) == ({"v1": 3}, {("normal",): 100})

    run(program, 1)


def test_errors_of_the_new_version_take_it_back_before_anybody_else_gets_it() -> None:
    async def program(platform: Platform) -> None:
        watcher = Watcher(platform)
        rollout = await begun(platform)
        await reached(platform, 2)
        for tick in range(1, 12):
            for one in platform.serving():
                errors = 10 * tick if one.version_id == rollout.to_version else 0
                platform.gateways[0].counts[one.id] = Traffic(requests=40 * tick, errors=errors)
            await asyncio.sleep(0.8)
        failed = await platform.ended(rollout)
        assert "25.00%" in failed.reason
        back = next(one for one in platform.controller.state.deployments.values() if one.rollback_of == failed.id)
        assert (await platform.ended(back)).state == "succeeded"
        assert (mix(platform), watcher.moves()) == ({"v1": 3}, {("normal",): 95, ("normal", "gray", "normal"): 5})

    run(program, 1)


def test_a_newer_version_takes_the_place_of_a_gray_one_which_gets_nothing_more() -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        first = await begun(platform)
        await reached(platform, 2)
        await operations.change("/shop", to(container=image("v3"), rollout=PLAN), "test", force=True)
        await reached(platform, 2)
        assert (gray(platform).normal, mix(platform)) == (first.from_version, {"v1": 3, "v3": 3})
        plain = await operations.change("/shop", to(container=image("v4"), rollout=Rollout()), "test", force=True)
        await platform.until(lambda: "shop" in str(platform.gateways[0].rotation.resources))
        assert gray(platform).state == "aborted"
        assert (await platform.ended(plain)).state == "succeeded"
        assert mix(platform) == {"v4": 3}

    run(program, 1)


def test_a_scale_keeps_the_share_and_other_rules_are_taken_over() -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await begun(platform)
        await reached(platform, 3)
        other = msgspec.structs.replace(PLAN, gray=GrayPlan(mark="summer"))
        await operations.change("/shop", to(instances=4, rollout=other), "test", force=True)
        await reached(platform, 3)
        found = gray(platform)
        assert (found.share, found.mark, mix(platform)) == (0.5, "summer", {"v1": 3, "v2": 4})

    run(program, 1)


def test_somebody_sets_the_share_and_the_plan_goes_on_above_it() -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        with pytest.raises(NotFound):
            await operations.share("/shop", 0.3, None)
        rollout = await begun(platform)
        with pytest.raises(Conflict, match="do not all serve yet"):
            await operations.share("/shop", 0.3, None)
        await reached(platform, 2)
        rules = (GrayRule(by="weight"),)
        held = await operations.share("/shop", 0.3, rules)
        assert (held.paused_by, held.steps_done) == ("operator", 2)
        await asyncio.sleep(100)
        release = platform.gateways[0].rotation.resources[gray_key("shop")]
        assert isinstance(release, GrayRelease)
        assert (release.share, release.rules) == (3000, rules)
        lower = await operations.share("/shop", 0.0, None)
        assert lower.steps_done == 1
        await operations.resume("/shop")
        await reached(platform, 2)
        await reached(platform, 3)
        with pytest.raises(Conflict, match="would be shared out"):
            await operations.cancel(rollout.id, "test", force=True)
        assert gray(platform).share == 0.5

    run(program, 1)


def test_a_member_of_a_group_that_fails_shares_nothing_out_while_all_are_taken_back() -> None:
    async def program(platform: Platform) -> None:
        watcher = Watcher(platform)
        apps = [example_app(), example_app(id="/db", routes=())]
        groups = platform.controller.group_operations

        async def change(tag: str, rollout: Rollout) -> GroupDeployment:
            new = [msgspec.structs.replace(one, container=image(tag), rollout=rollout) for one in apps[:1]]
            update = GroupUpdate(id="/", apps=(*new, msgspec.structs.replace(apps[1], container=image(tag))))
            places: dict[str, Path] = {"/shop": ("apps", 0), "/db": ("apps", 1), "/": ()}
            return await groups.change(GroupRequest("/", update, None, None, places), "test", force=False)

        state = platform.controller.state
        first = await change("v1", Rollout())
        await platform.until(lambda: not state.group_deployments[first.id].running)
        second = await change("v2", PLAN)
        await reached(platform, 2)
        for tick in range(1, 12):
            for one in platform.serving():
                errors = 10 * tick if state.app_of(one).rollout.gray is not None else 0
                platform.gateways[0].counts[one.id] = Traffic(requests=40 * tick, errors=errors)
            await asyncio.sleep(0.8)
        await platform.until(lambda: state.group_deployments[second.id].state == "failed")
        await platform.until(lambda: not state.running)
        assert (mix(platform), watcher.moves()) == ({"v1": 2}, {("normal",): 95, ("normal", "gray", "normal"): 5})

    run(program, 1)
