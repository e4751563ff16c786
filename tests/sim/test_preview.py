"""What a preview shows is what then happens, on a platform whose tasks start and stop in their own time."""

import pytest

from coldchain.control.preview import prepare
from coldchain.decisions.preview import Preview
from coldchain.model.app import App, UpgradeStrategy
from coldchain.model.instance import Instance
from coldchain.testing.platform import Pairs, Platform, example_app, image, run

STRATEGIES = [(1.0, 1.0), (1.0, 0.34), (0.5, 0.0), (0.5, 0.5), (0.0, 0.0)]


class Observed:
    """What really happens, from every write."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.left: list[str] = []
        self.launched = 0
        self.peak_live = len(platform.instances())
        self.least_in_rotation = len(platform.serving())
        platform.controller.state.on_commit(self._look)

    def _look(self, pairs: Pairs) -> None:
        for before, after in pairs:
            if isinstance(before, Instance) and isinstance(after, Instance) and before.phase != after.phase:
                self.launched += after.phase == "launching"
                if after.phase == "draining":
                    self.left.append(after.id)
        self.peak_live = max(self.peak_live, len(self._platform.instances()))
        self.least_in_rotation = min(self.least_in_rotation, len(self._platform.serving()))


def shown(platform: Platform, app: App) -> Preview:
    """Its preview; nothing may be stored for it."""
    before = dict(platform.controller.state.versions[app.id])
    _, play = prepare(platform.controller, app, platform.clock.now())
    found = play()
    assert platform.controller.state.versions[app.id] == before
    return found


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("change", [{"container": image("v2")}, {"instances": 1}, {"instances": 5}])
def test_what_is_shown_is_what_happens(strategy: tuple[float, float], change: dict[str, object]) -> None:
    minimum, maximum = strategy
    bounds = UpgradeStrategy(minimum_health_capacity=minimum, maximum_over_capacity=maximum)
    former = {"instances": 3, "upgrade_strategy": bounds}

    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await platform.ended(await operations.create(example_app(**former), "test"))
        wanted = example_app(**former | change)
        found = shown(platform, wanted)
        observed = Observed(platform)
        ended = await platform.ended(await operations.change("/shop", lambda app: wanted, "test", force=False))
        assert (ended.state, found.outcome) == ("succeeded", "reached")
        leaving = [step.instance_id for step in found.steps if step.happening == "leave"]
        assert leaving == observed.left
        assert sum(step.happening == "launch" for step in found.steps) == observed.launched
        assert found.peak_live == observed.peak_live
        assert found.least_in_rotation == observed.least_in_rotation
        assert found.replaces == ("container" in change)

    run(program, seed=1)


def test_what_is_played_is_what_stood_there_when_it_was_asked_for() -> None:
    """It is played in a thread, while the platform goes on."""

    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await platform.ended(await operations.create(example_app(), "test"))
        await platform.ended(await operations.create(example_app(id="/other", routes=()), "test"))
        _, play = prepare(platform.controller, example_app(container=image("v2"), cpus=0.2), platform.clock.now())
        found = play()
        for app_id in ("/shop", "/other"):
            await platform.ended(await operations.delete(app_id, "test", force=False))
        await platform.until(lambda: not platform.controller.state.versions, within=100.0)
        assert play() == found

    run(program, seed=1)
