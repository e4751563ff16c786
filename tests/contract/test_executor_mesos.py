"""The executor on real agents of Mesos with a real Docker Engine: what outlives what."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coldchain.clients.docker import DockerClient
from coldchain.documents.executor_messages import decode, encode, executor_token, identified
from coldchain.model.app import Network
from coldchain.model.errors import Unavailable
from coldchain.model.executor import ExecutorSettings, TaskDescription, TaskReport
from coldchain.model.task import TaskSpec
from coldchain.runners.docker.specification import CONTROLLER, TASK
from coldchain.runners.remote import RemoteRunner
from coldchain.testing.application.image import ensure_image
from coldchain.testing.engine_labs import make_spec
from coldchain.testing.mesos.bare_scheduler import BareScheduler, scalar
from coldchain.testing.mesos.lab import Agent, MesosLab
from coldchain.testing.mesos.settings import AgentSettings

pytestmark = pytest.mark.long
KEY = b"key of the scheduler"
SETTINGS = AgentSettings(executor_reregistration_timeout_seconds=5.0, executor_shutdown_grace_seconds=2.0)
SECRET = "the value of a secret that lies on no disk of Mesos"


class Bench:
    """A scheduler, an agent, and tasks of our executor on it."""

    def __init__(self, lab: MesosLab, scheduler: BareScheduler, agent: Agent, docker: DockerClient) -> None:
        self.lab = lab
        self.scheduler = scheduler
        self.agent = agent
        self.docker = docker
        self.settings = ExecutorSettings(
            controller_id=f"contract-{lab.folder.name}",
            version="1",
            docker_socket=docker.socket,
            cgroup_parent=f"{os.environ.get('COLDCHAIN_CGROUP_PARENT', 'coldchain')}/{lab.folder.name}",
            orphan_seconds=20.0,
            orphan_grace_seconds=0.0,
        )

    async def launch(self, task_id: str, spec: TaskSpec, *, adopts: bool = False) -> None:
        """Until the executor has it: an offer may be taken back in the moment when it is taken, or be only what a task
        just gave back, which is too little for an executor beside it."""
        state = "TASK_DROPPED"
        while state in ("TASK_DROPPED", "TASK_ERROR"):
            seen = len(self.scheduler.events)
            await self._launch_once(task_id, spec, adopts=adopts)
            heard = ("TASK_DROPPED", "TASK_ERROR", "TASK_STARTING", "TASK_RUNNING", "TASK_FAILED")
            state = (await self.scheduler.update(task_id, *heard, after=seen))["state"]

    async def _launch_once(self, task_id: str, spec: TaskSpec, *, adopts: bool) -> None:
        offer = await self.scheduler.offer()
        agent_id = offer["agent_id"]["value"]
        info = {
            "type": "CUSTOM",
            "name": "coldchain",
            "command": {
                "shell": False,
                "value": sys.executable,
                "arguments": [sys.executable, "-m", "coldchain", "executor"],
            },
            "resources": [scalar("cpus", 0.1), scalar("mem", 32)],
        }
        executor = identified(info, self.settings, KEY, agent_id) | {
            "framework_id": {"value": self.scheduler.framework_id}
        }
        task = {
            "name": task_id,
            "task_id": {"value": task_id},
            "agent_id": offer["agent_id"],
            "resources": [scalar("cpus", 0.1), scalar("mem", 32)],
            "executor": executor,
            "data": encode(TaskDescription(spec=spec, adopts=adopts)),
        }
        await self.scheduler.launch(offer, task)

    async def started(self, task_id: str, spec: TaskSpec, *, adopts: bool = False) -> TaskReport:
        await self.launch(task_id, spec, adopts=adopts)
        return await self.until(task_id, "TASK_RUNNING")

    async def until(self, task_id: str, *states: str, after: int = 0) -> TaskReport:
        status = await self.scheduler.update(task_id, *states, after=after)
        return decode(status["data"], TaskReport)

    def executor_pids(self) -> list[int]:
        return [pid for pid in self.agent.processes if is_executor(pid)]

    def runner(self, report: TaskReport, status: dict[str, Any]) -> RemoteRunner:
        token = executor_token(KEY, status["executor_id"]["value"], status["agent_id"]["value"])
        return RemoteRunner(f"http://{report.address}:{report.port}", token)

    async def containers(self) -> dict[str, str]:
        """Ids of the containers that run on this agent, by task."""
        rows = await self.docker.containers([CONTROLLER])
        owned = [row for row in rows if str(self.lab.folder) in row["Labels"][CONTROLLER] and row["State"] == "running"]
        return {row["Labels"][TASK]: row["Id"] for row in owned}

    async def until_containers(self, *tasks: str) -> None:
        async with asyncio.timeout(40):
            while set(await self.containers()) != set(tasks):
                await asyncio.sleep(0.1)


def is_executor(pid: int) -> bool:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return words[1:4] == [b"-m", b"coldchain", b"executor"] and b"--sweep" not in words
    return False


@pytest.fixture
async def bench(docker_daemon: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """With the usual agent, or one of other settings."""
    await ensure_image(str(docker_daemon))
    docker = DockerClient(docker_daemon)
    async with MesosLab() as lab:
        lab.folder.chmod(0o711)
        await lab.start_master()
        agent = await lab.start_agent(getattr(request, "param", SETTINGS))
        async with BareScheduler(lab) as scheduler:
            bench = Bench(lab, scheduler, agent, docker)
            yield bench
            for row in await docker.containers([CONTROLLER]):
                if str(lab.folder) in row["Labels"][CONTROLLER]:
                    await docker.remove_container(row["Id"], force=True)
    await docker.close()


def container(number: int = 1, **changes: Any) -> TaskSpec:
    return make_spec("serves", task_id=f"shop.{number}", instance_id=f"shop.{number}", **changes)


def process(number: int = 7) -> TaskSpec:
    spec = make_spec("serves", task_id=f"plain.{number}", instance_id=f"plain.{number}", host_ports=(8080, 9090))
    app = msgspec.structs.replace(spec.app, container=None, networks=(), cmd="echo begun; exec sleep 1000")
    return msgspec.structs.replace(spec, app=app)


async def test_tasks_run_by_the_same_runners_and_are_reached_over_http(bench: Bench) -> None:
    spec = container()
    spec.app.env["PASSWORD"] = SECRET
    await bench.launch("m1", spec)
    status = await bench.scheduler.update("m1", "TASK_RUNNING")
    report = decode(status["data"], TaskReport)
    assert list(await bench.containers()) == ["shop.1"]
    shown = status["container_status"]["network_infos"][0]["ip_addresses"]
    assert [one["ip_address"] for one in shown] == [report.status.address]
    plain = await bench.started("m2", process())
    assert (plain.status.state, plain.port) == ("running", report.port)
    runner = bench.runner(report, status)
    assert (await runner.execute("shop.1", "echo $PASSWORD", 10.0)).output == f"{SECRET}\n"
    assert (await runner.execute("plain.7", "echo fine", 10.0)).output == "fine\n"
    on_disk = [path for path in bench.agent.work_directory.joinpath("meta").rglob("*") if path.is_file()]
    assert any(b"m1" in path.read_bytes() for path in on_disk)
    assert not any(SECRET.encode() in path.read_bytes() for path in on_disk)
    await bench.scheduler.call("KILL", kill={"task_id": {"value": "m1"}, "kill_policy": grace(0.0)})
    killed = await bench.until("m1", "TASK_KILLED")
    assert killed.status.state == "killed"
    assert await bench.containers() == {}
    await bench.scheduler.kill("m2")
    await bench.until("m2", "TASK_KILLED")
    await runner.forget("shop.1")
    assert {one.task_id for one in await runner.tasks()} == {"plain.7"}
    await runner.close()


async def test_a_network_by_name_gives_the_address_which_outlives_the_executor(bench: Bench) -> None:
    """Though a port is published: what is in such a network is reached there."""
    name = f"shops-{bench.lab.folder.name}".lower()
    subnet = {"Subnet": "10.195.7.0/24"}
    await bench.docker.create_network({"Name": name, "IPAM": {"Config": [subnet]}})
    spec = container()
    spec = msgspec.structs.replace(
        spec, app=msgspec.structs.replace(spec.app, networks=(Network(name=name),)), host_ports=(31901, 31902)
    )
    await bench.launch("m1", spec)
    status = await bench.scheduler.update("m1", "TASK_RUNNING")
    told = decode(status["data"], TaskReport).status
    assert (told.address, told.ports) == ("10.195.7.2", (8080, 9090))
    [info] = status["container_status"]["network_infos"]
    assert (info["name"], info["ip_addresses"][0]["ip_address"]) == (name, "10.195.7.2")
    (executor,) = bench.executor_pids()
    os.kill(executor, signal.SIGKILL)
    await bench.scheduler.update("m1", "TASK_FAILED", "TASK_GONE", "TASK_LOST")
    adopted = await bench.started("m1.2", spec, adopts=True)
    assert (adopted.status.address, adopted.status.ports) == ("10.195.7.2", (8080, 9090))
    await bench.scheduler.kill("m1.2")
    await bench.until("m1.2", "TASK_KILLED")
    await bench.docker._call("DELETE", f"/networks/{name}")


async def test_what_cannot_be_started_says_why(bench: Bench) -> None:
    spec = container()
    app = msgspec.structs.replace(make_spec("cannot").app, cmd=None)
    await bench.launch("m1", msgspec.structs.replace(spec, app=app))
    failed = await bench.scheduler.update("m1", "TASK_FAILED")
    assert "v404" in failed["message"]
    assert decode(failed["data"], TaskReport).status.state == "failed"


async def test_a_killed_executors_tasks_are_adopted_as_they_run(bench: Bench) -> None:
    await bench.started("m1", container())
    await bench.started("m2", process())
    before = await bench.containers()
    async with asyncio.timeout(40):
        while (plain := pid_of(bench, "exec sleep 1000", missing=True)) is None:  # its shell is still at it
            await asyncio.sleep(0.02)
    (executor,) = bench.executor_pids()
    os.kill(executor, signal.SIGKILL)
    await bench.scheduler.update("m1", "TASK_FAILED", "TASK_GONE", "TASK_LOST")
    adopted = await bench.started("m1.2", container(), adopts=True)
    assert adopted.status.task_id == "shop.1"
    await bench.started("m2.2", process(), adopts=True)
    assert await bench.containers() == before
    assert pid_of(bench, "exec sleep 1000") == plain
    assert await bench.lab.operator.twice_counted() == []
    await bench.scheduler.kill("m1.2")
    await bench.until("m1.2", "TASK_KILLED")
    assert await bench.containers() == {}


async def test_an_agent_that_restarts_keeps_the_task_and_hears_what_it_missed(bench: Bench) -> None:
    await bench.started("m1", container(1))
    await bench.started("m2", container(2))
    before = await bench.containers()
    (executor,) = bench.executor_pids()
    seen = len(bench.scheduler.events)
    await bench.agent.kill()
    await bench.docker.remove_container(before["shop.2"], force=True)
    bench.agent.start()
    await bench.scheduler.update("m2", "TASK_FAILED", after=seen)
    assert bench.executor_pids() == [executor]
    assert await bench.containers() == {"shop.1": before["shop.1"]}
    later = [one["update"]["status"] for one in bench.scheduler.events[seen:] if one["type"] == "UPDATE"]
    assert {one["state"] for one in later if one["task_id"]["value"] == "m1"} <= {"TASK_RUNNING"}
    await bench.started("m3", container(3))
    assert bench.executor_pids() == [executor]


@pytest.mark.parametrize("bench", [replace(SETTINGS, recovery_timeout_seconds=1.0)], indirect=True)
async def test_an_agent_that_is_away_too_long_loses_the_executor_and_not_what_runs(bench: Bench) -> None:
    await bench.started("m1", container())
    before = await bench.containers()
    await bench.agent.kill()
    async with asyncio.timeout(40):
        while bench.executor_pids():
            await asyncio.sleep(0.05)
    assert await bench.containers() == before
    bench.agent.start()
    await bench.scheduler.update("m1", "TASK_FAILED", "TASK_GONE", "TASK_LOST")
    await bench.started("m1.2", container(), adopts=True)
    assert await bench.containers() == before


async def test_another_version_takes_over_from_the_one_before(bench: Bench) -> None:
    await bench.launch("m1", container())
    old = await bench.scheduler.update("m1", "TASK_RUNNING")
    before = await bench.containers()
    bench.settings = msgspec.structs.replace(bench.settings, version="2")
    await bench.launch("m1.2", container(), adopts=True)
    waiting = await bench.scheduler.update("m1.2", "TASK_STARTING")
    assert waiting["executor_id"] != old["executor_id"]
    await bench.scheduler.call("SHUTDOWN", shutdown={"executor_id": old["executor_id"], "agent_id": old["agent_id"]})
    await bench.until("m1.2", "TASK_RUNNING")
    await bench.scheduler.update("m1", "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_GONE")
    assert await bench.containers() == before


async def test_an_agent_with_a_new_id_finds_what_runs(bench: Bench) -> None:
    await bench.started("m1", container())
    before = await bench.containers()
    agent_id = await bench.agent.agent_id()
    (executor,) = bench.executor_pids()
    await bench.agent.kill()
    (bench.agent.work_directory / "meta/slaves/latest").unlink()
    bench.agent.start()
    while await bench.agent.agent_id() == agent_id:
        await asyncio.sleep(0.05)
    # The executor of the old id finds out by itself, and its successor waits for that.
    await bench.started("m1.2", container(), adopts=True)
    assert await bench.containers() == before
    assert executor not in bench.executor_pids()


async def test_after_a_teardown_what_nobody_claims_is_ended(bench: Bench) -> None:
    bench.settings = msgspec.structs.replace(bench.settings, orphan_seconds=1.0)
    report = await bench.started("m1", container())
    await bench.started("m2", process())
    status = await bench.scheduler.update("m1", "TASK_RUNNING")
    runner = bench.runner(report, status)
    await bench.scheduler.call("TEARDOWN")
    await bench.until_containers()
    async with asyncio.timeout(40):
        while pid_of(bench, "exec sleep 1000", missing=True) or bench.executor_pids() or sweepers(bench):
            await asyncio.sleep(0.1)
    with pytest.raises(Unavailable):
        await runner.tasks()
    await runner.close()
    (root,) = (bench.agent.work_directory / "coldchain").iterdir()
    assert list((root / "tasks").iterdir()) == list((root / "claims").iterdir()) == []


def pid_of(bench: Bench, words: str, *, missing: bool = False) -> int | None:
    """Of the process of the agent's machine that this command line became."""
    words = words.removeprefix("exec ")
    for pid in bench.agent.processes:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip() == words:
                return pid
    assert missing, f"nobody runs {words}"
    return None


def sweepers(bench: Bench) -> list[int]:
    found = []
    for pid in bench.agent.processes:
        with contextlib.suppress(OSError):
            if b"--sweep" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def grace(seconds: float) -> dict[str, Any]:
    return {"grace_period": {"nanoseconds": int(seconds * 1e9)}}
