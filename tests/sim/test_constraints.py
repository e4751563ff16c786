"""Constraints on a whole platform: they hold, and they stop no rollout and no replacement."""

from collections import Counter

import msgspec
import pytest

from coldchain.model.app import HealthCheck
from coldchain.model.offer import Offer
from coldchain.testing.fake_engine import ONE_AGENT
from coldchain.testing.platform import Platform, example_app, image, run, to

UNIQUE = (("hostname", "UNIQUE"),)
CHECK = HealthCheck(path="/health", interval_seconds=1.0, timeout_seconds=0.5, grace_period_seconds=5.0)


def agent(number: int, rack: str = "r1") -> Offer:
    name = f"host-{number}"
    return msgspec.structs.replace(
        ONE_AGENT, agent=name, hostname=name, subnet=f"10.{210 + number}.0.0/16", attributes={"rack": rack}
    )


async def given(platform: Platform, *agents: Offer) -> None:
    """These agents instead of the one that there is."""
    platform.engine.lose_agent(ONE_AGENT.agent)
    for one in agents:
        platform.engine.add_agent(one)
    await platform.controller.tasks.list_now()


async def created(platform: Platform, **fields: object) -> None:
    app = example_app(**({"health_checks": (CHECK,)} | fields))
    ended = await platform.ended(await platform.controller.operations.create(app, "test"))
    assert ended.state == "succeeded", ended.reason


def agents_of(platform: Platform) -> list[str]:
    return sorted(one.agent or "" for one in platform.serving())


@pytest.mark.parametrize("seed", range(5))
def test_a_rollout_of_as_many_as_there_are_agents_goes_through_and_never_below_its_number(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await given(platform, *(agent(number) for number in range(3)))
        await created(platform, instances=3, constraints=UNIQUE)
        least = 3

        def look(pairs: object) -> None:
            nonlocal least
            least = min(least, len(platform.serving()))

        platform.controller.state.on_commit(look)
        for edit in (to(container=image("v2")), to(container=image("v3"))):
            moved = await platform.ended(
                await platform.controller.operations.change("/shop", edit, "test", force=False)
            )
            assert moved.state == "succeeded", moved.reason
            assert agents_of(platform) == ["host-0", "host-1", "host-2"]
        assert least == 3

    run(program, seed)


@pytest.mark.parametrize("seed", range(5))
def test_who_is_sick_is_replaced_beside_him_where_no_other_agent_is_allowed(seed: int) -> None:
    async def program(platform: Platform) -> None:
        await given(platform, *(agent(number) for number in range(3)))
        await created(platform, instances=3, constraints=UNIQUE)
        sick = platform.serving()[0]
        platform.prober.failing = lambda probe: probe.instance_id == sick.id
        await platform.until(lambda: sick.id not in {one.id for one in platform.instances()})
        await platform.until(lambda: len(platform.serving()) == 3)
        assert agents_of(platform) == ["host-0", "host-1", "host-2"]

    run(program, seed)


def test_who_fits_nowhere_waits_with_the_reason_until_an_agent_comes() -> None:
    async def program(platform: Platform) -> None:
        await given(platform, agent(0), agent(1, "r2"))
        await created(platform, instances=2, constraints=UNIQUE)
        operations = platform.controller.operations
        scale = await operations.change("/shop", to(instances=3), "test", force=False)
        refused = await platform.until(lambda: list(platform.controller.reconciler.refused.values()))
        assert refused[0].constraints == {"hostname UNIQUE": 2}
        assert "a constraint of the app on 2 (hostname UNIQUE: 2)" in str(refused[0])
        platform.engine.add_agent(agent(2))
        assert (await platform.ended(scale)).state == "succeeded"
        assert agents_of(platform) == ["host-0", "host-1", "host-2"]

    run(program, 0)


def test_groups_share_out_the_number_that_is_wanted_now() -> None:
    async def program(platform: Platform) -> None:
        await given(platform, *(agent(number, f"r{number % 2}") for number in range(3)))
        await created(platform, instances=2, constraints=(("rack", "GROUP_BY", "2"),))
        operations = platform.controller.operations
        for instances in (5, 4, 3, 6):
            scale = await operations.change("/shop", to(instances=instances), "test", force=False)
            assert (await platform.ended(scale)).state == "succeeded"
            racks = Counter(one.constraint_values["rack"] for one in platform.serving())
            assert max(racks.values()) - min(racks.values()) == instances % 2, racks

    run(program, 0)


def test_an_agent_that_is_away_still_counts_and_a_new_controller_knows() -> None:
    async def program(platform: Platform) -> None:
        rack = (("rack", "MAX_PER", "1"),)
        await given(platform, agent(0, "r1"), agent(1, "r2"))
        await created(platform, instances=1, constraints=rack)
        first = platform.serving()[0]
        other = agent(5, "r1" if first.agent == "host-0" else "r2")
        del platform.engine._agents[first.agent or ""]  # its offer is withdrawn, its tasks run on
        platform.engine.add_agent(other)
        await platform.kill()
        await platform.start()
        operations = platform.controller.operations
        await platform.until(lambda: platform.controller.tasks.known)
        scale = await operations.change("/shop", to(instances=2), "test", force=False)
        assert (await platform.ended(scale)).state == "succeeded"
        assert first.id in {one.id for one in platform.serving()}
        assert {one.constraint_values["rack"] for one in platform.serving()} == {"r1", "r2"}

    run(program, 0)


@pytest.mark.parametrize(("selection", "left"), [("YOUNGEST_FIRST", 0), ("OLDEST_FIRST", 1)])
def test_who_leaves_first_is_chosen_by_the_definition_of_the_day(selection: str, left: int) -> None:
    async def program(platform: Platform) -> None:
        await created(platform, instances=1)
        operations = platform.controller.operations
        await platform.ended(await operations.change("/shop", to(instances=2), "test", force=False))
        by_age = sorted(platform.serving(), key=lambda one: one.created_at)
        await platform.ended(await operations.change("/shop", to(kill_selection=selection), "test", force=False))
        assert platform.engine.created["/shop"] == 2, "nothing was replaced"
        await platform.ended(await operations.change("/shop", to(instances=1), "test", force=False))
        assert [one.id for one in platform.serving()] == [by_age[left].id]

    run(program, 0)


@pytest.mark.parametrize("seed", range(5))
def test_a_rack_that_comes_back_while_its_instances_are_replaced_is_not_kept_beside_the_other(seed: int) -> None:
    """Half of those that it had were let go by then."""

    async def program(platform: Platform) -> None:
        smaller = [msgspec.structs.replace(agent(number, "r2"), mem=ONE_AGENT.mem / 2) for number in (2, 3)]
        await given(platform, agent(0, "r1"), agent(1, "r1"), *smaller)
        await created(platform, instances=4, constraints=(("rack", "CLUSTER"),))
        away = [one.task_id for one in platform.serving()]
        assert {one.constraint_values["rack"] for one in platform.serving()} == {"r1"}
        least = 4

        def look(pairs: object) -> None:
            nonlocal least
            least = min(least, len(platform.serving()))
            kept = [one.task_id for one in platform.serving() if one.task_id in away]
            if len(kept) == 2:
                for task_id in kept:
                    platform.engine.orphan(task_id, "")

        platform.controller.state.on_commit(look)
        for task_id in away:
            platform.engine.orphan(task_id, "agent")
        await platform.clock.sleep(60.0)
        assert [one.constraint_values["rack"] for one in platform.serving()] == ["r2"] * 4
        assert (least, len(platform.instances())) == (4, 4)

    run(program, seed)
