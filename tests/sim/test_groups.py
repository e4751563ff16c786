"""Groups on a whole platform: layer by layer, all or nothing, taken over, cancelled, gone back to, deleted."""

from collections.abc import Iterable, Sequence

import pytest

from coldchain.control.group_operations import GroupOperations
from coldchain.control.operations import VERSIONS_KEPT
from coldchain.control.preview import prepare
from coldchain.decisions.group import GroupUpdate
from coldchain.documents.group import GroupRequest, Path, decode_group
from coldchain.documents.keys import Record
from coldchain.model.app import App
from coldchain.model.deployment import Deployment
from coldchain.model.errors import Conflict, InvalidDocument, NotFound
from coldchain.model.group import GroupDeployment
from coldchain.model.instance import Instance
from coldchain.testing.fake_engine import Life
from coldchain.testing.platform import Platform, example_app, image, run, to

SEEDS = range(3)
IDS = ("/shop/db", "/shop/api", "/shop/web")


def member(name: str, tag: str = "v1", **fields: object) -> App:
    before = {"/shop/api": ("/shop/db",), "/shop/web": ("/shop/api",)}.get(name, ())
    given: dict[str, object] = {
        "id": name,
        "instances": 2,
        "routes": (),
        "container": image(tag),
        "dependencies": before,
    }
    return example_app(**(given | fields))


def definition(*apps: App, dependencies: tuple[str, ...] | None = None) -> GroupRequest:
    """As it is read from a document."""
    update = GroupUpdate(id="/shop", apps=apps, dependencies=dependencies)
    places: dict[str, Path] = {app.id: ("apps", position) for position, app in enumerate(apps)}
    return GroupRequest("/shop", update, None, None, places | {"/shop": ()})


def chain(tag: str = "v1", **fields: object) -> GroupRequest:
    return definition(*(member(name, tag, **fields) for name in IDS))


def operations(platform: Platform) -> GroupOperations:
    return platform.controller.group_operations


async def deployed(platform: Platform, asked: object, *, force: bool = False) -> GroupDeployment:
    request = asked if isinstance(asked, GroupRequest) else decode_group(asked)
    return await operations(platform).change(request, "test", force=force)


async def ended(platform: Platform, group: GroupDeployment, within: float = 300.0) -> GroupDeployment:
    state = platform.controller.state
    await platform.until(lambda: not state.group_deployments[group.id].running, within)
    return state.group_deployments[group.id]


async def begun(platform: Platform, tag: str = "v1", **fields: object) -> None:
    platform.engine.life = lambda spec: Life(healthy="bad" not in (spec.image or ""))
    assert (await ended(platform, await deployed(platform, chain(tag, **fields)))).state == "succeeded"


def tags(platform: Platform) -> dict[str, set[str]]:
    """The images that run, by app."""
    found: dict[str, set[str]] = {}
    for one in platform.engine.held.values():
        if not one.status.terminal:
            found.setdefault(one.spec.app_id, set()).add(str(one.spec.image).removeprefix("sha256:shop:"))
    return found


def everywhere(tag: str) -> dict[str, set[str]]:
    return {name: {tag} for name in IDS}


def watch_layers(platform: Platform) -> list[str]:
    """What is launched of a new version before the layer before it has succeeded."""
    state, broken = platform.controller.state, list[str]()

    def look(pairs: Sequence[tuple[Record | None, Record | None]]) -> None:
        for before, after in pairs:
            if before is not None or not isinstance(after, Instance):
                continue
            running = state.running.get(after.app_id)
            if running is not None and running.paused_by == "dependency":
                broken.append(after.app_id)

    state.on_commit(look)
    return broken


