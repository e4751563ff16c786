"""The doctor finds what is missing on a machine, says what to do, and finds nothing where all is well."""

from dataclasses import replace
from typing import Any

import pytest

from coldchain.main.doctor import Finding, findings
from coldchain.main.machine import Disk, Machine, Member, Port

API = Port(name="API", option="--api", address="127.0.0.1:8080", error=None)
GATEWAY = Port(name="gateway", option="--gateway", address="0.0.0.0:80", error=None)
DATA = Disk(folder="/data", free_mib=5000, total_mib=9000, writable=True)
DOCKER: dict[str, Any] = {"ServerVersion": "20.10.24+dfsg1", "MemoryLimit": True, "DockerRootDir": "/docker"}
WELL = Machine(
    system="Linux 6.1",
    python=(3, 11),
    user=0,
    docker_socket="/run/docker.sock",
    docker=DOCKER,
    docker_error="",
    nginx="nginx/1.22.1",
    nginx_error="",
    lua_missing=(),
    firewall_missing=(),
    ports=(API, GATEWAY),
    platform_runs=False,
    disks=(DATA, Disk(folder="/docker", free_mib=5000, total_mib=9000, writable=False)),
    cgroups=2,
    controllers=frozenset({"cpu", "memory", "pids"}),
    descriptors=1048576,
    now=1_800_000_000.0,
    clock_synchronised=True,
)


def test_nothing_is_missing_where_all_is_well() -> None:
    found = findings(WELL)
    assert {one.state for one in found} == {"ok"}
    assert {one.todo for one in found} == {""}
    assert len(found) == 13


def bad(found: list[Finding]) -> list[Finding]:
    return [one for one in found if one.state != "ok"]


def changed(**fields: object) -> Machine:
    return replace(WELL, **fields)  # type: ignore[arg-type]


TAKEN = replace(API, error="Address already in use")
CASES: list[tuple[Machine, str, str, str]] = [
    (changed(system="Darwin 24"), "system", "missing", "Run the platform on Linux"),
    (changed(user=1000), "user", "warning", "as root"),
    (changed(docker=None, docker_error="there is no socket /x"), "docker", "missing", "apt-get install docker.io"),
    (changed(docker=None, docker_error="Permission denied"), "docker", "missing", "adduser"),
    (changed(docker=None, docker_error="Connection refused"), "docker", "missing", "systemctl start docker"),
    (changed(docker=DOCKER | {"ServerVersion": "19.03.1"}), "docker", "missing", "20.10"),
    (changed(docker=DOCKER | {"MemoryLimit": False}), "docker limits", "warning", "docker info"),
    (changed(nginx=None, nginx_error="nginx is not installed"), "nginx", "missing", "libnginx-mod-http-lua"),
    (changed(lua_missing=("lua-cjson",)), "nginx's Lua", "missing", "lua-cjson"),
    (changed(firewall_missing=("modsecurity-crs",)), "firewall", "warning", "apt-get install modsecurity-crs"),
    (changed(ports=(TAKEN,)), "port 127.0.0.1:8080", "missing", "--api"),
    (changed(ports=(replace(GATEWAY, error="Permission denied"),)), "port 0.0.0.0:80", "missing", "from 1024 on"),
    (changed(disks=(replace(DATA, free_mib=10),)), "disk /data", "warning", "Make room"),
    (changed(disks=(replace(DATA, writable=False),)), "disk /data", "missing", "--data"),
    (changed(cgroups=None, controllers=frozenset()), "cgroups", "warning", "cgroup_enable=memory"),
    (changed(cgroups=1, controllers=frozenset({"cpu", "pids"})), "cgroups", "warning", "cgroup_enable=memory"),
    (changed(descriptors=1024), "open files", "warning", "ulimit"),
    (changed(now=86400.0), "clock", "missing", "timesyncd"),
    (changed(clock_synchronised=False), "clock", "warning", "timesyncd"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1]}: {case[3]}")
def test_each_thing_is_found_with_what_to_do(case: tuple[Machine, str, str, str]) -> None:
    machine, name, state, todo = case
    [one] = bad(findings(machine))
    assert (one.name, one.state) == (name, state)
    assert todo in one.todo


def test_ports_of_the_platform_itself_are_as_they_should_be() -> None:
    found = findings(changed(ports=(TAKEN,), platform_runs=True))
    assert bad(found) == []
    assert "the platform that runs here" in next(one.found for one in found if one.name.startswith("port"))


def test_what_nobody_knows_is_not_held_against_the_clock_and_the_limits() -> None:
    assert bad(findings(changed(clock_synchronised=None, descriptors=-1))) == []


A, B, C = (Member(endpoint=f"10.0.0.{number}:2379") for number in (1, 2, 3))
AWAY = "etcd does not answer"


def test_a_member_of_etcd_that_is_away_is_a_warning_while_more_than_half_are_there() -> None:
    [one] = bad(findings(changed(members=(A, replace(B, error=AWAY), C))))
    assert one == Finding("etcd 10.0.0.2:2379", "warning", AWAY, "Look at this member and at the network between.")


def test_without_more_than_half_of_its_members_etcd_keeps_no_state() -> None:
    found = bad(findings(changed(members=(A, replace(B, error=AWAY)))))
    assert [(one.name, one.state) for one in found] == [("etcd 10.0.0.2:2379", "missing")]


def test_a_member_that_would_refuse_writes_is_never_well() -> None:
    refuses = replace(C, error="etcd does not take 512 changes", todo="Start it with --max-txn-ops.", refused=True)
    [one] = bad(findings(changed(members=(A, B, refuses))))
    assert (one.state, one.todo) == ("missing", "Start it with --max-txn-ops.")
