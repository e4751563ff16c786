"""What netd is started with, what starts it, and what it tells of itself."""

import pytest

from coldchain.documents.metrics import render
from coldchain.main.netd_settings import NetdSettings
from coldchain.main.netd_status import metrics
from coldchain.main.netd_unit import unit
from coldchain.model.errors import InvalidDocument
from coldchain.model.kept_address import AddressStatus, PoolStanding
from coldchain.network.driver import Calls


@pytest.mark.parametrize("address", ["", "10.10.3.5", "10.10.3.5/32", "10.10.3.5/33", "node-1/24"])
def test_the_address_has_the_length_of_its_segment(address: str) -> None:
    with pytest.raises(InvalidDocument, match="--address"):
        NetdSettings(store="etcd://a:1", address=address).check()


@pytest.mark.parametrize("address6", ["10.10.3.5/24", "fd00::1", "fd00::1/128"])
def test_that_of_ipv6_as_well(address6: str) -> None:
    with pytest.raises(InvalidDocument, match="--address6"):
        NetdSettings(store="etcd://a:1", address="10.10.3.5/24", address6=address6).check()


def test_settings_that_are_right() -> None:
    NetdSettings(store="etcd://a:1", address="10.10.3.5/24", address6="fd00:3::5/64").check()


def test_systemd_starts_it_before_docker_and_ends_it_alone() -> None:
    lines = unit("/usr/bin/python3 -m coldchain netd --node 50%").splitlines()
    assert "Before=docker.service" in lines
    assert "Type=notify" in lines
    assert "KillMode=process" in lines
    assert "ExecStart=/usr/bin/python3 -m coldchain netd --node 50%%" in lines


def test_metrics() -> None:
    calls = {"NetworkDriver.Join": Calls(answered=2, refused=1, seconds=0.5)}
    status = AddressStatus(pools={"online": PoolStanding(given=3, reserve=29, resting=1)})
    text = render(metrics(calls, status))
    assert 'coldchain_netd_calls_total{call="NetworkDriver.Join",outcome="refused"} 1.0' in text
    assert 'coldchain_netd_call_seconds_total{call="NetworkDriver.Join"} 0.5' in text
    for state, number in (("used", 3), ("free", 29), ("resting", 1)):
        assert f'coldchain_netd_addresses{{pool="online",state="{state}"}} {number}.0' in text
