"""agent: the process of a Mesos agent, as real ones were seen to behave: what it keeps of executors and tasks is on its
disk, updates are told until they are acknowledged, and executors outlive it."""

import asyncio
import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coldchain.testing.simulation.mesos.machine import ExecutorProcess, Machine

Document = dict[str, Any]
RETRY_SECONDS = 10.0
"""Until an update that was not acknowledged is told again."""
REREGISTRATION_SECONDS = 2.0
"""So long executors have to come back to an agent that started."""
TERMINAL = frozenset(
    {"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED", "TASK_GONE"}
)


@dataclass(kw_only=True, eq=False)
class AgentTask:
    """`updates`: those that the scheduler has not acknowledged, in their order; `kept`: uuids of all that came."""

    id: str
    framework_id: str
    information: Document
    state: str = "TASK_STAGING"
    updates: list[Document] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)
    retry: asyncio.TimerHandle | None = None


@dataclass(kw_only=True, eq=False)
class AgentExecutor:
    """`queued`: events for it until it subscribes for the first time; `ending`: it is to leave as soon as it comes."""

    id: str
    framework_id: str
    information: Document
    process: "ExecutorProcess"
    tasks: dict[str, AgentTask] = field(default_factory=dict)
    queued: list[Document] = field(default_factory=list)
    subscribed: bool = False
    ending: bool = False
    events: asyncio.Queue[Document | None] | None = None


