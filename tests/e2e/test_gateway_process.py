"""nginx outlives us: it is started, adopted, reloaded, stopped, killed, and says clearly why it cannot run."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coldchain.gateway import installation
from coldchain.gateway.process import NginxProcess, is_master
from coldchain.gateway.settings import GatewayMemory, GatewaySettings
from coldchain.model.errors import ColdchainError, Rejected, Unavailable
from coldchain.testing.gateway_lab import (
    GatewayLab,
    endpoint,
    lab_settings,
    reachable_directory,
    running_gateway,
    until,
)
from coldchain.testing.raw_application import RawApplication, answers, holds, raw_application
from coldchain.testing.sandbox import inside


@pytest.fixture
async def lab() -> AsyncIterator[GatewayLab]:
    async with running_gateway() as lab:
        yield lab


@pytest.fixture
async def app() -> AsyncIterator[RawApplication]:
    async with raw_application(answers) as application:
        yield application


@pytest.fixture
def directory() -> Iterator[Path]:
    with reachable_directory() as directory:
        yield directory


def open_files(pid: int) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            found.add(os.readlink(descriptor))
    return found


def runs(pid: int) -> bool:
    """A process that has ended may still wait for its parent to notice."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except FileNotFoundError:
        return False


async def test_it_belongs_to_nobody_and_holds_nothing_of_ours(lab: GatewayLab) -> None:
    master = (await lab.state()).master
    assert os.getsid(master) not in (os.getsid(0), 0)
    assert not any(name.startswith("pipe:") for name in open_files(master))
    assert not {name for name in open_files(master) & open_files(os.getpid()) if name != "/dev/null"}
    with open(f"/proc/{master}/environ", "rb") as environment:  # noqa: ASYNC230
        assert b"PYTEST" not in environment.read()


async def test_the_control_socket_is_ours_alone(lab: GatewayLab) -> None:
    assert lab.settings.control_socket.parent.stat().st_mode & 0o777 == 0o700
    if os.geteuid() == 0:
        state = await lab.state()
        assert {os.stat(f"/proc/{worker.pid}").st_uid for worker in state.workers} != {0}


async def test_a_running_one_is_adopted_as_it_is(lab: GatewayLab, app: RawApplication) -> None:
    await lab.route(endpoint("a", app.port))
    before = await lab.state()
    assert await NginxProcess(lab.settings).start_or_adopt() == "adopted"
    after = await lab.state()
    assert (after.master, after.workers, after.applied) == (before.master, before.workers, 1)


async def test_other_settings_reload_it_once_and_lose_nothing(lab: GatewayLab) -> None:
    async with raw_application(holds) as app:
        await lab.route(endpoint("a", app.port))
        pending = asyncio.create_task(lab.ask("POST", data=b"x"))
        await app.arrived.wait()
        before = await lab.state()
        process = NginxProcess(replace(lab.settings, upstream_read_timeout_seconds=7.0))
        assert await process.start_or_adopt() == "reloaded"
        assert await process.start_or_adopt() == "adopted"
        after = await lab.state()
        assert (after.master, after.applied) == (before.master, 1)
        # The request that an old worker has is counted still, and its worker follows the rotation to its end.
        await lab.change(endpoint("a", app.port, 0))
        await lab.in_flight({"a": 1})
        app.released.set()
        assert (await pending).status == 200
        await lab.in_flight({"a": 0})


async def test_another_size_of_memory_empties_it_and_requests_wait_for_the_rotation(lab: GatewayLab) -> None:
    async with raw_application(holds) as slow, raw_application(answers) as app:
        await lab.route(endpoint("slow", slow.port))
        old = asyncio.create_task(lab.ask())
        await slow.arrived.wait()
        process = NginxProcess(replace(lab.settings, memory=GatewayMemory(rotation=2 * 1024 * 1024)))
        assert await process.start_or_adopt() == "reloaded"
        assert (await lab.gateway.report()).applied == 0
        pending = asyncio.create_task(lab.ask())
        await lab.route(endpoint("a", app.port))
        assert (await pending).text == str(app.port)
        # A worker that still has a request of before does not hold up what comes.
        assert not old.done()
        await lab.change(endpoint("a", app.port, 0))
        assert (await lab.gateway.report()).in_flight == {"a": 0}
        slow.released.set()
        assert (await old).status == 200


async def test_a_draining_one_that_is_adopted_serves_again(lab: GatewayLab, app: RawApplication) -> None:
    await lab.route(endpoint("a", app.port))
    await lab.gateway.renew(60)
    await lab.process.drain()
    assert (await lab.state()).draining
    await lab.process.start_or_adopt()
    assert not (await lab.state()).draining
    assert await lab.ready() == 200


