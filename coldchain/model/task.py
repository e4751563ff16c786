"""task: one incarnation of an instance in an engine; what the engine must know and what it reports."""

from typing import Literal

from coldchain.model.app import App
from coldchain.model.base import Noun

TaskState = Literal["staging", "starting", "running", "killing", "finished", "failed", "killed", "lost"]
TERMINAL: frozenset[str] = frozenset({"finished", "failed", "killed", "lost"})
ORDER: dict[TaskState, int] = {
    "staging": 0,
    "starting": 1,
    "running": 2,
    "killing": 3,
    "finished": 4,
    "failed": 4,
    "killed": 4,
    "lost": 4,
}
"""A task goes only forward in it, whatever order reports come in."""


class TaskSpec(Noun, frozen=True, kw_only=True):
    """All a runner needs to start a task; launching the same spec twice starts it once.

    `image` is the resolved image. `address` is the container's wanted address, None where the network gives one.
    `host_ports` has one entry per port of the app; 0 where a port is not published on the agent. `registry`: HOST:PORT
    where an app that registers itself finds the registry, as the platform does.
    """

    task_id: str
    instance_id: str
    app_id: str
    version_id: str
    target: str
    agent: str
    app: App
    image: str | None
    address: str | None
    host_ports: tuple[int, ...] = ()
    registry: str = ""


class TaskStatus(Noun, frozen=True, kw_only=True, omit_defaults=True):
    """What an engine reports of a task. `address` is where probes and gateways reach it, `ports` in the app's order.

    `host_ports`: those of its agent that it was launched with, as in TaskSpec; empty too where the engine cannot say.
    `orphaned`: who is gone that answered for it, its executor alone or its whole agent. What was started may run, and
    its probes tell: it is replaced before it is ended. `message` says why.
    """

    task_id: str
    instance_id: str
    app_id: str
    target: str
    agent: str
    state: TaskState
    at: float
    address: str | None = None
    ports: tuple[int, ...] = ()
    host_ports: tuple[int, ...] = ()
    exit_status: int | None = None
    message: str = ""
    log_tail: tuple[str, ...] = ()
    orphaned: Literal["", "executor", "agent"] = ""

    @property
    def terminal(self) -> bool:
        return self.state in TERMINAL


class Execution(Noun, frozen=True, kw_only=True):
    """How a command beside a task ended. `exit_status` None: it did not end in time, and was killed with all that it
    had started. `output`: the last of it, standard output and error mixed."""

    exit_status: int | None
    output: str = ""


class TaskStatistics(Noun, frozen=True, kw_only=True):
    """What a task uses. `cpu_seconds`: of all its processes since its start, as far as the machine counts them;
    `memory_bytes`: without the file cache that goes first when memory is short."""

    task_id: str
    at: float
    cpu_seconds: float
    memory_bytes: int
    processes: int


class TaskFailure(Noun, frozen=True, kw_only=True):
    """The last failed task of an app, kept for its users. `at` in seconds since the epoch."""

    app_id: str
    target: str
    task_id: str
    instance_id: str
    version_id: str
    agent: str
    state: TaskState
    at: float
    exit_status: int | None = None
    message: str = ""
    log_tail: tuple[str, ...] = ()
