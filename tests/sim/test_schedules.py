"""Whole lives under faults, drawn from seeds: other ones in each run unless `--seed` says which."""

import pytest

from coldchain.testing.simulation.coverage import Coverage
from coldchain.testing.simulation.oracle import compared
from coldchain.testing.simulation.schedule import generate

CHUNKS = 16
"""Parts that may run side by side."""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_schedules(chunk: int, schedules: int, first_seed: int, covered: Coverage) -> None:
    for seed in range(first_seed + chunk, first_seed + schedules, CHUNKS):
        result, coverage = compared(generate(seed))
        covered.add(coverage)
        assert not result.violations, (
            f"schedule {seed} breaks {result.violations[0]}\n"
            f"again: bin/test sim -k test_schedules --seed {seed} --schedules 1"
        )
