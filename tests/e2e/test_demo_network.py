"""The demo on machines with a container network: every step done, nothing lost, and nothing left behind."""

import json
import signal
import subprocess
import sys
import time
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from coldchain.testing.demo.machines import POOLS, SHOP
from coldchain.testing.demo.network import HAPPENINGS
from coldchain.testing.demo.scenario import STEPS
from coldchain.testing.remains import nothing_remains

COMMAND = [sys.executable, "-m", "coldchain.testing.sandbox", "--", sys.executable, "-m", "coldchain.testing.demo"]
START_SECONDS = 120


@pytest.mark.long
@pytest.mark.timeout(900)
def test_nothing_is_lost_whatever_happens_to_the_network(tmp_path: Path) -> None:
    with nothing_remains(), (tmp_path / "errors").open("w+") as errors:
        ended = subprocess.run(
            [*COMMAND, "--network", "--requests=0"], stdout=subprocess.PIPE, stderr=errors, text=True, timeout=880
        )
        errors.seek(0)
        said = errors.read()
    assert ended.stdout, said
    sums = json.loads(ended.stdout.splitlines()[-1])
    assert (sums["failed"], sums["duplicated"], sums["lost"]) == (0, 0, 0), sums
    assert ended.returncode == 0, sums
    assert [step["name"] for step in sums["steps"]] == [name for name, _ in (*STEPS[:-1], *HAPPENINGS, STEPS[-1])]
    assert sums["requests"] == sum(step["requests"] for step in sums["steps"])
    pool = ip_network(POOLS[SHOP][1])
    assert set(sums["addresses"]) == {"machine-1", "machine-2"}
    for told in sums["addresses"].values():
        assert told["instances"]
        assert all(ip_address(one) in pool for one in told["instances"])
    assert len(sums["policy_seconds"]) == 2


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_ended_in_the_middle(tmp_path: Path, number: signal.Signals, status: int) -> None:
    with nothing_remains(), (tmp_path / "errors").open("w+") as errors:
        demo = subprocess.Popen(
            [*COMMAND, "--network"], stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
        limit = time.monotonic() + START_SECONDS
        while "scale 4 → 6" not in (tmp_path / "errors").read_text():
            assert demo.poll() is None, (tmp_path / "errors").read_text()
            assert time.monotonic() < limit
            time.sleep(0.1)
        demo.send_signal(number)
        demo.communicate(timeout=60)
    assert demo.returncode == status, (tmp_path / "errors").read_text()
