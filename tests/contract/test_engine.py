"""The contract of `ports.engine.Engine` (and so of `ports.runner.Runner`), for the fake, for local with Docker and with
processes, and for each of them through HTTP."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, suppress
from pathlib import Path

import msgspec
import pytest

from coldchain.clients.docker import DockerClient
from coldchain.control.clock import SystemClock
from coldchain.engines.local import LocalEngine, LocalEngineSettings
from coldchain.model.errors import NotFound, Rejected, Unavailable
from coldchain.model.task import TaskSpec, TaskStatus
from coldchain.ports.engine import Engine
from coldchain.ports.session import Session, Stream, TerminalSize
from coldchain.probes.beside import open_socket
from coldchain.runners.docker import DockerRunner, DockerSettings
from coldchain.testing.application.image import ensure_image
from coldchain.testing.engine_labs import (
    COMMANDS,
    SERVES,
    DockerLab,
    FakeLab,
    Lab,
    ProcessLab,
    RemoteEngine,
    RemoteLab,
    make_spec,
)
from coldchain.testing.fake_engine import FakeEngine
from coldchain.testing.mesos_engine_lab import Cluster, MesosLabOfEngine
from coldchain.testing.ports import free_port

PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def cluster(docker_daemon: Path) -> Iterator[Cluster]:
    """One for all tests: engines come and go, Mesos and the executor stay."""
    cluster = Cluster(str(docker_daemon))
    yield cluster
    cluster.close()


@pytest.fixture(params=["fake", "docker", "process", "remote fake", "remote docker", "remote process", "mesos"])
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    kind = request.param.removeprefix("remote ")
    if kind == "fake":
        lab: Lab = FakeLab()
    elif kind == "process":
        lab = ProcessLab()
    elif kind == "mesos":
        lab = MesosLabOfEngine(request.getfixturevalue("cluster"))
        await lab.start()
    else:
        daemon = str(request.getfixturevalue("docker_daemon"))
        await ensure_image(daemon)
        lab = DockerLab(daemon)
    if kind != request.param:
        lab = RemoteLab(lab)
        await lab.start()
    yield lab
    await lab.close()


def behind(lab: Lab) -> Lab:
    """The lab itself, or the one that it reaches through HTTP."""
    return lab.behind if isinstance(lab, RemoteLab) else lab


@pytest.fixture
def engine(lab: Lab) -> Engine:
    return lab.engine


@pytest.fixture
def contained(lab: Lab) -> None:
    """For what only containers have: images, and addresses of their own."""
    if isinstance(behind(lab), ProcessLab | MesosLabOfEngine):
        pytest.skip("a process has neither image nor address of its own")


class Watch:
    """Collects updates in the background."""

    def __init__(self, engine: Engine) -> None:
        self.seen: list[TaskStatus] = []
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._collect(engine.updates()))

    async def _collect(self, updates: AsyncIterator[TaskStatus]) -> None:
        async for status in updates:
            self.seen.append(status)
            self._news.set()

    async def until(self, task_id: str, wanted: Callable[[TaskStatus], bool]) -> TaskStatus:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                for status in self.seen:
                    if status.task_id == task_id and wanted(status):
                        return status
                self._news.clear()
                await self._news.wait()

    async def until_state(self, task_id: str, state: str) -> TaskStatus:
        return await self.until(task_id, lambda status: status.state == state)

    async def close(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


@pytest.fixture
async def watch(engine: Engine) -> AsyncIterator[Watch]:
    watch = Watch(engine)
    yield watch
    await watch.close()


async def listed(engine: Engine, task_id: str) -> TaskStatus | None:
    found = [status for status in await engine.tasks() if status.task_id == task_id]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.usefixtures("contained")
async def test_offers_the_capacity_of_the_target(engine: Engine) -> None:
    (offer,) = await engine.offers()
    assert offer.target == engine.target == "cluster"
    assert offer.agent == "agent-1"
    assert offer.cpus > 0
    assert offer.mem > 0
    assert offer.port_ranges
    assert offer.subnet is not None


@pytest.mark.usefixtures("contained")
async def test_prepare_resolves_the_image_once(engine: Engine) -> None:
    app = make_spec(SERVES).app
    told: list[str] = []
    image = await engine.prepare(app, None, told.append)
    assert image is not None
    assert image.startswith("sha256:")
    assert await engine.prepare(app, image, told.append) == image
    assert any("coldchain/shop:v1" in line for line in told)


@pytest.mark.usefixtures("contained")
async def test_a_task_runs_and_is_reported(engine: Engine, watch: Watch) -> None:
    (offer,) = await engine.offers()
    assert offer.subnet is not None
    address = offer.subnet.rsplit(".", 2)[0] + ".3.7"
    spec = make_spec(SERVES, address=address, host_ports=(0, free_port()))
    await engine.launch(spec)
    running = await watch.until_state(spec.task_id, "running")
    for status in (running, await listed(engine, spec.task_id)):
        assert status is not None
        assert (status.task_id, status.instance_id, status.app_id) == (spec.task_id, spec.instance_id, spec.app_id)
        assert (status.target, status.agent, status.state) == ("cluster", "agent-1", "running")
        assert (status.address, status.ports) == (address, (8080, 9090))
        assert status.host_ports == spec.host_ports
        assert abs(status.at - time.time()) < 60


async def test_a_task_is_reported_with_its_ports(engine: Engine, watch: Watch) -> None:
    spec = make_spec(SERVES)
    await engine.launch(spec)
    running = await watch.until_state(spec.task_id, "running")
    for status in (running, await listed(engine, spec.task_id)):
        assert status is not None
        assert (status.task_id, status.instance_id, status.app_id) == (spec.task_id, spec.instance_id, spec.app_id)
        assert (status.target, status.agent, status.state) == ("cluster", "agent-1", "running")
        assert status.ports == (8080, 9090)
        assert abs(status.at - time.time()) < 60


async def test_an_address_is_given_when_none_is_wanted(engine: Engine, watch: Watch) -> None:
    spec = make_spec(SERVES)
    await engine.launch(spec)
    running = await watch.until_state(spec.task_id, "running")
    assert running.address
    known = await listed(engine, spec.task_id)
    assert known is not None
    assert known.address == running.address


async def test_launching_twice_starts_once(engine: Engine, watch: Watch) -> None:
    spec = make_spec(SERVES)
    await asyncio.gather(engine.launch(spec), engine.launch(spec))
    await watch.until_state(spec.task_id, "running")
    await engine.launch(spec)
    assert await listed(engine, spec.task_id) is not None


async def test_launching_an_ended_task_does_not_start_it_again(engine: Engine, watch: Watch) -> None:
    spec = make_spec("finishes")
    await engine.launch(spec)
    ended = await watch.until(spec.task_id, lambda status: status.terminal)
    await engine.launch(spec)
    known = await listed(engine, spec.task_id)
    assert known is not None
    assert (ended.state, ended.exit_status) == (known.state, known.exit_status) == ("finished", 0)


async def test_a_failed_task_tells_its_exit_status_and_last_words(engine: Engine, watch: Watch) -> None:
    spec = make_spec("fails")
    await engine.launch(spec)
    failed = await watch.until(spec.task_id, lambda status: status.terminal)
    for status in (failed, await listed(engine, spec.task_id)):
        assert status is not None
        assert (status.state, status.exit_status) == ("failed", 3)
        assert "3" in status.message
        assert status.log_tail == ("one", "two")


async def test_a_launch_that_cannot_be_is_rejected_with_the_reason_and_leaves_nothing(engine: Engine) -> None:
    spec = make_spec("cannot")
    with pytest.raises(Rejected, match="v404"):
        await engine.launch(spec)
    assert await listed(engine, spec.task_id) is None


@pytest.mark.usefixtures("contained")
async def test_an_address_in_use_is_rejected(engine: Engine, watch: Watch) -> None:
    (offer,) = await engine.offers()
    assert offer.subnet is not None
    address = offer.subnet.rsplit(".", 2)[0] + ".3.8"
    first, second = make_spec(SERVES, address=address), make_spec(SERVES, address=address)
    await engine.launch(first)
    with pytest.raises(Rejected, match="in use"):
        await engine.launch(second)
    assert await listed(engine, second.task_id) is None


async def test_killed_within_the_grace(engine: Engine, watch: Watch) -> None:
    spec = make_spec(SERVES)
    await engine.launch(spec)
    await watch.until_state(spec.task_id, "running")
    await begun(engine, spec.task_id)
    began = time.monotonic()
    await asyncio.gather(engine.kill(spec.task_id, 20.0), engine.kill(spec.task_id, 20.0))
    killed = await watch.until(spec.task_id, lambda status: status.terminal)
    assert killed.state == "killed"
    assert time.monotonic() - began < 15.0
    known = await listed(engine, spec.task_id)
    assert known is not None
    assert known.state == "killed"


async def test_killed_by_force_after_the_grace(engine: Engine, watch: Watch) -> None:
    spec = make_spec("ignores")
    await engine.launch(spec)
    await watch.until_state(spec.task_id, "running")
    await begun(engine, spec.task_id)
    await engine.kill(spec.task_id, 1.0)
    killed = await watch.until(spec.task_id, lambda status: status.terminal)
    assert (killed.state, killed.exit_status) == ("killed", 137)


async def test_a_shorter_grace_wins(engine: Engine, watch: Watch) -> None:
    spec = make_spec("ignores")
    await engine.launch(spec)
    await begun(engine, spec.task_id)
    patient = asyncio.create_task(engine.kill(spec.task_id, 60.0))
    await engine.kill(spec.task_id, 0.0)
    assert (await watch.until(spec.task_id, lambda status: status.terminal)).state == "killed"
    await patient


async def begun(engine: Engine, task_id: str) -> None:
    """Wait for the task's first word: from then on it knows what to do on SIGTERM."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        output = engine.logs(task_id, follow=True, tail=None)
        async with aclosing(output) as pieces:  # type: ignore[type-var]
            assert await anext(pieces)


