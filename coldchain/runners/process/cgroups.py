"""Which cgroups a task gets and what is written into them, for both versions. Pure, but for `make`, which does it."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MOUNTS = Path("/proc/mounts")
CONTROLLERS = ("memory", "cpu", "pids")
MIB = 1024 * 1024
CPU_SHARES_PER_CPU = 1024
CPU_SHARES_MIN, CPU_SHARES_MAX = 2, 262144
"""The kernel's smallest and largest share."""


@dataclass(frozen=True)
class Hierarchies:
    """Where controllers are: mount points of version 1 by controller, and the one of version 2."""

    first: Mapping[str, str]
    second: str | None


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one task may use: bytes, shares of 1024 for each core, processes and threads."""

    memory_bytes: int
    cpu_shares: int
    pids_max: int


@dataclass(frozen=True, kw_only=True)
class CgroupPlan:
    """`writes` in their order; those in `optional` may have no file where the kernel lacks the feature. `missing`: the
    controllers that nobody can limit by here. `memory_events`: the file that counts processes killed for memory."""

    directories: tuple[str, ...] = ()
    enables: tuple[tuple[str, str], ...] = ()
    writes: tuple[tuple[str, str], ...] = ()
    optional: frozenset[str] = frozenset()
    memory_events: str | None = None
    missing: tuple[str, ...] = field(default=CONTROLLERS)


def limits_of(cpus: float, mem: float, pids_max: int) -> Limits:
    """As the docker runner limits containers; `mem` in MiB."""
    shares = min(max(CPU_SHARES_MIN, int(cpus * CPU_SHARES_PER_CPU)), CPU_SHARES_MAX)
    return Limits(memory_bytes=int(mem * MIB), cpu_shares=shares, pids_max=pids_max)


def find_hierarchies(mounts: str) -> Hierarchies:
    """From the text of /proc/mounts."""
    first: dict[str, str] = {}
    second = None
    for line in mounts.splitlines():
        _, place, kind, options, *_ = line.split()
        place = place.replace("\\040", " ")
        if kind == "cgroup2":
            second = second or place
        elif kind == "cgroup":
            for controller in CONTROLLERS:
                if controller in options.split(","):
                    first.setdefault(controller, place)
    return Hierarchies(first, second)


def plan_cgroups(
    hierarchies: Hierarchies, second_controllers: Sequence[str], parent: str, name: str, limits: Limits
) -> CgroupPlan:
    """`second_controllers`: those that the root of version 2 has (its `cgroup.controllers`). A controller that is
    bound to version 1 is not offered by version 2."""
    parent = parent.strip("/")
    directories: list[str] = []
    writes: list[tuple[str, str]] = []
    optional: set[str] = set()
    events = None
    for controller in CONTROLLERS:
        if (mount := hierarchies.first.get(controller)) is not None:
            directory = f"{mount}/{parent}/{name}"
            directories.append(directory)
            writes += [(f"{directory}/{file}", value) for file, value in _first(controller, limits)]
            if controller == "memory":
                optional.add(f"{directory}/memory.memsw.limit_in_bytes")
                events = f"{directory}/memory.oom_control"
    enables: list[tuple[str, str]] = []
    offered = [one for one in CONTROLLERS if one in second_controllers and one not in hierarchies.first]
    if hierarchies.second is not None and offered:
        directory = f"{hierarchies.second}/{parent}/{name}"
        directories.append(directory)
        switch = " ".join(f"+{controller}" for controller in offered)
        levels = ["", *(f"/{'/'.join(parent.split('/')[: depth + 1])}" for depth in range(parent.count("/") + 1))]
        enables = [(f"{hierarchies.second}{level}/cgroup.subtree_control", switch) for level in levels]
        for controller in offered:
            writes += [(f"{directory}/{file}", value) for file, value in _second(controller, limits)]
        optional.add(f"{directory}/memory.swap.max")
        if "memory" in offered:
            events = f"{directory}/memory.events"
    missing = tuple(one for one in CONTROLLERS if one not in hierarchies.first and one not in offered)
    return CgroupPlan(
        directories=tuple(dict.fromkeys(directories)),
        enables=tuple(enables),
        writes=tuple(writes),
        optional=frozenset(optional),
        memory_events=events,
        missing=missing,
    )


def _first(controller: str, limits: Limits) -> list[tuple[str, str]]:
    memory = str(limits.memory_bytes)
    return {
        "memory": [("memory.limit_in_bytes", memory), ("memory.memsw.limit_in_bytes", memory)],
        "cpu": [("cpu.shares", str(limits.cpu_shares))],
        "pids": [("pids.max", str(limits.pids_max))],
    }[controller]


def _second(controller: str, limits: Limits) -> list[tuple[str, str]]:
    # From 2…262144 shares to 1…10000 of weight, as the container runtimes map them.
    weight = 1 + (limits.cpu_shares - CPU_SHARES_MIN) * 9999 // (CPU_SHARES_MAX - CPU_SHARES_MIN)
    return {
        "memory": [("memory.max", str(limits.memory_bytes)), ("memory.swap.max", "0")],
        "cpu": [("cpu.weight", str(weight))],
        "pids": [("pids.max", str(limits.pids_max))],
    }[controller]


def look(parent: str, name: str, limits: Limits) -> CgroupPlan:
    """The plan for this machine as it is now."""
    hierarchies = find_hierarchies(MOUNTS.read_text())
    controllers: list[str] = []
    if hierarchies.second is not None:
        with contextlib.suppress(OSError):
            controllers = Path(hierarchies.second, "cgroup.controllers").read_text().split()
    return plan_cgroups(hierarchies, controllers, parent, name, limits)


def make(plan: CgroupPlan) -> None:
    """Carry the plan out. Raises OSError, and leaves nothing then, where the machine does not let us."""
    try:
        for directory in plan.directories:
            os.makedirs(Path(directory).parent, exist_ok=True)
        for file, value in plan.enables:
            Path(file).write_text(value)
        for directory in plan.directories:
            os.makedirs(directory, exist_ok=True)
        for file, value in plan.writes:
            if file not in plan.optional or os.path.exists(file):
                Path(file).write_text(value)
    except OSError:
        remove(plan.directories)
        raise


def remove(directories: Sequence[str]) -> None:
    """As far as they are empty."""
    for directory in directories:
        with contextlib.suppress(OSError):
            os.rmdir(directory)
