"""Every schedule that ever found a bug of ours, run again."""

from pathlib import Path

import msgspec
import pytest

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