class Agent:
    """`id`: by which masters know it, empty until one gave it. `epoch` changes whenever what was on its way is lost.
    `term`: of the master that it registered with last. `leaving`: it shall not be used any more, by its operator's word
    (seconds since the epoch)."""

    def __init__(self, machine: "Machine") -> None:
        self.machine = machine
        self.id = ""
        self.up = False
        self.registered = False
        self.epoch = 0
        self.term = 0
        self.executors: dict[str, AgentExecutor] = {}
        self.leaving: float | None = None
        self._uuids = 0
        self._strays: dict[str, AgentTask] = {}

    # Its process

    def start(self) -> None:
        """From its disk. Executors that are gone are found out at once, those that stay away after a while."""
        if self.up or not self.machine.up:
            return
        self.up = True
        self.epoch += 1
        for executor in tuple(self.executors.values()):
            if not executor.process.living:
                self._lost(executor, "REASON_EXECUTOR_TERMINATED")
        wait = REREGISTRATION_SECONDS if self.executors else 0.1
        self._later(wait, self._recovered)

    def _recovered(self) -> None:
        for executor in tuple(self.executors.values()):
            if executor.events is None:
                executor.process.kill()
                if self.executors.get(executor.id) is executor:
                    self._lost(executor, "REASON_EXECUTOR_REREGISTRATION_TIMEOUT")
        self.register()

    def kill(self) -> None:
        """SIGKILL."""
        if not self.up:
            return
        self.up = self.registered = False
        self.epoch += 1
        for executor in self.executors.values():
            self._drop(executor)
        self.machine.world.masters.agent_disconnected(self)

    def wipe(self) -> None:
        """While it is away its folder is emptied: it will be another agent."""
        assert not self.up
        self.id = ""
        self.executors.clear()
        self._strays.clear()

    def shut_down(self) -> None:
        """The master says that it is gone for good: it ends its executors, and itself, and comes back as another."""
        for executor in tuple(self.executors.values()):
            self.send(executor, {"type": "SHUTDOWN"})
        self.kill()
        self.wipe()
        self.machine.world.later(5.0, self.start)

    def register(self) -> None:
        """With whoever leads, as soon as that is to be reached."""
        world = self.machine.world
        if not self.up or self.registered:
            return
        if self.machine.cut_off or not world.masters.leading:
            self._later(0.5, self.register)
            return
        world.masters.register(self)

    def new_leader(self) -> None:
        """It hears so after a moment."""
        self.registered = False
        self._later(0.05 + 1.5 * self.machine.world.draw("registration").random(), self.register)

    def welcomed(self, agent_id: str, known: list[str], again: bool) -> None:
        """The master knows it, and these tasks on it. What never came here is dropped."""
        self.id, self.registered, self.term = agent_id, True, self.machine.world.masters.term
        here = {task.id for task in self.tasks}
        for task_id in known:
            if task_id not in here:
                self._tell_lost(task_id, self.machine.world.masters.framework_id, "REASON_RECONCILIATION")
        if again:
            for executor in self.executors.values():
                for task in executor.tasks.values():
                    self._forward(task)
            for task in self._strays.values():
                self._forward(task)

    def _later(self, seconds: float, work: Any) -> None:
        epoch = self.epoch
        self.machine.world.later(seconds, lambda: work() if self.epoch == epoch else None)

    # The master

    def launch(self, framework_id: str, information: Document) -> None:
        """A task for one of its executors, which may have to be started for it."""
        wanted = information["executor"]
        executor = self.executors.get(wanted["executor_id"]["value"])
        if executor is not None and executor.framework_id != framework_id:
            self._tell_lost(information["task_id"]["value"], framework_id, "REASON_EXECUTOR_TERMINATED")
            return
        if executor is None:
            name = wanted["executor_id"]["value"]
            process = self.machine.start_executor(name, wanted)
            executor = AgentExecutor(id=name, framework_id=framework_id, information=wanted, process=process)
            self.executors[name] = executor
        task = AgentTask(id=information["task_id"]["value"], framework_id=framework_id, information=information)
        executor.tasks[task.id] = task
        self.send(executor, {"type": "LAUNCH", "launch": {"task": information}})

    def end(self, framework_id: str, task_id: str, policy: Document | None) -> None:
        executor = next((one for one in self.executors.values() if task_id in one.tasks), None)
        if executor is None:
            self._tell_lost(task_id, framework_id, "")
            return
        task = executor.tasks[task_id]
        if not executor.subscribed and executor.queued:
            executor.queued = [one for one in executor.queued if one["launch"]["task"] is not task.information]
            self._update(task, "TASK_KILLED", "SOURCE_AGENT", "REASON_EXECUTOR_UNREGISTERED")
            return
        kill: Document = {"task_id": {"value": task_id}}
        if policy is not None:
            kill["kill_policy"] = policy
        self.send(executor, {"type": "KILL", "kill": kill})

    def pass_on(self, executor_id: str, event: Document) -> None:
        """What the scheduler has for one that has subscribed."""
        executor = self.executors.get(executor_id)
        if executor is not None and executor.subscribed:
            executor.ending = executor.ending or event["type"] == "SHUTDOWN"
            self.send(executor, event)

    def acknowledged(self, task_id: str, uuid: str) -> None:
        """The scheduler has it; what came next is told."""
        for executor in self.executors.values():
            task = executor.tasks.get(task_id)
            if task is not None and task.updates and task.updates[0]["uuid"] == uuid:
                task.updates.pop(0)
                self._quiet(task)
                if task.updates:
                    self._forward(task)
                elif task.state in TERMINAL:
                    del executor.tasks[task_id]
        stray = self._strays.get(task_id)
        if stray is not None and stray.updates and stray.updates[0]["uuid"] == uuid:
            stray.updates.pop(0)
            self._forward(stray)
            if not stray.updates:
                del self._strays[task_id]

    def framework_gone(self, framework_id: str) -> None:
        """Its executors are to end, and nobody wants to hear of them any more."""
        for executor in tuple(self.executors.values()):
            if executor.framework_id == framework_id:
                self.send(executor, {"type": "SHUTDOWN"})
                executor.ending = True
                executor.queued.clear()
                for task in executor.tasks.values():
                    self._quiet(task)
                executor.tasks.clear()
        for task in [one for one in self._strays.values() if one.framework_id == framework_id]:
            self._quiet(task)
            del self._strays[task.id]

    @property
    def frameworks(self) -> set[str]:
        """Of whom there is something here."""
        return {one.framework_id for one in self.executors.values()} | {
            one.framework_id for one in self._strays.values()
        }

    @property
    def tasks(self) -> list[AgentTask]:
        """What a master is told of when it registers: also those whose executor is gone, until their end is
        acknowledged."""
        found = [task for executor in self.executors.values() for task in executor.tasks.values()]
        return found + [one for one in self._strays.values() if one.information]

    @property
    def untold(self) -> bool:
        """Whether there are updates that nobody has acknowledged."""
        tasks = [one for executor in self.executors.values() for one in executor.tasks.values()]
        return any(one.updates for one in (*tasks, *self._strays.values()))

    # Its executors

    def subscribed(self, process: "ExecutorProcess", updates: Any, tasks: Any) -> asyncio.Queue[Document | None] | None:
        """The events for an executor; None: it is not known."""
        executor = self.executors.get(process.executor_id)
        if executor is None or executor.process is not process:
            return None
        self._drop(executor)
        events = executor.events = asyncio.Queue()
        capabilities = [{"type": "TASK_KILLING_STATE"}]
        hello = {"executor_info": executor.information, "framework_info": {"capabilities": capabilities}}
        events.put_nowait({"type": "SUBSCRIBED", "subscribed": hello})
        for one in updates:
            self.updated(process, one["status"])
        if executor.subscribed:
            here = {one["task_id"]["value"] for one in tasks}
            for task in tuple(executor.tasks.values()):
                if task.state == "TASK_STAGING" and task.id not in here:
                    self._update(task, "TASK_DROPPED", "SOURCE_AGENT", "REASON_AGENT_RESTARTED")
        if executor.ending:
            events.put_nowait({"type": "SHUTDOWN"})
        queued, executor.queued = executor.queued, []
        executor.subscribed = True
        for event in queued:
            events.put_nowait(event)
        return events

    def hang_up(self, process: "ExecutorProcess", events: asyncio.Queue[Document | None] | None = None) -> None:
        executor = self.executors.get(process.executor_id)
        if executor is not None and executor.process is process and events in (None, executor.events):
            executor.events = None

    def updated(self, process: "ExecutorProcess", status: Document) -> None:
        """An executor tells; what is on disk is acknowledged to it, and told to the scheduler in its time."""
        executor = self.executors.get(process.executor_id)
        if executor is None or executor.process is not process:
            return
        task = executor.tasks.get(status["task_id"]["value"])
        if task is not None and status["uuid"] not in task.kept and task.state not in TERMINAL:
            task.kept.add(status["uuid"])
            task.state = status["state"]
            task.updates.append(status)
            if len(task.updates) == 1:
                self._forward(task)
        named = {"task_id": status["task_id"], "uuid": status["uuid"]}
        self.send(executor, {"type": "ACKNOWLEDGED", "acknowledged": named})

    def said(self, process: "ExecutorProcess", data: str) -> None:
        """A message for the scheduler, which may be lost."""
        self.machine.world.masters.message(self, process.executor_id, data)

    def executor_exited(self, process: "ExecutorProcess") -> None:
        executor = self.executors.get(process.executor_id)
        if self.up and executor is not None and executor.process is process:
            self._later(0.05, lambda: self._lost(executor, "REASON_EXECUTOR_TERMINATED"))

    def _lost(self, executor: AgentExecutor, reason: str) -> None:
        if self.executors.get(executor.id) is not executor:
            return
        self._drop(executor)
        self.machine.world.masters.executor_exited(self, executor.id)
        for task in executor.tasks.values():
            if task.state not in TERMINAL:
                self._update(task, "TASK_FAILED", "SOURCE_AGENT", reason)
        del self.executors[executor.id]
        self._strays.update((task.id, task) for task in executor.tasks.values() if task.updates)

    def send(self, executor: AgentExecutor, event: Document) -> None:
        """Lost where the stream is; kept until there was one."""
        if executor.events is not None:
            executor.events.put_nowait(event)
        elif not executor.subscribed and event["type"] == "LAUNCH":
            executor.queued.append(event)

    def _drop(self, executor: AgentExecutor) -> None:
        if executor.events is not None:
            executor.events.put_nowait(None)
            executor.events = None

    # Updates

    def _tell_lost(self, task_id: str, framework_id: str, reason: str) -> None:
        task = self._strays[task_id] = AgentTask(id=task_id, framework_id=framework_id, information={})
        self._update(task, "TASK_DROPPED", "SOURCE_AGENT", reason)

    def _update(self, task: AgentTask, state: str, source: str, reason: str) -> None:
        self._uuids += 1
        uuid = base64.b64encode(f"{self.machine.name}{self._uuids:09d}".encode()).decode()
        status = {"task_id": {"value": task.id}, "state": state, "source": source, "reason": reason, "uuid": uuid}
        task.state = state
        task.updates.append(status)
        if len(task.updates) == 1:
            self._forward(task)

    def _forward(self, task: AgentTask) -> None:
        """Tell the first that is not acknowledged, and again until it is."""
        self._quiet(task)
        if not self.up or not task.updates:
            return
        epoch = self.epoch
        task.retry = asyncio.get_running_loop().call_later(
            RETRY_SECONDS, lambda: self._forward(task) if self.epoch == epoch else None
        )
        if self.registered:
            self.machine.world.masters.updated(self, task.updates[0], task.state)

    def _quiet(self, task: AgentTask) -> None:
        if task.retry is not None:
            task.retry.cancel()
            task.retry = None
