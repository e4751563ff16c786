"""Options, marks and fixtures that all layers share.

Layers are folders: unit (no clock, no server), sim (a simulated loop), contract (one suite for each port, on the fake
and on every real adapter), compat (other people's programs), e2e (the whole platform, and the sandbox itself).
"""

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coldchain.testing import ports
from coldchain.testing.sandbox import DockerDaemon, inside
from coldchain.testing.simulation.coverage import Coverage
from coldchain.testing.simulation.faults import FAULTS

SCHEDULES_TO_JUDGE = 10_000
"""With fewer of them a kind of fault may miss a transition by chance."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also the tests marked long")
    parser.addoption("--schedules", type=int, default=200, metavar="N", help="fault schedules of the simulation")
    parser.addoption("--seed", type=int, metavar="S", help="the first of them; a new one each time if not given")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes more than ten seconds; runs with --long only")
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(SimulationReport(config), "simulation")
    # All processes of a run start from one number; children inherit it.
    given = config.getoption("--seed")
    first = os.environ.get("COLDCHAIN_SEED") or secrets.randbelow(10**9)
    os.environ["COLDCHAIN_SEED"] = str(first if given is None else given)


def pytest_report_header() -> str:
    """What repeats the fault schedules of this run."""
    return f"simulation: --seed {os.environ['COLDCHAIN_SEED']} at commit {commit() or 'unknown'}"


def commit() -> str:
    """Of the checkout; empty without git, or where there is none."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""


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
def covered(pytestconfig: pytest.Config) -> Coverage:
    """What the schedules of this process struck; `SimulationReport` adds up those of all."""
    report: SimulationReport = pytestconfig.pluginmanager.getplugin("simulation")  # type: ignore[assignment]
    return report.coverage


class SimulationReport:
    """After many schedules: the table of what struck where; what never struck and could have fails the run."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.coverage = Coverage()

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(self.config, "workeroutput", None)
        if output is not None:
            output["simulation"] = self.coverage.dump()
        elif self._enough() and self.coverage.missing(FAULTS, self.config.getoption("--schedules")):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for report in terminalreporter.stats.get("passed", ()):
            for name, words in report.user_properties:
                terminalreporter.write_line(f"{name} {words}"[:200])
        if self._enough():
            number = self.config.getoption("--schedules")
            terminalreporter.write_line(self.coverage.table(FAULTS, number))
            for line in self.coverage.missing(FAULTS, number):
                terminalreporter.write_line(f"MISSING {line}")

    def pytest_testnodedown(self, node: object, error: object) -> None:
        self.coverage.take(getattr(node, "workeroutput", {}).get("simulation", Coverage().dump()))

    def _enough(self) -> bool:
        return bool(self.coverage.strikes) and self.config.getoption("--schedules") >= SCHEDULES_TO_JUDGE


@pytest.fixture(scope="session")
def first_seed() -> int:
    """The seed of the first schedule, as `--seed` says."""
    return int(os.environ["COLDCHAIN_SEED"])


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[DockerDaemon]:
    """A Docker Engine of the sandbox's own, started when first asked for, one for the whole run."""
    if not inside():
        pytest.fail("Docker is used inside the sandbox only; run this through bin/test", pytrace=False)
    with DockerDaemon() as daemon:
        yield daemon


@pytest.fixture(scope="session")
def docker_daemon(docker_engine: DockerDaemon) -> Path:
    """The socket of that Docker Engine."""
    return docker_engine.socket


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives a TCP port of 127.0.0.1 that nobody else is given."""
    return ports.free_port
