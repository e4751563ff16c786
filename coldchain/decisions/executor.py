"""executor: what an executor does with what its agent asks for and what its machine's runners report.

Mesos knows a task by its own id, the runner by `spec.task_id`: a task of Mesos may take over what another one started.
Nothing here is kept over the end of the executor: the machine keeps what runs, the next task of Mesos adopts it.
"""

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from coldchain.model.base import Noun
from coldchain.model.executor import TaskDescription
from coldchain.model.task import ORDER, TERMINAL, TaskSpec, TaskState, TaskStatus

EARLY_KILLS_MAX = 1000
"""Tasks to be killed of which no launch was heard: such a launch comes soon or never."""


# What an executor knows


class Update(Noun, frozen=True, kw_only=True):
    """What the scheduler is to hear of a task, until the agent says that it is kept. `number`: in the order of telling;
    no two of an executor have the same."""

    number: int
    task_id: str
    status: TaskStatus


class HeldTask(Noun, frozen=True, kw_only=True):
    """A task of Mesos. `begun`: the runner has it, so that it is gone when the runner does not list it. `known`: the
    agent has kept some update of it. `told`: what was last told of it."""

    task_id: str
    description: TaskDescription
    told: TaskStatus
    begun: bool = False
    killed: bool = False
    known: bool = False

    @property
    def runner_id(self) -> str:
        return self.description.spec.task_id


class ExecutorState(Noun, frozen=True, kw_only=True):
    """`tasks` by Mesos's id. `tells_killing`: the scheduler understands that state."""

    tasks: dict[str, HeldTask] = {}
    updates: tuple[Update, ...] = ()
    early_kills: tuple[str, ...] = ()
    next_number: int = 1
    tells_killing: bool = False

    def of_runner(self, runner_id: str) -> HeldTask | None:
        """The task that answers for what the runner knows by this id; ended ones do not."""
        return next((one for one in self.live if one.runner_id == runner_id), None)

    @property
    def live(self) -> Iterable[HeldTask]:
        return (one for one in self.tasks.values() if not one.told.terminal)


# What happens


class LaunchAsked(Noun, frozen=True, kw_only=True):
    task_id: str
    description: TaskDescription


class LaunchRefused(Noun, frozen=True, kw_only=True):
    """A task that cannot be read, or is none of ours."""

    task_id: str
    message: str


class KillAsked(Noun, frozen=True, kw_only=True):
    """`grace_seconds` None: as the app says."""

    task_id: str
    grace_seconds: float | None = None


class UpdateKept(Noun, frozen=True, kw_only=True):
    """The agent acknowledges."""

    number: int


class Begun(Noun, frozen=True, kw_only=True):
    """The runner has the task, freshly started or taken over."""

    task_id: str


class NotBegun(Noun, frozen=True, kw_only=True):
    """It was not to be: `state` (terminal) and why."""

    task_id: str
    state: TaskState
    message: str


class Observed(Noun, frozen=True, kw_only=True):
    """A runner reports."""

    status: TaskStatus


class Listed(Noun, frozen=True, kw_only=True):
    """All that the runners know. `begun_before`: the tasks (Mesos's ids) that had begun before the listing began, and
    so are on it or gone."""

    statuses: tuple[TaskStatus, ...]
    begun_before: frozenset[str]


Happening: TypeAlias = LaunchAsked | LaunchRefused | KillAsked | UpdateKept | Begun | NotBegun | Observed | Listed


# What is to be done


class Start(Noun, frozen=True, kw_only=True):
    """Have the runner start the task, or see that it runs and take it over; then `Begun` or `NotBegun`."""

    task_id: str
    description: TaskDescription


class End(Noun, frozen=True, kw_only=True):
    """SIGTERM, and SIGKILL after the grace; a start under way is given up."""

    task_id: str
    runner_id: str
    grace_seconds: float


class Tell(Noun, frozen=True, kw_only=True):
    """Send the update, if the agent listens; else it goes with the next subscription."""

    update: Update


Action: TypeAlias = Start | End | Tell


def decide(state: ExecutorState, happening: Happening, now: float) -> tuple[ExecutorState, list[Action]]:
    """What is known afterwards, and what to do. The same happening again does nothing, a kill excepted: the shorter of
    two graces counts. `now` in seconds since the epoch."""
    step = _Step(state, now)
    match happening:
        case LaunchAsked():
            step.launch(happening.task_id, happening.description)
        case LaunchRefused():
            step.refuse(happening.task_id, happening.message)
        case KillAsked():
            step.kill(happening.task_id, happening.grace_seconds)
        case UpdateKept():
            step.keep(happening.number)
        case Begun():
            step.begin(happening.task_id)
        case NotBegun():
            step.give_up(happening.task_id, happening.state, happening.message)
        case Observed():
            step.observe(happening.status)
        case Listed():
            step.list(happening.statuses, happening.begun_before)
    return step.state, step.actions


