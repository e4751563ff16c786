"""What tasks use: Docker's accounts of both versions of cgroups, and the cgroups of processes."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from coldchain.runners.docker.statistics import of_account
from coldchain.runners.process.statistics import measure

CPU = {"cpu_stats": {"cpu_usage": {"total_usage": 1_500_000_000}}}


@pytest.mark.parametrize(
    ("account", "memory", "processes"),
    [
        ({"memory_stats": {"usage": 900, "stats": {"total_inactive_file": 200}}, "pids_stats": {"current": 3}}, 700, 3),
        ({"memory_stats": {"usage": 900, "stats": {"inactive_file": 950}}, "pids_stats": {}}, 0, 0),
        ({"memory_stats": {}}, 0, 0),
    ],
)
def test_dockers_account(account: dict[str, Any], memory: int, processes: int) -> None:
    used = of_account(CPU | account, "shop.1", 5.0)
    assert (used.cpu_seconds, used.memory_bytes, used.processes, used.at) == (1.5, memory, processes, 5.0)


def cgroup(folder: Path, **files: str) -> str:
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("_dot_", ".")).write_text(content)
    return str(folder)


def task(*cgroups: str) -> dict[str, Any]:
    return {"task_id": "plain.1", "work": "/no/such/work", "cgroups": list(cgroups)}


def test_the_second_version_of_cgroups_tells_everything(tmp_path: Path) -> None:
    one = cgroup(
        tmp_path / "one",
        cgroup_dot_procs="",
        cpu_dot_stat="usage_usec 2500000\nuser_usec 1\n",
        memory_dot_current="5000\n",
        memory_dot_stat="anon 1\ninactive_file 1000\n",
    )
    used = measure(task(one), 7.0)
    assert (used.cpu_seconds, used.memory_bytes, used.processes, used.at) == (2.5, 4000, 0, 7.0)


def test_the_first_version_tells_memory_and_processes_tell_the_rest(tmp_path: Path) -> None:
    memory = cgroup(
        tmp_path / "memory",
        cgroup_dot_procs=f"{os.getpid()}\n",
        memory_dot_usage_in_bytes="9000\n",
        memory_dot_stat="total_inactive_file 1000\n",
    )
    cpu = cgroup(tmp_path / "cpu", cgroup_dot_procs=f"{os.getpid()}\n", cpu_dot_stat="nr_periods 0\n")
    used = measure(task(cpu, memory), 7.0)
    assert (used.memory_bytes, used.processes) == (8000, 1)
    assert used.cpu_seconds > 0


def test_without_cgroups_its_processes_are_added_up(tmp_path: Path) -> None:
    work = str(tmp_path)
    environment = os.environ | {"MESOS_SANDBOX": work}
    with subprocess.Popen(["cat"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            # The kernel shows the environment a little after it has told the parent that the program has begun: what
            # the program itself says comes later.
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"begun\n")
            process.stdin.flush()
            assert process.stdout.readline() == b"begun\n"
            used = measure(task() | {"work": work}, 7.0)
        finally:
            process.kill()
    assert used.processes == 1
    assert used.memory_bytes > 10_000
    assert measure(task(), 7.0).processes == 0