async def test_unknown_tasks_are_left_alone(engine: Engine) -> None:
    await engine.kill("contract_app.unknown", 1.0)
    await engine.forget("contract_app.unknown")
    with pytest.raises(NotFound):
        [piece async for piece in engine.logs("contract_app.unknown", follow=False, tail=None)]


async def test_forgotten_when_ended_and_only_then(engine: Engine, watch: Watch) -> None:
    spec = make_spec(SERVES)
    await engine.launch(spec)
    await watch.until_state(spec.task_id, "running")
    await begun(engine, spec.task_id)
    await engine.forget(spec.task_id)
    assert await listed(engine, spec.task_id) is not None
    await engine.kill(spec.task_id, 5.0)
    await watch.until_state(spec.task_id, "killed")
    await engine.forget(spec.task_id)
    assert await listed(engine, spec.task_id) is None
    await engine.forget(spec.task_id)
    last = [status.state for status in watch.seen if status.task_id == spec.task_id][-1]
    assert last == "killed"


async def test_logs_whole_and_tail(lab: Lab, engine: Engine, watch: Watch) -> None:
    spec = make_spec("fails")
    await engine.launch(spec)
    ended = await watch.until(spec.task_id, lambda status: status.terminal)
    for follow in (False, True):
        if follow and isinstance(behind(lab), FakeLab):
            continue
        whole = b"".join([piece async for piece in engine.logs(spec.task_id, follow=follow, tail=None)])
        assert whole == b"one\ntwo\n"
    tail = b"".join([piece async for piece in engine.logs(spec.task_id, follow=False, tail=1)])
    assert tail == b"two\n"
    for since, written in ((ended.at - 60, b"one\ntwo\n"), (ended.at + 1, b"")):
        newer = engine.logs(spec.task_id, follow=False, tail=None, since=since)
        assert b"".join([piece async for piece in newer]) == written


