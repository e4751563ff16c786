"""Options, marks and fixtures that all layers share.

Layers are folders: unit (no clock, no server), sim (a simulated loop), contract (one suite for each port, on the fake
and on every real adapter), compat (other people's programs), e2e (the whole platform, and the sandbox itself).
"""

import os
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from coldchain.testing import ports
from coldchain.testing.consul_agent import ConsulAgent, consul_agent
from coldchain.testing.sandbox import DockerDaemon, inside
from coldchain.testing.simulation.coverage import Coverage
from coldchain.testing.simulation.mesos.faults import MESOS_FAULTS, UNJUDGED

SCHEDULES = 120
MESOS_SCHEDULES = 32
"""Where nobody says how many."""
SCHEDULES_TO_JUDGE = 10_000
"""With fewer of them a kind of fault may miss a transition by chance."""
TEARDOWN_SECONDS = 180.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also the tests marked long")
    parser.addoption("--schedules", type=int, metavar="N", help="fault schedules of each simulation")
    parser.addoption("--seed", type=int, metavar="S", help="the first of them; a new one each time if not given")


def pytest_configure(config: pytest.Config) -> None:
    # How long an example takes says nothing on a machine that others use as well.
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")
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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """pytest-timeout takes its alarm back once a test has failed, so that what takes it down could hang for ever."""
    if signal.getitimer(signal.ITIMER_REAL)[0]:
        return (yield)

    def fail(_number: int, _frame: object) -> None:
        pytest.fail(f"what takes the failed test down has not ended in {TEARDOWN_SECONDS:.0f} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, TEARDOWN_SECONDS)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def shared_consul() -> Iterator[ConsulAgent]:
    """A real Consul that nothing happens to. Who registers there takes it away again."""
    with consul_agent() as agent:
        yield agent


@pytest.fixture(scope="session")
def schedules(pytestconfig: pytest.Config) -> int:
    """How many fault schedules the simulation runs."""
    return pytestconfig.getoption("--schedules") or SCHEDULES


@pytest.fixture(scope="session")
def mesos_schedules(pytestconfig: pytest.Config) -> int:
    """How many lives on a cluster of Mesos are simulated."""
    return pytestconfig.getoption("--schedules") or MESOS_SCHEDULES


@pytest.fixture(scope="session")
def covered(pytestconfig: pytest.Config) -> Coverage:
    """What the schedules of this process struck; `SimulationReport` adds up those of all."""
    report: SimulationReport = pytestconfig.pluginmanager.getplugin("simulation")  # type: ignore[assignment]
    return report.coverages["simulation"]


@pytest.fixture(scope="session")
def covered_of_mesos(pytestconfig: pytest.Config) -> Coverage:
    """As `covered`, of the lives on a cluster of Mesos."""
    report: SimulationReport = pytestconfig.pluginmanager.getplugin("simulation")  # type: ignore[assignment]
    return report.coverages["mesos"]


class SimulationReport:
    """After many schedules: the table of what struck where; what never struck and could have fails the run."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.coverages = {"simulation": Coverage(), "mesos": Coverage(MESOS_FAULTS, UNJUDGED)}

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(self.config, "workeroutput", None)
        if output is not None:
            output.update((name, one.dump()) for name, one in self.coverages.items())
        elif any(one.missing(self._number) for one in self._enough()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for report in terminalreporter.stats.get("passed", ()):
            for name, words in report.user_properties:
                terminalreporter.write_line(f"{name} {words}"[:200])
        for coverage in self._enough():
            terminalreporter.write_line(coverage.table(self._number))
            for line in coverage.missing(self._number):
                terminalreporter.write_line(f"MISSING {line}")

    def pytest_testnodedown(self, node: object, error: object) -> None:
        for name, coverage in self.coverages.items():
            coverage.take(getattr(node, "workeroutput", {}).get(name, Coverage().dump()))

    @property
    def _number(self) -> int:
        return self.config.getoption("--schedules") or SCHEDULES

    def _enough(self) -> list[Coverage]:
        return [one for one in self.coverages.values() if one.strikes and self._number >= SCHEDULES_TO_JUDGE]


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
