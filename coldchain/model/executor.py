"""executor: what runs the tasks of a Mesos agent; what it is told and what it tells."""

from typing import Literal

from coldchain.model.base import Noun
from coldchain.model.task import TaskSpec, TaskStatus


class ExecutorSettings(Noun, frozen=True, kw_only=True):
    """How an executor works, the same on all agents but for its token.

    `controller_id`: whose containers it looks after, in all its lives and versions. `version`: of Coldchain, so that
    another one is another executor. `token`: by it the executor knows who may ask it. `publish_address`: where host
    ports of containers are published; None: the agent's own address. `orphan_seconds`: how long a task runs on that
    no executor answers for: long enough to replace it first; `orphan_grace_seconds`: from SIGTERM to SIGKILL when it
    is ended then.
    """

    controller_id: str
    version: str
    token: str = ""
    docker_socket: str = "/var/run/docker.sock"
    docker_credentials: str | None = None
    publish_address: str | None = None
    cgroup_parent: str = "coldchain"
    root_tasks: bool = False
    fetch_folders: tuple[str, ...] = ()
    orphan_seconds: float = 900.0
    orphan_grace_seconds: float = 10.0


class TaskDescription(Noun, frozen=True, kw_only=True):
    """A task for an executor. `spec.task_id` is the id under which the runner of the machine knows it, and Mesos's own
    id of the task may be another: when an executor is lost, a new task of Mesos takes over what runs.

    `adopts`: it runs already, and is answered for as it is from now on; it is lost where it does not run any more.
    """

    spec: TaskSpec
    adopts: bool = False


class TaskReport(Noun, frozen=True, kw_only=True):
    """What an executor says of a task, and where it listens."""

    address: str
    port: int
    status: TaskStatus


class ExecutorQuestion(Noun, frozen=True, kw_only=True):
    """The scheduler wants to hear all that an executor knows: after a new start, say."""

    question: Literal["report"] = "report"


class ExecutorReport(Noun, frozen=True, kw_only=True):
    """All that an executor knows. `tasks` by Mesos's id of the task. `orphans`: what runs on its machine that no
    executor answers for; `orphan_seconds` after they were found they are ended."""

    executor_id: str
    address: str
    port: int
    tasks: dict[str, TaskStatus] = {}
    orphans: tuple[TaskStatus, ...] = ()
