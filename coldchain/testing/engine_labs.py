"""Labs for the contract of port Engine: the same tasks on the fake, on Docker, and as processes of this machine; and
each of them through HTTP, as engines reach other machines."""

import os
import shutil
import tempfile
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from coldchain.clients.docker import DockerClient
from coldchain.control.clock import SystemClock
from coldchain.engines.local import LocalEngine, LocalEngineSettings
from coldchain.model.app import App, Container, Docker, Network, PortMapping
from coldchain.model.errors import Unavailable
from coldchain.model.offer import Offer
from coldchain.model.task import Execution, TaskSpec
from coldchain.ports.engine import Engine
from coldchain.probes.command import CommandProber
from coldchain.probes.prober import NetworkProber
from coldchain.runners.docker import DockerRunner, DockerSettings
from coldchain.runners.process import ProcessRunner, ProcessSettings
from coldchain.runners.remote import RemoteRunner, RunnerServer
from coldchain.testing.fake_engine import FakeEngine, Life


def executes(command: str) -> Execution:
    """How the fake's tasks answer COMMANDS."""
    return COMMANDS[command]


# Commands beside a task, and how they end.
COMMANDS = {
    "echo fine": Execution(exit_status=0, output="fine\n"),
    "echo bad >&2; exit 7": Execution(exit_status=7, output="bad\n"),
    "echo slow; sleep 60": Execution(exit_status=None, output="slow\n"),
}

# What a task does, as a command line and as a life of the fake.
SERVES = "serves"
KINDS: dict[str, tuple[str, Life]] = {
    SERVES: ("", Life(output=b"begun\n", executes=executes)),
    "fails": ("echo one; echo two; exit 3", Life(output=b"one\ntwo\n", ends_after_seconds=0.0, exit_status=3)),
    "finishes": ("exit 0", Life(ends_after_seconds=0.0, exit_status=0)),
    "ignores": ("trap '' TERM; echo begun; while :; do sleep 1; done", Life(output=b"begun\n", ignores_sigterm=True)),
    "computes": ("echo begun; while :; do :; done", Life(output=b"begun\n")),
    "cannot": ("", Life(rejected="cannot start: no such image, call it v404")),
}


class Lab(Protocol):
    """An engine, and another one that takes over after it (a controller that was restarted)."""

    engine: Engine

    async def restarted(self) -> Engine: ...

    async def close(self) -> None: ...


class FakeLab:
    """Its engine has no process of its own that could be restarted."""

    def __init__(self) -> None:
        self.engine: Engine = FakeEngine(SystemClock(), life=lambda spec: KINDS[spec.app.labels["kind"]][1])

    async def restarted(self) -> Engine:
        return self.engine

    async def close(self) -> None:
        await self.engine.close()


class LocalLab(ABC):
    """Engines of this machine, one after the other, each with what the one before left."""

    def __init__(self) -> None:
        self._engines: list[LocalEngine] = []
        self.engine: Engine = self._next()

    @abstractmethod
    def _make(self) -> LocalEngine: ...

    def _next(self) -> LocalEngine:
        engine = self._make()
        self._engines.append(engine)
        return engine

    async def restarted(self) -> Engine:
        await self._engines[-1].close()
        return self._next()

    async def close(self) -> None:
        engine = self._next()
        for task in await engine.tasks():
            await engine.kill(task.task_id, 0.0)
            await engine.forget(task.task_id)
        assert await engine.tasks() == []
        for each in self._engines:
            await each.close()


