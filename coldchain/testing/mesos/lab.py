"""MesosLab: real masters and agents of Apache Mesos, and ZooKeeper, each a process, all below one folder."""

import json
import os
import random
import signal
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from coldchain.model.errors import Unavailable
from coldchain.testing.mesos import operator_api
from coldchain.testing.mesos.library import find_library
from coldchain.testing.mesos.machine import PATIENCE_SECONDS, Machine
from coldchain.testing.mesos.operator_api import Operator, first_that
from coldchain.testing.mesos.settings import PORTS_PER_AGENT, AgentSettings, MasterSettings, as_variables, duration
from coldchain.testing.mesos.zookeeper import ZooKeeper

LIBRARY_VARIABLE = "COLDCHAIN_TEST_LIBMESOS"
"""What tells the processes where the library lies; `native` reads it."""
PROGRAMS = Path(__file__).parent / "programs"
"""mesos_NAME.py stands in for mesos-NAME."""
ZOOKEEPER_PATH = "/mesos"
SESSION_SECONDS = 2.0
"""ZooKeeper forgets a dead master after this, and the next one leads."""
SERVER_PORTS = range(10_000, 16_000)
"""Of masters, agents and ZooKeeper: below those that the kernel gives to whoever asks, and apart from agents' ports."""
AGENT_PORTS_FIRST = 16_000
AGENTS_WITH_PORTS = 30


class Server(Machine):
    """A master or an agent: `address` is HOST:PORT, `url` where its HTTP API begins."""

    address: str
    url: str


class Master(Server):
    """`settings` as it was started."""

    settings: MasterSettings


class Agent(Server):
    """One agent with a process of its own. `hostname` is what offers call it."""

    settings: AgentSettings
    hostname: str
    work_directory: Path
    lab: "MesosLab"

    async def agent_id(self) -> str:
        """As the leading master knows it; waits until it does."""
        return str((await self.lab.known(self.hostname))["agent_info"]["id"]["value"])

    async def restart(self) -> None:
        """SIGKILL if it still runs, and a new process in the same folder: it recovers what it had checkpointed."""
        await self.kill()
        self.start()

    async def shut_down(self) -> None:
        """In order (SIGUSR1): it ends its executors and takes leave of the master, which then forgets it."""
        self.signal(signal.SIGUSR1)
        await self.ended()

    async def read_sandbox(self, path: str) -> str:
        """A file by its path below the work directory, as Mesos's files API gives it."""
        return (await operator_api.read_file(self.api, path)).decode()

    @property
    def api(self) -> str:
        """Of its own operator API."""
        return f"{self.address}/slave(1)"  # their word


