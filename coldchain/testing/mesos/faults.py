"""Faults of a Mesos cluster, each played from a framework's side until everything is said of it."""

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coldchain.testing.mesos.bare_scheduler import BareScheduler
from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.machine import PATIENCE_SECONDS
from coldchain.testing.mesos.operator_api import first_that
from coldchain.testing.mesos.servers import Agent
from coldchain.testing.mesos.settings import AgentSettings, MasterSettings

Play = Callable[[MesosLab, BareScheduler], Awaitable[None]]
LENGTH_BYTES = 4
UPDATE_AND_ACKNOWLEDGEMENT = 2
QUICK_MASTER = MasterSettings(agent_ping_timeout_seconds=1.0, agent_pings_missed_max=2)
QUICK_AGENT = AgentSettings(executor_reregistration_timeout_seconds=0.5, executor_shutdown_grace_seconds=0.5)


async def _nothing_runs_on(agent: Agent, but: int = 0) -> bool:
    return len(agent.processes) <= but


async def _task_runs(lab: MesosLab, scheduler: BareScheduler) -> dict[str, Any]:
    """It does, and its agent has on disk that the scheduler knows: else it would say so again after its restart."""
    offer = await scheduler.offer()
    await scheduler.launch(offer, scheduler.task("task", offer))
    status = await scheduler.update("task", "TASK_RUNNING")

    async def kept() -> bool:
        return any(_records(path) >= UPDATE_AND_ACKNOWLEDGEMENT for path in _streams(lab))

    if scheduler.acknowledges:
        await first_that(kept, "the agent keeps the acknowledgement", PATIENCE_SECONDS)
    return status


def _streams(lab: MesosLab) -> list[Path]:
    """Where agents keep what was told of the task, and what of that was acknowledged."""
    return [path for agent in lab.agents for path in agent.work_directory.glob("meta/**/tasks/task/task.updates")]


def _records(path: Path) -> int:
    """How many records a file has, each after its length in four bytes."""
    data, found = path.read_bytes(), 0
    while len(data) >= LENGTH_BYTES:
        data, found = data[LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], sys.byteorder) :], found + 1
    return found


async def _reconciled(scheduler: BareScheduler) -> None:
    before = len(scheduler.events)
    await scheduler.call("RECONCILE", reconcile={"tasks": []})
    await scheduler.update("task", "TASK_RUNNING", after=before)


async def agent_killed_and_back(lab: MesosLab, scheduler: BareScheduler) -> None:
    """In time: nothing is said of it, and the task goes on."""
    await _task_runs(lab, scheduler)
    await lab.agents[0].restart()
    await lab.agents[0].registered()
    await _reconciled(scheduler)


async def agent_killed_with_an_update_unacknowledged(lab: MesosLab, scheduler: BareScheduler) -> None:
    """The update comes a second time, with the same uuid."""
    scheduler.acknowledges = False
    await _task_runs(lab, scheduler)
    before = len(scheduler.events)
    await lab.agents[0].restart()
    scheduler.acknowledges = True
    await scheduler.update("task", "TASK_RUNNING", after=before)


async def agent_unreachable_and_back(lab: MesosLab, scheduler: BareScheduler) -> None:
    """Longer than the master waits; its executor and task have gone on meanwhile."""
    await _task_runs(lab, scheduler)
    await lab.agents[0].kill()
    await scheduler.update("task", "TASK_UNREACHABLE")
    before = len(scheduler.events)
    lab.agents[0].start()
    await scheduler.update("task", "TASK_RUNNING", after=before)


async def machine_frozen_and_back(lab: MesosLab, scheduler: BareScheduler) -> None:
    """As behind a cut cable: no connection is closed."""
    await _task_runs(lab, scheduler)
    lab.agents[0].freeze(whole=True)
    await scheduler.update("task", "TASK_UNREACHABLE")
    before = len(scheduler.events)
    lab.agents[0].thaw(whole=True)
    await scheduler.update("task", "TASK_RUNNING", after=before)


async def machine_killed_and_back(lab: MesosLab, scheduler: BareScheduler) -> None:
    """The agent, the executor and the task are gone; the agent comes back without the other two."""
    await _task_runs(lab, scheduler)
    await lab.agents[0].kill(whole=True)
    lab.agents[0].start()
    await scheduler.update("task", "TASK_FAILED")


