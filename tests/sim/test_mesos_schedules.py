"""Whole lives on a cluster of Mesos under faults, drawn from seeds: others in each run unless `--seed` says which."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from coldchain.testing.simulation.coverage import Coverage
from coldchain.testing.simulation.mesos.planted import PLANTED, find, planted
from coldchain.testing.simulation.mesos.run import compared
from coldchain.testing.simulation.mesos.schedule import generate
from coldchain.testing.simulation.schedule import Schedule
from coldchain.testing.simulation.shrink import breaks, shrink

CHUNKS = 16
"""Parts that may run side by side."""
REPLAYS = sorted((Path(__file__).parent / "regressions" / "mesos").glob("*.json"))
FOUND_BY = {
    "acknowledged before it is stored": 0,
    "never acknowledged": 0,
    "offer used twice": 0,
    "own tasks counted twice": 0,
    "results forgotten": 0,
    "acts before reconciliation": 1,
    "successor starts anew": 87,
}
"""The seed that found it first, when the search began at 0."""
TAKEN_OUT = {
    "offers in doubt kept": "offer-in-doubt",
    "remains waited for": "remains-of-a-task",
    "unknown for ever": "unknown-for-ever",
}
"""What was mended after a replay had shown it: without that the same replay shows it again."""
FROM_THERE = 400
"""Another Python runs a seed in another order, and finds the bug by a later one."""

Tell = Callable[[str, object], None]


class Replay(msgspec.Struct, frozen=True):
    """What was wrong, in words, and the schedule that showed it."""

    found: str
    schedule: Schedule


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_mesos_schedules(chunk: int, mesos_schedules: int, first_seed: int, covered_of_mesos: Coverage) -> None:
    for seed in range(first_seed + chunk, first_seed + mesos_schedules, CHUNKS):
        result, coverage = compared(generate(seed))
        covered_of_mesos.add(coverage)
        assert not result.violations, (
            f"schedule {seed} breaks {result.violations[0]}\n"
            f"again: bin/test sim -k test_mesos_schedules --seed {seed} --schedules 1"
        )


@pytest.mark.parametrize("path", REPLAYS, ids=lambda path: path.stem)
def test_what_once_broke_on_mesos_holds(path: Path) -> None:
    replay = msgspec.json.decode(path.read_bytes(), type=Replay)
    result, _ = compared(replay.schedule)
    assert not result.violations, f"{replay.found}: {result.violations[0]}"


@pytest.mark.parametrize("name", sorted(PLANTED.keys() - TAKEN_OUT.keys()))
def test_a_bug_planted_in_the_engine_is_found(name: str, record_property: Tell) -> None:
    result = find(name, range(FOUND_BY[name], FOUND_BY[name] + FROM_THERE))
    assert result is not None, f"{name}: not found in {FROM_THERE} schedules"
    record_property("planted bug", f"{name}: found by schedule {result.schedule.seed}: {result.violations[0]}")


@pytest.mark.parametrize("name", TAKEN_OUT)
def test_what_was_mended_is_what_the_replay_holds(name: str) -> None:
    path = next(one for one in REPLAYS if one.stem == TAKEN_OUT[name])
    with planted(name):
        result, _ = compared(msgspec.json.decode(path.read_bytes(), type=Replay).schedule)
    assert result.violations


def test_a_failing_schedule_of_a_cluster_gets_smaller() -> None:
    with planted("results forgotten"):
        before = generate(FOUND_BY["results forgotten"])
        result, _ = compared(before)
        fails = breaks(result.violations[0].invariant, compared)
        after = shrink(before, fails, tries=10)
        assert fails(after)
    assert len(after.operations) + len(after.injections) < len(before.operations) + len(before.injections)