class DockerLab(LocalLab):
    """Containers of a controller of its own."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._controller = f"contract-{uuid.uuid4().hex[:8]}"
        super().__init__()

    def _make(self) -> LocalEngine:
        runner = DockerRunner(DockerClient(self._socket), self._controller, "agent-1", DockerSettings())
        return LocalEngine("agent-1", {"docker": runner}, LocalEngineSettings(), subnet=runner.subnet)


class Uncontained(LocalEngine):
    """Runs the specs of this suite as processes: their command lines, on the ports of this machine."""

    async def launch(self, spec: TaskSpec) -> None:
        await super().launch(uncontained(spec, (8080, 9090)))


def uncontained(spec: TaskSpec, host_ports: tuple[int, ...]) -> TaskSpec:
    """The same task as a process."""
    command: dict[str, Any] = {"cmd": spec.app.cmd or "echo begun; exec sleep 1000"}
    if spec.app.labels["kind"] == "cannot":
        command = {"cmd": None, "args": ("/no/such/program-v404",)}
    app = msgspec.structs.replace(spec.app, container=None, networks=(), **command)
    return msgspec.structs.replace(spec, app=app, host_ports=host_ports)


class ProcessLab(LocalLab):
    """Processes below a folder of its own."""

    def __init__(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="coldchain-tasks-"))
        self._root.chmod(0o755)
        super().__init__()

    def _make(self) -> LocalEngine:
        parent = os.environ.get("COLDCHAIN_CGROUP_PARENT", "coldchain")
        runner = ProcessRunner(self._root / "tasks", ProcessSettings(cgroup_parent=f"{parent}/{self._root.name}"))
        return Uncontained("agent-1", {"process": runner}, LocalEngineSettings())

    async def close(self) -> None:
        await super().close()
        assert list((self._root / "tasks").iterdir()) == []
        shutil.rmtree(self._root)


TOKEN = "token"  # of the servers below


class RemoteEngine(RemoteRunner):
    """The runner of another machine as an engine; `behind` tells what that machine offers."""

    target = "cluster"

    def __init__(self, url: str, token: str, behind: Engine | None = None) -> None:
        super().__init__(url, token)
        self.behind = behind

    async def offers(self) -> Sequence[Offer]:
        if self.behind is None:
            raise Unavailable("nobody says what there is")
        return await self.behind.offers()


class RemoteLab:
    """Another lab's engine through HTTP. `start` it."""

    engine: Engine

    def __init__(self, behind: Lab) -> None:
        self.behind = behind

    async def start(self) -> None:
        await self._serve(self.behind.engine)

    async def _serve(self, engine: Engine) -> None:
        prober = CommandProber(engine.execute, NetworkProber(network_of=engine.network_namespace))
        self.server = RunnerServer(engine, prober, TOKEN, "127.0.0.1")
        await self.server.start()
        self.engine = RemoteEngine(f"http://127.0.0.1:{self.server.port}", TOKEN, engine)

    async def restarted(self) -> Engine:
        await self._stop()
        await self._serve(await self.behind.restarted())
        return self.engine

    async def _stop(self) -> None:
        await self.engine.close()
        await self.server.stop()

    async def close(self) -> None:
        await self._stop()
        await self.behind.close()


def make_spec(kind: str, **changes: Any) -> TaskSpec:
    """A task of one of the KINDS; `changes` replace fields of its TaskSpec."""
    number = uuid.uuid4().hex[:10]
    app = App(
        id="/contract/app",
        cmd=KINDS[kind][0] or None,
        cpus=0.1,
        mem=32,
        container=Container(
            docker=Docker(image="coldchain/shop:v404" if kind == "cannot" else "coldchain/shop:v1"),
            port_mappings=(PortMapping(container_port=8080), PortMapping(container_port=9090)),
        ),
        networks=(Network(mode="container/bridge"),),
        env={"PORT": "8080"},
        labels={"kind": kind},
    )
    values: dict[str, Any] = {
        "task_id": f"contract_app.instance-{number}._app.1",
        "instance_id": f"contract_app.instance-{number}",
        "app_id": app.id,
        "version_id": "2026-11-23T00:00:00.000Z",
        "target": "cluster",
        "agent": "agent-1",
        "app": app,
        "image": None,
        "address": None,
        "host_ports": (0, 0),
    }
    return TaskSpec(**(values | changes))
