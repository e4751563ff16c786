"""MesosLab: real masters and agents of Apache Mesos, and ZooKeeper, each a process, all below one folder."""

import asyncio
import dataclasses
import json
import os
import random
import shutil
import socket
import ssl
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from coldchain.model.errors import Rejected, Unavailable
from coldchain.testing.certificates import Authority
from coldchain.testing.mesos.library import find_library
from coldchain.testing.mesos.machine import PATIENCE_SECONDS, Machine
from coldchain.testing.mesos.operator_api import OneServer, Operator, first_that
from coldchain.testing.mesos.servers import Agent, Master
from coldchain.testing.mesos.settings import PORTS_PER_AGENT, AgentSettings, MasterSettings, as_variables, duration
from coldchain.testing.mesos.zookeeper import ZooKeeper

_FOLDER = Path(__file__).parent / "programs"
EXECUTOR = _FOLDER / "executor.py"
PROGRAMS = {
    "mesos-containerizer": _FOLDER / "containerizer.py",
    "mesos-executor": EXECUTOR,
    "mesos-docker-executor": EXECUTOR,
}
"""What an agent starts, and what stands in for it."""
ZOOKEEPER_PATH = "/mesos"
SESSION_SECONDS = 2.0
"""ZooKeeper forgets a dead master after this, and the next one leads."""
SERVER_PORTS = range(10_000, 16_000)
"""Of masters, agents and ZooKeeper: below those that the kernel gives to whoever asks, and apart from agents' ports."""
AGENT_PORTS_FIRST = 16_000
AGENTS_WITH_PORTS = 30


class MesosLab:
    """A context manager; nothing of it is left afterwards, in whatever way the process ends. Any loop may use it."""

    def __init__(self, *, zookeeper: bool = False, tls: bool = False, log_level: int = 2) -> None:
        """`log_level`: 0 for all that masters and agents say, 1 for warnings, 2 for errors only."""
        self.folder = Path(tempfile.mkdtemp(prefix="coldchain-mesos-"))
        self.authority: Path | None = None
        """The certificate that vouches for masters and agents, with TLS."""
        self.trust: ssl.SSLContext | None = None
        if tls:
            self._make_certificates()
        self.zookeeper: ZooKeeper | None = None
        self.masters: list[Master] = []
        self.agents: list[Agent] = []
        self.operator = Operator(self._leader_api)
        self._with_zookeeper = zookeeper
        self._log_level = log_level
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
        shutil.rmtree(self.folder / "certificates", ignore_errors=True)
        if self.folder.exists():
            self.folder.rmdir()

    @property
    def scheme(self) -> str:
        return "https" if self.authority else "http"

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
        master.api = OneServer(f"{self.scheme}://{master.address}", self.trust)
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
        master.command(arguments, self._environment(port) | environment)
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
        agent.known, agent.settings = self.known, settings or AgentSettings()
        agent.hostname = agent.settings.hostname or agent.name
        agent.work_directory = agent.folder / "work"
        agent.address = f"127.0.0.1:{port}"
        agent.api = OneServer(f"{self.scheme}://{agent.address}/slave(1)", self.trust)  # their word
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

    async def _leader_api(self) -> OneServer:
        return (await self.leader()).api

    async def _leader_now(self) -> Master | None:
        """All are asked at once, for one that is frozen keeps its asker waiting."""
        asked = [asyncio.create_task(self._if_leading(master)) for master in self.masters if master.runs]
        try:
            for answer in asyncio.as_completed(asked):
                if leader := await answer:
                    return leader
            return None
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _if_leading(self, master: Master) -> Master | None:
        """A standby answers with where the leader is, so only the leader itself answers a call."""
        try:
            async with asyncio.timeout(1.0):
                await master.api.call("GET_MASTER")
            return master
        except (aiohttp.ClientError, OSError, TimeoutError, Rejected):  # frozen, or just ended, or a standby
            return None

    def _flags(self, settings: AgentSettings, name: str, folder: Path, number: int) -> dict[str, str]:
        first = AGENT_PORTS_FIRST + (number - 1) % AGENTS_WITH_PORTS * PORTS_PER_AGENT
        if self.authority:  # an agent tells its executors nothing of TLS
            known = {"LIBPROCESS_SSL_ENABLED": "true", "LIBPROCESS_SSL_CA_FILE": str(self.authority)}
            settings = dataclasses.replace(settings, variables={**known, **settings.variables})
        return settings.all_flags(name, str(folder), first)

    def _command_agents(self, machine: Machine, port: int, flags: list[dict[str, str]]) -> None:
        launcher = machine.folder / "programs"
        launcher.mkdir()
        for name, program in PROGRAMS.items():
            script = launcher / name
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
        machine.command(arguments, self._environment(port) | common)

    async def _until_it_listens(self, machine: Machine, address: str) -> None:
        host, _, port = address.rpartition(":")

        async def listens() -> bool:
            if not machine.runs:
                raise Unavailable(f"{machine.name} ended at once", todo=machine.log_tail())
            with socket.socket() as probe:
                probe.settimeout(0.5)
                return probe.connect_ex((host, int(port))) == 0

        await self._first(listens, f"{machine.name} at {address}", PATIENCE_SECONDS)

    def _environment(self, port: int) -> dict[str, str]:
        """Nothing of ours but what the processes need: a variable MESOS_… of the test's own would be a flag."""
        kept = find_library()
        found = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "TMPDIR": tempfile.gettempdir(),
            "LIBPROCESS_IP": "127.0.0.1",
            "LIBPROCESS_PORT": str(port),
            "LIBPROCESS_NUM_WORKER_THREADS": "8",
            "GLOG_minloglevel": str(self._log_level),
            "COLDCHAIN_LAB_LIBMESOS": str(kept / "libmesos.so"),
        }
        if self.authority:
            pem = str(self.folder / "certificates" / "server.pem")
            found |= {
                "COLDCHAIN_LAB_OPENSSL": str(kept / "openssl"),
                "LD_LIBRARY_PATH": str(kept / "openssl"),
                "LIBPROCESS_SSL_ENABLED": "true",
                "LIBPROCESS_SSL_CIPHERS": "ECDHE-ECDSA-AES128-GCM-SHA256",  # its own are for other keys
                "LIBPROCESS_SSL_KEY_FILE": pem,
                "LIBPROCESS_SSL_CERT_FILE": pem,
                "LIBPROCESS_SSL_CA_FILE": str(self.authority),
            }
        return found

    def _make_certificates(self) -> None:
        certificates = self.folder / "certificates"
        certificates.mkdir()
        authority = Authority(certificates)
        authority.made("server", "server", ["127.0.0.1"])
        self.authority = authority.file
        self.trust = ssl.create_default_context(cafile=str(authority.file))

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