async def agent_back_after_its_recovery_time(lab: MesosLab, scheduler: BareScheduler) -> None:
    """Its executor gave up waiting for it, and ended with the task."""
    await _task_runs(lab, scheduler)
    agent = lab.agents[0]
    await agent.kill()
    await first_that(lambda: _nothing_runs_on(agent), "the end of the executor", PATIENCE_SECONDS)
    agent.start()
    await scheduler.update("task", "TASK_FAILED")


async def agent_back_with_another_id(lab: MesosLab, scheduler: BareScheduler) -> None:
    """As after its disk was lost: a new agent at the same address; the executor of the old one lives on, unknown."""
    await _task_runs(lab, scheduler)
    agent = lab.agents[0]
    await agent.kill()
    shutil.rmtree(agent.work_directory / "meta")
    agent.start()
    await scheduler.update("task", "TASK_LOST", "TASK_GONE", "TASK_UNREACHABLE")


async def agent_shut_down(lab: MesosLab, scheduler: BareScheduler) -> None:
    """In order, with its tasks."""
    await _task_runs(lab, scheduler)
    await lab.agents[0].shut_down()
    await scheduler.update("task", "TASK_LOST")


async def agent_marked_gone(lab: MesosLab, scheduler: BareScheduler) -> None:
    await _task_runs(lab, scheduler)
    await lab.operator.mark_gone(await lab.agents[0].agent_id())
    await scheduler.update("task", "TASK_GONE_BY_OPERATOR")


async def agent_drained(lab: MesosLab, scheduler: BareScheduler) -> None:
    await _task_runs(lab, scheduler)
    await lab.operator.drain(await lab.agents[0].agent_id(), grace_seconds=1)
    await scheduler.update("task", "TASK_KILLED")


async def maintenance_planned_and_cancelled(lab: MesosLab, scheduler: BareScheduler) -> None:
    """Only who has something on the agent is asked to leave it."""
    await _task_runs(lab, scheduler)
    await lab.operator.schedule_maintenance(["agent-1"], time.time() + 3600, 600)
    await scheduler.event("INVERSE_OFFERS")
    await lab.operator.schedule_maintenance([], 0, 0)
    await scheduler.event("RESCIND_INVERSE_OFFER")


async def maintenance_begun(lab: MesosLab, scheduler: BareScheduler) -> None:
    """Who did not leave in time is put out: the agent's process ends."""
    await _task_runs(lab, scheduler)
    await lab.operator.schedule_maintenance(["agent-1"], time.time(), 600)
    await scheduler.event("INVERSE_OFFERS")
    machine = {"hostname": "agent-1", "ip": "127.0.0.1"}
    await lab.operator.call("START_MAINTENANCE", start_maintenance={"machines": [machine]})
    await scheduler.update("task", "TASK_LOST")


async def executor_killed(lab: MesosLab, scheduler: BareScheduler) -> None:
    running = await _task_runs(lab, scheduler)
    os.kill(running["container_status"]["executor_pid"], signal.SIGKILL)
    await scheduler.update("task", "TASK_FAILED")
    await scheduler.event("FAILURE")


async def executor_changed(lab: MesosLab, scheduler: BareScheduler) -> None:
    """A second task with the same executor id and another ExecutorInfo is refused while the first lives."""
    await _task_runs(lab, scheduler)
    offer = await scheduler.offer()
    task = scheduler.task("other", offer)
    task["executor"]["command"]["environment"] = {"variables": [{"name": "VERSION", "value": "2"}]}
    await scheduler.launch(offer, task)
    await scheduler.update("other", "TASK_ERROR")


async def offer_used_twice(lab: MesosLab, scheduler: BareScheduler) -> None:
    offer = await scheduler.offer()
    await scheduler.launch(offer, scheduler.task("task", offer))
    await scheduler.update("task", "TASK_RUNNING")
    await scheduler.launch(offer, scheduler.task("other", offer))
    await scheduler.update("other", "TASK_DROPPED")


async def offer_too_small(lab: MesosLab, scheduler: BareScheduler) -> None:
    offer = await scheduler.offer()
    await scheduler.launch(offer, scheduler.task("task", offer, cpus=100))
    await scheduler.update("task", "TASK_ERROR")


