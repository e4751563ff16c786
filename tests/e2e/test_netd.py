"""The network driver under a real Docker Engine: what containers get, and what stays when somebody is killed."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from coldchain.documents.keys import ATTACHMENT, network_key_of
from coldchain.documents.stored import decode, encode
from coldchain.main.stores import EtcdAccess, open_etcd
from coldchain.model.attachment import Attachment
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.pool import Pool
from coldchain.network.links import NetlinkLinks
from coldchain.ports.store import Change, Store
from coldchain.testing.application.image import ensure_image
from coldchain.testing.etcd import EtcdCluster
from coldchain.testing.netd import NetdProcess
from coldchain.testing.sandbox import DockerDaemon

NODE, NODE_ADDRESS, UPLINK = "node-1", "10.98.0.1", "uplink1"
DRIVER = Path("/run/docker/plugins/coldchain.sock")
POOLS = {"online": "10.200.0.0/24", "tiny": "10.201.0.0/31", "online6": "fd00:200::/120"}
NETWORKS = (
    ContainerNetwork(name="online_net", pool="online"),
    ContainerNetwork(name="tiny_net", pool="tiny"),
    ContainerNetwork(name="dual_net", pool="online", pool6="online6"),
)
IMAGE = "coldchain/shop:v1"
Docker = Callable[..., str]


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    cluster = EtcdCluster(tmp_path_factory.mktemp("etcd"))
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
async def store(etcd: EtcdCluster) -> AsyncIterator[Store]:
    """With the networks, and nothing of an earlier test."""
    await etcd.ready()
    opened = open_etcd(f"etcd://{etcd.addresses}/netd", EtcdAccess())
    left = (await opened.list("")).entries
    records: list[ContainerNetwork | Pool] = [*NETWORKS, *(Pool(name=name, cidr=cidr) for name, cidr in POOLS.items())]
    await opened.write([Change(key=one.key, value=None) for one in left])
    await opened.write([Change(key=network_key_of(one), value=encode(one)) for one in records])
    yield opened
    await opened.close()


@pytest.fixture
def docker(docker_engine: DockerDaemon) -> Iterator[Docker]:
    """Docker's own command. All containers that it made are gone afterwards."""

    def call(*words: str) -> str:
        command = ["docker", "-H", f"unix://{docker_engine.socket}", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(f"docker {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout.strip()

    yield call
    if docker_engine.pid is None:
        docker_engine.start()


@pytest.fixture
def uplink() -> Iterator[None]:
    for words in (
        ["link", "add", UPLINK, "type", "bridge"],
        ["address", "add", f"{NODE_ADDRESS}/24", "dev", UPLINK],
        ["link", "set", UPLINK, "up"],
    ):
        subprocess.run(["ip", *words], check=True)
    yield
    subprocess.run(["ip", "link", "del", UPLINK], check=True)


@pytest.fixture
async def netd(
    store: Store, etcd: EtcdCluster, uplink: None, docker_engine: DockerDaemon, docker: Docker, tmp_path: Path
) -> AsyncIterator[NetdProcess]:
    await ensure_image(str(docker_engine.socket))
    process = NetdProcess(
        f"etcd://{etcd.addresses}/netd",
        NODE,
        f"{NODE_ADDRESS}/24",
        tmp_path,
        DRIVER,
        docker_engine.socket,
        POOLS,
    )
    await process.start()
    await networks_are(process, {one.name for one in NETWORKS})
    yield process
    if not process.running:
        await process.start()
    if left := docker("ps", "-aq", "--filter", "label=netd").split():
        docker("rm", "-f", *left)
    await store.write([Change(key=network_key_of(one), value=None) for one in NETWORKS])
    async with asyncio.timeout(30):
        while docker("network", "ls", "-q", "--filter", "driver=coldchain"):
            await asyncio.sleep(0.05)
    assert await NetlinkLinks().present() == []
    process.kill()


async def networks_are(netd: NetdProcess, names: set[str]) -> None:
    async with asyncio.timeout(30):
        while set((await netd.status())["loops"]["networks"]["present"]) != names:
            await asyncio.sleep(0.02)


async def attachments(store: Store, count: int) -> list[Attachment]:
    """What the store says, once it is so many."""
    async with asyncio.timeout(30):
        while True:
            entries = (await store.list(ATTACHMENT)).entries
            if len(entries) == count:
                return [decode(entry.value, Attachment) for entry in entries]
            await asyncio.sleep(0.02)


def run(docker: Docker, name: str, *options: str, network: str = "online_net") -> str:
    """Start a container that does nothing; returns its address."""
    docker("run", "-d", "--name", name, "--label", "netd", "--network", network, *options, IMAGE, "sleep", "1000")
    return address_of(docker, name)


def address_of(docker: Docker, name: str) -> str:
    (only,) = json.loads(docker("inspect", name))[0]["NetworkSettings"]["Networks"].values()
    return str(only["IPAddress"])


def ping(docker: Docker, name: str, address: str) -> None:
    docker("exec", name, "busybox", "ping", "-c", "1", "-W", "5", address)


async def test_containers_get_addresses_and_reach_each_other_and_the_machine(
    netd: NetdProcess, docker: Docker, store: Store
) -> None:
    option = "name=online_net,driver-opt=coldchain.app=/shop/web,driver-opt=coldchain.label.tier=front"
    one = run(docker, "one", network=option)
    two = run(docker, "two", "--ip", "10.200.0.77")
    assert (one, two) == ("10.200.0.0", "10.200.0.77")
    for name, address in (("one", two), ("two", one), ("one", NODE_ADDRESS)):
        ping(docker, name, address)
    subprocess.run(["busybox", "ping", "-c", "1", "-W", "5", two], check=True, capture_output=True)
    first, second = sorted(await attachments(store, 2), key=lambda one: one.address)
    assert (first.app_id, first.labels, first.network) == ("/shop/web", {"tier": "front"}, "online_net")
    assert (second.app_id, second.node) == ("", NODE)
    docker("rm", "-f", "one", "two")
    assert await attachments(store, 0) == []
    assert await NetlinkLinks().present() == []
    assert "coldchain_netd_addresses_used 0.0" in await netd.metrics()
    assert 'coldchain_netd_calls_total{call="NetworkDriver.Join",outcome="answered"} 2.0' in await netd.metrics()


async def test_a_wanted_address_is_kept_over_a_restart(netd: NetdProcess, docker: Docker, store: Store) -> None:
    assert run(docker, "fixed", "--ip", "10.200.0.9") == "10.200.0.9"
    docker("restart", "-t", "0", "fixed")
    assert address_of(docker, "fixed") == "10.200.0.9"
    docker("stop", "-t", "0", "fixed")
    await attachments(store, 0)
    docker("start", "fixed")
    assert address_of(docker, "fixed") == "10.200.0.9"


async def test_ipv6_beside_ipv4(netd: NetdProcess, docker: Docker, store: Store) -> None:
    run(docker, "one", network="dual_net")
    run(docker, "two", network="dual_net")
    (two,) = json.loads(docker("inspect", "two"))[0]["NetworkSettings"]["Networks"].values()
    assert two["GlobalIPv6Address"].startswith("fd00:200::")
    ping(docker, "one", two["IPAddress"])
    ping(docker, "one", two["GlobalIPv6Address"])
    assert {one.address6 for one in await attachments(store, 2)} > {two["GlobalIPv6Address"]}
