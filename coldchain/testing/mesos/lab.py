"""MesosLab: real masters and agents of Apache Mesos, and ZooKeeper, each a process, all below one folder."""

import asyncio
import json
import shutil
import ssl
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from coldchain.model.errors import Rejected, Unavailable
from coldchain.testing.mesos.machine import PATIENCE_SECONDS, Machine
from coldchain.testing.mesos.operator_api import OneServer, Operator, first_that
from coldchain.testing.mesos.servers import Agent, Master
from coldchain.testing.mesos.settings import AgentSettings, MasterSettings, as_variables, duration
from coldchain.testing.mesos.surroundings import Surroundings, place_programs
from coldchain.testing.mesos.zookeeper import ZooKeeper
from coldchain.testing.ports import free_port

ZOOKEEPER_PATH = "/mesos"
SESSION_SECONDS = 2.0
"""ZooKeeper forgets a dead master after this, and the next one leads."""


class MesosLab:
    """A context manager; nothing of it is left afterwards, in whatever way the process ends. Any loop may use it."""

    def __init__(
        self,
        *,
        zookeeper: bool = False,
        tls: bool = False,
        log_level: int = 2,
        address: str = "127.0.0.1",
        parent: Path | None = None,
    ) -> None:
        """`log_level`: 0 for all that masters and agents say, 1 for warnings, 2 for errors only. `address`: where
        masters and ZooKeeper listen. `parent`: where its folder is made; it must be there at the same path for all."""
        self.folder = Path(tempfile.mkdtemp(prefix="coldchain-mesos-", dir=parent))
        self._address = address
        self._surroundings = Surroundings(self.folder, tls=tls, log_level=log_level)
        self.zookeeper: ZooKeeper | None = None
        self.masters: list[Master] = []
        self.agents: list[Agent] = []
        self.operator = Operator(self._leader_api)
        self._with_zookeeper = zookeeper
        self._machines: list[Machine] = []
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
        shutil.rmtree(self.folder, ignore_errors=True)  # if no machine was ever started; else the last took it along

    @property
    def authority(self) -> Path | None:
        """The certificate that vouches for masters and agents, with TLS."""
        return self._surroundings.authority

    @property
    def trust(self) -> ssl.SSLContext | None:
        """What a client needs for them, with TLS."""
        return self._surroundings.trust

    @property
    def master_address(self) -> str:
        """What agents and frameworks are told: `zk://HOST:PORT/mesos`, or HOST:PORT of the only master."""
        if self.zookeeper:
            return f"zk://{self.zookeeper.address}{ZOOKEEPER_PATH}"
        return self.masters[0].address

    async def start_zookeeper(self) -> ZooKeeper:
        self.zookeeper = ZooKeeper(self.folder, free_port(), self._address)
        self._machines.append(self.zookeeper)
        self.zookeeper.start()
        await self._first(self.zookeeper.serves, "ZooKeeper serves", PATIENCE_SECONDS)
        return self.zookeeper

    async def start_master(self, settings: MasterSettings | None = None) -> Master:
        """Waits until it answers, though perhaps not yet as the leader. Without ZooKeeper there can be one."""
        if self.masters and not self.zookeeper:
            raise Unavailable("Several masters need ZooKeeper", todo="Say MesosLab(zookeeper=True)")
        master = Master(f"master-{len(self.masters) + 1}", self.folder)
        self._machines.append(master)
        port = free_port()
        master.address, master.settings = f"{self._address}:{port}", settings or MasterSettings()
        master.api = self._api(master.address)
        credentials = master.folder / "credentials.json"
        entries = [{"principal": key, "secret": value} for key, value in master.settings.credentials.items()]
        credentials.write_text(json.dumps({"credentials": entries}))
        credentials.chmod(0o600)
        flags = as_variables({"work_dir": f"{master.folder}/work", "ip": self._address, "port": str(port)})
        arguments = [
            *_python("master_process"),
            self.master_address if self.zookeeper else "",
            str(master.settings.quorum),
            str(SESSION_SECONDS),
        ]

        async def answers() -> bool:
            if not master.runs:
                raise Unavailable(f"{master.name} ended at once", todo=master.log_tail())
            return await master.api.healthy()

        environment = {**flags, "MESOS_HOSTNAME": "localhost", **master.settings.environment(str(credentials))}
        master.command(arguments, self._surroundings.environment(port, self._address) | environment)
        self.masters.append(master)
        master.start()
        await self._first(answers, f"{master.name} at {master.address}", PATIENCE_SECONDS)
        return master

    async def start_agent(self, settings: AgentSettings | None = None, *, door: Sequence[str] = ()) -> Agent:
        """Does not wait until it is registered: several can start side by side; then call `registered`. `door`: a
        command that runs another one on the agent's machine, if that is not this one."""
        number = self._agents_made = self._agents_made + 1
        agent = Agent(f"agent-{number}", self.folder, door)
        self._machines.append(agent)
        port = free_port()
        agent.known, agent.settings = self.known, settings or AgentSettings()
        agent.hostname = agent.settings.hostname or agent.name
        agent.work_directory = agent.folder / "work"
        agent.address = f"{agent.settings.address}:{port}"
        agent.api = self._api(f"{agent.address}/slave(1)")  # their word
        flags = self._surroundings.flags(agent.settings, agent.name, agent.folder, number)
        self._command_agents(agent, port, [flags], agent.settings.address)
        self.agents.append(agent)
        agent.start()
        return agent

    async def start_simulated_agents(self, number: int, settings: AgentSettings | None = None) -> Machine:
        """Many agents in one process, for benches; their host names are `simulated-1` and on."""
        machine = Machine(f"simulated-{len(self._machines)}", self.folder)
        self._machines.append(machine)
        flags = [
            self._surroundings.flags(settings or AgentSettings(), f"simulated-{one}", machine.folder / str(one), one)
            for one in range(1, number + 1)
        ]
        self._command_agents(machine, free_port(), flags)
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

    def _api(self, address: str) -> OneServer:
        return OneServer(f"{'https' if self.trust else 'http'}://{address}", self.trust)

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

    def _command_agents(
        self, machine: Machine, port: int, flags: list[dict[str, str]], address: str = "127.0.0.1"
    ) -> None:
        common = as_variables(
            {
                "port": str(port),
                "launcher": "posix",
                "isolation": "posix/cpu,posix/mem",
                "launcher_dir": str(place_programs(machine.folder)),
                "systemd_enable_support": "false",
                "registration_backoff_factor": duration(0.05),
            }
        )
        arguments = [*_python("agent_process"), self.master_address, str(SESSION_SECONDS), *map(json.dumps, flags)]
        # The Docker containerizer reads what Docker 26 and newer tell of an image in older versions of the API only.
        docker = {"DOCKER_API_VERSION": "1.41"}
        machine.command(arguments, self._surroundings.environment(port, address) | docker | common)


def _python(module: str) -> list[str]:
    return [sys.executable, "-m", f"coldchain.testing.mesos.{module}"]
