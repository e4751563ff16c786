"""Every schedule that ever found a bug of ours, run again."""

from pathlib import Path

import msgspec
import pytest

from coldchain.testing.platform import Platform, example_app, image, run, to
from coldchain.testing.simulation.oracle import compared
from coldchain.testing.simulation.schedule import Schedule

REPLAYS = sorted((Path(__file__).parent / "regressions").glob("*.json"))


class Replay(msgspec.Struct, frozen=True):
    """What was wrong, in words, and the schedule that showed it."""

    found: str
    schedule: Schedule


@pytest.mark.parametrize("path", REPLAYS, ids=lambda path: path.stem)
def test_what_once_broke_holds(path: Path) -> None:
    replay = msgspec.json.decode(path.read_bytes(), type=Replay)
    result, _ = compared(replay.schedule)
    assert not result.violations, f"{replay.found}: {result.violations[0]}"


def test_there_are_replays() -> None:
    assert len(REPLAYS) >= 8


def test_a_gateway_that_was_given_up_is_not_ready_before_it_works_by_the_new() -> None:
    async def program(platform: Platform) -> None:
        operations = platform.controller.operations
        await platform.ended(await operations.create(example_app(), "test"))
        gateway = platform.gateways[1]
        gateway.refuses = True
        await platform.ended(await operations.change("/shop", to(container=image("v2")), "test", force=False))
        gone = [e for s in gateway.rotation.services.values() for e in s.endpoints]
        assert len(gone) == 2
        gateway.refuses, gateway.apply_seconds = False, 2.0
        for _ in range(100):
            assert not any(gateway.routes_to(one.instance_id) for one in gone)
            await platform.clock.sleep(0.1)
        assert all(gateway.routes_to(one.id) for one in platform.serving())

    run(program, 0, gateways=2)