@pytest.mark.parametrize("command", COMMANDS)
async def test_commands_beside_a_task(engine: Engine, watch: Watch, command: str) -> None:
    spec = make_spec(SERVES)
    await engine.launch(spec)
    await watch.until_state(spec.task_id, "running")
    wanted = COMMANDS[command]
    timeout_seconds = 2.0 if wanted.exit_status is None else PATIENCE_SECONDS
    began = time.monotonic()
    assert await engine.execute(spec.task_id, command, timeout_seconds) == wanted
    assert time.monotonic() - began < PATIENCE_SECONDS


async def test_no_command_beside_a_task_that_does_not_run(engine: Engine, watch: Watch) -> None:
    spec = make_spec("finishes")
    await engine.launch(spec)
    await watch.until(spec.task_id, lambda status: status.terminal)
    for task_id in (spec.task_id, "contract_app.unknown"):
        with pytest.raises(NotFound):
            await engine.execute(task_id, "echo fine", 5.0)


async def test_the_network_of_a_task_can_be_entered_or_is_ours(engine: Engine, watch: Watch) -> None:
    spec = make_spec(SERVES)
    await engine.launch(spec)
    await watch.until_state(spec.task_id, "running")
    namespace = await engine.network_namespace(spec.task_id)
    if namespace is not None:
        (await open_socket(namespace, socket.AF_INET)).close()
    await engine.kill(spec.task_id, 0.0)
    await watch.until_state(spec.task_id, "killed")
    with pytest.raises(NotFound):
        await engine.network_namespace(spec.task_id)