class _Step:
    """One decision being made."""

    def __init__(self, state: ExecutorState, now: float) -> None:
        self.state = state
        self.now = now
        self.actions: list[Action] = []

    def launch(self, task_id: str, description: TaskDescription) -> None:
        if task_id in self.state.tasks:
            return
        spec = description.spec
        other = self.state.of_runner(spec.task_id)
        first = _status_of(spec, "staging", self.now, "")
        held = HeldTask(task_id=task_id, description=description, told=first)
        self.state = msgspec.structs.replace(self.state, tasks=self.state.tasks | {task_id: held})
        if task_id in self.state.early_kills:
            early = tuple(one for one in self.state.early_kills if one != task_id)
            self.state = msgspec.structs.replace(self.state, early_kills=early)
            self.end(task_id, "killed", "it was to end before it was to start")
        elif other is not None:
            self.end(task_id, "failed", f"task {other.task_id} answers for {spec.task_id}")
        else:
            self._tell(held, _status_of(spec, "starting", self.now, ""))
            self.actions.append(Start(task_id=task_id, description=description))

    def kill(self, task_id: str, grace_seconds: float | None) -> None:
        held = self.state.tasks.get(task_id)
        if held is None:
            early = (*(one for one in self.state.early_kills if one != task_id), task_id)[-EARLY_KILLS_MAX:]
            self.state = msgspec.structs.replace(self.state, early_kills=early)
            return
        if held.told.terminal:
            return
        held = self._change(held, killed=True)
        if self.state.tells_killing and held.told.state != "killing":
            self._tell(held, msgspec.structs.replace(held.told, state="killing", at=self.now))
        app = held.description.spec.app
        grace = app.task_kill_grace_period_seconds if grace_seconds is None else grace_seconds
        self.actions.append(End(task_id=task_id, runner_id=held.runner_id, grace_seconds=grace))

    def keep(self, number: int) -> None:
        update = next((one for one in self.state.updates if one.number == number), None)
        if update is None:
            return
        updates = tuple(one for one in self.state.updates if one.number != number)
        self.state = msgspec.structs.replace(self.state, updates=updates)
        held = self.state.tasks.get(update.task_id)
        if held is None:
            return
        if held.told.terminal and not any(one.task_id == held.task_id for one in updates):
            tasks = {name: one for name, one in self.state.tasks.items() if name != held.task_id}
            self.state = msgspec.structs.replace(self.state, tasks=tasks)
        else:
            self._change(held, known=True)

    def begin(self, task_id: str) -> None:
        held = self.state.tasks.get(task_id)
        if held is not None and not held.told.terminal:
            self._change(held, begun=True)

    def refuse(self, task_id: str, message: str) -> None:
        known = task_id in self.state.tasks or any(one.task_id == task_id for one in self.state.updates)
        if not known:
            status = TaskStatus(
                task_id=task_id,
                instance_id="",
                app_id="",
                target="",
                agent="",
                state="failed",
                at=self.now,
                message=message,
            )
            self._add(task_id, status)

    def give_up(self, task_id: str, state: TaskState, message: str) -> None:
        held = self.state.tasks.get(task_id)
        self.end(task_id, "killed" if held is not None and held.killed else state, message)

    def end(self, task_id: str, state: TaskState, message: str) -> None:
        held = self.state.tasks.get(task_id)
        if held is not None and not held.told.terminal:
            assert state in TERMINAL
            ended = msgspec.structs.replace(held.told, state=state, at=self.now, message=message)
            self._tell(held, ended)

    def observe(self, status: TaskStatus) -> None:
        held = self.state.of_runner(status.task_id)
        if held is None or ORDER[status.state] < ORDER[held.told.state]:
            return
        told = held.told
        if status.state != told.state or (status.address, status.ports) != (told.address, told.ports):
            self._tell(held, status)

    def list(self, statuses: tuple[TaskStatus, ...], begun_before: frozenset[str]) -> None:
        for status in statuses:
            self.observe(status)
        present = {one.task_id for one in statuses}
        for held in tuple(self.state.live):
            if held.task_id in begun_before and held.begun and held.runner_id not in present:
                words = "what ran of it is gone, and nobody saw its end"
                self.end(held.task_id, "killed" if held.killed else "lost", words)

    def _tell(self, held: HeldTask, status: TaskStatus) -> None:
        self._change(held, told=status)
        self._add(held.task_id, status)

    def _add(self, task_id: str, status: TaskStatus) -> None:
        number = self.state.next_number
        update = Update(number=number, task_id=task_id, status=status)
        self.state = msgspec.structs.replace(self.state, updates=(*self.state.updates, update), next_number=number + 1)
        self.actions.append(Tell(update=update))

    def _change(self, held: HeldTask, **changes: object) -> HeldTask:
        changed = msgspec.structs.replace(self.state.tasks[held.task_id], **changes)
        self.state = msgspec.structs.replace(self.state, tasks=self.state.tasks | {held.task_id: changed})
        return changed


def _status_of(spec: TaskSpec, state: TaskState, at: float, message: str) -> TaskStatus:
    """Of a task that the runner does not have yet."""
    return TaskStatus(
        task_id=spec.task_id,
        instance_id=spec.instance_id,
        app_id=spec.app_id,
        target=spec.target,
        agent=spec.agent,
        state=state,
        at=at,
        host_ports=spec.host_ports,
        message=message,
    )