@pytest.mark.parametrize("seed", SEEDS)
def test_a_group_comes_layer_by_layer(seed: int) -> None:
    async def program(platform: Platform) -> None:
        broken = watch_layers(platform)
        order: list[str] = []

        def look(pairs: Sequence[tuple[Record | None, Record | None]]) -> None:
            ends = [one for _, one in pairs if isinstance(one, Deployment) and not one.running]
            order.extend(one.app_id for one in ends)

        platform.controller.state.on_commit(look)
        group = await deployed(platform, chain())
        assert sorted(platform.controller.state.apps) == sorted(IDS), "all are there at once"
        with pytest.raises(Conflict) as raised:
            await platform.controller.operations.change("/shop/web", to(instances=5), "test", force=False)
        assert raised.value.deployments == (group.id,)
        assert (await ended(platform, group)).state == "succeeded"
        assert order == list(IDS)
        assert broken == []
        assert all(len(platform.serving(name)) == 2 for name in IDS)

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_apps_of_a_later_layer_serve_on_as_they_were(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begun(platform)
        before = {one.id for one in platform.serving("/shop/web")}
        platform.engine.life = lambda spec: Life(start_seconds=5.0, healthy=True)
        group = await deployed(platform, chain("v2", instances=1))
        await platform.clock.sleep(3.0)
        assert {one.id for one in platform.serving("/shop/web")} == before, "scaled down and replaced, but not yet"
        gone = min(before)
        task = next(one for one in platform.engine.held.values() if one.spec.instance_id == gone)
        platform.engine.crash(task.spec.task_id)
        assert (await ended(platform, group)).state == "succeeded"
        assert tags(platform) == everywhere("v2")

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bad", IDS)
def test_a_failure_in_any_layer_leads_all_back_once(seed: int, bad: str) -> None:
    async def program(platform: Platform) -> None:
        await begun(platform)
        before = {name: {one.id for one in platform.serving(name)} for name in IDS}
        apps = [member(name, "bad" if name == bad else "v2", deadline_seconds=4.0) for name in IDS]
        group = await ended(platform, await deployed(platform, definition(*apps)))
        assert (group.state, group.reason.startswith(f"{bad}: deadline of 4 s passed")) == ("failed", True)
        groups = platform.controller.state.group_deployments
        back = next(one for one in groups.values() if one.rollback_of == group.id)
        assert (await ended(platform, back)).state == "succeeded"
        assert len(groups) == 3
        assert tags(platform) == everywhere("v1")
        untouched = IDS[IDS.index(bad) :]
        assert all({one.id for one in platform.serving(name)} == before[name] for name in untouched)

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_new_group_that_fails_is_gone_again(seed: int) -> None:
    async def program(platform: Platform) -> None:
        platform.engine.life = lambda spec: Life(healthy="bad" not in (spec.image or ""))
        apps = [member(IDS[0]), member(IDS[1], "bad", deadline_seconds=4.0), member(IDS[2])]
        group = await ended(platform, await deployed(platform, definition(*apps)))
        assert group.state == "failed"
        await platform.until(lambda: not platform.controller.state.moved_by)
        await platform.until(lambda: not platform.controller.state.instances, within=100.0)
        assert not platform.controller.state.apps
        assert not platform.controller.state.groups

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_without_rollback_on_failure_only_what_has_not_begun_goes_back(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begun(platform)
        apps = [
            member(name, "bad" if name == IDS[1] else "v2", deadline_seconds=4.0, rollback_on_failure=False)
            for name in IDS
        ]
        group = await ended(platform, await deployed(platform, definition(*apps)))
        assert group.state == "failed"
        await platform.until(lambda: not platform.controller.state.moved_by)
        state = platform.controller.state
        wanted = [app.container.docker.image for app in state.wanted_apps() if app.container is not None]
        assert sorted(wanted) == ["shop:bad", "shop:v1", "shop:v2"]
        assert tags(platform)[IDS[2]] == {"v1"}

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("after", [0.01, 0.1, 0.25, 0.4])
def test_a_cancelled_group_deployment_leads_back(seed: int, after: float) -> None:
    async def program(platform: Platform) -> None:
        await begun(platform)
        group = await deployed(platform, definition(*(member(name, "v2") for name in IDS[:2]), member("/shop/new")))
        await platform.clock.sleep(after)
        back = await operations(platform).cancel(group.id, "test", force=False)
        assert back is not None
        assert platform.controller.state.group_deployments[group.id].state == "cancelled"
        assert (await ended(platform, back)).state == "succeeded"
        assert tags(platform) == everywhere("v1"), "what was removed is there again, what was new is gone"

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_group_deployment_cancelled_by_force_just_ends(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begun(platform)
        group = await deployed(platform, chain("v2"))
        await platform.clock.sleep(0.2)
        assert await operations(platform).cancel(group.id, "test", force=True) is None
        assert not platform.controller.state.running
        await platform.clock.sleep(60.0)
        writes = platform.store.writes
        await platform.clock.sleep(60.0)
        assert platform.store.writes == writes
        assert len(platform.serving(IDS[2])) == 2

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("after", [0.1, 0.25])
def test_who_forces_one_app_takes_it_over_and_the_others_go_on(seed: int, after: float) -> None:
    async def program(platform: Platform) -> None:
        await begun(platform)
        group = await deployed(platform, chain("v2"))
        await platform.clock.sleep(after)
        alone = await platform.controller.operations.change(IDS[2], to(container=image("v3")), "test", force=True)
        assert platform.controller.state.group_deployments[group.id].without == (IDS[2],)
        assert (await platform.ended(alone)).state == "succeeded"
        found = await ended(platform, group)
        assert (found.state, "others took over" in found.reason) == ("succeeded", True)
        assert tags(platform) == {IDS[0]: {"v2"}, IDS[1]: {"v2"}, IDS[2]: {"v3"}}

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_newer_group_deployment_takes_the_place_of_one_on_its_way(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begun(platform)
        first = await deployed(platform, chain("v2"))
        await platform.clock.sleep(0.3)
        with pytest.raises(Conflict) as raised:
            await deployed(platform, chain("v3"))
        assert raised.value.deployments == (first.id,)
        second = await deployed(platform, chain("v3"), force=True)
        state = platform.controller.state
        assert state.group_deployments[first.id].state == "superseded", "in the answer, and in whatever is read next"
        assert {one.part_of for one in state.running.values()} == {second.id}
        assert (await ended(platform, second)).state == "succeeded"
        assert tags(platform) == everywhere("v3")

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_paused_it_stays_where_it_is_and_resumed_it_goes_on(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begun(platform)
        group = await deployed(platform, chain("v2", deadline_seconds=20.0))
        await platform.clock.sleep(0.1)
        await operations(platform).pause(group.id)
        await platform.clock.sleep(100.0)
        assert platform.controller.state.group_deployments[group.id].running
        assert tags(platform)[IDS[1]] == tags(platform)[IDS[2]] == {"v1"}
        await operations(platform).resume(group.id)
        held = [one.paused_by for one in platform.controller.state.running.values()]
        assert held.count("dependency") == 2, "a hand lets nobody past what he depends on"
        with pytest.raises(Conflict, match="waits for the apps"):
            await platform.controller.operations.resume(IDS[2])
        assert (await ended(platform, group)).state == "succeeded"

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_task_that_nobody_can_kill_does_not_hold_up_the_others(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begun(platform)

        async def kill(task_id: str, grace_seconds: float) -> None:
            if "db" not in task_id:
                await real(task_id, grace_seconds)

        real, platform.engine.kill = platform.engine.kill, kill  # type: ignore[method-assign]
        free = (member(name, "v2", dependencies=()) for name in IDS[1:])
        group = await ended(platform, await deployed(platform, definition(*free)))
        assert group.state == "succeeded"
        assert [one.app_id for one in platform.controller.state.running.values()] == [IDS[0]]
        [left] = platform.controller.state.moves()
        assert left.id == group.members[IDS[0]], "it is shown for itself from now on"

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_came_to_its_end_while_it_was_held_ends_when_it_is_let_go(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begun(platform)
        group = await operations(platform).delete("/shop", "test", force=False)
        await operations(platform).pause(group.id)
        await platform.until(lambda: not platform.controller.state.running)
        await platform.clock.sleep(60.0)
        assert platform.controller.state.group_deployments[group.id].running
        await operations(platform).resume(group.id)
        assert (await ended(platform, group, within=0.5)).state == "succeeded"

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_deleted_group_leaves_nothing_and_can_be_gone_back_to(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begun(platform)
        single = platform.controller.operations
        for instances in (3, 4):
            edit = to(instances=instances)
            await platform.ended(await single.change(IDS[0], edit, "test", force=False))
        name = platform.controller.groups.version_of("/shop").id
        deleted = await operations(platform).delete("/shop", "test", force=False)
        assert (await ended(platform, deleted)).state == "succeeded"
        await platform.until(lambda: not platform.controller.state.instances, within=100.0)
        assert not platform.controller.state.apps
        with pytest.raises(NotFound):
            await operations(platform).delete("/shop", "test", force=False)
        writes = platform.store.writes
        await platform.clock.sleep(30.0)
        assert platform.store.writes == writes, "at rest"
        back = await deployed(platform, {"id": "/shop", "version": name})
        assert (await ended(platform, back)).state == "succeeded"
        assert tags(platform) == everywhere("v1")
        assert len(platform.serving(IDS[0])) == 4

    run(program, seed)


def test_newer_versions_of_an_app_do_not_push_out_what_a_version_of_a_group_is_made_of() -> None:
    async def program(platform: Platform) -> None:
        single, state = platform.controller.operations, platform.controller.state
        await platform.ended(await single.create(member(IDS[0], instances=0), "test"))
        await platform.ended(await single.change(IDS[0], to(instances=1), "test", force=False))
        other = await deployed(platform, definition(member(IDS[0], instances=1), member("/shop/other", instances=0)))
        await ended(platform, other)
        for number in range(VERSIONS_KEPT + 1):
            edit = to(container=image(f"v{number}"), instances=0)
            await platform.ended(await single.change(IDS[0], edit, "test", force=False))
        await platform.until(lambda: not state.instances, within=100.0)
        await single.change(IDS[0], to(instances=1), "test", force=False)
        for one in state.group_versions["/shop"].values():
            made_of = {state.versions[name][version].config_id for name, version in one.apps.items() if name == IDS[0]}
            assert made_of <= state.versions[IDS[0]].keys()

    run(program, 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_version_of_a_group_is_made_of_stays_with_it(seed: int) -> None:
    """The last version of an app may be nothing but another number of an older one, from which its instances are."""

    async def program(platform: Platform) -> None:
        single, state = platform.controller.operations, platform.controller.state
        alone = member(IDS[0], instances=1)
        await platform.ended(await single.create(alone, "test"))
        await platform.ended(await single.change(IDS[0], to(instances=0), "test", force=False))
        name = platform.controller.groups.version_of("/shop").id
        await ended(platform, await operations(platform).delete("/shop", "test", force=False))
        await platform.until(lambda: not state.instances, within=100.0)
        await platform.clock.sleep(5.0)
        back = await deployed(platform, {"id": "/shop", "version": name})
        assert (await ended(platform, back)).state == "succeeded"
        _, play = prepare(platform.controller, alone, platform.clock.now())
        assert play().outcome == "reached"
        await platform.ended(await single.change(IDS[0], to(instances=2), "test", force=False))
        assert {state.app_of(one).instances for one in platform.serving(IDS[0])} == {1}

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_decided_on_an_app_in_the_pass_that_takes_it_back(seed: int) -> None:
    """What is seen of it then is from before: more of the version that failed would be made."""

    async def program(platform: Platform) -> None:
        await begun(platform)
        reconciler, decided = platform.controller.reconciler, set[str]()
        once, broken = reconciler.once, list[set[str]]()

        async def watched(app_ids: Iterable[str]) -> None:
            decided.clear()
            await once(app_ids)

        def look(pairs: Sequence[tuple[Record | None, Record | None]]) -> None:
            for before, after in pairs:
                if before is None and isinstance(after, GroupDeployment) and after.rollback_of:
                    broken.append(decided & after.members.keys())

        reconciler.once = watched  # type: ignore[method-assign]
        reconciler.on_decision = lambda view, now, actions: decided.add(view.app_id)
        platform.controller.state.on_commit(look)
        group = await deployed(platform, chain("bad", deadline_seconds=4.0))
        reconciler.mark_all()
        assert (await ended(platform, group)).state == "failed"
        assert broken == [set()]

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_how_its_members_ended_is_known_as_long_as_it_runs(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coldchain.control.operations.DEPLOYMENTS_KEPT", 0)

    async def program(platform: Platform) -> None:
        await begun(platform)
        await operations(platform).pause((await deployed(platform, definition(*map(member, IDS[:2])))).id)
        await platform.until(lambda: not platform.controller.state.running)
        await platform.controller.operations.create(example_app(id="/other", routes=()), "test")
        [group] = {one.id: one for one in platform.controller.state.moved_by.values()}.values()
        assert group.members[IDS[2]] in platform.controller.state.deployments
        await operations(platform).resume(group.id)
        await ended(platform, group)
        await platform.controller.operations.delete("/other", "test", force=True)
        assert group.members[IDS[2]] not in platform.controller.state.deployments

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_version_of_a_group_is_all_of_it(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begun(platform)
        await platform.ended(await platform.controller.operations.change(IDS[0], to(instances=3), "test", force=False))
        first = platform.controller.groups.version_of("/shop").id
        changed = definition(member(IDS[0], "v2"), member("/shop/new"), dependencies=("/base",))
        await platform.ended(await platform.controller.operations.create(example_app(id="/base", routes=()), "test"))
        assert (await ended(platform, await deployed(platform, changed))).state == "succeeded"
        back = await deployed(platform, {"id": "/shop", "version": first})
        assert (await ended(platform, back)).state == "succeeded"
        assert tags(platform) == everywhere("v1") | {"/base": {"v1"}}
        assert len(platform.serving(IDS[0])) == 3, "as it was before the group changed, not when it last did"
        assert platform.controller.state.groups["/shop"].dependencies == ()
        created = dict(platform.engine.created)
        scaled = await deployed(platform, {"id": "/shop", "scaleBy": 0.5})
        assert (await ended(platform, scaled)).state == "succeeded"
        assert [len(platform.serving(name)) for name in IDS] == [2, 1, 1]
        assert platform.engine.created == created

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_wrong_with_any_app_changes_nothing_at_all(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begun(platform)
        writes = platform.store.writes
        wrong = definition(member(IDS[0], "v2"), member(IDS[1], "v2", dependencies=("/shop/none",)))
        circle = definition(member(IDS[0], dependencies=(IDS[2],)), *map(member, IDS[1:]))
        taken = definition(*(member(name, routes=example_app().routes) for name in IDS[:2]))
        for document, place in (
            (wrong, "/apps/1/dependencies/0"),
            (circle, "/apps/"),
            (taken, "/apps/0/routes/0/domains/0"),
        ):
            with pytest.raises(InvalidDocument) as raised:
                await deployed(platform, document)
            assert raised.value.problems[0].path.startswith(place)
        assert platform.store.writes == writes

    run(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_versions_of_a_group_are_kept_up_to_a_number_and_with_them_those_of_its_apps(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await begun(platform, instances=1)
        for number in range(60):
            await deployed(platform, {"id": "/shop", "scaleBy": 2.0 if number % 2 else 0.5}, force=True)
        state = platform.controller.state
        assert len(state.group_versions["/shop"]) <= 50
        for one in state.group_versions["/shop"].values():
            assert all(version in state.versions[name] for name, version in one.apps.items())

    run(program, seed)