async def test_each_task_tells_what_it_uses_by_itself(lab: Lab, engine: Engine, watch: Watch) -> None:
    idle, busy = make_spec(SERVES), make_spec("computes")
    with pytest.raises(NotFound):
        await engine.statistics(idle.task_id)
    for spec in (idle, busy):
        if spec is busy and isinstance(behind(lab), ProcessLab):
            spec = msgspec.structs.replace(spec, host_ports=(8081, 9091))
        await engine.launch(spec)
        await watch.until_state(spec.task_id, "running")
        await begun(engine, spec.task_id)
    used = await engine.statistics(busy.task_id)
    assert used.task_id == busy.task_id
    assert abs(used.at - time.time()) < 60
    if isinstance(behind(lab), FakeLab):
        return
    assert 100_000 < used.memory_bytes < 32 * 1024 * 1024
    assert used.processes >= 1
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await engine.statistics(busy.task_id)).cpu_seconds < used.cpu_seconds + 0.3:
            await asyncio.sleep(0.1)
    assert (await engine.statistics(idle.task_id)).cpu_seconds < 0.3
    await engine.kill(busy.task_id, 0.0)
    await watch.until_state(busy.task_id, "killed")
    with pytest.raises(NotFound):
        await engine.statistics(busy.task_id)


async def test_what_runs_is_adopted_after_a_restart(lab: Lab, watch: Watch) -> None:
    serving, failed, killed = make_spec(SERVES), make_spec("fails"), make_spec(SERVES)
    for spec in (serving, failed, killed):
        await lab.engine.launch(spec)
    await watch.until_state(serving.task_id, "running")
    await begun(lab.engine, killed.task_id)
    await lab.engine.kill(killed.task_id, 5.0)
    await watch.until(failed.task_id, lambda status: status.terminal)
    await watch.until(killed.task_id, lambda status: status.terminal)
    before = {status.task_id: status for status in await lab.engine.tasks()}
    await watch.close()
    engine = await lab.restarted()
    after = {status.task_id: status for status in await engine.tasks()}
    assert after == before
    assert {after[spec.task_id].state for spec in (serving,)} == {"running"}
    assert after[killed.task_id].state == "killed"
    assert after[failed.task_id].state == "failed"
    await engine.launch(serving)
    assert await engine.tasks() == list(before.values())


async def test_updates_begin_with_the_call_and_not_with_the_iteration(engine: Engine) -> None:
    updates = engine.updates()
    spec = make_spec("finishes")
    await engine.launch(spec)
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with aclosing(updates) as stream:  # type: ignore[type-var]
            async for status in stream:
                if status.task_id == spec.task_id and status.terminal:
                    return


