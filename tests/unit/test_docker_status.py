"""Docker's documents → TaskStatus."""

from typing import Any

import pytest

from coldchain.runners.docker.network import routed_networks
from coldchain.runners.docker.status import of_inspection, of_running_row, seconds
from coldchain.runners.exit_status import describe_exit

LABELS = {
    "coldchain.controller": "main",
    "coldchain.target": "cluster",
    "coldchain.agent": "box",
    "coldchain.instance": "i",
    "coldchain.task": "t",
    "coldchain.app": "/a",
    "coldchain.version": "v",
    "coldchain.ports": "80,81",
}


def inspection(status: str, **state: Any) -> dict[str, Any]:
    return {
        "Config": {"Labels": LABELS},
        "Created": "2026-11-23T10:00:00.123456789Z",
        "HostConfig": {"Memory": 64 * 1024 * 1024, "NetworkMode": "coldchain"},
        "NetworkSettings": {"Networks": {"coldchain": {"IPAddress": "10.201.0.5"}}},
        "State": {
            "Status": status,
            "ExitCode": 0,
            "Error": "",
            "OOMKilled": False,
            "StartedAt": "2026-11-23T10:00:01Z",
            "FinishedAt": "0001-01-01T00:00:00Z",
        }
        | state,
    }


@pytest.mark.parametrize(
    ("document", "killed", "state", "message"),
    [
        (inspection("created"), False, "staging", ""),
        (
            inspection("created", Error="no such program", ExitCode=127),
            False,
            "failed",
            "no such program; exit status 127",
        ),
        (inspection("running"), False, "running", ""),
        (inspection("running"), True, "running", ""),
        (inspection("paused"), False, "running", ""),
        (inspection("exited"), False, "finished", "exit status 0"),
        (inspection("exited"), True, "killed", "exit status 0"),
        (inspection("exited", ExitCode=3), False, "failed", "exit status 3"),
        (inspection("exited", ExitCode=137), False, "failed", "exit status 137 (SIGKILL)"),
        (inspection("exited", ExitCode=143), True, "killed", "exit status 143 (SIGTERM)"),
        (inspection("dead", ExitCode=255), False, "failed", "exit status 255"),
        (
            inspection("exited", ExitCode=137, OOMKilled=True),
            False,
            "failed",
            "out of memory: it needed more than its 64 MiB (`mem`); exit status 137 (SIGKILL)",
        ),
    ],
)
def test_states(document: dict[str, Any], killed: bool, state: str, message: str) -> None:
    status = of_inspection(document, killed=killed)
    assert (status.state, status.message) == (state, message)
    assert (status.exit_status is not None) == status.terminal


def test_times_and_addresses() -> None:
    running = of_inspection(inspection("running"), killed=False)
    assert (running.at, running.address, running.ports) == (seconds("2026-11-23T10:00:01Z"), "10.201.0.5", (80, 81))
    ended = of_inspection(inspection("exited", FinishedAt="2026-11-23T12:00:09.5+02:00"), killed=False)
    assert ended.at == running.at + 8.5
    assert seconds("0001-01-01T00:00:00Z") == 0.0


def test_a_row_of_the_list() -> None:
    row = {
        "Labels": LABELS,
        "Created": 1700000000,
        "HostConfig": {"NetworkMode": "coldchain"},
        "NetworkSettings": {"Networks": {"none": {"IPAddress": ""}, "coldchain": {"IPAddress": "10.201.0.6"}}},
    }
    status = of_running_row(row)
    assert status.host_ports == (), "of a container that was made before there was this label"
    labelled = LABELS | {"coldchain.host-ports": "31005,0"}
    assert of_running_row(row | {"Labels": labelled}).host_ports == (31005, 0)
    assert (status.state, status.at, status.address) == ("running", 1700000000.0, "10.201.0.6")
    assert (
        of_running_row(row | {"Labels": LABELS | {"coldchain.address": "127.0.0.1", "coldchain.ports": ""}}).ports == ()
    )


NETWORKS: list[tuple[str, dict[str, Any], str | None]] = [
    ("online_net", {"a": {"IPAddress": "10.1.0.1"}, "online_net": {"IPAddress": "10.2.0.1"}}, "10.2.0.1"),
    ("online_net", {"a": {"IPAddress": "10.1.0.1"}, "online_net": {"IPAddress": ""}}, None),
    ("online_net", {"a": {"IPAddress": "10.1.0.1"}}, None),
    ("online_net", {"online_net": {"IPAddress": "", "GlobalIPv6Address": "2001:db8::1"}}, "2001:db8::1"),
    ("online_net", {"online_net": {"IPAddress": "10.2.0.1", "GlobalIPv6Address": "2001:db8::1"}}, "10.2.0.1"),
]


@pytest.mark.parametrize(("mode", "networks", "address"), NETWORKS)
def test_its_address_is_that_of_the_network_it_was_made_for(
    mode: str, networks: dict[str, Any], address: str | None
) -> None:
    settings = {"NetworkSettings": {"Networks": networks}, "HostConfig": {"NetworkMode": mode}}
    assert of_running_row({"Labels": LABELS, "Created": 1700000000} | settings).address == address
    assert of_inspection(inspection("running") | settings, killed=False).address == address


def test_exit_statuses_in_words() -> None:
    assert describe_exit(139) == "exit status 139 (SIGSEGV)"
    assert describe_exit(255) == "exit status 255"


def test_routes() -> None:
    table = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert [str(network) for network in routed_networks(table)] == ["192.0.2.0/24"]
