"""The demo on a cluster of Mesos, short: every fault played, nothing lost, and nothing left behind."""

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from coldchain.testing.demo.faults import FAULTS
from coldchain.testing.demo.scenario import STEPS

COMMAND = [sys.executable, "-m", "coldchain.testing.sandbox", "--", sys.executable, "-m", "coldchain.testing.demo"]
SERVERS = ("etcd", "zookeeper", "master_process", "agent_process", "coldchain up", "coldchain executor", "nginx")


def left() -> set[str]:
    """Files in the temporary folder, and processes of what the demo starts."""
    files = {path.name for path in Path(tempfile.gettempdir()).iterdir()}
    lines = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        if any(one in words for one in SERVERS):
            lines.add(f"{path.parent.name}: {words}")
    return files | lines


@pytest.mark.long
@pytest.mark.timeout(900)
def test_nothing_is_lost_whatever_fails(tmp_path: Path) -> None:
    before = left()
    with (tmp_path / "errors").open("w+") as errors:
        ended = subprocess.run(
            [*COMMAND, "--mesos", "--requests=0"], stdout=subprocess.PIPE, stderr=errors, text=True, timeout=880
        )
        errors.seek(0)
        said = errors.read()
    assert ended.stdout, said
    sums = json.loads(ended.stdout.splitlines()[-1])
    assert (sums["failed"], sums["duplicated"], sums["lost"]) == (0, 0, 0), sums
    assert ended.returncode == 0, sums
    assert [step["name"] for step in sums["steps"]] == [name for name, _ in (*STEPS[:-1], *FAULTS, STEPS[-1])], (
        "all steps of the demo on one machine are done here too"
    )
    assert sums["requests"] == sum(step["requests"] for step in sums["steps"])
    assert set(sums["versions"]) >= {"v1", "v2", "v3"}
    assert left() <= before


@pytest.mark.long
@pytest.mark.timeout(180)
def test_interrupted_in_the_middle(tmp_path: Path) -> None:
    before = left()
    with (tmp_path / "errors").open("w+") as errors:
        demo = subprocess.Popen(
            [*COMMAND, "--mesos"], stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
        limit = time.monotonic() + 90
        while "scale 4 → 6" not in (tmp_path / "errors").read_text():
            assert demo.poll() is None, (tmp_path / "errors").read_text()
            assert time.monotonic() < limit
            time.sleep(0.1)
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)
    assert demo.returncode == 130, (tmp_path / "errors").read_text()
    assert "interrupted" in (tmp_path / "errors").read_text()
    assert left() <= before
