"""What the demo of the network holds the machines to, without machines."""

import pytest

from coldchain.testing.demo.network import address_of, next_hop
from coldchain.testing.driven import StepFailed
from coldchain.testing.network_lab import callers

NETSTAT = """Active Internet connections (w/o servers)
Proto Recv-Q Send-Q Local Address           Foreign Address         State
tcp        0      0 10.200.0.7:8080         10.10.7.13:41234        ESTABLISHED
tcp        0      0 10.200.0.7:8080         10.10.7.11:41234        TIME_WAIT
tcp        0      0 10.200.0.7:40000        10.10.7.12:8080         ESTABLISHED
"""


def test_the_longest_route_decides_and_none_is_none() -> None:
    routes = {"10.200.0.0/26": "machine-1", "10.200.0.9/32": "machine-2"}
    assert next_hop(routes, "10.200.0.8") == "machine-1"
    assert next_hop(routes, "10.200.0.9") == "machine-2"
    assert next_hop({"10.200.0.0/26": "machine-1", "10.200.0.9": "machine-2"}, "10.200.0.9") == "machine-2"
    assert next_hop(routes, "10.200.0.64") == ""


def test_callers_are_those_who_hold_a_connection_with_the_port_here() -> None:
    assert callers(NETSTAT, 8080) == {"10.10.7.13"}
    assert callers(NETSTAT, 80) == set()


@pytest.mark.parametrize("addresses", [[], ["10.200.0.7", "10.200.0.8"]])
def test_a_task_has_one_address(addresses: list[str]) -> None:
    assert address_of({"id": "t", "ipAddresses": [{"ipAddress": "10.200.0.7"}]}) == "10.200.0.7"
    with pytest.raises(StepFailed):
        address_of({"id": "t", "ipAddresses": [{"ipAddress": one} for one in addresses]})
