"""A lab of machines with the container network on it: a store at the console, netd on each machine, Docker after it."""

import asyncio
import contextlib
import json
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from coldchain.documents import keys
from coldchain.documents.stored import decode, encode
from coldchain.main.netd import STATUS_SOCKET
from coldchain.main.netd_settings import DEFAULT_STATE
from coldchain.main.stores import EtcdAccess, open_etcd
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.errors import Unavailable
from coldchain.model.node import Routing
from coldchain.model.pool import Block, Pool
from coldchain.ports.store import Change, Store
from coldchain.testing import talker
from coldchain.testing.application.build import build_program
from coldchain.testing.application.image import ensure_image
from coldchain.testing.etcd import LIMITS, EtcdCluster, etcd_cluster
from coldchain.testing.machines import FLAT, Machine, MachineLab, Plan, Started
from coldchain.testing.machines.machine import PATIENCE_SECONDS

POOLS = (Pool(name="online", cidr="10.200.0.0/16"), Pool(name="offline", cidr="10.201.0.0/16"))
NETWORKS = (ContainerNetwork(name="online_net", pool="online"), ContainerNetwork(name="offline_net", pool="offline"))
TALKER = Path(talker.__file__).parent
IMAGE = "coldchain/shop:v1"
STORE_OPTIONS = (*LIMITS, "--unsafe-no-fsync")
"""The machine of the store never loses power here, and a disk that others write to as well would keep everybody waiting
for seconds."""


class MachineNetd:
    """netd of one machine, with its state on the machine's disk."""

    def __init__(self, machine: Machine, store: str) -> None:
        self._machine = machine
        self._store = store
        self._process: Started | None = None

    def start(self) -> None:
        """Begin to start it; `status` waits."""
        cable, containers = self._machine.place.cables[0], self._machine.place.docker
        command = [sys.executable, "-m", "coldchain", "netd", "--store", self._store, "--node", self._machine.name]
        command += ["--address", cable.address, *([] if containers else ["--no-containers"])]
        self._process = self._machine.start(*command, name="netd")

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self._process is not None
        self._process.signal(signal.SIGTERM)
        return self._process.ended()

    async def status(self) -> dict[str, Any]:
        """Once it answers. Raises Unavailable with the end of its log."""
        return dict(await (await self._get("status")).json())

    async def metrics(self) -> str:
        return await (await self._get("metrics")).text()

    async def loops(self) -> dict[str, Any]:
        return dict((await self.status())["loops"])

    async def _get(self, name: str) -> aiohttp.ClientResponse:
        assert self._process is not None
        socket = Path(f"/proc/{self._machine.init}/root", *DEFAULT_STATE.parts[1:], STATUS_SOCKET)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                with contextlib.suppress(aiohttp.ClientError, OSError):
                    return await _asked(socket, name)
                if not self._process.runs:
                    raise Unavailable(f"{self._process.name} has ended:\n{self._process.log_tail()}")
                await asyncio.sleep(0.02)  # a socket appears without notice


