"""The network driver under a real Docker Engine: what containers get, and what stays when somebody is killed."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coldchain.control.netd.attachments import ATTACHMENT
from coldchain.control.netd.kept import ADDRESS
from coldchain.documents.keys import ATTACHMENT as STORED
from coldchain.documents.keys import network_key_of
from coldchain.documents.stored import decode, encode
from coldchain.main.netd import JOURNAL
from coldchain.main.stores import EtcdAccess, open_etcd
from coldchain.model.attachment import Attachment
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.kept_address import KeptAddress
from coldchain.model.node import Node
from coldchain.model.pool import Pool
from coldchain.network.journal import FileJournal
from coldchain.network.links import NetlinkLinks
from coldchain.ports.network import host_name
from coldchain.ports.store import Change, Store
from coldchain.testing.application.image import ensure_image
from coldchain.testing.etcd import EtcdCluster
from coldchain.testing.netd import NetdProcess
from coldchain.testing.sandbox import DockerDaemon

NODE, NODE_ADDRESS, UPLINK = "node-1", "10.98.0.1", "uplink1"
DRIVER = Path("/run/docker/plugins/coldchain.sock")
ONLINE = Pool(name="online", cidr="10.200.0.0/22")
POOLS = (
    ONLINE,
    Pool(name="tiny", cidr="10.201.0.0/31", block_length=31),
    Pool(name="second", cidr="10.202.0.0/24"),
    Pool(name="dual", cidr="10.203.0.0/24"),
    Pool(name="online6", cidr="fd00:200::/120", block_length=122),
)
NETWORKS = (
    ContainerNetwork(name="online_net", pool="online"),
    ContainerNetwork(name="tiny_net", pool="tiny"),
    ContainerNetwork(name="second_net", pool="second"),
    ContainerNetwork(name="dual_net", pool="dual", pool6="online6"),
)
IMAGE = "coldchain/shop:v1"
QUICK = ("--stop-signal", "KILL")
"""The only process of these containers would not hear SIGTERM."""
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
    records: list[ContainerNetwork | Pool] = [*NETWORKS, *POOLS]
    await opened.write([Change(key=one.key, value=None) for one in left])
    await opened.write([Change(key=network_key_of(one), value=encode(one)) for one in records])
    yield opened
    await opened.close()


@pytest.fixture
def docker(docker_engine: DockerDaemon) -> Docker:
    """Docker's own command."""

    def call(*words: str) -> str:
        command = ["docker", "-H", f"unix://{docker_engine.socket}", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(f"docker {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout.strip()

    return call


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
        docker_engine.socket,
    )
    await process.start()
    await networks_are(process, {one.name for one in NETWORKS})
    yield process
    try:
        await tidy(process, docker, docker_engine, store)
    finally:
        process.kill()


async def tidy(netd: NetdProcess, docker: Docker, docker_engine: DockerDaemon, store: Store) -> None:
    """No container and no network of ours stays, whatever the test did."""
    if docker_engine.pid is None:
        await asyncio.to_thread(docker_engine.start)
    if not netd.running:
        await netd.start()
    if left := docker("ps", "-aq", "--filter", "label=netd").split():
        docker("rm", "-f", *left)
    await store.write([Change(key=network_key_of(one), value=None) for one in NETWORKS])
    async with asyncio.timeout(30):
        while docker("network", "ls", "-q", "--filter", "driver=coldchain"):
            await asyncio.sleep(0.05)
    assert await NetlinkLinks().present() == []


async def at_rest(netd: NetdProcess, docker: Docker, store: Store, names: set[str]) -> None:
    """Everybody knows of exactly these containers."""
    endpoints = {}
    for name in names:
        (only,) = json.loads(docker("inspect", name))[0]["NetworkSettings"]["Networks"].values()
        endpoints[only["EndpointID"]] = only["IPAddress"]
    async with asyncio.timeout(30):
        while {one.id: one.address for one in await told(store)} != endpoints:
            await asyncio.sleep(0.02)
    assert set(await NetlinkLinks().present()) == {host_name(one) for one in endpoints}
    pools = (await netd.status())["loops"]["addresses"]["pools"]
    assert sum(one["given"] for one in pools.values()) == len(names)
    for address in endpoints.values():
        reach(address)


def reach(address: str) -> None:
    """From the machine."""
    done = subprocess.run(["busybox", "ping", "-c", "1", "-W", "5", address], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


async def networks_are(netd: NetdProcess, names: set[str]) -> None:
    async with asyncio.timeout(30):
        while set((await netd.status())["loops"]["networks"]["present"]) != names:
            await asyncio.sleep(0.02)


async def attachments(store: Store, count: int) -> list[Attachment]:
    """What the store says, once it is so many."""
    async with asyncio.timeout(30):
        while len(found := await told(store)) != count:
            await asyncio.sleep(0.02)
    return found


async def told(store: Store) -> list[Attachment]:
    return [decode(entry.value, Attachment) for entry in (await store.list(STORED)).entries]


def run(docker: Docker, name: str, *options: str, network: str = "online_net") -> str:
    """Start a container that does nothing; returns its address."""
    docker(
        "run", "-d", "--name", name, "--label", "netd", *QUICK, "--network", network, *options, IMAGE, "sleep", "1000"
    )
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
    assert two == "10.200.0.77"
    for name, address in (("one", two), ("two", one), ("one", NODE_ADDRESS)):
        ping(docker, name, address)
    reach(two)
    stored = {found.address: found for found in await attachments(store, 2)}
    first, second = stored[one], stored[two]
    assert (first.app_id, first.labels, first.network) == ("/shop/web", {"tier": "front"}, "online_net")
    assert (second.app_id, second.node) == ("", NODE)
    docker("rm", "-f", "one", "two")
    assert await attachments(store, 0) == []
    assert await NetlinkLinks().present() == []
    assert 'coldchain_netd_addresses{pool="online",state="used"} 0.0' in await netd.metrics()
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


async def test_a_machine_without_docker_is_a_node_and_nothing_else(
    store: Store, etcd: EtcdCluster, uplink: None, tmp_path: Path
) -> None:
    nobody = tmp_path / "docker.sock"
    options = ("--no-containers", "--socket", str(tmp_path / "driver.sock"))
    address = f"etcd://{etcd.addresses}/netd"
    process = NetdProcess(address, "vm-1", f"{NODE_ADDRESS}/24", tmp_path, nobody, *options)
    await process.start()
    async with asyncio.timeout(30):
        while not (await process.status())["loops"]["membership"]["written"]:
            await asyncio.sleep(0.02)
    entry = await store.get("network/node/vm-1")
    assert entry is not None
    wanted = Node(name="vm-1", address=f"{NODE_ADDRESS}/24", interface=UPLINK, containers=False)
    assert decode(entry.value, Node) == wanted
    assert not (tmp_path / "driver.sock").exists()
    assert await process.terminate() == 0


# What is refused


async def refused(netd: NetdProcess, docker: Docker, store: Store, words: str, *command: str) -> None:
    """Docker's user reads these words, and nothing is changed by it."""
    with pytest.raises(AssertionError, match=words):
        docker(*command)
    if command[0] in ("run", "create"):
        docker("rm", "-f", command[command.index("--name") + 1])
    await at_rest(netd, docker, store, {"before"})


async def test_what_cannot_be_is_said_by_docker_and_changes_nothing(
    netd: NetdProcess, docker: Docker, store: Store
) -> None:
    address = run(docker, "before")
    make = ("network", "create", "-d", "coldchain")
    ours = (*make, "--ipam-driver", "coldchain", "--subnet", ONLINE.cidr)
    start = ("run", "-d", "--name", "other", "--label", "netd", "--network")
    for words, command in (
        ("not from the container network.*--ipam-driver coldchain", (*make, "-o", "coldchain.network=online_net", "x")),
        ("10.9.0.0/16 is no pool", (*make, "--ipam-driver", "coldchain", "--subnet", "10.9.0.0/16", "x")),
        ("names no addresses of IPv4", (*make, "--ipam-driver", "coldchain", "x")),
        ("does not say which container network", (*ours, "x")),
        ("has its addresses of IPv4 from pool tiny, not from online", (*ours, "-o", "coldchain.network=tiny_net", "x")),
        ("mtu: no option of a network", (*ours, "-o", "coldchain.network=online_net", "-o", "mtu=9000", "x")),
        ("not for --internal", (*ours, "-o", "coldchain.network=online_net", "--internal", "x")),
        ("coldchain.lable.a: no option", (*start, "name=online_net,driver-opt=coldchain.lable.a=b", IMAGE)),
        ("is taken on this machine", (*start, "online_net", "--ip", address, IMAGE)),
    ):
        await refused(netd, docker, store, words, *command)


async def test_a_second_network_of_ours_is_refused_and_what_to_do_helps(
    netd: NetdProcess, docker: Docker, store: Store
) -> None:
    run(docker, "running")
    with pytest.raises(AssertionError, match=r"in network online_net already.*docker network disconnect second_net"):
        docker("network", "connect", "second_net", "running")
    ping(docker, "running", NODE_ADDRESS)
    with pytest.raises(AssertionError, match="docker network disconnect"):
        docker("restart", "-t", "0", "running")  # Docker has noted the other network all the same
    docker("network", "disconnect", "second_net", "running")
    docker("start", "running")
    docker("create", "--name", "created", "--label", "netd", "--network", "online_net", IMAGE, "sleep", "1000")
    docker("network", "connect", "second_net", "created")
    with pytest.raises(AssertionError, match="docker network disconnect"):
        docker("start", "created")
    docker("network", "disconnect", "second_net", "created")
    docker("start", "created")
    await at_rest(netd, docker, store, {"running", "created"})


async def test_an_exhausted_pool(netd: NetdProcess, docker: Docker, store: Store) -> None:
    run(docker, "one", network="tiny_net")
    run(docker, "two", network="tiny_net")
    with pytest.raises(AssertionError, match=r"Pool tiny \(10.201.0.0/31\) is exhausted"):
        run(docker, "three", network="tiny_net")
    docker("rm", "-f", "three")
    await at_rest(netd, docker, store, {"one", "two"})


async def test_a_network_of_another_driver_is_left_alone_and_said_so(
    netd: NetdProcess, docker: Docker, store: Store
) -> None:
    docker("network", "create", "--internal", "theirs")
    network = ContainerNetwork(name="theirs", pool="online")
    await store.write([Change(key=network_key_of(network), value=encode(network))])
    async with asyncio.timeout(30):
        while not (said := (await netd.status())["loops"]["networks"]["troubles"]):
            await asyncio.sleep(0.02)
    assert said == {"theirs": "Docker has a network of this name by driver bridge, which is left alone"}
    await store.write([Change(key=network_key_of(network), value=None)])
    await networks_are(netd, {one.name for one in NETWORKS})
    assert "theirs" in docker("network", "ls", "--format", "{{.Name}}").split()
    docker("network", "rm", "theirs")


async def test_nobody_speaks_with_the_address_of_another(netd: NetdProcess, docker: Docker) -> None:
    run(docker, "one", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW")
    two, three = run(docker, "two"), run(docker, "three")
    own = address_of(docker, "one")
    docker("exec", "one", "busybox", "ip", "address", "add", f"{three}/32", "dev", "eth0")

    def heard() -> int:
        """How many questions have reached the second one."""
        names, values = (
            line.split() for line in docker("exec", "two", "cat", "/proc/net/snmp").splitlines() if "Icmp: " in line
        )
        return int(values[names.index("InEchos")])

    before = heard()
    docker("exec", "one", "busybox", "ping", "-c", "1", "-W", "5", "-I", own, two)
    assert heard() == before + 1
    with pytest.raises(AssertionError, match="docker exec one busybox ping"):
        docker("exec", "one", "busybox", "ping", "-c", "3", "-W", "1", "-I", three, two)
    assert heard() == before + 1


# When somebody is killed


async def test_netd_is_killed_and_comes_back(netd: NetdProcess, docker: Docker, store: Store) -> None:
    one = run(docker, "one")
    run(docker, "two")
    netd.kill()
    reach(one)
    ping(docker, "two", one)
    starting = asyncio.create_task(asyncio.to_thread(run, docker, "three"))
    removing = asyncio.create_task(asyncio.to_thread(docker, "rm", "-f", "two"))
    await asyncio.sleep(0.5)
    assert not starting.done(), "Docker waits"
    await netd.start()
    await starting
    await removing
    await at_rest(netd, docker, store, {"one", "three"})
    assert await netd.terminate() == 0
    ping(docker, "three", one)
    await netd.start()
    await at_rest(netd, docker, store, {"one", "three"})


async def test_docker_is_killed_and_its_containers_live_on(
    netd: NetdProcess, docker: Docker, docker_engine: DockerDaemon, store: Store
) -> None:
    one = run(docker, "one")
    await asyncio.to_thread(docker_engine.kill)
    reach(one)
    await asyncio.to_thread(docker_engine.start, "--live-restore")
    run(docker, "two")
    ping(docker, "two", one)
    ping(docker, "one", address_of(docker, "two"))
    await at_rest(netd, docker, store, {"one", "two"})
    docker("rm", "-f", "one")
    await at_rest(netd, docker, store, {"two"})


async def test_docker_is_killed_and_its_containers_end(
    netd: NetdProcess, docker: Docker, docker_engine: DockerDaemon, store: Store
) -> None:
    run(docker, "one")
    await asyncio.to_thread(docker_engine.kill)
    await asyncio.to_thread(docker_engine.start)
    await at_rest(netd, docker, store, set())
    docker("start", "one")
    await at_rest(netd, docker, store, {"one"})


async def test_the_store_is_gone_and_back(netd: NetdProcess, docker: Docker, store: Store, etcd: EtcdCluster) -> None:
    run(docker, "one")
    await attachments(store, 1)
    etcd.stop()
    two = run(docker, "two")
    ping(docker, "one", two)
    async with asyncio.timeout(60):
        while not (await netd.status())["loops"]["attachments"]["trouble"]:
            await asyncio.sleep(0.05)
    docker("rm", "-f", "one")
    etcd.start()
    await etcd.ready()
    await at_rest(netd, docker, store, {"two"})


# Many


@pytest.mark.long
async def test_five_hundred_endpoints_leave_nothing_behind(
    netd: NetdProcess, docker: Docker, store: Store, tmp_path: Path
) -> None:
    network = json.loads(docker("network", "inspect", "online_net"))[0]["Id"]
    connector = aiohttp.UnixConnector(str(DRIVER), limit=8)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(call: str, **fields: object) -> dict[str, Any]:
            async with session.post(f"http://driver/{call}", json=fields) as answer:
                said = dict(await answer.json(content_type=None))
                assert answer.status == 200, said
                return said

        async def begin(number: int) -> tuple[str, str]:
            endpoint = f"{number:011x}{0:053x}"
            pool = f"coldchain-local/{ONLINE.cidr}"
            address = str((await ask("IpamDriver.RequestAddress", PoolID=pool, Address="", Options=None))["Address"])
            named = {"NetworkID": network, "EndpointID": endpoint}
            await ask("NetworkDriver.CreateEndpoint", **named, Interface={"Address": address}, Options={})
            await ask("NetworkDriver.Join", **named, SandboxKey=f"/netns/{number}", Options={})
            return endpoint, address

        async def end(endpoint: str, address: str) -> None:
            named = {"NetworkID": network, "EndpointID": endpoint}
            await ask("NetworkDriver.Leave", **named)
            await ask("NetworkDriver.DeleteEndpoint", **named)
            pool = f"coldchain-local/{ONLINE.cidr}"
            await ask("IpamDriver.ReleaseAddress", PoolID=pool, Address=address.partition("/")[0])

        await end(*await begin(0))
        before = netd.descriptors()
        begun = await asyncio.gather(*(begin(number) for number in range(1, 501)))
        assert len({address for _, address in begun}) == 500
        assert len(await NetlinkLinks().present()) == 500
        await attachments(store, 500)
        await asyncio.gather(*(end(*one) for one in begun))
    await at_rest(netd, docker, store, set())
    async with asyncio.timeout(10):
        while netd.descriptors() > before:
            await asyncio.sleep(0.05)
    netd.kill()
    journal = FileJournal(tmp_path / JOURNAL)
    left = await journal.read()
    journal.close()
    assert [name for name in left if name.startswith(ATTACHMENT)] == []
    assert not any(decode(its, KeptAddress).given for name, its in left.items() if name.startswith(ADDRESS))


@pytest.mark.long
async def test_many_containers_come_and_go(netd: NetdProcess, docker: Docker, store: Store) -> None:
    for _ in range(3):
        names = {f"many-{number}" for number in range(8)}
        await asyncio.gather(*(asyncio.to_thread(run, docker, name) for name in sorted(names)))
        await at_rest(netd, docker, store, names)
        await asyncio.gather(*(asyncio.to_thread(docker, "rm", "-f", name) for name in sorted(names)))
    await at_rest(netd, docker, store, set())
