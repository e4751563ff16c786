"""Options, marks and fixtures that all layers share.

Layers are folders: unit (no clock, no server), sim (a simulated loop), contract (one suite for each port, on the fake
and on every real adapter), compat (other people's programs), e2e (the whole platform, and the sandbox itself).
"""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coldchain.testing.sandbox import DockerDaemon, inside


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also the tests marked long")
    parser.addoption("--schedules", type=int, default=100, metavar="N", help="fault schedules of each simulation")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes more than ten seconds; runs with --long only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="long; runs with --long"))


@pytest.fixture(scope="session")
def schedules(pytestconfig: pytest.Config) -> int:
    """How many fault schedules each simulation runs."""
    number: int = pytestconfig.getoption("--schedules")
    return number


@pytest.fixture(scope="session")
def docker_daemon() -> Iterator[Path]:
    """The socket of a Docker Engine of the sandbox's own, started when first asked for, one for the whole run."""
    if not inside():
        pytest.fail("Docker is used inside the sandbox only; run this through bin/test", pytrace=False)
    with DockerDaemon() as daemon:
        yield daemon.socket


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives a TCP port of 127.0.0.1 that was free a moment ago."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    return find