async def task_unknown(lab: MesosLab, scheduler: BareScheduler) -> None:
    """Asked for by its id, on an agent that never had it and on one that nobody knows."""
    agent = {"value": await lab.agents[0].agent_id()}
    nobody = {"value": "00000000-0000-0000-0000-000000000000-S0"}
    tasks = [{"task_id": {"value": "task"}, "agent_id": agent}, {"task_id": {"value": "other"}, "agent_id": nobody}]
    await scheduler.call("RECONCILE", reconcile={"tasks": tasks})
    await scheduler.update("task", "TASK_GONE")
    await scheduler.update("other", "TASK_UNKNOWN")


async def subscribed_twice(lab: MesosLab, scheduler: BareScheduler) -> None:
    """Somebody else goes on with the same framework id."""
    await _task_runs(lab, scheduler)
    async with BareScheduler(lab, framework_id=scheduler.framework_id, leaves=True):
        await scheduler.event("ERROR")
        await scheduler.event("ENDED")


async def framework_torn_down(lab: MesosLab, scheduler: BareScheduler) -> None:
    """By an operator, and it comes back all the same."""
    await _task_runs(lab, scheduler)
    await lab.operator.teardown(scheduler.framework_id)
    await scheduler.event("ENDED")
    before = len(scheduler.events)
    with contextlib.suppress(AssertionError):
        await scheduler.subscribe(patience_seconds=1.0)
    await scheduler.event("ERROR", after=before)


async def framework_away_for_too_long(lab: MesosLab, scheduler: BareScheduler) -> None:
    """Its tasks are killed meanwhile, and it is told to go away for ever."""
    await _task_runs(lab, scheduler)
    await scheduler.leave()
    agent = lab.agents[0]
    await first_that(lambda: _nothing_runs_on(agent, but=1), "the end of the executor", PATIENCE_SECONDS)
    with contextlib.suppress(AssertionError):
        await scheduler.subscribe(patience_seconds=1.0)
    await scheduler.event("ERROR")


async def master_killed_and_another_leads(lab: MesosLab, scheduler: BareScheduler) -> None:
    """The stream ends; the framework subscribes with its id to who leads now, before the agent does; asks what runs."""
    await _task_runs(lab, scheduler)
    before = len(scheduler.events)
    lab.agents[0].freeze()
    await (await lab.leader()).kill()
    await scheduler.event("ENDED")
    await scheduler.subscribe()
    lab.agents[0].thaw()
    await scheduler.update("task", "TASK_RUNNING", after=before)
    await _reconciled(scheduler)


async def zookeeper_away_and_back(lab: MesosLab, scheduler: BareScheduler) -> None:
    """For longer than a session: the master that led ends by itself, and nobody leads until ZooKeeper is back."""
    await _task_runs(lab, scheduler)
    assert lab.zookeeper is not None
    await lab.zookeeper.kill()
    await scheduler.event("ENDED")
    lab.zookeeper.start()
    await lab.registered(1)
    await scheduler.subscribe()
    await _reconciled(scheduler)


@dataclass(frozen=True)
class Fault:
    """How it is played, and in which lab: of one agent, and of masters and a framework with these settings."""

    play: Play
    masters: int = 1
    agent: AgentSettings = QUICK_AGENT
    failover_seconds: float = 3600.0


_ALL = (
    Fault(agent_killed_and_back),
    Fault(agent_killed_with_an_update_unacknowledged),
    Fault(agent_unreachable_and_back),
    Fault(machine_frozen_and_back),
    Fault(machine_killed_and_back),
    Fault(agent_back_after_its_recovery_time, agent=replace(QUICK_AGENT, recovery_timeout_seconds=0.5)),
    Fault(agent_back_with_another_id),
    Fault(agent_shut_down),
    Fault(agent_marked_gone),
    Fault(agent_drained),
    Fault(maintenance_planned_and_cancelled),
    Fault(maintenance_begun),
    Fault(executor_killed),
    Fault(executor_changed),
    Fault(offer_used_twice),
    Fault(offer_too_small),
    Fault(task_unknown),
    Fault(subscribed_twice),
    Fault(framework_torn_down),
    Fault(framework_away_for_too_long, failover_seconds=0.2),
    Fault(master_killed_and_another_leads, masters=2),
    Fault(zookeeper_away_and_back, masters=2),
)
FAULTS = {fault.play.__name__: fault for fault in _ALL}
