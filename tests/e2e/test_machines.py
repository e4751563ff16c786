"""A lab of machines is what it says: machines that share nothing but cables, and that leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coldchain.model.errors import Unavailable
from coldchain.testing.application.image import ensure_image
from coldchain.testing.etcd import etcd_cluster
from coldchain.testing.machines import SEGMENTED, Machine, MachineLab
from coldchain.testing.machines.plan import OUTSIDE
from coldchain.testing.remains import nothing_remains

WITH_CONTAINER = [sys.executable, str(Path(__file__).parent / "programs" / "machines_with_container.py")]
PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def lab() -> Iterator[MachineLab]:
    with MachineLab() as lab:
        yield lab


@pytest.fixture
def bare_lab() -> Iterator[MachineLab]:
    """For tests that do harm; without Docker."""
    with MachineLab(docker=False) as lab:
        yield lab


def reached(machine: Machine, lab: MachineLab) -> set[str]:
    return {other.name for other in lab if other is not machine and machine.reaches(other.address)}


def test_every_machine_reaches_every_other_and_who_uses_the_lab(lab: MachineLab) -> None:
    for machine in lab:
        assert reached(machine, lab) == lab.machines.keys() - {machine.name}
        assert machine.reaches(lab.console)
        assert not machine.reaches(OUTSIDE)


def test_each_has_its_own_name_processes_and_links(lab: MachineLab) -> None:
    for machine in lab:
        assert machine.run("hostname") == f"{machine.name}\n"
        assert machine.run("getent", "hosts", "vm").split()[0] == lab["vm"].address
        links = machine.run("ip", "-oneline", "link").splitlines()
        assert len(links) == (3 if machine.place.docker else 2)
    sleeper = lab["vm"].start("sleep", "1000")
    assert sleeper.pid in lab["vm"].processes
    assert sleeper.pid not in lab["machine-1"].processes
    assert "sleep 1000" not in lab["machine-1"].run("ps", "-A", "-o", "args")
    sleeper.kill()
    assert not sleeper.runs


def test_what_one_writes_no_other_sees(lab: MachineLab) -> None:
    for folder in ("/etc", "/var/lib", "/run", "/tmp", "/usr/local/bin", "/opt"):
        lab["machine-1"].run("sh", "-c", f"echo mine >{folder}/coldchain-trace")
        assert lab["machine-1"].run("cat", f"{folder}/coldchain-trace") == "mine\n"
        lab["machine-2"].run("test", "-e", f"{folder}/coldchain-trace", status=1)
        assert not Path(folder, "coldchain-trace").exists()


def test_a_sysctl_and_a_rule_are_one_machine_s_own(lab: MachineLab) -> None:
    lab["vm"].run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=2")
    assert lab["machine-1"].run("sysctl", "-n", "net.ipv4.conf.all.rp_filter") != "2\n"
    lab["vm"].run("nft", "add", "table", "inet", "trace")
    assert "trace" not in lab["machine-1"].run("nft", "list", "tables")


async def test_each_engine_is_its_own_and_containers_of_two_machines_talk_by_a_mapped_port(lab: MachineLab) -> None:
    one, other = lab["machine-1"], lab["machine-2"]
    for machine in (one, other):
        await ensure_image(str(machine.docker.socket))
        machine.docker.run("run", "--detach", "--name=shop", "--publish=8080:8080", "-e=PORT=8080", "coldchain/shop:v1")
        assert machine.docker.run("info", "--format", "{{.Name}}") == machine.name
    asked = f"wget -q -O - http://{other.address}:8080/"
    wait_until(lambda: "v1" in one.docker.run("exec", "shop", "sh", "-c", asked, status=None))
    other.docker.run("rm", "--force", "shop")
    assert one.docker.run("ps", "--quiet")
    one.docker.run("rm", "--force", "shop")


async def test_containers_live_on_without_their_engine(lab: MachineLab) -> None:
    machine = lab["machine-2"]
    await ensure_image(str(machine.docker.socket))
    container = machine.docker.run("run", "--detach", "coldchain/shop:v1")
    before = machine.docker.run("inspect", "--format", "{{.State.Pid}}", container)
    machine.docker.kill()
    assert not machine.docker.runs
    machine.docker.start()
    machine.docker.ready()
    assert machine.docker.run("inspect", "--format", "{{.State.Running}} {{.State.Pid}}", container) == f"true {before}"
    machine.docker.run("rm", "--force", container)


def test_a_process_of_ours_in_a_machine_has_a_store_at_the_console(lab: MachineLab) -> None:
    with etcd_cluster(address=lab.console) as etcd:
        url = f"{etcd.urls[0]}/health"
        wait_until(lambda: "true" in lab["machine-2"].run("busybox", "wget", "-q", "-O-", url, status=None))


def test_our_command_runs_on_a_machine(lab: MachineLab) -> None:
    version = lab["vm"].run(sys.executable, "-m", "coldchain", "--version")
    assert version == lab["machine-1"].run(sys.executable, "-m", "coldchain", "--version") != ""


def test_what_fails_says_where_and_why(lab: MachineLab) -> None:
    with pytest.raises(Unavailable, match=r"vm: ls /nowhere ended with 2: .*No such file"):
        lab["vm"].run("ls", "/nowhere")
    started = lab["vm"].start("no-such-command")
    assert started.ended() == 127
    assert "No such file" in started.log_tail()


@pytest.mark.parametrize("seen", [False, True])
def test_a_cut_cable(bare_lab: MachineLab, seen: bool) -> None:
    one, vm = bare_lab["machine-1"], bare_lab["vm"]
    one.cut_cable(seen=seen)
    assert not one.reaches(vm.address)
    assert vm.reaches(bare_lab["machine-2"].address)
    assert ("NO-CARRIER" in one.run("ip", "link", "show", "eth0")) == seen
    one.plug_in_cable()
    wait_until(lambda: one.reaches(vm.address))


def test_a_frozen_machine_goes_on_where_it_was(bare_lab: MachineLab) -> None:
    machine = bare_lab["machine-1"]
    script = "while :; do date +%s%N >/run/beat; sleep 0.01; done"
    beating = machine.start("sh", "-c", script)
    beat = Path(f"/proc/{machine.init}/root/run/beat")
    wait_until(beat.exists)
    machine.freeze()
    before = beat.read_text()
    assert not bare_lab["vm"].reaches(machine.address)
    assert beat.read_text() == before
    machine.thaw()
    wait_until(lambda: beat.read_text() != before)
    assert beating.runs
    wait_until(lambda: bare_lab["vm"].reaches(machine.address))


def test_a_machine_without_power_keeps_its_disk_and_nothing_else(bare_lab: MachineLab) -> None:
    machine = bare_lab["machine-1"]
    machine.run("sh", "-c", "echo kept >/var/lib/kept; echo lost >/run/lost; ip link add trace type bridge")
    sleeper = machine.start("sleep", "1000")
    machine.power_off()
    sleeper.ended(PATIENCE_SECONDS)
    assert not bare_lab["vm"].reaches(machine.address)
    machine.boot()
    assert machine.run("cat", "/var/lib/kept") == "kept\n"
    machine.run("test", "-e", "/run/lost", status=1)
    assert "trace" not in machine.run("ip", "link")
    wait_until(lambda: bare_lab["vm"].reaches(machine.address))


def test_two_segments_and_a_router_that_knows_no_route_of_a_container() -> None:
    with MachineLab(SEGMENTED, docker=False) as lab:
        for machine in lab:
            assert reached(machine, lab) == lab.machines.keys() - {machine.name}
            assert machine.reaches(OUTSIDE)
        one, other = lab["machine-1"], lab["machine-2"]
        other.run("ip", "address", "add", "10.200.0.1/32", "dev", "lo")
        one.run("ip", "route", "add", "10.200.0.1/32", "via", "10.10.3.1")
        assert not one.reaches("10.200.0.1")
        with pytest.raises(Unavailable, match="Nexthop has invalid gateway"):
            one.run("ip", "route", "replace", "10.200.0.1/32", "via", other.address)


@pytest.mark.parametrize("end", ["exit", "kill user", "kill keeper"])
def test_nothing_is_left_of_it(end: str) -> None:
    with nothing_remains(), subprocess.Popen(WITH_CONTAINER, stdin=-1, stdout=-1, stderr=-1, text=True) as user:
        assert user.stdout is not None
        word, *keeper = user.stdout.readline().split()
        if word != "ready":
            pytest.fail(f"not ready: {user.communicate()}")
        match end:
            case "kill user":
                user.kill()
            case "kill keeper":
                os.kill(int(keeper[0]), signal.SIGKILL)
        _, errors = user.communicate("\n", PATIENCE_SECONDS)
        assert errors == ""


def test_before_there_is_a_keeper_there_is_nothing_that_could_be_left() -> None:
    with nothing_remains():
        MachineLab(docker=False)


@pytest.mark.parametrize("moment", range(8))
def test_whose_user_is_killed_at_any_moment_leaves_nothing(moment: int) -> None:
    with nothing_remains(), subprocess.Popen(WITH_CONTAINER, stdin=-1, stdout=-1, stderr=-1, text=True) as user:
        time.sleep(moment * 0.2)  # the moment of the fault; nothing waits for anything here
        user.kill()
        user.communicate(timeout=PATIENCE_SECONDS)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.02)
