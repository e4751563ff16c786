"""What the docker runner makes of a real Docker Engine, beyond the contract that all engines keep."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coldchain.model.app import Docker, Network, PortDefinition
from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.task import TaskSpec, TaskStatus
from coldchain.runners.docker import DockerRunner, DockerSettings
from coldchain.runners.docker.specification import container_document, container_name
from coldchain.testing.application.image import ensure_image
from coldchain.testing.docker_bench import PATIENCE_SECONDS, Bench


class Doorman:
    """Stands between client and daemon: passes bytes on, and loses the reply to the request it is told of."""

    def __init__(self, daemon: Path, socket: Path) -> None:
        self.socket = socket
        self.loses = b""
        self.lost = 0
        self._daemon = daemon
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "Doorman":
        self._server = await asyncio.start_unix_server(self._serve, self.socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """End every connection, as a daemon does that is restarted."""
        for writer in self._open:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_unix_connection(self._daemon)
        self._open |= {writer, upstream_writer}
        losing = False

        async def there() -> None:
            nonlocal losing
            while data := await reader.read(65536):
                losing = losing or bool(self.loses and self.loses in data.split(b"\r\n")[0])
                upstream_writer.write(data)
            upstream_writer.write_eof()

        async def back() -> None:
            while data := await upstream_reader.read(65536):
                if losing:
                    self.lost += 1
                    self.loses = b""
                    break
                writer.write(data)

        going = asyncio.create_task(there())
        await back()
        going.cancel()
        for each in (writer, upstream_writer):
            each.close()
            self._open.discard(each)


@pytest.fixture
async def bench(docker_daemon: Path) -> AsyncIterator[Bench]:
    await ensure_image(str(docker_daemon))
    bench = Bench(docker_daemon)
    yield bench
    await bench.close()


MakeSpec = Callable[..., TaskSpec]


@pytest.fixture
def make_spec(bench: Bench) -> MakeSpec:
    return bench.spec


async def until(runner: DockerRunner, spec: TaskSpec, wanted: Callable[[TaskStatus], bool]) -> TaskStatus:
    """The first status of the task that is as wanted: listed, or told after the listing."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        updates = runner.updates()
        for status in await runner.tasks():
            if status.task_id == spec.task_id and wanted(status):
                return status
        async for status in updates:
            if status.task_id == spec.task_id and wanted(status):
                return status
    raise AssertionError


async def answers(url: str) -> int:
    """Status of a GET, asked until somebody listens."""
    async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url) as response:
                    return response.status
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.01)


async def test_limits_and_labels_as_the_daemon_sees_them(bench: Bench, make_spec: MakeSpec) -> None:
    spec = make_spec(("ulimit", "nofile=100:200"), ("tmpfs", "/scratch:size=1m"))
    runner = bench.runner()
    await runner.launch(spec)
    found = await bench.inspect(spec)
    host_config = found["HostConfig"]
    assert (host_config["Memory"], host_config["MemorySwap"]) == (32 * 2**20, 32 * 2**20)
    assert (host_config["CpuShares"], host_config["PidsLimit"]) == (102, 4096)
    assert host_config["SecurityOpt"] == ["no-new-privileges"]
    assert host_config["RestartPolicy"]["Name"] == "no"
    assert host_config["Ulimits"] == [{"Name": "nofile", "Hard": 200, "Soft": 100}]
    assert found["Config"]["Labels"]["coldchain.instance"] == spec.instance_id


async def test_the_environment_and_command_reach_the_task(bench: Bench, make_spec: MakeSpec) -> None:
    spec = make_spec(("env", "EXTRA=1"), cmd='echo "$HOST $PORT0 $MARATHON_APP_ID $EXTRA $MINE"', env={"MINE": "a b"})
    runner = bench.runner()
    await runner.launch(spec)
    await until(runner, spec, lambda status: status.terminal)
    output = b"".join([piece async for piece in runner.logs(spec.task_id, follow=False, tail=None)])
    assert output == b"agent-1 8080 /app 1 a b\n"


async def test_a_task_is_reached_at_its_own_address(bench: Bench, make_spec: MakeSpec) -> None:
    runner, spec = bench.runner(), make_spec()
    await runner.launch(spec)
    status = await until(runner, spec, lambda status: status.state == "running")
    assert await answers(f"http://{status.address}:{status.ports[0]}/") == 200


async def test_a_published_port_is_reached_on_loopback(
    bench: Bench, make_spec: MakeSpec, free_port: Callable[[], int]
) -> None:
    port = free_port()
    runner = bench.runner()
    await runner.launch(make_spec(host_ports=(port,)))
    assert await answers(f"http://127.0.0.1:{port}/") == 200


