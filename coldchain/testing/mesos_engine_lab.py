"""A lab for engine mesos: a real master and a real agent of Mesos, and our executor on it."""

import asyncio
import os
import sys
import uuid
from typing import Any

from coldchain.clients.mesos.scheduler import SchedulerClient
from coldchain.control.clock import SystemClock
from coldchain.engines.mesos import MesosEngine, MesosSettings
from coldchain.main.mesos import executor_environment
from coldchain.main.mesos_access import MesosAccess
from coldchain.model.executor import ExecutorSettings
from coldchain.model.task import TaskSpec
from coldchain.ports.engine import Engine
from coldchain.ports.store import Store
from coldchain.runners.remote import RemoteRunner
from coldchain.store.memory import MemoryStore
from coldchain.testing.engine_labs import uncontained
from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.servers import Agent
from coldchain.testing.mesos.settings import AgentSettings, MasterSettings

KEY = b"key of the contract"
MASTER = MasterSettings(agent_ping_timeout_seconds=5.0)
PORTS = [(8080, 9090), *((port, port + 1) for port in range(8100, 8200, 2))]
AGENT = AgentSettings(
    resources="cpus:8;mem:4096;disk:10000;ports:[8080-9090]",
    executor_reregistration_timeout_seconds=5.0,
    executor_shutdown_grace_seconds=2.0,
)
"""Patient enough for a machine that has much to do; tests of faults are not."""


class Cluster:
    """What engines come to, one after the other: Mesos, and a store. Any loop may use it."""

    def __init__(self, docker_socket: str, *, zookeeper: bool = False, tls: bool = False) -> None:
        self.lab = MesosLab(zookeeper=zookeeper, tls=tls)
        self.lab.folder.chmod(0o711)  # users of tasks pass through
        self.store: Store = MemoryStore()
        self.executor = ExecutorSettings(
            controller_id=f"contract-{uuid.uuid4().hex[:8]}",
            version="1",
            docker_socket=docker_socket,
            cgroup_parent=f"{os.environ.get('COLDCHAIN_CGROUP_PARENT', 'coldchain')}/{self.lab.folder.name}",
            orphan_seconds=20.0,
            orphan_grace_seconds=0.0,
        )

    async def start(
        self, agents: int = 1, master: MasterSettings = MASTER, agent: AgentSettings = AGENT
    ) -> list[Agent]:
        await self.lab.__aenter__()
        await self.lab.start_master(master)
        started = [await self.lab.start_agent(agent) for _ in range(agents)]
        await self.lab.registered(agents)
        return started

    async def engine(self, credential: tuple[str, str] | None = None, **settings: Any) -> "UncontainedOnMesos":
        """A new one, as after a restart of the controller."""
        access = MesosAccess(master=self.lab.master_address, authority=self.lab.authority)
        engine = UncontainedOnMesos(
            SchedulerClient(self._find_master, credential=credential, tls=self.lab.trust),
            self.store,
            SystemClock(),
            MesosSettings(
                executor_command=(sys.executable, "-m", "coldchain", "executor"),
                executor_environment=executor_environment(access),
                principal=credential[0] if credential else "",
                **settings,
            ),
            self.executor,
            key=KEY,
            reach=RemoteRunner,
        )
        await engine.start()
        return engine

    async def _find_master(self) -> str:
        return self.lab.masters[-1].address

    def close(self) -> None:
        self.lab.close()


class UncontainedOnMesos(MesosEngine):
    """Runs the specs of the contract as processes, which start sooner: the first on the ports of the suite, the others
    beside it."""

    async def launch(self, spec: TaskSpec) -> None:
        others = [one for one in PORTS if one not in self._ports.values()]
        ports = self._ports.setdefault(spec.task_id, others[0])
        await super().launch(uncontained(spec, ports))

    async def forget(self, task_id: str) -> None:
        await super().forget(task_id)
        self._ports.pop(task_id, None)

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._ports: dict[str, tuple[int, int]] = {}


class MesosLabOfEngine:
    """Engines of one cluster, one after the other, each with what the one before left."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._engines: list[MesosEngine] = []

    async def start(self) -> None:
        if not self._cluster.lab.agents:
            await self._cluster.start()
        self.engine: Engine = await self._next()

    async def _next(self) -> MesosEngine:
        engine = await self._cluster.engine()
        self._engines.append(engine)
        return engine

    async def restarted(self) -> Engine:
        await self._engines[-1].close()
        return await self._next()

    async def close(self) -> None:
        await self._engines[-1].close()
        engine = await self._next()
        for task in await engine.tasks():
            await engine.kill(task.task_id, 0.0)
        async with asyncio.timeout(20):
            while not all(task.terminal for task in await engine.tasks()):
                await asyncio.sleep(0.02)
        for task in await engine.tasks():
            await engine.forget(task.task_id)
        assert await engine.tasks() == []
        await engine.close()
