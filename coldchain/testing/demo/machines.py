"""machines: what `bin/demo --network` runs on: three machines with a container network of their own, and Mesos.

On two of them netd, Docker and an agent of Mesos, which runs our executor; on the third, which has no Docker, netd as
on a node that only exchanges routes, the controller and the gateway. etcd, ZooKeeper and the master are at the console.
"""

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from coldchain.documents import keys
from coldchain.documents.stored import decode
from coldchain.model.pool import Block
from coldchain.testing.application.image import ensure_image
from coldchain.testing.controllers import Controllers
from coldchain.testing.demo.cluster import EXECUTOR, MASTER
from coldchain.testing.driven import StepFailed
from coldchain.testing.load.accounting import Kill
from coldchain.testing.machines import Machine
from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.settings import AgentSettings
from coldchain.testing.network_lab import NetworkLab, network_lab
from coldchain.testing.sandbox import forwarder, kernel
from coldchain.testing.server_process import DIES_WITH_ITS_PARENT
from coldchain.testing.stage import Stage

SHOP, VAULT = "online_net", "vault_net"
POOLS = {SHOP: ("online", "10.200.0.0/16"), VAULT: ("vault", "10.201.0.0/16")}
"""Of each network: its pool and the addresses of that."""
GATEWAY_MACHINE = "vm"
DOCKER = "/run/docker.sock"
"""Where it is on a machine with Docker, for the executor there."""


class RemoteController(Controllers):
    """`coldchain up` on one of the machines, and what containers on others are told from there."""

    def __init__(self, stage: Stage, network: NetworkLab) -> None:
        super().__init__([stage], Path(DOCKER))
        self._network = network

    async def set_health(self, tasks: list[dict[str, Any]], *, healthy: bool) -> None:
        """From the machine of the controller: nobody else reaches them."""
        for task in tasks:
            url = f"http://{task['endpoints'][0]}/control/health?ok={int(healthy)}"
            await asyncio.to_thread(self._network[GATEWAY_MACHINE].run, *fetch(url))

    async def kill_container(self, task_id: str, instance_id: str) -> Kill:
        """On whichever machine it runs."""
        for machine in self._network.hosts:
            if found := container_of(machine, task_id):
                pid = machine.docker.run("inspect", "--format", "{{.State.Pid}}", found)
                began = time.time()
                await asyncio.to_thread(machine.run, "sh", "-c", _KILL, "kill", pid)
                return Kill(instance=instance_id, started_at=began, completed_at=time.time())
        raise StepFailed(f"no machine runs {task_id}")

    async def end(self) -> None:
        """All that runs ends with the machines."""
        for stage in self.stages:
            await stage.close()


_KILL = 'kill -KILL "$1"; while kill -0 "$1" 2>/dev/null; do sleep 0.001; done'


class Machines:
    """All that runs. `seen`: of each machine, which addresses instances have had there. `policy_seconds`: what each
    change of the policy took until all machines had it."""

    def __init__(self, network: NetworkLab, mesos: MesosLab, controller: RemoteController) -> None:
        self.network = network
        self.mesos = mesos
        self.controller = controller
        self.seen: dict[str, set[str]] = {machine.name: set() for machine in network.hosts}
        self.policy_seconds: list[float] = []

    @property
    def gateway(self) -> Machine:
        """The machine with the gateway."""
        return self.network[GATEWAY_MACHINE]

    def machine(self, name: str) -> Machine:
        return self.network[name]

    async def blocks(self) -> list[Block]:
        """Who has which addresses."""
        entries = (await self.network.store.list(keys.BLOCK)).entries
        return [decode(entry.value, Block) for entry in entries]

    async def containers(self) -> dict[str, str]:
        """Task → container, of all that run on any machine."""
        found: dict[str, str] = {}
        for machine in self.network.hosts:
            rows = await asyncio.to_thread(machine.docker.run, "ps", "--no-trunc", "--format", _ROW)
            found |= dict(row.split() for row in rows.splitlines() if len(row.split()) == 2)
        return found

    async def inside(self, task: Mapping[str, Any], *command: str) -> str:
        """What a command in a task's container prints, whatever its exit status."""
        machine = self.machine(task["host"])
        container = await asyncio.to_thread(container_of, machine, task["id"])
        return await asyncio.to_thread(partial(machine.docker.run, "exec", container, *command, status=None))

    async def routes(self, machine: Machine) -> dict[str, str]:
        """What BIRD has put into a machine's kernel: network → the machine it leads to."""
        said = await asyncio.to_thread(machine.run, "ip", "-json", "route", "show", "proto", "bird")
        names = {each.address: each.name for each in self.network.lab}
        return {one["dst"]: names.get(one.get("gateway"), "") for one in json.loads(said) if one.get("gateway")}

    async def sums(self) -> dict[str, Any]:
        """For the last line of the demo: of each machine its blocks, and which addresses instances have had there."""
        blocks = await self.blocks()
        return {
            "addresses": {
                name: {"blocks": sorted(one.cidr for one in blocks if one.node == name), "instances": sorted(seen)}
                for name, seen in self.seen.items()
            },
            "policy_seconds": [round(one, 2) for one in self.policy_seconds],
        }


