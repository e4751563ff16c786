"""`coldchain gateway doctor` finds what is wrong with a gateway, says what to do, and is content where all is well."""

from dataclasses import replace

import pytest

from coldchain.gateway.control_socket import GatewayState, SharedMemory, WorkerState
from coldchain.main.doctor import Finding
from coldchain.main.gateway_doctor import findings
from coldchain.main.gateway_machine import Certificate, ControllerAnswer, GatewayMachine
from coldchain.main.machine import Disk, Port

NOW = 1_800_000_000.0
DAY = 86_400.0
STATE = GatewayState(
    configuration="c",
    master=1,
    applied=7,
    head=7,
    workers_wanted=2,
    workers=(WorkerState(pid=2, applied=7), WorkerState(pid=3, applied=7)),
    in_flight={},
    lease_seconds=4.0,
    draining=False,
    connections=1,
)
LISTEN = Port(name="gateway", option="--listen", address="0.0.0.0:80", error="Address already in use")
ROTATION = SharedMemory(name="coldchain_rotation", bytes=1000 * 1024, free=900 * 1024)
CONTROLLER = ControllerAnswer(address="https://a:8080", role="operator", ahead_seconds=0.3)
WELL = GatewayMachine(
    user=0,
    nginx="nginx/1.22.1",
    nginx_error="",
    lua_missing=(),
    firewall_missing=(),
    ports=(LISTEN,),
    disks=(Disk(folder="/data", free_mib=5000, total_mib=9000, writable=True),),
    descriptors=1048576,
    now=NOW,
    clock_synchronised=True,
    state=STATE,
    memory=(ROTATION,),
    certificates=(Certificate(name="shop", ends_at=NOW + 60 * DAY),),
    controllers=(CONTROLLER,),
)


def changed(**fields: object) -> GatewayMachine:
    return replace(WELL, **fields)  # type: ignore[arg-type]


def state(**fields: object) -> GatewayMachine:
    known = {name: getattr(STATE, name) for name in STATE.__struct_fields__}
    return changed(state=GatewayState(**(known | fields)))


def memory(name: str, free: int) -> GatewayMachine:
    return changed(memory=(SharedMemory(name=name, bytes=1000 * 1024, free=free * 1024),))


def controller(**fields: object) -> GatewayMachine:
    return changed(controllers=(replace(CONTROLLER, **fields),))  # type: ignore[arg-type]


def certificate(days: float | None) -> GatewayMachine:
    return changed(certificates=(Certificate(name="shop", ends_at=None if days is None else NOW + days * DAY),))


def bad(found: list[Finding]) -> list[Finding]:
    return [one for one in found if one.state != "ok"]


def test_nothing_is_wrong_where_all_is_well() -> None:
    found = findings(WELL)
    assert (bad(found), {one.todo for one in found}) == ([], {""})
    assert bad(findings(changed(controllers=()))) == []


CASES: list[tuple[GatewayMachine, str, str, str]] = [
    (changed(user=1000), "user", "warning", "the user of the gateway"),
    (changed(nginx=None, nginx_error="not installed"), "nginx", "missing", "libnginx-mod-http-lua"),
    (changed(lua_missing=("lua-cjson",)), "nginx's Lua", "missing", "lua-cjson"),
    (changed(firewall_missing=("modsecurity-crs",)), "firewall", "warning", "apt-get install modsecurity-crs"),
    (changed(descriptors=1024), "open files", "warning", "ulimit"),
    (state(head=8), "gateway", "missing", "logs/error.log"),
    (state(workers_wanted=4), "gateway", "warning", "its master is gone"),
    (state(lease_seconds=0.0), "lease", "missing", "a controller answers it"),
    (state(draining=True), "lease", "warning", ""),
    (memory("coldchain_rotation", 100), "memory rotation", "warning", "--memory rotation=MIB"),
    (memory("coldchain_control", 0), "memory control", "warning", "--memory control=MIB"),
    (memory("coldchain_nonces", 0), "memory nonces", "warning", "--memory nonces=MIB"),
    (memory("coldchain_open", 0), "memory open", "warning", "open requests"),
    (certificate(10), "certificate shop", "warning", "coldchain certificate set"),
    (certificate(-1), "certificate shop", "missing", "coldchain certificate set"),
    (certificate(None), "certificate shop", "warning", "coldchain certificate set"),
    (controller(error="refused"), "controller https://a:8080", "warning", "--authority"),
    (controller(error="401", refused=True), "controller https://a:8080", "missing", "--token-file"),
    (controller(role="viewer"), "controller https://a:8080", "missing", "role operator"),
    (controller(ahead_seconds=-2.5), "clock", "warning", "timesyncd"),
    (changed(clock_synchronised=False), "clock", "warning", "timesyncd"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1]}: {case[3]}")
def test_each_thing_is_found_with_what_to_do(case: tuple[GatewayMachine, str, str, str]) -> None:
    machine, name, wanted, todo = case
    [one] = bad(findings(machine))
    assert (one.name, one.state) == (name, wanted)
    assert todo in one.todo


def test_what_drops_what_is_old_may_be_full() -> None:
    for name in ("coldchain_limits", "coldchain_traffic", "coldchain_tallies"):
        assert bad(findings(memory(name, 0))) == []


def test_before_one_runs_its_ports_must_be_free() -> None:
    nothing = changed(state=None, memory=(), certificates=())
    assert [(one.name, one.state) for one in bad(findings(nothing))] == [
        ("port 0.0.0.0:80", "missing"),
        ("gateway", "warning"),
    ]
    free = replace(nothing, ports=(replace(LISTEN, error=None),), state_error="no answer in 5 s")
    assert [(one.name, one.state, one.found) for one in bad(findings(free))] == [
        ("gateway", "missing", "no answer in 5 s")
    ]
