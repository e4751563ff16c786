"""executor: what a Mesos agent starts: our runners, and what stands between them and the agent."""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import structlog

from coldchain.clients.docker import DockerClient
from coldchain.clients.mesos.executor import ExecutorClient
from coldchain.control.clock import SystemClock
from coldchain.engines.executor import guard
from coldchain.engines.executor.claims import Claims, in_thread
from coldchain.engines.executor.environment import ExecutorEnvironment, read_environment
from coldchain.engines.executor.executor import Executor, Machine
from coldchain.engines.executor.sweeper import sweep_alone
from coldchain.engines.executor.trust import trust_of
from coldchain.engines.local import LocalEngine, LocalEngineSettings
from coldchain.model.executor import ExecutorSettings
from coldchain.ports.runner import Runner
from coldchain.probes.command import CommandProber
from coldchain.probes.prober import NetworkProber
from coldchain.runners.docker import DockerRunner, DockerSettings
from coldchain.runners.process import ProcessRunner, ProcessSettings
from coldchain.runners.process.settings import FetchSettings
from coldchain.runners.remote import RunnerServer

FOLDER = "coldchain"
"""Below the agent's work folder: what must outlive every executor, and the agent's id."""
CGROUPS = Path("/proc/self/cgroup")
FREEZER = Path("/sys/fs/cgroup/freezer")
PR_SET_PDEATHSIG = 1

log = structlog.get_logger(__name__)


async def executor() -> int:
    """Run until the agent says that it is to leave, or is gone for good. What runs runs on. Raises ColdchainError."""
    environment = read_environment(os.environ)
    leave_freezer()
    clock = SystemClock()
    tls = trust_of(environment)
    client = ExecutorClient(environment.url, environment.framework_id, environment.executor_id, environment.token, tls)
    running = asyncio.ensure_future(Executor(client, environment, clock, partial(_open_machine, environment)).run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    try:
        why = await running
    except asyncio.CancelledError:
        why = "a signal said so"
    log.info("leaving; what runs runs on", reason=why)
    return 0


async def sweep(root: Path) -> int:
    """End what no executor answers for, until one does again or nothing is left. Raises ColdchainError."""
    claims = Claims(root)
    settings = claims.settings()
    runner = _runner(root, settings, "127.0.0.1")
    try:
        await sweep_alone(runner, claims, settings, SystemClock())
    finally:
        await runner.close()
        claims.close()
    return 0


@contextlib.asynccontextmanager
async def _open_machine(environment: ExecutorEnvironment, settings: ExecutorSettings) -> AsyncIterator[Machine]:
    root = environment.work_folder / FOLDER / settings.controller_id
    claims = await in_thread(Claims, root)
    runner = _runner(root, settings, environment.address)
    prober = CommandProber(runner.execute, NetworkProber(network_of=runner.network_namespace))
    async with contextlib.AsyncExitStack() as closing:
        closing.callback(claims.close)
        closing.push_async_callback(runner.close)
        closing.push_async_callback(prober.close)

        async def listen(served: Runner) -> RunnerServer:
            server = RunnerServer(served, prober, settings.token, environment.address)
            await server.start()
            closing.push_async_callback(server.stop)
            return server

        await in_thread(_start_guard, root)
        yield Machine(runner=runner, claims=claims, listen=listen)


def _runner(root: Path, settings: ExecutorSettings, address: str) -> LocalEngine:
    """By the folder its containers are known: it stays when executors, versions, and the agent's id change, and no
    other agent has it."""
    docker = DockerRunner(
        DockerClient(settings.docker_socket),
        f"{settings.controller_id}@{root.parent.parent}",
        address,
        DockerSettings(
            publish_address=settings.publish_address or address,
            host_address=address,
            reached_by_host_ports=True,
            credentials=Path(settings.docker_credentials) if settings.docker_credentials else None,
        ),
    )
    process = ProcessRunner(
        root / "tasks",
        ProcessSettings(
            host_address=address,
            cgroup_parent=settings.cgroup_parent,
            root_allowed=settings.root_tasks,
            fetch=FetchSettings(file_folders=tuple(map(Path, settings.fetch_folders))),
        ),
    )
    return LocalEngine(address, {"docker": docker, "process": process}, LocalEngineSettings())


def _start_guard(root: Path) -> None:
    """It has the far end of a pipe for as long as this process lives, and this process has the near one."""
    ours, theirs = os.pipe()  # the near end is never closed: that is for the kernel to do
    sweeping = [sys.executable, "-m", "coldchain", "executor", "--sweep", str(root)]
    try:
        subprocess.run([sys.executable, "-I", "-S", guard.__file__, *sweeping], stdin=ours, check=True)  # noqa: S603
    finally:
        os.close(ours)
    _near_ends.append(theirs)


_near_ends: list[int] = []


def leave_freezer() -> None:
    """Agents with the launcher `linux` end an executor by its freezer cgroup, with everything in it: processes that
    shall outlive it must not be born there. So it leaves, and ends with what the agent started it by instead."""
    if not is_frozen_by_agent(CGROUPS.read_text()):
        return
    try:
        (FREEZER / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        log.warning("processes end with this executor: it cannot leave the agent's cgroup", error=str(error))
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def is_frozen_by_agent(cgroups: str) -> bool:
    """By the text of /proc/self/cgroup."""
    lines = (line.split(":", 2) for line in cgroups.splitlines())
    return any("freezer" in controllers.split(",") and path != "/" for _, controllers, path in lines)