class NetworkLab:
    """`netds` by the machine's name. `address`: of the store. `talker`: a program that all machines see, and containers
    as /bin/talker."""

    def __init__(self, lab: MachineLab, etcd: EtcdCluster, store: Store) -> None:
        self.lab = lab
        self.etcd = etcd
        self.store = store
        self.talker = shutil.copy(build_program("talker", TALKER), str(lab.folder / "talker"))
        self.address = f"etcd://{etcd.addresses}/lab"
        self.netds = {machine.name: MachineNetd(machine, self.address) for machine in lab if _is_node(machine)}

    def __getitem__(self, name: str) -> Machine:
        return self.lab[name]

    @property
    def hosts(self) -> list[Machine]:
        """The machines with Docker."""
        return [machine for machine in self.lab if machine.place.docker]

    async def start(self, networks: Sequence[ContainerNetwork]) -> None:
        for netd in self.netds.values():
            netd.start()
        for machine in self.hosts:
            machine.docker.start()
        for machine in self.hosts:
            await asyncio.to_thread(machine.docker.ready)
            await ensure_image(str(machine.docker.socket), *IMAGE.split(":"))
        names = {one.name for one in networks}
        for machine in self.hosts:
            await self.until(partial(_present, self.netds[machine.name], names), "its networks")
        for netd in self.netds.values():
            await self.until(partial(_guarded, netd), "its policy")

    async def run(self, machine: str, name: str, *options: str, network: str = "online_net", command: str = "") -> str:
        """Start a container, which does nothing if it is not told what. Returns its address, once all machines have a
        route there."""
        words = command.split() or ["sleep", "100000"]
        docker = self[machine].docker
        mount = ["--volume", f"{self.talker}:/bin/talker:ro"]
        asked = ["run", "--detach", "--name", name, "--network", network, *mount, *options, IMAGE, *words]
        await asyncio.to_thread(docker.run, *asked)
        address = docker.run("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)
        await self.routed()
        return address

    async def routed(self) -> None:
        """Every node has a route to every block of another."""
        entries = (await self.store.list(keys.BLOCK)).entries
        for block in (decode(entry.value, Block) for entry in entries):
            for name in self.netds:
                if name == block.node or not block.node or not self[name].runs:
                    continue
                await self.until(partial(_routed, self[name], block.cidr), f"a route to {block.cidr}")

    async def doctor(self, machine: str) -> dict[str, str]:
        """What `coldchain network doctor` there finds not to be well, by its name. The clock is not the lab's."""
        asked = (sys.executable, "-m", "coldchain", "network", "doctor", "--json", "--store", self.address)
        said = json.loads(await asyncio.to_thread(partial(self[machine].run, *asked, status=None)))
        return {
            one["name"]: one["found"] for one in said["findings"] if one["state"] != "ok" and one["name"] != "clock"
        }

    async def until(self, true: Callable[[], Awaitable[bool]], what: str) -> None:
        """Raises TimeoutError."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await true():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise TimeoutError(f"{what} did not come within {PATIENCE_SECONDS:g} s") from None


@contextlib.asynccontextmanager
async def network_lab(
    plan: Plan = FLAT,
    *,
    routing: Routing | None = None,
    pools: Sequence[Pool] = POOLS,
    networks: Sequence[ContainerNetwork] = NETWORKS,
) -> AsyncIterator[NetworkLab]:
    """Up when it is entered; nothing of it is left."""
    with MachineLab(plan, docker=False) as lab, etcd_cluster(options=STORE_OPTIONS, address=lab.console) as etcd:
        await etcd.ready()
        store = open_etcd(f"etcd://{etcd.addresses}/lab", EtcdAccess())
        try:
            records: list[ContainerNetwork | Pool] = [*pools, *networks]
            changes = [Change(key=keys.network_key_of(one), value=encode(one)) for one in records]
            await store.write([*changes, Change(key=keys.ROUTING, value=encode(routing or Routing()))])
            made = NetworkLab(lab, etcd, store)
            await made.start(networks)
            yield made
        finally:
            await store.close()


async def _asked(socket: Path, name: str) -> aiohttp.ClientResponse:
    connector = aiohttp.UnixConnector(str(socket))
    async with aiohttp.ClientSession(connector=connector) as session, session.get(f"http://netd/{name}") as answer:
        await answer.read()
        return answer


def _is_node(machine: Machine) -> bool:
    return len(machine.place.cables) == 1


async def _present(netd: MachineNetd, names: set[str]) -> bool:
    return set((await netd.loops())["networks"]["present"]) >= names


async def _guarded(netd: MachineNetd) -> bool:
    return bool((await netd.loops())["policy"]["applied"])


async def _routed(machine: Machine, cidr: str) -> bool:
    return bool(await asyncio.to_thread(machine.run, "ip", "route", "show", cidr))


def callers(netstat: str, port: int) -> set[str]:
    """By what `netstat -tn` printed: the addresses that have a connection with that port there."""
    words = [row.split() for row in netstat.splitlines() if "ESTABLISHED" in row]
    return {there.rpartition(":")[0] for _, _, _, here, there, *_ in words if here.endswith(f":{port}")}
