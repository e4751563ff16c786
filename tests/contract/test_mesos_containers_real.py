"""Engine mesos on real agents whose own Docker containerizer runs tasks, beside one of our executors."""

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from coldchain.clients.mesos.scheduler import SchedulerClient
from coldchain.control.clock import SystemClock
from coldchain.engines.mesos import MesosEngine, MesosSettings
from coldchain.model.app import App, Container, Docker, Network, Parameter, PortMapping, PullConfig
from coldchain.model.errors import Rejected
from coldchain.model.executor import ExecutorSettings
from coldchain.model.health import Probe
from coldchain.model.task import TaskSpec, TaskStatus
from coldchain.runners.remote import RemoteRunner
from coldchain.store.memory import MemoryStore
from coldchain.testing.application.image import ensure_image, image_archive
from coldchain.testing.engine_labs import make_spec
from coldchain.testing.image_registry import ImageRegistry
from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.settings import AgentSettings, MasterSettings

SETTINGS = MesosSettings(
    executor_command=(sys.executable, "-m", "coldchain", "executor"), pids_max=256, reconcile_seconds=2.0
)


class Cluster:
    """A lab, the Docker of all its agents, and what engines keep; `docker` calls its command line."""

    def __init__(self, lab: MesosLab, socket: Path) -> None:
        self.lab = lab
        self.socket = socket
        self.store = MemoryStore()
        self.engines: list[MesosEngine] = []

    async def engine(self) -> MesosEngine:
        """A new one, with what the one before kept."""
        if self.engines:
            await self.engines[-1].close()
        engine = MesosEngine(
            SchedulerClient(self._find_master),
            self.store,
            SystemClock(),
            SETTINGS,
            ExecutorSettings(
                controller_id=f"containers-{self.lab.folder.name}", version="1", docker_socket=str(self.socket)
            ),
            key=b"k",
            reach=RemoteRunner,
        )
        self.engines.append(engine)
        await engine.start()
        return engine

    async def _find_master(self) -> str:
        return self.lab.masters[-1].address

    def docker(self, *words: str) -> str:
        command = ["docker", "-H", f"unix://{self.socket}", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


PASSWORD = "s3cret"  # of the registry of images


@pytest.fixture
async def registry() -> AsyncIterator[ImageRegistry]:
    async with ImageRegistry(password=PASSWORD) as made:
        yield made


@pytest.fixture
async def cluster(docker_daemon: Path, registry: ImageRegistry) -> AsyncIterator[Cluster]:
    """A master and one agent with a containerizer of its own, which knows the password of a registry."""
    await ensure_image(str(docker_daemon))
    known = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    async with MesosLab() as lab:
        lab.folder.chmod(0o711)
        await lab.start_master(MasterSettings(agent_ping_timeout_seconds=5.0))
        attributes = {"coldchain_containerizer": "docker"}
        contains = AgentSettings(
            containerizers="docker,mesos",
            docker_socket=str(docker_daemon),
            attributes=attributes,
            flags={"docker_config": json.dumps({"auths": {registry.host: {"auth": known}}})},
        )
        await lab.start_agent(contains)
        await lab.registered(1)
        made = Cluster(lab, docker_daemon)
        yield made
        for task in await made.engines[-1].tasks():
            await made.engines[-1].kill(task.task_id, 0.0)
        await until(made.engines[-1], lambda tasks: all(one.terminal for one in tasks))
        await made.engines[-1].close()


async def until(engine: MesosEngine, wanted: Callable[[list[TaskStatus]], bool]) -> list[TaskStatus]:
    async with asyncio.timeout(30):
        while not wanted(found := list(await engine.tasks())):
            await asyncio.sleep(0.05)
        return found


async def told(engine: MesosEngine, spec: TaskSpec, *states: str) -> TaskStatus:
    def wanted(tasks: list[TaskStatus]) -> bool:
        return any(one.task_id == spec.task_id and one.state in states for one in tasks)

    return next(one for one in await until(engine, wanted) if one.task_id == spec.task_id)


def spec_of(app: App, port: int = 0, agent: str = "agent-1", **changes: Any) -> TaskSpec:
    """One port, published at this one of its agent."""
    values = {"app": app, "host_ports": (port,), "agent": agent}
    return make_spec("serves", **(values | changes))


def app_of(**fields: Any) -> App:
    container = Container(
        docker=Docker(image="coldchain/shop:v1"),
        port_mappings=(PortMapping(container_port=8080, host_port=0, name="http"),),
    )
    values: dict[str, Any] = {"id": "/shop", "cpus": 0.1, "mem": 32.0, "container": container, "env": {"PORT": "8080"}}
    return App(**(values | fields))


async def answer(status: TaskStatus, path: str = "/") -> int:
    url = f"http://{status.address}:{status.ports[0]}{path}"
    async with aiohttp.ClientSession() as session, asyncio.timeout(10):
        while True:
            try:
                async with session.get(url) as response:
                    return response.status
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


async def output(engine: MesosEngine, spec: TaskSpec, **more: Any) -> str:
    given: dict[str, Any] = {"follow": False, "tail": None} | more
    return b"".join([piece async for piece in engine.logs(spec.task_id, **given)]).decode()


async def says(engine: MesosEngine, spec: TaskSpec, words: str) -> None:
    """Once it has said so: what is written comes to the file of the agent by itself, later than what is served."""
    async with asyncio.timeout(30):
        while words not in await output(engine, spec):
            await asyncio.sleep(0.05)


async def test_plain_containers_serve_log_crash_and_end(cluster: Cluster) -> None:
    engine = await cluster.engine()
    (offer,) = await engine.offers()
    assert (offer.agent, offer.containerizer, offer.cpus) == ("agent-1", True, 4.0)
    low = offer.port_ranges[0][0]
    one, other = (spec_of(app_of(labels={"a": "b"}), port) for port in (low, low + 1))
    await asyncio.gather(engine.launch(one), engine.launch(other))
    serving = [await told(engine, spec, "running") for spec in (one, other)]
    assert [(each.address, each.ports) for each in serving] == [("127.0.0.1", (low,)), ("127.0.0.1", (low + 1,))]
    assert [await answer(each) for each in serving] == [200, 200]
    assert (await engine.offers())[0].cpus == 4.0, "what our tasks have is of the agent, and no executor takes a share"
    names = cluster.docker("ps", "--format", "{{.Names}}").split()
    assert len(names) == 2
    format_ = "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}"
    inspected = cluster.docker("inspect", "--format", format_, names[0]).strip()
    assert inspected in (f"{32 * 2**20} 256 [{prefix}NET_RAW] [no-new-privileges]" for prefix in ("", "CAP_"))
    await says(engine, one, "listening on port 8080")
    last = await output(engine, one, tail=1)
    assert last.splitlines()[0] in (await output(engine, one)).splitlines()
    for asked in (engine.statistics(one.task_id), engine.execute(one.task_id, "true", 1.0)):
        with pytest.raises(Rejected, match="runs the Docker containerizer of Mesos"):
            await asked
    beside = Probe(
        instance_id="i", check="c", protocol="TCP", address="127.0.0.1", port=1, task_id=one.task_id, beside=True
    )
    probed = await engine.probe(beside)
    assert probed is not None
    assert probed.outcome == "unknown"

    engine = await cluster.engine()  # as after a restart of the controller
    assert {each.task_id: each.state for each in await engine.tasks()} == {
        one.task_id: "running",
        other.task_id: "running",
    }
    await engine.kill(one.task_id, 15.0)
    assert (await told(engine, one, "killed", "failed", "finished")).state == "killed"
    await engine.forget(one.task_id)
    assert [each.task_id for each in await engine.tasks()] == [other.task_id]
    assert len(cluster.docker("ps", "--quiet").split()) == 1

    crashing = spec_of(app_of(cmd="echo last words; exit 3"), low + 2)
    await engine.launch(crashing)
    crashed = await told(engine, crashing, "failed")
    assert (crashed.exit_status, crashed.message) == (3, "Container exited with status 3")
    await says(engine, crashing, "last words\n")
    missing = msgspec.structs.replace(crashing.app, container=Container(docker=Docker(image="localhost:1/none:v404")))
    with pytest.raises(Rejected, match="v404"):
        await engine.launch(spec_of(missing, 0))


async def test_a_private_image_in_a_network_by_name(cluster: Cluster, registry: ImageRegistry) -> None:
    """The credentials are those that its operator has given to the agent."""
    registry.push_layer("v9", image_archive("v9"))
    network = f"shops-{cluster.lab.folder.name}".lower()
    cluster.docker("network", "create", "--subnet", "10.199.7.0/24", network)
    container = Container(
        docker=Docker(
            image=f"{registry.host}/shop:v9",
            force_pull_image=True,
            pull_config=PullConfig(secret=registry.host),
            parameters=(Parameter(key="hostname", value="shop-9"), Parameter(key="read-only", value="")),
        ),
        port_mappings=(PortMapping(container_port=8080),),
    )
    app = app_of(cmd="exec /bin/application", networks=(Network(mode="container", name=network),), container=container)
    spec = spec_of(app)
    engine = await cluster.engine()
    await engine.launch(spec)
    running = await told(engine, spec, "running")
    assert (running.address, running.ports) == ("10.199.7.2", (8080,))
    assert await answer(running) == 200
    [name] = cluster.docker("ps", "--format", "{{.Names}}").split()
    shown = cluster.docker("inspect", "--format", "{{.Config.Hostname}} {{.HostConfig.ReadonlyRootfs}}", name)
    assert shown.split() == ["shop-9", "true"]
    assert registry.asked["v9"] >= 1
    await engine.kill(spec.task_id, 0.0)
    await told(engine, spec, "killed")
    cluster.docker("rm", "--force", name)
    cluster.docker("network", "rm", network)


@pytest.mark.long
async def test_a_task_ends_with_the_executor_that_mesos_has_for_it(cluster: Cluster) -> None:
    engine = await cluster.engine()
    low = (await engine.offers())[0].port_ranges[0][0]
    one, other = (spec_of(app_of(), low + number) for number in range(2))
    await asyncio.gather(engine.launch(one), engine.launch(other))
    await told(engine, one, "running")
    for process in Path("/proc").glob("[0-9]*"):
        runs = any("--container=" in word for word in _words(process, "cmdline"))
        if runs and f"MESOS_EXECUTOR_ID={one.task_id}" in _words(process, "environ"):
            os.kill(int(process.name), signal.SIGKILL)
    failed = await told(engine, one, "failed", "lost")
    assert failed.state == "failed"
    assert "Mesos says failed" in failed.message
    kept = {each.task_id: (each.state, each.message) for each in await engine.tasks()}
    assert kept[other.task_id] == ("running", "")
    left = cluster.docker("ps", "--quiet").split()
    assert len(left) == 2  # Mesos leaves the container to itself until the agent begins anew
    await engine.kill(other.task_id, 0.0)
    await told(engine, other, "killed")
    cluster.docker("rm", "--force", *left)


def _words(process: Path, file: str) -> list[str]:
    try:
        return (process / file).read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
