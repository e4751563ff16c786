"""The contract of `ports.network.RoutingDaemon`: the fake, and BIRD."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from coldchain.decisions.routing import route_plan
from coldchain.model.errors import NotFound, Rejected, Unavailable
from coldchain.model.node import Node, Routing
from coldchain.network.bird.process import Bird
from coldchain.network.bird.render import render
from coldchain.ports.network import RoutingDaemon
from coldchain.testing.fake_routing_daemon import FakeRoutingDaemon

TEXTS = sorted((Path(__file__).parent.parent / "unit" / "bird").glob("*.conf"))
ME = Node(name="one", address="10.77.0.1/24")


class Lab:
    """`kill` ends the daemon as a signal does; `starts` tells how often it was started."""

    def __init__(self, daemon: RoutingDaemon, kill: Callable[[], None], log_file: Path) -> None:
        self.daemon = daemon
        self.kill = kill
        self._log_file = log_file

    def configuration(self, *others: str) -> str:
        """With sessions to nodes of these names."""
        nodes = [Node(name=name, address=f"10.77.0.{number}/24") for number, name in enumerate(others, 2)]
        return render(route_plan(ME, nodes, [], [], Routing()), {}, self._log_file)


@pytest.fixture(params=["fake", "bird"])
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    if request.param == "fake":
        fake = FakeRoutingDaemon()
        yield Lab(fake, fake.kill, tmp_path / "bird.log")
        return
    bird = Bird(tmp_path / "bird")
    yield Lab(bird, lambda: os.kill(process_of(tmp_path), signal.SIGKILL), bird.log_file)
    await bird.stop()


def process_of(folder: Path) -> int:
    return int((folder / "bird" / "bird.pid").read_text())


async def test_it_is_started_and_has_the_sessions_of_its_configuration(lab: Lab) -> None:
    await lab.daemon.apply(lab.configuration("two", "three.x-y"))
    sessions = await lab.daemon.sessions()
    assert set(sessions) == {"node4-two", "node4-three.x-y"}
    assert "Established" not in sessions.values()


async def test_another_configuration_takes_the_place_of_the_one_before(lab: Lab) -> None:
    await lab.daemon.apply(lab.configuration("two"))
    await lab.daemon.apply(lab.configuration("two", "three"))
    assert set(await lab.daemon.sessions()) == {"node4-two", "node4-three"}
    await lab.daemon.apply(lab.configuration())
    assert await lab.daemon.sessions() == {}


async def test_what_it_refuses_changes_nothing(lab: Lab) -> None:
    await lab.daemon.apply(lab.configuration("two"))
    with pytest.raises(Rejected, match="BIRD refuses its configuration"):
        await lab.daemon.apply(lab.configuration("three") + "protocol bgp {\n")
    assert set(await lab.daemon.sessions()) == {"node4-two"}


async def test_while_it_does_not_run_nobody_knows_of_sessions(lab: Lab) -> None:
    with pytest.raises(Unavailable, match="BIRD does not answer"):
        await lab.daemon.sessions()
    await lab.daemon.ended()


async def test_its_end_is_noticed_and_it_is_started_again(lab: Lab) -> None:
    await lab.daemon.apply(lab.configuration("two"))
    ended = asyncio.ensure_future(lab.daemon.ended())
    await asyncio.wait([ended], timeout=0)
    assert not ended.done()
    lab.kill()
    await ended
    with pytest.raises(Unavailable):
        await lab.daemon.sessions()
    await lab.daemon.apply(lab.configuration("two"))
    assert set(await lab.daemon.sessions()) == {"node4-two"}


async def test_it_is_started_by_its_last_configuration_but_not_once_it_was_stopped(lab: Lab) -> None:
    await lab.daemon.resume()
    await lab.daemon.ended()
    await lab.daemon.apply(lab.configuration("two"))
    await lab.daemon.resume()
    lab.kill()
    await lab.daemon.ended()
    await lab.daemon.resume()
    assert set(await lab.daemon.sessions()) == {"node4-two"}
    await lab.daemon.stop()
    await lab.daemon.resume()
    await lab.daemon.ended()


async def test_whom_it_hears_is_known_and_what_a_session_brought_is_withdrawn(lab: Lab) -> None:
    with pytest.raises(Unavailable):
        await lab.daemon.heard()
    await lab.daemon.apply(lab.configuration("two"))
    assert True not in (await lab.daemon.heard()).values()
    await lab.daemon.withdraw("node4-two")
    assert set(await lab.daemon.sessions()) == {"node4-two"}
    with pytest.raises(NotFound, match="no session 'node4-none'"):
        await lab.daemon.withdraw("node4-none")


async def test_stopped_it_does_not_run_and_may_be_stopped_again(lab: Lab) -> None:
    await lab.daemon.stop()
    await lab.daemon.apply(lab.configuration("two"))
    await lab.daemon.stop()
    await lab.daemon.ended()
    await lab.daemon.stop()
    with pytest.raises(Unavailable):
        await lab.daemon.sessions()


async def test_a_configuration_does_not_start_bird_a_second_time(tmp_path: Path) -> None:
    bird = Bird(tmp_path / "bird")
    lab = Lab(bird, lambda: None, bird.log_file)
    await bird.apply(lab.configuration("two"))
    process = process_of(tmp_path)
    await Bird(tmp_path / "bird").apply(lab.configuration("three"))
    assert process_of(tmp_path) == process
    assert set(await bird.sessions()) == {"node4-three"}
    await bird.stop()


async def test_a_number_that_is_used_again_is_not_taken_for_bird(tmp_path: Path) -> None:
    bird = Bird(tmp_path / "bird")
    (tmp_path / "bird").mkdir()
    (tmp_path / "bird" / "bird.pid").write_text(f"{os.getpid()}\n")
    await bird.ended()
    await bird.stop()
    await bird.apply(Lab(bird, lambda: None, bird.log_file).configuration("two"))
    assert process_of(tmp_path) != os.getpid()
    await bird.stop()


async def test_nobody_else_reads_the_configuration(tmp_path: Path) -> None:
    bird = Bird(tmp_path / "bird")
    await bird.apply(Lab(bird, lambda: None, bird.log_file).configuration("two"))
    assert (tmp_path / "bird" / "bird.conf").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "bird").stat().st_mode & 0o777 == 0o700
    await bird.stop()


async def test_a_machine_without_bird_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *arguments, **options: None)
    with pytest.raises(Rejected, match="Install the package bird2"):
        await Bird(tmp_path / "bird").apply("")


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.stem)
def test_bird_takes_all_that_is_rendered(text: Path, tmp_path: Path) -> None:
    program = shutil.which("bird", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None
    file = tmp_path / "bird.conf"
    file.write_text(text.read_text().replace("/var/lib/coldchain-netd/bird", str(tmp_path)))
    done = subprocess.run([program, "-p", "-c", str(file)], capture_output=True, text=True)
    # BIRD of 2.16 on says so of a password; those before do not know the option by which it is chosen.
    said = [line for line in (done.stdout + done.stderr).splitlines() if not line.endswith("assuming MD5")]
    assert (done.returncode, said) == (0, [])