_ROW = '{{.Label "coldchain.task"}} {{.ID}}'


def fetch(url: str, *options: str, patience_seconds: int = 2) -> list[str]:
    """The command that asks for it, on a machine and in a container alike."""
    return ["busybox", "timeout", str(patience_seconds), "busybox", "wget", "-q", "-O", "-", *options, url]


def container_of(machine: Machine, task_id: str) -> str:
    """The container of a task that runs there; empty without one."""
    return machine.docker.run("ps", "--no-trunc", "--quiet", "--filter", f"label=coldchain.task={task_id}")


@contextlib.asynccontextmanager
async def machines(tags: Sequence[str], ports: Mapping[str, int]) -> AsyncIterator[Machines]:
    """Started, with both networks. `ports`: `api`, `gateway` and `status`. Nothing is left of it."""
    async with network_lab(pools=(), networks=()) as network:
        folder = network.lab.folder
        await _load_images(network, tags)
        async with MesosLab(zookeeper=True, address=network.lab.console, parent=folder) as mesos:
            mesos.folder.chmod(0o711)
            await mesos.start_master(MASTER)
            for machine in network.hosts:
                settings = AgentSettings(hostname=machine.name, address=machine.address)
                await mesos.start_agent(settings, door=machine.entered())
            await mesos.registered(len(network.hosts))
            controller = RemoteController(_stage(folder, network, mesos, ports), network)
            _pass_on(network[GATEWAY_MACHINE], [ports["api"], ports["gateway"]])
            try:
                await controller.start()
                made = Machines(network, mesos, controller)
                await _create_networks(made)
                yield made
            finally:
                await controller.end()


async def _load_images(network: NetworkLab, tags: Sequence[str]) -> None:
    """The same bytes on all machines, as from a registry: an app's version is one image by its hash."""
    first, *others = network.hosts
    names, archive = [f"coldchain/shop:{tag}" for tag in tags], network.lab.folder / "images.tar"
    for tag in tags:
        await ensure_image(str(first.docker.socket), tag=tag)
    await asyncio.to_thread(first.docker.run, "save", "--output", str(archive), *names)
    for machine in others:
        await asyncio.to_thread(machine.docker.run, "load", "--input", str(archive))
    archive.unlink()


def _stage(folder: Path, network: NetworkLab, mesos: MesosLab, ports: Mapping[str, int]) -> Stage:
    """On the machine without Docker. Its API is on that machine's loopback."""
    data = folder / "up"
    data.mkdir(mode=0o755)
    machine = network[GATEWAY_MACHINE]
    stage = Stage(data, Path(DOCKER), ports["api"], ports["gateway"], ports["status"])
    stage.prefix = [*DIES_WITH_ITS_PARENT, *machine.entered(*DIES_WITH_ITS_PARENT)]
    stage.options |= {
        "--gateway": f"{machine.address}:{ports['gateway']}",
        "--agent": machine.name,
        "--store": network.address,
        "--secret-keys": str(data / "secret.keys"),
    }
    stage.up_options = [
        f"--gateway=127.0.0.1:{ports['gateway']}",
        "--engine=mesos",
        f"--mesos-master={mesos.master_address}",
        f"--mesos-executor={EXECUTOR}",
    ]
    return stage


def _pass_on(machine: Machine, ports: Sequence[int]) -> None:
    """From now on these ports of our loopback lead to the machine's own, for who drives the demo, and a browser."""
    listeners = [forwarder.listen(port) for port in ports]

    def run() -> None:
        descriptor = os.open(f"/proc/{machine.init}/ns/net", os.O_RDONLY)
        kernel.enter_namespace(descriptor, kernel.NEW_NETWORK)
        os.close(descriptor)
        forwarder.serve(listeners)

    threading.Thread(target=run, daemon=True, name="ports").start()


async def _create_networks(made: Machines) -> None:
    """As an operator does it, on the machine of the controller."""
    command = [sys.executable, "-m", "coldchain"]
    for network, (pool, cidr) in POOLS.items():
        for words in (["pool", "add", pool, cidr], ["network", "create", network, "--pool", pool]):
            await asyncio.to_thread(made.gateway.run, *command, *words)
    for machine in made.network.hosts:

        async def present(name: str = machine.name) -> bool:
            loops = await made.network.netds[name].loops()
            return set(loops["networks"]["present"]) >= set(POOLS)

        await made.network.until(present, f"the networks on {machine.name}")