async def test_stopping_lets_requests_end_and_leaves_nothing(lab: GatewayLab) -> None:
    async with raw_application(holds) as app:
        await lab.route(endpoint("a", app.port))
        state = await lab.state()
        pending = asyncio.create_task(lab.ask("POST", data=b"x"))
        await app.arrived.wait()
        stopping = asyncio.create_task(lab.process.stop(20))
        done, _ = await asyncio.wait([stopping], timeout=0.3)
        assert not done
        app.released.set()
        answer = await pending
        await stopping
        assert answer.status == 200
    for pid in (state.master, *(worker.pid for worker in state.workers)):
        assert not runs(pid)
    await lab.process.stop(1)  # of one that does not run: nothing happens


async def test_stopping_ends_at_the_deadline(lab: GatewayLab) -> None:
    async with raw_application(holds) as app:
        await lab.route(endpoint("a", app.port))
        master = (await lab.state()).master
        pending = asyncio.create_task(lab.ask())
        await app.arrived.wait()
        await lab.process.stop(0.3)
        assert not is_master(master)
        assert isinstance((await asyncio.gather(pending, return_exceptions=True))[0], Exception)


async def test_after_its_master_was_killed_it_is_replaced(lab: GatewayLab, app: RawApplication) -> None:
    await lab.route(endpoint("a", app.port))
    state = await lab.state()
    os.kill(state.master, signal.SIGKILL)
    assert (await lab.ask()).status == 200  # the workers serve on
    await until(lambda: not is_master(state.master), "the end of the master")
    assert await lab.process.start_or_adopt() == "started"
    assert (await lab.state()).master != state.master


async def test_after_a_kill_of_everything_it_starts_again(lab: GatewayLab) -> None:
    state = await lab.state()
    killed = (state.master, *(worker.pid for worker in state.workers))
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    # A worker holds the addresses until it is gone, which is not the moment in which the signal is sent.
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in killed), "the end of master and workers")
    assert await lab.process.state() is None
    assert lab.settings.control_socket.exists()
    assert await lab.process.start_or_adopt() == "started"


async def refused(settings: GatewaySettings) -> ColdchainError:
    with pytest.raises(Rejected) as caught:
        await NginxProcess(settings).start_or_adopt()
    assert caught.value.todo
    return caught.value


async def test_an_address_in_use_is_named_with_its_holder(directory: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        error = await refused(lab_settings(directory, listen=(address,)))
        assert address in error.message
        assert f"(process {os.getpid()})" in error.message
        error = await refused(lab_settings(directory, status_listen=address))
        assert address in error.message
    assert not (directory / "gateway" / "nginx.pid").exists()


async def test_an_address_of_another_machine_is_named(directory: Path) -> None:
    error = await refused(lab_settings(directory, listen=("192.0.2.1:80",)))
    assert "192.0.2.1:80" in error.message


async def test_a_prefix_that_cannot_be_written_is_named(directory: Path) -> None:
    (directory / "file").touch()
    error = await refused(lab_settings(directory, prefix=directory / "file" / "gateway"))
    assert "cannot write below" in error.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's workers are another user")
async def test_a_prefix_that_workers_cannot_reach_is_named(directory: Path) -> None:
    closed = directory / "closed"
    closed.mkdir(mode=0o700)
    error = await refused(lab_settings(directory, prefix=closed / "gateway"))
    assert f"cannot pass through {closed}" in error.message


@pytest.fixture
def full_disk(directory: Path) -> Iterator[Path]:
    if not inside():
        pytest.skip("mounts are made inside the sandbox only; run this through bin/test")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k,mode=755", "full", directory], check=True)
    try:
        with contextlib.suppress(OSError), (directory / "ballast").open("wb", 0) as ballast:
            while ballast.write(bytes(4096)):
                pass
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


async def test_a_full_disk_is_named(full_disk: Path) -> None:
    error = await refused(lab_settings(full_disk))
    assert "no space is left" in error.message


def test_what_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match=r"nginx is not installed.*apt-get install"):
        installation.find_installation(search=str(tmp_path))
    with pytest.raises(Rejected, match=r"without its Lua module.*apt-get install"):
        installation.find_installation(module_directories=(tmp_path,))


async def test_one_that_runs_but_does_not_answer_is_left_alone(directory: Path) -> None:
    settings = lab_settings(directory)
    await NginxProcess(settings).start_or_adopt()
    state = await NginxProcess(settings).state()
    assert state is not None
    settings.control_socket.unlink()
    try:
        with pytest.raises(Unavailable, match=f"process {state.master}"):
            await NginxProcess(settings).start_or_adopt()
        assert is_master(state.master)
    finally:
        await NginxProcess(settings).stop(1)
    assert not is_master(state.master)