async def test_host_network(bench: Bench, make_spec: MakeSpec, free_port: Callable[[], int]) -> None:
    port = free_port()
    spec = make_spec(
        mappings=(),
        host_ports=(port,),
        networks=(Network(mode="host"),),
        port_definitions=(PortDefinition(port=port),),
        env={},
    )
    runner = bench.runner()
    await runner.launch(spec)
    status = await until(runner, spec, lambda status: status.state == "running")
    assert (status.address, status.ports) == ("127.0.0.1", (port,))
    assert await answers(f"http://127.0.0.1:{port}/") == 200


async def test_named_network(bench: Bench, make_spec: MakeSpec) -> None:
    name = f"named-{uuid.uuid4().hex[:8]}"
    runner, spec = bench.runner(), make_spec(networks=(Network(mode="container", name=name),))
    with pytest.raises(Rejected, match=f"{name} not found.*docker network create {name}"):
        await runner.launch(spec)
    assert await runner.tasks() == []
    subnet = "10.199.7.0/24"
    await bench.client.create_network({"Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}})
    await runner.launch(spec)
    status = await until(runner, spec, lambda status: status.state == "running")
    assert status.address is not None
    assert status.address.startswith("10.199.7.")


async def test_its_network_is_made_again_when_somebody_removes_it(bench: Bench, make_spec: MakeSpec) -> None:
    name = f"own-{uuid.uuid4().hex[:8]}"
    runner = bench.runner(network=name, subnet="10.198.0.0/24")
    assert await runner.subnet() == "10.198.0.0/24"
    await bench.client._call("DELETE", f"/networks/{name}")
    spec = make_spec()
    await runner.launch(spec)
    status = await until(runner, spec, lambda status: status.state == "running")
    assert status.address is not None
    assert status.address.startswith("10.198.0.")
    other = bench.runner(network=name)
    assert await other.subnet() == "10.198.0.0/24"


@pytest.mark.parametrize(
    ("parameters", "changes", "reason"),
    [
        ([], {"args": ("/bin/nothing",)}, "(no such file or directory|not found).*Correct `cmd` or `args`"),
        ([("sysctl", "no.such=1")], {}, "sysctl"),
        ([("user", "nobody-here")], {}, "nobody-here"),
        ([("volum", "/a:/b")], {}, "did you mean 'volume'"),
        ([("memory-reservation", "1g")], {}, "(?i)memory"),
        ([], {"mem": 1}, "(?i)minimum memory.*Give more `mem`"),
        ([], {"docker": Docker(image="coldchain/nothing:1")}, "(?i)no such image.*Pull, load or build"),
    ],
)
async def test_what_cannot_start_is_rejected_with_dockers_reason_and_leaves_nothing(
    bench: Bench, make_spec: MakeSpec, parameters: list[tuple[str, str]], changes: dict[str, Any], reason: str
) -> None:
    runner = bench.runner()
    with pytest.raises(Rejected, match=reason):
        await runner.launch(make_spec(*parameters, **changes))
    assert await runner.tasks() == []


async def test_a_taken_host_port_is_rejected(bench: Bench, make_spec: MakeSpec, free_port: Callable[[], int]) -> None:
    port = free_port()
    runner = bench.runner()
    await runner.launch(make_spec(host_ports=(port,)))
    with pytest.raises(Rejected, match=rf"{port}.*port is already allocated.*hostPort"):
        await runner.launch(make_spec(host_ports=(port,)))
    assert len(await runner.tasks()) == 1


async def test_out_of_memory_is_told(bench: Bench, make_spec: MakeSpec) -> None:
    runner = bench.runner()
    spec = make_spec(cmd="x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done", mem=16)
    await runner.launch(spec)
    status = await until(runner, spec, lambda status: status.terminal)
    assert status.state == "failed"
    assert status.message.startswith("out of memory: it needed more than its 16 MiB")


async def test_removed_by_someone_else(bench: Bench, make_spec: MakeSpec) -> None:
    runner, spec = bench.runner(), make_spec()
    updates = runner.updates()
    await runner.launch(spec)
    await bench.client.remove_container(container_name(spec.task_id), force=True)
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for status in updates:
            if status.terminal:
                break
    assert (status.state, status.exit_status) == ("failed", 137)
    assert await runner.tasks() == []


async def test_only_its_own_containers_are_seen_and_touched(bench: Bench, make_spec: MakeSpec) -> None:
    runner, stranger, spec = bench.runner(), bench.runner(controller="stranger"), make_spec()
    await runner.launch(spec)
    assert await stranger.tasks() == []
    await stranger.kill(spec.task_id, 0.0)
    await stranger.forget(spec.task_id)
    with pytest.raises(Rejected, match="already in use"):
        await stranger.launch(spec)
    (status,) = await runner.tasks()
    assert status.state == "running"


@pytest.mark.parametrize("request_line", [b"/containers/create", b"/start"])
async def test_a_lost_reply_is_safe_to_repeat(
    bench: Bench, make_spec: MakeSpec, tmp_path: Path, request_line: bytes
) -> None:
    async with Doorman(bench.socket, tmp_path / "door.sock") as doorman:
        runner, spec = bench.runner(socket=doorman.socket), make_spec()
        await runner.tasks()
        doorman.loses = request_line
        with pytest.raises(Unavailable):
            await runner.launch(spec)
        assert doorman.lost == 1
        await runner.launch(spec)
        (status,) = await runner.tasks()
        assert status.state == "running"


async def test_what_an_earlier_try_left_behind_and_cannot_start_is_made_anew(bench: Bench, make_spec: MakeSpec) -> None:
    runner, spec = bench.runner(), make_spec()
    document = container_document(spec, bench.controller, DockerSettings()) | {"Cmd": ["/bin/nothing"]}
    await runner.subnet()
    left_behind = await bench.client.create_container(container_name(spec.task_id), document)
    await runner.launch(spec)
    (status,) = await runner.tasks()
    assert status.state == "running"
    assert (await bench.inspect(spec))["Id"] != left_behind


async def test_killed_before_it_was_started(bench: Bench, make_spec: MakeSpec, tmp_path: Path) -> None:
    async with Doorman(bench.socket, tmp_path / "door.sock") as doorman:
        runner, spec = bench.runner(socket=doorman.socket), make_spec()
        updates = runner.updates()
        await runner.tasks()
        doorman.loses = b"/containers/create"
        with pytest.raises(Unavailable):
            await runner.launch(spec)
        (status,) = await runner.tasks()
        assert status.state == "staging"
        await runner.forget(spec.task_id)
        assert len(await runner.tasks()) == 1
        await runner.kill(spec.task_id, 5.0)
        async with asyncio.timeout(PATIENCE_SECONDS):
            seen = []
            async for status in updates:
                seen.append(status.state)
                if status.terminal:
                    break
        assert seen == ["staging", "killed"]
        assert await runner.tasks() == []


async def test_following_begins_before_the_start(bench: Bench, make_spec: MakeSpec) -> None:
    runner, spec = bench.runner(), make_spec(cmd="echo first; echo second >&2")
    document = container_document(spec, bench.controller, DockerSettings())
    await runner.subnet()
    await bench.client.create_container(container_name(spec.task_id), document)

    async def read() -> bytes:
        return b"".join([piece async for piece in runner.logs(spec.task_id, follow=True, tail=None)])

    reading = asyncio.create_task(read())
    await runner.launch(spec)
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert sorted((await reading).splitlines()) == [b"first", b"second"]


async def test_a_kill_waits_for_the_launch_under_way(bench: Bench, make_spec: MakeSpec) -> None:
    runner, spec = bench.runner(), make_spec()
    launching = asyncio.create_task(runner.launch(spec))
    await asyncio.sleep(0)
    await runner.kill(spec.task_id, 5.0)
    await launching
    # The daemon answers the stop before its listing shows it.
    assert (await until(runner, spec, lambda status: status.state != "running")).state == "killed"


async def test_who_gives_up_waiting_leaves_no_half_start(bench: Bench, make_spec: MakeSpec) -> None:
    runner, spec = bench.runner(), make_spec()
    launching = asyncio.create_task(runner.launch(spec))
    await asyncio.sleep(0)
    launching.cancel()
    await asyncio.gather(launching, return_exceptions=True)
    assert (await until(runner, spec, lambda status: status.state == "running")).task_id == spec.task_id


async def test_updates_end_when_the_daemon_goes(bench: Bench, make_spec: MakeSpec, tmp_path: Path) -> None:
    async with Doorman(bench.socket, tmp_path / "door.sock") as doorman:
        runner, spec = bench.runner(socket=doorman.socket), make_spec(cmd="exit 0")
        updates = runner.updates()
        await runner.launch(spec)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await anext(updates)).task_id == spec.task_id
            doorman.cut()
            with pytest.raises(Unavailable):
                [status async for status in updates]
            (known,) = await runner.tasks()
            assert known.task_id == spec.task_id
