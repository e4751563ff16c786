"""TaskSpec → what the shim runs, as a value; nothing here waits or asks."""

from pathlib import Path
from typing import Any, NamedTuple

from coldchain.decisions.task_environment import task_environment
from coldchain.model.errors import Rejected
from coldchain.model.task import TaskSpec
from coldchain.runners.process.cgroups import CgroupPlan
from coldchain.runners.process.settings import ProcessSettings

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class User(NamedTuple):
    """Who runs the task, as the system knows him."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def command_of(spec: TaskSpec) -> list[str]:
    """A command line is for the shell; arguments are a program with its own. Raises Rejected without either."""
    if spec.app.cmd is not None:
        return ["/bin/sh", "-c", spec.app.cmd]
    if not spec.app.args:
        raise Rejected(f"{spec.app_id} says neither what to run nor in which image", todo="Give `cmd` or `args`")
    return list(spec.app.args)


def environment_of(spec: TaskSpec, user: User, work: Path) -> dict[str, str]:
    """Marathon's variables, with what a process expects beside. MESOS_SANDBOX is ours alone: by it we know our own."""
    usual = {"PATH": SEARCH_PATH, "HOME": str(work), "USER": user.name, "LOGNAME": user.name, "SHELL": "/bin/sh"}
    return usual | task_environment(spec, spec.host_ports) | {"MESOS_SANDBOX": str(work)}


def task_document(
    spec: TaskSpec, user: User, work: Path, cgroups: CgroupPlan, settings: ProcessSettings
) -> dict[str, Any]:
    """`task.json`: all that shim and a later controller need. It has the variables' values: only root reads it."""
    return {
        "schema": 1,
        "task_id": spec.task_id,
        "instance_id": spec.instance_id,
        "app_id": spec.app_id,
        "target": spec.target,
        "agent": spec.agent,
        "address": spec.address or settings.host_address,
        "ports": list(spec.host_ports),
        "argv": command_of(spec),
        "environment": environment_of(spec, user, work),
        "work": str(work),
        "user": user.name,
        "uid": user.uid,
        "gid": user.gid,
        "groups": list(user.groups),
        "mem": spec.app.mem,
        "cgroups": list(cgroups.directories),
        "memory_events": cgroups.memory_events,
        "log_file_bytes": int(settings.log_file_mib * 1024 * 1024),
        "log_files": settings.log_files,
        "foreign_grace_seconds": settings.foreign_grace_seconds,
    }