async def told(session: Session) -> tuple[bytes, bytes, int]:
    """What it writes until it ends, to each stream, and its exit status."""
    written: dict[Stream, bytes] = {"output": b"", "error": b""}
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for stream, piece in session.output():
            written[stream] += piece
        status = await session.exit_status()
    await session.close()
    return written["output"], written["error"], status


async def test_a_command_beside_a_task(engine: Engine, watch: Watch) -> None:
    spec = make_spec(SERVES)
    with pytest.raises(NotFound):
        await engine.open_session(spec.task_id, ["echo"], None)
    await engine.launch(spec)
    await watch.until_state(spec.task_id, "running")
    assert await told(await engine.open_session(spec.task_id, ["echo", "one two"], None)) == (b"one two\n", b"", 0)
    assert await told(await engine.open_session(spec.task_id, ["sh", "-c", "exit 7"], None)) == (b"", b"", 7)
    session = await engine.open_session(spec.task_id, ["cat"], None)
    await session.write(b"given ")
    await session.write(b"back")
    await session.end_input()
    assert await told(session) == (b"given back", b"", 0)


async def test_a_command_with_a_terminal_knows_its_size(engine: Engine, watch: Watch) -> None:
    spec = make_spec(SERVES)
    await engine.launch(spec)
    await watch.until_state(spec.task_id, "running")
    command = ["busybox", "stty", "size"]
    said: tuple[bytes, bytes, int] | None = None
    async with asyncio.timeout(PATIENCE_SECONDS):
        while said != (b"33 91\r\n", b"", 0):  # the Docker Engine sets the size of what runs, and stty is quick
            said = await told(await engine.open_session(spec.task_id, command, TerminalSize(columns=91, rows=33)))


async def test_a_program_that_is_not_there(engine: Engine, watch: Watch) -> None:
    spec = make_spec(SERVES)
    await engine.launch(spec)
    await watch.until_state(spec.task_id, "running")
    *_, status = await told(await engine.open_session(spec.task_id, ["no-such-program"], None))
    assert status in (126, 127)


def gone_fake(folder: Path) -> Engine:
    fake = FakeEngine(SystemClock())
    fake.available = False
    return fake


def gone_docker(folder: Path) -> Engine:
    runner = DockerRunner(DockerClient(folder / "no.sock"), "nobody", "agent-1", DockerSettings())
    return LocalEngine("agent-1", {"docker": runner}, LocalEngineSettings(), subnet=runner.subnet)


def gone_remote(folder: Path) -> Engine:
    return RemoteEngine(f"http://127.0.0.1:{free_port()}", "token")


CALLS: dict[str, Callable[[Engine, TaskSpec], Awaitable[object]]] = {
    "tasks": lambda engine, spec: engine.tasks(),
    "offers": lambda engine, spec: engine.offers(),
    "launch": lambda engine, spec: engine.launch(spec),
    "kill": lambda engine, spec: engine.kill(spec.task_id, 1.0),
    "forget": lambda engine, spec: engine.forget(spec.task_id),
    "prepare": lambda engine, spec: engine.prepare(spec.app, None, lambda _: None),
    "updates": lambda engine, spec: anext(engine.updates()),
    "open_session": lambda engine, spec: engine.open_session(spec.task_id, ["echo"], None),
    "statistics": lambda engine, spec: engine.statistics(spec.task_id),
    "execute": lambda engine, spec: engine.execute(spec.task_id, "true", 1.0),
    "logs": lambda engine, spec: anext(engine.logs(spec.task_id, follow=False, tail=None)),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("make", [gone_fake, gone_docker, gone_remote])
async def test_an_engine_that_is_gone_is_unknown_and_not_empty(
    make: Callable[[Path], Engine], call: str, tmp_path: Path
) -> None:
    engine = make(tmp_path)
    with pytest.raises(Unavailable):
        await CALLS[call](engine, make_spec(SERVES))
    await engine.close()
