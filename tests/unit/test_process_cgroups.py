"""Which cgroups a task gets, on machines as they were found."""

from pathlib import Path

import pytest

from coldchain.runners.process.cgroups import (
    CgroupPlan,
    Hierarchies,
    Limits,
    find_hierarchies,
    limits_of,
    make,
    plan_cgroups,
)

# Debian 12 without systemd, version 1 with an empty version 2 beside it.
FIRST = """\
tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
"""
# Debian 12 with systemd.
SECOND = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_recursiveprot 0 0\n"
# An older systemd: controllers that share a mount, memory on version 1, pids on version 2.
MIXED = """\
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,memory 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nosuid 0 0
"""
LIMITS = Limits(memory_bytes=64 * 1024**2, cpu_shares=512, pids_max=4096)


def test_version_1() -> None:
    plan = plan_cgroups(find_hierarchies(FIRST), [], "/coldchain", "task-1", LIMITS)
    assert plan.directories == tuple(f"/sys/fs/cgroup/{one}/coldchain/task-1" for one in ("memory", "cpu", "pids"))
    assert plan.writes == (
        ("/sys/fs/cgroup/memory/coldchain/task-1/memory.limit_in_bytes", "67108864"),
        ("/sys/fs/cgroup/memory/coldchain/task-1/memory.memsw.limit_in_bytes", "67108864"),
        ("/sys/fs/cgroup/cpu/coldchain/task-1/cpu.shares", "512"),
        ("/sys/fs/cgroup/pids/coldchain/task-1/pids.max", "4096"),
    )
    assert plan.optional == {"/sys/fs/cgroup/memory/coldchain/task-1/memory.memsw.limit_in_bytes"}
    assert plan.memory_events == "/sys/fs/cgroup/memory/coldchain/task-1/memory.oom_control"
    assert (plan.enables, plan.missing) == ((), ())


def test_version_2() -> None:
    plan = plan_cgroups(find_hierarchies(SECOND), ["cpuset", "cpu", "io", "memory", "pids"], "a/b", "task-1", LIMITS)
    assert plan.directories == ("/sys/fs/cgroup/a/b/task-1",)
    assert plan.enables == tuple(
        (f"/sys/fs/cgroup{level}/cgroup.subtree_control", "+memory +cpu +pids") for level in ("", "/a", "/a/b")
    )
    assert plan.writes == (
        ("/sys/fs/cgroup/a/b/task-1/memory.max", "67108864"),
        ("/sys/fs/cgroup/a/b/task-1/memory.swap.max", "0"),
        ("/sys/fs/cgroup/a/b/task-1/cpu.weight", "20"),
        ("/sys/fs/cgroup/a/b/task-1/pids.max", "4096"),
    )
    assert plan.optional == {"/sys/fs/cgroup/a/b/task-1/memory.swap.max"}
    assert plan.memory_events == "/sys/fs/cgroup/a/b/task-1/memory.events"
    assert plan.missing == ()


def test_both_versions_share_the_work() -> None:
    plan = plan_cgroups(find_hierarchies(MIXED), ["pids"], "coldchain", "t", LIMITS)
    assert plan.directories == (
        "/sys/fs/cgroup/memory/coldchain/t",
        "/sys/fs/cgroup/cpu,cpuacct/coldchain/t",
        "/sys/fs/cgroup/unified/coldchain/t",
    )
    assert plan.enables[0] == ("/sys/fs/cgroup/unified/cgroup.subtree_control", "+pids")
    assert plan.missing == ()


@pytest.mark.parametrize("mounts", ["", "proc /proc proc rw 0 0\n", SECOND])
def test_nothing_to_limit_by(mounts: str) -> None:
    plan = plan_cgroups(find_hierarchies(mounts), [], "coldchain", "t", LIMITS)
    assert (plan.directories, plan.writes) == ((), ())
    assert plan.missing == ("memory", "cpu", "pids")


@pytest.mark.parametrize(("cpus", "shares"), [(0.001, 2), (0.5, 512), (4.0, 4096), (10_000.0, 262144)])
def test_shares_are_within_the_kernels(cpus: float, shares: int) -> None:
    assert limits_of(cpus, 16.0, 10) == Limits(memory_bytes=16 * 1024**2, cpu_shares=shares, pids_max=10)


def test_what_the_machine_does_not_let_us_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "coldchain" / "t"
    plan = CgroupPlan(directories=(str(directory),), writes=((f"{tmp_path}/missing/pids.max", "1"),))
    with pytest.raises(FileNotFoundError):
        make(plan)
    assert not directory.exists()


def test_a_file_that_the_kernel_lacks_is_left_out_where_it_may_be(tmp_path: Path) -> None:
    directory, swap = tmp_path / "t", str(tmp_path / "t" / "memory.swap.max")
    make(CgroupPlan(directories=(str(directory),), writes=((swap, "0"),), optional=frozenset({swap})))
    assert list(directory.iterdir()) == []


def test_a_mount_with_a_blank() -> None:
    assert find_hierarchies("cgroup2 /my\\040cgroups cgroup2 rw 0 0\n") == Hierarchies({}, "/my cgroups")
