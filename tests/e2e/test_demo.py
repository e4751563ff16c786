"""The demo, short: every step done, nothing lost; and interrupted in the middle it goes in order."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "coldchain.testing.sandbox", "--", sys.executable, "-m", "coldchain.testing.demo"]


@pytest.mark.timeout(300)
def test_nothing_is_lost(tmp_path: Path) -> None:
    with (tmp_path / "errors").open("w+") as errors:
        ended = subprocess.run(
            [*COMMAND, "--requests=0"], stdout=subprocess.PIPE, stderr=errors, text=True, timeout=280
        )
        errors.seek(0)
        said = errors.read()
    assert ended.stdout, said
    sums = json.loads(ended.stdout.splitlines()[-1])
    assert (sums["failed"], sums["duplicated"], sums["lost"]) == (0, 0, 0), sums
    assert ended.returncode == 0, sums
    assert sums["requests"] > 10_000
    assert set(sums["versions"]) >= {"v1", "v2", "v3"}
    assert len(sums["steps"]) == 11
    assert sums["requests"] == sum(step["requests"] for step in sums["steps"])


@pytest.mark.timeout(120)
def test_interrupted_in_the_middle(tmp_path: Path) -> None:
    with (tmp_path / "errors").open("w+") as errors:
        demo = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True)
        limit = time.monotonic() + 60
        while "scale 4 → 6" not in (tmp_path / "errors").read_text():
            assert demo.poll() is None, (tmp_path / "errors").read_text()
            assert time.monotonic() < limit
            time.sleep(0.1)
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert "interrupted" in (tmp_path / "errors").read_text()
