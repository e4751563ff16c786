"""`coldchain network doctor` on a machine: what it says of a real kernel, a real Docker Engine and a real etcd."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from coldchain.documents import keys
from coldchain.documents.stored import encode
from coldchain.model.node import Node
from coldchain.model.pool import Block
from coldchain.ports.store import Change
from coldchain.store.etcd import EtcdStore
from coldchain.testing.etcd import etcd_cluster

LINK = "cn98bf0123456"
NODE = {"name": "a", "address": "10.10.3.5/24", "interface": "eth0"}
SET_UP = f"""
ip link add eth0 type veth peer name wire
ip link set eth0 up
ip address add 10.10.3.5/24 dev eth0
ip link add {LINK} type veth peer name ct98bf0123456
ip link set {LINK} up
ip route add 10.200.0.7/32 dev {LINK}
ip route add blackhole 10.200.0.0/26
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0
sysctl -qw net.ipv4.conf.{LINK}.rp_filter=1 net.ipv4.conf.{LINK}.forwarding=1
"""
BIRD = """
log stderr all;
router id 10.10.3.5;
protocol device {}
protocol bgp mesh_b {
  local 10.10.3.5 as 64512;
  neighbor 10.10.3.6 as 64512;
  ipv4 { import none; export none; };
}
"""


@pytest.fixture
async def netd(tmp_path: Path) -> AsyncIterator[Path]:
    """The folder of a netd that answers: itself at `netd.sock`, Docker at `driver.sock`."""
    status = {"version": "1.0", "node": NODE, "loops": {"addresses": {"trouble": ""}, "networks": {"troubles": {}}}}

    async def answer(request: web.Request) -> web.Response:
        implements = {"Implements": ["NetworkDriver", "IpamDriver"]}
        return web.json_response(status if request.path == "/status" else implements)

    application = web.Application()
    application.router.add_route("*", "/{call}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    for name in ("netd", "driver"):
        await web.UnixSite(runner, str(tmp_path / f"{name}.sock")).start()
    yield tmp_path
    await runner.cleanup()


async def examined(folder: Path, docker: Path, *options: str, set_up: str | None = None) -> dict[str, dict[str, Any]]:
    """What the doctor finds, by name; with `set_up` in a network of its own that this makes."""
    doctor = [sys.executable, "-m", "coldchain", "network", "doctor", "--json", f"--docker={docker}", *options]
    doctor += [f"--state-directory={folder}", f"--socket={folder}/driver.sock"]
    if set_up is not None:
        doctor = ["unshare", "--net", "sh", "-ec", f'{set_up}exec "$@"', "sh", *doctor]
    done = await asyncio.to_thread(subprocess.run, doctor, capture_output=True, text=True, check=False)
    said = json.loads(done.stdout or "null")
    assert said is not None, done.stderr
    assert done.returncode == int(not said["ready"])
    return {one["name"]: one for one in said["findings"]}


def states(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Of what is not well, but for what this machine lacks in all tests."""
    besides = ("BIRD", "clock", "docker live-restore")
    return {name: one["state"] for name, one in found.items() if one["state"] != "ok" and name not in besides}


async def test_nothing_is_wrong_with_a_machine_that_is_well(netd: Path, docker_daemon: Path) -> None:
    found = await examined(netd, docker_daemon, set_up=SET_UP)
    assert states(found) == {}
    assert {"netd", "netd addresses", "driver", "docker", "sysctls", "FORWARD", "links"} <= found.keys()
    assert found["links"]["found"] == "1 of containers"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            # The kernel then turns it off for each link as well.
            "sysctl -qw net.ipv4.ip_forward=0",
            {"net.ipv4.ip_forward": "missing", f"net.ipv4.conf.{LINK}.forwarding": "missing"},
        ),
        (f"sysctl -qw net.ipv4.conf.{LINK}.rp_filter=0", {f"net.ipv4.conf.{LINK}.rp_filter": "missing"}),
        ("iptables -P FORWARD DROP", {"FORWARD": "missing"}),
        (
            "iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -A DOCKER-USER -i cn+ -j ACCEPT;"
            " iptables -A DOCKER-USER -o cn+ -j ACCEPT",
            {},
        ),
        (f"ip link set {LINK} mtu 1400", {LINK: "warning"}),
        ("ip link set eth0 mtu 1400", {LINK: "missing"}),
        (f"ip route del 10.200.0.7/32 dev {LINK}", {LINK: "missing"}),
    ],
)
async def test_what_is_wrong_in_the_kernel_is_found(
    netd: Path, docker_daemon: Path, change: str, expected: dict[str, str]
) -> None:
    assert states(await examined(netd, docker_daemon, set_up=f"{SET_UP}{change}\n")) == expected


async def test_a_session_of_bird_that_does_not_stand_is_found(netd: Path, docker_daemon: Path) -> None:
    folder = netd / "bird"
    folder.mkdir()
    (folder / "bird.conf").write_text(BIRD)
    start = f"""{SET_UP}
setpriv --pdeathsig KILL bird -f -c {folder}/bird.conf -s {folder}/bird.ctl -P {folder}/bird.pid &
until [ -S {folder}/bird.ctl ]; do sleep 0.02; done
"""
    found = await examined(netd, docker_daemon, set_up=start)
    assert "BIRD" not in found, "it answers"
    assert found["BIRD mesh_b"]["state"] == "missing"
    assert found["BIRD mesh_b"]["found"].split()[0] in ("Idle", "Connect", "Active", "OpenSent")
    assert found["BIRD mesh_b"]["todo"]


async def test_where_nothing_runs_that_is_said(tmp_path: Path) -> None:
    found = await examined(tmp_path, tmp_path / "docker.sock", set_up="\n")
    assert {name for name in ("netd", "driver", "docker", "BIRD") if found[name]["state"] == "missing"} == {
        "netd",
        "driver",
        "docker",
        "BIRD",
    }
    assert all(one["todo"] for one in found.values() if one["state"] != "ok")


async def test_the_store_knows_which_routes_are_missing(netd: Path, docker_daemon: Path) -> None:
    with etcd_cluster() as etcd:
        await etcd.ready()
        store = EtcdStore(etcd.client(), "coldchain")
        records = (
            Node(name="a", address="10.10.3.5/24"),
            Node(name="b", address="10.10.3.6/24"),
            Block(pool="main", cidr="10.200.0.64/26", node="b"),
        )
        await store.write([Change(key=keys.network_key_of(one), value=encode(one)) for one in records])
        await store.close()
        address = etcd.members[0].url.replace("http://", "etcd://")
        found = await examined(netd, docker_daemon, f"--store={address}")
        assert found["routes"]["found"] == "no route to 10.200.0.64/26 of node b"
        assert "differs" not in found["clock"]["found"]
    found = await examined(netd, docker_daemon, f"--store={address}")
    assert found["store"]["state"] == "warning"
