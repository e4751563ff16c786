"""task book: the tasks of engine mesos by their ids, and what they have of their agents. No clock and no wire."""

from collections.abc import Collection, Iterable, Mapping

from coldchain.engines.mesos.infos import amounts_of, next_mesos_id
from coldchain.engines.mesos.resources import NOTHING, Amounts
from coldchain.model.mesos import MesosTask
from coldchain.model.task import TaskStatus

SPENT_MAX = 10_000
"""Those that were spent last."""


class TaskBook:
    """`strangers`: live tasks of our framework that no record tells of, by Mesos's id; whoever asks for all tasks gets
    them too, and ends them. `waiting`: those that Mesos was not told of yet, or not again; `in_flight`: those that it
    is being told of, and may not know yet. `spent`: of tasks that are not on record, the last of Mesos's ids that one
    had. `given_back`: by Mesos's ids, those whose end is known to it and not told yet: what they had is offered."""

    def __init__(self) -> None:
        self.tasks: dict[str, MesosTask] = {}
        self.strangers: dict[str, TaskStatus] = {}
        self.waiting: set[str] = set()
        self.in_flight: set[str] = set()
        self.given_back: set[str] = set()
        self.spent: dict[str, str] = {}
        self._by_mesos_id: dict[str, str] = {}

    def put(self, task: MesosTask) -> None:
        known = self.tasks.get(task.task_id)
        if known is not None and known.mesos_id != task.mesos_id:
            self._by_mesos_id.pop(known.mesos_id, None)
            self.given_back.discard(known.mesos_id)
        self.tasks[task.task_id] = task
        self._by_mesos_id[task.mesos_id] = task.task_id
        self.strangers.pop(task.mesos_id, None)

    def spend(self, mesos_id: str) -> None:
        """Mesos had a task of this id, and what it says of that may come again: no other task is to have it."""
        head, _, number = mesos_id.rpartition(".")
        task_id = f"{head}.1" if number.isdigit() else mesos_id
        known = self.spent.pop(task_id, mesos_id)
        self.spent[task_id] = max(known, mesos_id, key=lambda one: (len(one), one))
        if len(self.spent) > SPENT_MAX:
            del self.spent[next(iter(self.spent))]

    def unused_id(self, task_id: str) -> str:
        """Mesos's id for a task that is launched, and is not on record or was dropped."""
        known = self.tasks.get(task_id)
        last = known.mesos_id if known is not None else self.spent.get(task_id)
        return task_id if last is None else next_mesos_id(last)

    def remove(self, task_id: str) -> MesosTask | None:
        task = self.tasks.pop(task_id, None)
        self.waiting.discard(task_id)
        if task is not None:
            self._by_mesos_id.pop(task.mesos_id, None)
            self.given_back.discard(task.mesos_id)
        return task

    def of_mesos(self, mesos_id: str) -> MesosTask | None:
        task_id = self._by_mesos_id.get(mesos_id)
        return self.tasks[task_id] if task_id is not None else None

    def successor_of(self, mesos_id: str) -> MesosTask | None:
        """The task by which another one of Mesos has taken over from it."""
        head, _, number = mesos_id.rpartition(".")
        for task in (self.tasks.get(mesos_id), self.tasks.get(f"{head}.1")):
            if task is not None and task.mesos_id != mesos_id:
                return task if number.isdigit() or task.task_id == mesos_id else None
        return None

    def in_mesos(self) -> Iterable[MesosTask]:
        """Those that Mesos should know to be alive."""
        return (one for one in self.tasks.values() if _in_mesos(one) and one.task_id not in self.waiting)

    def to_be_asked_for(self) -> list[MesosTask]:
        """Those that Mesos must know."""
        return [one for one in self.in_mesos() if one.task_id not in self.in_flight]

    def agents_in_use(self) -> set[str]:
        """By Mesos's ids: where something of ours runs or may run."""
        return {one.agent_id for one in self.tasks.values() if not one.told.terminal and one.standing != "gone"}

    def agents_running(self) -> set[str]:
        """By Mesos's ids: where something of ours runs that has begun."""
        return {one.agent_id for one in self.tasks.values() if one.begun and not one.told.terminal}

    def used(self, agent_ids: Collection[str]) -> Mapping[str, Mapping[str, Amounts]]:
        """What Mesos has given away to our tasks of these agents, by agent and by reservation. What runs and is not
        known there, or was launched when the agent had another id, is in the room that the agent offers."""
        found: dict[str, dict[str, Amounts]] = {}
        for task in self.in_mesos():
            offered = task.standing == "nowhere" or task.mesos_id in self.given_back
            if task.agent_id not in agent_ids or offered:
                continue
            of_agent = found.setdefault(task.spec.agent, {})
            of_agent[task.reserved_for] = of_agent.get(task.reserved_for, NOTHING).plus(amounts_of(task.spec))
        return found


def _in_mesos(task: MesosTask) -> bool:
    return not task.told.terminal and task.executor_gone_at is None and task.standing != "gone"
