"""mesos: what engine mesos keeps of its framework and of its tasks, so that the next controller goes on from there."""

from typing import Literal

from coldchain.model.base import Noun
from coldchain.model.task import TaskSpec, TaskStatus

Standing = Literal["reachable", "unreachable", "unknown", "gone"]
"""Where Mesos has a task: on an agent that answers; on one that does not; nowhere, which a master that has just begun
also says of what it will hear of soon; nowhere, for good."""


class MesosFramework(Noun, frozen=True, kw_only=True):
    """By `id` Mesos knows whose tasks are whose."""

    target: str
    id: str


class MesosTask(Noun, frozen=True, kw_only=True):
    """A task that engine mesos was told to launch, until it is forgotten.

    `mesos_id`: of the task of Mesos that answers for it now; when an executor is lost, the next one takes over what
    runs. `spec` is without variables and command lines, which may be secret, and which a task that runs has already.
    `role`: of the framework, for which the agent offered; `reserved_for`: for whom its resources are reserved, `*` for
    all. `told`: the furthest that its executor said, and where that listens. `standing`: what the master said last of
    its agent, by the master's clock. `executor_gone_at`: its executor ended without a word; `adopting_since`: its
    successor is to take it over, and has not said so yet. `kill_grace_seconds`: it is to end, and `kill_asked_at` since
    when. `executor_version`: what its executor is made of, as a digest that says nothing else; `executor_cpus`,
    `executor_mem`: the share of that.
    """

    target: str
    task_id: str
    mesos_id: str
    agent_id: str
    executor_id: str
    role: str
    reserved_for: str
    spec: TaskSpec
    told: TaskStatus
    launched_at: float
    begun: bool = False
    standing: Standing = "reachable"
    standing_at: float = 0.0
    standing_message: str = ""
    executor_gone_at: float | None = None
    executor_gone_message: str = ""
    adopting_since: float | None = None
    kill_grace_seconds: float | None = None
    kill_asked_at: float | None = None
    executor_version: str = ""
    executor_cpus: float = 0.0
    executor_mem: float = 0.0
    address: str = ""
    port: int = 0
