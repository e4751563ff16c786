"""The recorded event streams are what real Mesos says today."""

from pathlib import Path

import pytest

from coldchain.testing.mesos.faults import FAULTS
from coldchain.testing.mesos.recording import play, read, summary

RECORDED = Path(__file__).parent / "recorded" / "mesos"


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_told_as_it_was_recorded(fault: str) -> None:
    assert summary(await play(fault)) == summary(read(RECORDED / f"{fault}.jsonl"))


def test_every_recording_has_its_fault() -> None:
    assert {path.stem for path in RECORDED.iterdir()} == set(FAULTS)