class MesosLab:
    """A context manager; nothing of it is left afterwards, in whatever way the process ends. Any loop may use it."""

    def __init__(self, *, zookeeper: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="coldchain-mesos-"))
        self.zookeeper: ZooKeeper | None = None
        self.masters: list[Master] = []
        self.agents: list[Agent] = []
        self.operator = Operator(self._leader_address)
        self._with_zookeeper = zookeeper
        self._machines: list[Machine] = []
        self._ports: set[int] = set()
        self._agents_made = 0

    async def __aenter__(self) -> Self:
        try:
            if self._with_zookeeper:
                await self.start_zookeeper()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Everything is killed, agents before masters, and the folder removed."""
        for machine in reversed(self._machines):
            machine.close()
        self._machines.clear()
        if self.folder.exists():
            self.folder.rmdir()

    @property
    def master_address(self) -> str:
        """What agents and frameworks are told: `zk://HOST:PORT/mesos`, or HOST:PORT of the only master."""
        if self.zookeeper:
            return f"zk://{self.zookeeper.address}{ZOOKEEPER_PATH}"
        return self.masters[0].address

    async def start_zookeeper(self) -> ZooKeeper:
        self.zookeeper = ZooKeeper(self.folder, self._port())
        self._machines.append(self.zookeeper)
        self.zookeeper.start()
        await self._until_it_listens(self.zookeeper, self.zookeeper.address)
        return self.zookeeper

    async def start_master(self, settings: MasterSettings | None = None) -> Master:
        """Waits until it answers, though perhaps not yet as the leader. Without ZooKeeper there can be one."""
        if self.masters and not self.zookeeper:
            raise Unavailable("Several masters need ZooKeeper", todo="Say MesosLab(zookeeper=True)")
        master = Master(f"master-{len(self.masters) + 1}", self.folder)
        self._machines.append(master)
        port = self._port()
        master.address, master.settings = f"127.0.0.1:{port}", settings or MasterSettings()
        master.url = f"http://{master.address}"
        credentials = master.folder / "credentials.json"
        entries = [{"principal": key, "secret": value} for key, value in master.settings.credentials.items()]
        credentials.write_text(json.dumps({"credentials": entries}))
        credentials.chmod(0o600)
        flags = as_variables({"work_dir": f"{master.folder}/work", "ip": "127.0.0.1", "port": str(port)})
        arguments = [
            *_python("master_process"),
            self.master_address if self.zookeeper else "",
            str(master.settings.quorum),
            str(SESSION_SECONDS),
        ]
        environment = {**flags, "MESOS_HOSTNAME": "localhost", **master.settings.environment(str(credentials))}
        master.command(arguments, _environment(port) | environment)
        self.masters.append(master)
        master.start()
        await self._until_it_listens(master, master.address)
        return master

    async def start_agent(self, settings: AgentSettings | None = None) -> Agent:
        """Does not wait until it is registered: several can start side by side; then call `registered`."""
        number = self._agents_made = self._agents_made + 1
        agent = Agent(f"agent-{number}", self.folder)
        self._machines.append(agent)
        port = self._port()
        agent.lab, agent.settings = self, settings or AgentSettings()
        agent.hostname = agent.settings.hostname or agent.name
        agent.work_directory = agent.folder / "work"
        agent.address = f"127.0.0.1:{port}"
        agent.url = f"http://{agent.api}"
        self._command_agents(agent, port, [self._flags(agent.settings, agent.name, agent.folder, number)])
        self.agents.append(agent)
        agent.start()
        return agent

    async def start_simulated_agents(self, number: int, settings: AgentSettings | None = None) -> Machine:
        """Many agents in one process, for benches; their host names are `simulated-1` and on."""
        machine = Machine(f"simulated-{len(self._machines)}", self.folder)
        self._machines.append(machine)
        flags = [
            self._flags(settings or AgentSettings(), f"simulated-{one}", machine.folder / str(one), one)
            for one in range(1, number + 1)
        ]
        self._command_agents(machine, self._port(), flags)
        machine.start()
        return machine

    async def leader(self) -> Master:
        """The master that leads now, once there is one."""
        found: Master = await first_that(self._leader_now, "a leading master", PATIENCE_SECONDS)
        return found

    async def registered(self, number: int, patience_seconds: float = PATIENCE_SECONDS) -> list[dict[str, Any]]:
        """Waits until exactly so many agents are registered and active; returns them as the operator API does."""

        async def enough() -> list[dict[str, Any]] | None:
            active = [one for one in await self.operator.agents() if one.get("active")]
            return active if len(active) == number else None

        found: list[dict[str, Any]] = await self._first(enough, f"{number} agents", patience_seconds)
        return found

    async def known(self, hostname: str) -> dict[str, Any]:
        """The agent of this host name, once it is registered and active."""

        async def there() -> dict[str, Any] | None:
            agents = await self.operator.agents()
            return next(
                (one for one in agents if one["agent_info"]["hostname"] == hostname and one.get("active")), None
            )

        found: dict[str, Any] = await self._first(there, f"agent {hostname}", PATIENCE_SECONDS)
        return found

    async def _first(self, condition: Callable[[], Awaitable[Any]], what: str, patience_seconds: float) -> Any:
        try:
            return await first_that(condition, what, patience_seconds)
        except AssertionError as error:
            tails = "\n".join(f"{one.name}: {one.log_tail()}" for one in self._machines)
            raise AssertionError(f"{error}\n{tails}") from None

    async def _leader_address(self) -> str:
        return (await self.leader()).address

    async def _leader_now(self) -> Master | None:
        """A standby answers with where the leader is, so only the leader itself answers a call."""
        for master in self.masters:
            if await self._leads(master):
                return master
        return None

    async def _leads(self, master: Master) -> bool:
        url = f"{master.url}/api/v1"
        timeout = aiohttp.ClientTimeout(total=1.0)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            try:
                async with session.post(url, json={"type": "GET_MASTER"}, allow_redirects=False) as response:
                    return response.status == 200
            except (aiohttp.ClientError, OSError):  # it does not run, or is frozen
                return False

    def _flags(self, settings: AgentSettings, name: str, folder: Path, number: int) -> dict[str, str]:
        first = AGENT_PORTS_FIRST + (number - 1) % AGENTS_WITH_PORTS * PORTS_PER_AGENT
        return settings.all_flags(name, str(folder), first)

    def _command_agents(self, machine: Machine, port: int, flags: list[dict[str, str]]) -> None:
        launcher = machine.folder / "programs"
        launcher.mkdir()
        for program in PROGRAMS.glob("mesos_*.py"):
            script = launcher / program.stem.replace("_", "-")
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -SE "{program}" "$@"\n')
            script.chmod(0o755)
        common = as_variables(
            {
                "port": str(port),
                "launcher": "posix",
                "isolation": "posix/cpu,posix/mem",
                "launcher_dir": str(launcher),
                "systemd_enable_support": "false",
                "registration_backoff_factor": duration(0.05),
            }
        )
        arguments = [*_python("agent_process"), self.master_address, str(SESSION_SECONDS), *map(json.dumps, flags)]
        machine.command(arguments, _environment(port) | common)

    async def _until_it_listens(self, machine: Machine, address: str) -> None:
        host, _, port = address.rpartition(":")

        async def listens() -> bool:
            if not machine.runs:
                raise Unavailable(f"{machine.name} ended at once", todo=machine.log_tail())
            with socket.socket() as probe:
                probe.settimeout(0.5)
                return probe.connect_ex((host, int(port))) == 0

        await self._first(listens, f"{machine.name} at {address}", PATIENCE_SECONDS)

    def _port(self) -> int:
        """One that nobody listens at, for servers that must keep theirs over a restart."""
        while True:
            port = random.choice(SERVER_PORTS)
            with socket.socket() as probe:
                if port not in self._ports and probe.connect_ex(("127.0.0.1", port)) != 0:
                    self._ports.add(port)
                    return port


def _python(module: str) -> list[str]:
    return [sys.executable, "-m", f"coldchain.testing.mesos.{module}"]


def _environment(port: int) -> dict[str, str]:
    """Nothing of ours but what the processes need: a variable MESOS_… of the test's own would be a flag."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "TMPDIR": tempfile.gettempdir(),
        "LIBPROCESS_IP": "127.0.0.1",
        "LIBPROCESS_PORT": str(port),
        "LIBPROCESS_NUM_WORKER_THREADS": "8",
        "GLOG_minloglevel": "2",
        LIBRARY_VARIABLE: str(find_library()),
    }
