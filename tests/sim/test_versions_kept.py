"""What is beyond the versions that are kept may go only when nothing leads there any more."""

from coldchain.control.operations import VERSIONS_KEPT
from coldchain.model.version import Version
from coldchain.testing.platform import Platform, example_app, image, run, to


async def passed_over(platform: Platform) -> Version:
    """The version that serves, with more changes behind it than versions are kept, none of which got anywhere."""
    operations = platform.controller.operations
    await platform.ended(await operations.create(example_app(instances=1), "test"))
    await platform.ended(await operations.change("/shop", to(instances=2), "test", force=False))
    first = platform.controller.state.wanted("/shop")
    assert first is not None
    for number in range(VERSIONS_KEPT + 1):
        await operations.change("/shop", to(container=image(f"bad-{number}")), "test", force=True)
    return first


def test_a_version_that_is_gone_back_to_stays() -> None:
    async def program(platform: Platform) -> None:
        first = await passed_over(platform)
        state = platform.controller.state
        on_record = state.instances_of["/shop"]
        await platform.until(lambda: all(one.version_id != first.config_id for one in on_record.values()))
        assert first.config_id in state.versions["/shop"]
        back = await platform.controller.operations.roll_back("/shop", first.config_id, "test", force=True)
        assert (await platform.ended(back)).state == "succeeded"
        assert [state.app_of(one) for one in platform.instances()] == [state.versions["/shop"][first.config_id].app]

    run(program, 1)


def test_a_change_after_many_that_got_nowhere_leads_back_to_what_served() -> None:
    async def program(platform: Platform) -> None:
        first = await passed_over(platform)
        [last] = platform.controller.state.running.values()
        assert last.from_version == first.id
        back = await platform.controller.operations.cancel(last.id, "test", force=False)
        assert back is not None
        assert (await platform.ended(back)).state == "succeeded"
        wanted = platform.controller.state.wanted("/shop")
        assert wanted is not None
        assert wanted.config_id == first.config_id

    run(program, 1)
