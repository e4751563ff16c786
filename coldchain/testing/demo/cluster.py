"""cluster: what `bin/demo --mesos` runs on: Mesos and etcd as a company has them, each server a process of its own.

One ZooKeeper, two masters, three agents with addresses of their own and one Docker Engine beneath them, three members
of etcd, two controllers with a gateway each.
"""

import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from coldchain.clients.docker import DockerClient
from coldchain.testing.controllers import Controllers
from coldchain.testing.etcd import LIMITS, EtcdCluster, etcd_cluster
from coldchain.testing.mesos import cable
from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.servers import Agent
from coldchain.testing.mesos.settings import AgentSettings, MasterSettings
from coldchain.testing.ports import free_ports
from coldchain.testing.stage import Stage

MASTERS, AGENTS, ETCD, CONTROLLERS = 2, 3, 3, 2
MASTER = MasterSettings(agent_ping_timeout_seconds=2.0, agent_pings_missed_max=5)
"""The registry is in memory: of a `replicated_log` both of two masters would have to be there to write into it."""
ETCD_OPTIONS = (*LIMITS, "--heartbeat-interval=100", "--election-timeout=1000")
"""As etcd is by itself: tests find another leader sooner, but on a busy machine nobody would lead for long."""
RECOVERY_SECONDS = 5.0
PORTS_PER_CONTROLLER = 5
EXECUTOR = f"{sys.executable} -m coldchain executor"
NEXT_EXECUTOR = f"{sys.executable} -B -m coldchain executor"
"""The same program by another command: to Mesos and to us another version."""


def address_of(number: int) -> str:
    """The address of the agent of that number, from 1."""
    return f"10.177.0.{number}"


@dataclass(frozen=True)
class Cluster:
    """All that runs."""

    lab: MesosLab
    etcd: EtcdCluster
    controllers: Controllers
    docker: DockerClient

    @property
    def access_logs(self) -> list[Path]:
        return [one.access_log for one in self.controllers.stages]

    @property
    def gateways(self) -> list[tuple[int, int]]:
        """Ports of consumers and of readiness."""
        status = [one.options["--gateway-status"].rpartition(":")[2] for one in self.controllers.stages]
        pairs = zip(self.controllers.stages, status, strict=True)
        return [(stage.gateway_port, int(port)) for stage, port in pairs]

    def agent(self, hostname: str) -> Agent:
        return next(one for one in self.lab.agents if one.hostname == hostname)

    async def containers(self) -> dict[str, str]:
        """Task → container, of all that run for any app, whoever answers for them."""
        found = await self.docker.containers(["coldchain.task"])
        return {one["Labels"]["coldchain.task"]: str(one["Id"]) for one in found if one["State"] == "running"}


@contextlib.asynccontextmanager
async def cluster(folder: Path, docker_socket: Path, first_ports: Mapping[str, int]) -> AsyncIterator[Cluster]:
    """Started. `first_ports`: `api`, `gateway` and `status` of the first controller. Nothing is left of it."""
    docker = DockerClient(str(docker_socket))
    try:
        with etcd_cluster(ETCD, options=ETCD_OPTIONS) as etcd:
            async with MesosLab(zookeeper=True) as lab:
                lab.folder.chmod(0o711)
                for _ in range(MASTERS):
                    await lab.start_master(MASTER)
                for number in range(1, AGENTS + 1):
                    cable.give_address(address_of(number))
                    await lab.start_agent(
                        AgentSettings(address=address_of(number), recovery_timeout_seconds=RECOVERY_SECONDS)
                    )
                await lab.registered(AGENTS)
                await etcd.ready()
                controllers = _controllers(folder, docker_socket, first_ports, lab, etcd)
                try:
                    await controllers.start()
                    yield Cluster(lab, etcd, controllers, docker)
                finally:
                    await controllers.end()
    finally:
        await docker.close()


def _controllers(
    folder: Path, docker_socket: Path, first_ports: Mapping[str, int], lab: MesosLab, etcd: EtcdCluster
) -> Controllers:
    stages = []
    for number in range(1, CONTROLLERS + 1):
        data = folder / str(number)  # short: sockets have their paths below it
        data.mkdir(mode=0o755)
        api, gateway, status, *registry = free_ports(PORTS_PER_CONTROLLER)
        if number == 1:
            api, gateway, status = (first_ports[name] for name in ("api", "gateway", "status"))
        stage = Stage(data, docker_socket, api, gateway, status, *registry)
        stage.options |= {
            "--agent": f"controller-{number}",
            "--store": f"etcd://{etcd.addresses}/demo",
            "--secret-keys": str(folder / "secret.keys"),
        }
        stage.up_options = ["--engine=mesos", f"--mesos-master={lab.master_address}", f"--mesos-executor={EXECUTOR}"]
        stages.append(stage)
    return Controllers(stages, docker_socket)
