"""faults: what happens to the cluster, step by step, beside all that happens to the shop (`scenario`)."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from coldchain.testing.demo import scenario
from coldchain.testing.demo.cluster import NEXT_EXECUTOR, RECOVERY_SECONDS, Cluster
from coldchain.testing.demo.scenario import (
    INSTANCES,
    PATIENCE_SECONDS,
    Show,
    Step,
    eventually,
    expect_serving,
    in_mid_rollout,
    serves,
    unmoved,
    until,
)
from coldchain.testing.driven import StepFailed
from coldchain.testing.load.accounting import Kill
from coldchain.testing.mesos import cable
from coldchain.testing.mesos.servers import Agent

LEAVING_SECONDS = 2.0
"""By then what was cut off has left rotation: who is sent there later is lost by us."""
CUT_SECONDS = 14.0
"""Longer than a client waits: what is thawed answers nobody late."""

Fault = Callable[[Cluster, Show], Awaitable[None]]


async def kill_leader(cluster: Cluster, show: Show) -> None:
    """In mid-rollout: the other one ends it; the killed one comes back and stands by."""
    leader, (other,) = await cluster.controllers.leader()
    started = await in_mid_rollout(show, "v2")
    cluster.controllers.kill()
    await show.stage.deployment(started["deploymentId"])
    if (await cluster.controllers.leader())[0] is not other:
        raise StepFailed("the rollout ended, but not by the other controller")
    await expect_serving(show, INSTANCES)
    await cluster.controllers.start()
    if (await cluster.controllers.leader())[1] != [leader]:
        raise StepFailed("the killed controller does not stand by")


async def kill_master(cluster: Cluster, show: Show) -> None:
    """In mid-rollout: the other master leads; the killed one comes back."""
    master = await cluster.lab.leader()
    started = await in_mid_rollout(show, "v3")
    await master.kill()
    await show.stage.deployment(started["deploymentId"])
    await expect_serving(show, INSTANCES)
    if await cluster.lab.leader() is master:
        raise StepFailed("the master that was killed leads")
    master.start()
    await cluster.lab.registered(len(cluster.lab.agents))


async def kill_executor(cluster: Cluster, show: Show) -> None:
    """What it ran runs on, and successors take it over."""
    agent = await _busiest(cluster, show)
    before, held = await cluster.containers(), await _held(cluster, agent)
    for executor in _executors(agent):
        os.kill(executor, signal.SIGKILL)
    await eventually(
        lambda: _adopted(cluster, agent, len(held), without=set(held)), f"successors of the tasks of {agent.hostname}"
    )
    await unmoved(cluster.containers, show, before)


async def upgrade_executor(cluster: Cluster, show: Show) -> None:
    """The controllers are restarted one after the other with another one; what runs is handed over as it is."""
    before = await cluster.containers()
    held = {task: executor for agent in cluster.lab.agents for task, executor in (await _held(cluster, agent)).items()}
    old = set(held.values())
    leader, standing_by = await cluster.controllers.leader()
    for stage in (*standing_by, leader):
        await stage.terminate()
        stage.up_options[-1] = f"--mesos-executor={NEXT_EXECUTOR}"
        await cluster.controllers.start()

    async def handed_over() -> bool:
        executors = [one for agent in cluster.lab.agents for one in (await _held(cluster, agent)).values()]
        return len(executors) == len(held) and not old & set(executors)

    await eventually(handed_over, "every task under the new executor")
    await eventually(lambda: _each_has_one_executor(cluster), "the end of the old executors")
    await unmoved(cluster.containers, show, before)


async def restart_agent(cluster: Cluster, show: Show) -> None:
    """SIGKILL for its process, which is started again: nothing moves, and Mesos has the same tasks."""
    agent = await _busiest(cluster, show)
    before, held = await cluster.containers(), await _held(cluster, agent)
    await agent.restart()
    await agent.registered()
    await unmoved(cluster.containers, show, before)
    if await _held(cluster, agent) != held:
        raise StepFailed(f"{agent.hostname} has other tasks than before")


async def lose_agent(cluster: Cluster, show: Show) -> None:
    """Its process is away for longer than its recovery time-out: its executor leaves, as Mesos wants; what that ran
    runs on, and is taken over when the agent is back."""
    agent = await _busiest(cluster, show)
    before, held = await cluster.containers(), await _held(cluster, agent)
    await agent.kill()
    await asyncio.sleep(RECOVERY_SECONDS)

    async def left() -> bool:
        return not _executors(agent)

    await eventually(left, "the end of the executor")
    agent.start()
    await agent.registered()
    await eventually(
        lambda: _adopted(cluster, agent, len(held), without=set(held)), f"successors of the tasks of {agent.hostname}"
    )
    await unmoved(cluster.containers, show, before)


async def lose_member(cluster: Cluster, show: Show) -> None:
    """The member of etcd that leads is gone in mid-rollout and while the shop is scaled, and comes back.

    Who asked for a change in the very moment may hear that nobody knows whether it was made; here none is asked for.
    """
    member = await cluster.etcd.leader()
    started = await in_mid_rollout(show, "v2")
    member.kill()
    await show.stage.deployment(started["deploymentId"])
    await show.stage.deploy("PUT", "/v2/apps/shop", {"instances": INSTANCES + 1})
    await expect_serving(show, INSTANCES + 1)
    await show.stage.deploy("PUT", "/v2/apps/shop", {"instances": INSTANCES})
    await expect_serving(show, INSTANCES)
    member.start()
    await cluster.etcd.leader()


async def drain_agent(cluster: Cluster, show: Show) -> None:
    """Its instances are replaced first; the others stay where they are."""
    agent = await _busiest(cluster, show)
    before = await cluster.containers()
    staying = {one["id"] for one in await _all_tasks(show) if one["host"] != agent.hostname}
    path = f"/v1/agents/{agent.hostname}/drain"
    await show.stage.call("POST", path)

    async def empty() -> bool:
        tasks = await _all_tasks(show)
        elsewhere = all(one["host"] != agent.hostname for one in tasks)
        return elsewhere and len(tasks) == INSTANCES + 1 and all(map(serves, tasks))

    await eventually(empty, f"{agent.hostname} empty")
    after = await cluster.containers()
    if any(after.get(task) != before[task] for task in staying):
        raise StepFailed("what runs on other agents was restarted")
    await show.stage.call("DELETE", path)


async def cut_off(cluster: Cluster, show: Show) -> None:
    """A machine's cable is pulled: packets are dropped, and all that runs on it stands still in the same instant. Its
    instances are replaced; then it comes back, with instances that nobody wants any more.

    Of an app with one instance nothing could serve meanwhile, so it is a machine without that one.
    """
    agent = await _busiest(cluster, show, without="/cart")
    address, _, _ = agent.address.partition(":")
    mine = [one for one in await show.stage.tasks("/shop") if one["host"] == agent.hostname]
    containers = await cluster.containers()
    pids = [(await cluster.docker.inspect_container(containers[one["id"]]))["State"]["Pid"] for one in mine]
    began = time.time()
    cable.pull(address)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    agent.freeze(whole=True)
    try:
        gone = {one["id"] for one in mine}
        await until(show, lambda tasks: not any(one["id"] in gone and _alive(one) for one in tasks))
        known = min(time.time(), began + LEAVING_SECONDS)
        show.kills += [
            Kill(instance=one["instanceId"], started_at=began, completed_at=known, silent=True) for one in mine
        ]
        await until(show, lambda tasks: _replaced(tasks, gone), PATIENCE_SECONDS)
        await asyncio.sleep(max(0.0, began + CUT_SECONDS - time.time()))
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        agent.thaw(whole=True)
        cable.plug_in(address)
    await cluster.lab.registered(len(cluster.lab.agents))

    async def ended() -> bool:
        left = await cluster.containers()
        return not gone & left.keys() and not gone & (await _held(cluster, agent)).keys()

    await eventually(ended, "the end of what was replaced")
    await until(show, lambda tasks: len(tasks) == INSTANCES and all(map(serves, tasks)))


FAULTS: tuple[tuple[str, Fault], ...] = (
    ("SIGKILL the leading controller in mid-rollout", kill_leader),
    ("SIGKILL the leading master in mid-rollout", kill_master),
    ("SIGKILL an executor", kill_executor),
    ("another version of the executor", upgrade_executor),
    ("SIGKILL an agent's process", restart_agent),
    ("an agent's process away for too long", lose_agent),
    ("a member of etcd gone", lose_member),
    ("drain an agent", drain_agent),
    ("a machine cut off", cut_off),
)


def steps(cluster: Cluster) -> tuple[tuple[str, Step], ...]:
    """All steps of the demo on one machine, and these before the last one, whose brake would hold on."""
    faults: list[tuple[str, Step]] = [(name, partial(fault, cluster)) for name, fault in FAULTS]
    *first, last = scenario.STEPS
    return tuple((name, partial(_checked, cluster, step)) for name, step in (*first, *faults, last))


async def _checked(cluster: Cluster, step: Step, show: Show) -> None:
    """A step, after which Mesos gives nothing away twice."""
    await cluster.controllers.leader()
    try:
        await step(show)

        async def counted_once() -> bool:
            return not await cluster.lab.operator.twice_counted()

        await eventually(counted_once, "resources that add up in Mesos")
    except (AssertionError, TimeoutError) as error:
        raise StepFailed(str(error) or "it took too long") from error


async def _all_tasks(show: Show) -> list[dict[str, Any]]:
    return [*await show.stage.tasks("/shop"), *await show.stage.tasks("/cart")]


async def _busiest(cluster: Cluster, show: Show, without: str = "") -> Agent:
    """The agent with most instances of the shop, among those that have none of the app `without`."""
    hosts = [one["host"] for one in await show.stage.tasks("/shop")]
    if without:
        others = {one["host"] for one in await show.stage.tasks(without)}
        hosts = [one for one in hosts if one not in others]
    return cluster.agent(max(sorted(set(hosts)), key=hosts.count))


async def _held(cluster: Cluster, agent: Agent) -> dict[str, str]:
    """What runs there as Mesos lists it: task → executor."""
    agent_id = await agent.agent_id()
    tasks = (await cluster.lab.operator.tasks()).get("tasks", ())
    return {
        one["task_id"]["value"]: one["executor_id"]["value"]
        for one in tasks
        if one["agent_id"]["value"] == agent_id and one["state"] == "TASK_RUNNING"
    }


async def _adopted(cluster: Cluster, agent: Agent, count: int, without: set[str]) -> bool:
    """Whether as many others of Mesos's tasks run there as did before."""
    held = await _held(cluster, agent)
    return len(held) == count and not without & held.keys()


def _executors(agent: Agent) -> list[int]:
    """Their processes on an agent: of each the one that is called so itself, not what starts it."""
    return [pid for pid in agent.processes if _words(pid)[-2:] == ["coldchain", "executor"]]


def _words(pid: int) -> list[str]:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []
    return words


async def _each_has_one_executor(cluster: Cluster) -> bool:
    return all(len(_executors(agent)) <= 1 for agent in cluster.lab.agents)


def _alive(task: dict[str, Any]) -> bool:
    """Whether its probes keep it in rotation."""
    return all(one["alive"] for one in task["healthCheckResults"])


def _replaced(tasks: Sequence[dict[str, Any]], gone: set[str]) -> bool:
    return sum(serves(one) and one["id"] not in gone for one in tasks) == INSTANCES
