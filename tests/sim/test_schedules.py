"""Whole lives under faults, drawn from seeds: other ones in each run, and the same ones for `--seed`."""

import pytest

from coldchain.testing.simulation.coverage import Coverage
from coldchain.testing.simulation.oracle import compared
from coldchain.testing.simulation.schedule import generate

CHUNKS = 8
"""Parts that may run side by side."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "chunk" in metafunc.fixturenames:
        metafunc.parametrize("chunk", range(CHUNKS))


@pytest.mark.timeout(0)
def test_schedules(chunk: int, schedules: int, first_seed: int) -> None:
    covered = Coverage()
    for seed in range(first_seed + chunk, first_seed + schedules, CHUNKS):
        result, coverage = compared(generate(seed))
        covered.add(coverage)
        assert not result.violations, (
            f"schedule {seed} breaks {result.violations[0]}\n"
            f"again: bin/test sim -k test_schedules --seed {seed} --schedules 1"
        )
