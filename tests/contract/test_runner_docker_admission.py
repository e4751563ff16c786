"""What admission promises of containers and volumes, on a real Docker Engine."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal

import aiohttp
import pytest

from coldchain.model.app import Volume
from coldchain.model.errors import Rejected
from coldchain.model.task import TaskSpec
from coldchain.runners.docker import DockerSettings
from coldchain.testing.application.image import ensure_image
from coldchain.testing.docker_bench import PATIENCE_SECONDS, Bench


def with_volume(bench: Bench, folder: Path, mode: Literal["RO", "RW"] = "RO") -> TaskSpec:
    """A task that tries to write where the folder is mounted, and then reads there and goes on."""
    volume = Volume(container_path="/inside", host_path=str(folder), mode=mode)
    return bench.spec(volumes=(volume,), cmd="touch /inside/made; cat /inside/given; exec sleep 60")


@pytest.fixture
async def bench(docker_daemon: Path) -> AsyncIterator[Bench]:
    await ensure_image(str(docker_daemon))
    bench = Bench(docker_daemon)
    yield bench
    await bench.close()


async def test_a_container_gets_what_admission_promises(bench: Bench, free_port: Callable[[], int]) -> None:
    """Each default of docs/howto/admission.md, as the Docker Engine has it."""
    spec = bench.spec(host_ports=(free_port(),))
    await bench.runner().launch(spec)
    found = await bench.inspect(spec)
    config = found["HostConfig"]
    assert config["Privileged"] is False
    assert config["SecurityOpt"] == ["no-new-privileges"]
    assert config["CapDrop"] == ["NET_RAW"]
    assert not config["CapAdd"]
    assert config["PidsLimit"] == DockerSettings().pids_max
    assert config["Memory"] == config["MemorySwap"] == 32 * 1024 * 1024
    assert config["CpuShares"] == 102
    assert config["RestartPolicy"]["Name"] == "no"
    assert not config["Devices"]
    assert (config["PidMode"], config["UTSMode"], config["UsernsMode"]) == ("", "", "")
    assert config["IpcMode"] == "private"
    [[binding]] = found["NetworkSettings"]["Ports"].values()
    assert binding["HostIp"] == "127.0.0.1"


@pytest.mark.parametrize("mode", ["RO", "RW"])
async def test_a_volume_is_the_folder_and_read_only_if_it_says_so(
    bench: Bench, tmp_path: Path, mode: Literal["RO", "RW"]
) -> None:
    (tmp_path / "given").write_text("from the machine\n")
    runner, spec = bench.runner(), with_volume(bench, tmp_path, mode)
    await runner.launch(spec)
    written = b""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for piece in runner.logs(spec.task_id, follow=True, tail=None):
            written += piece
            if b"from the machine" in written:
                break
    assert (tmp_path / "made").exists() == (mode == "RW")


async def test_a_volume_that_is_not_there_is_rejected(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(Rejected, match=r"does not exist.*Make that folder"):
        await bench.runner().launch(with_volume(bench, tmp_path / "none"))
    assert not (tmp_path / "none").exists()


async def test_a_symbolic_link_is_not_followed_to_a_folder_of_the_machine(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "innocent").symlink_to("/etc")
    runner = bench.runner()
    with pytest.raises(Rejected, match="symbolic link it leads to /etc"):
        await runner.launch(with_volume(bench, tmp_path / "innocent"))
    with pytest.raises(Rejected, match="symbolic link it leads to /etc/apt"):
        await runner.launch(bench.spec(("volume", f"{tmp_path}/innocent/apt:/x")))
    assert await runner.tasks() == []


async def test_a_named_volume_that_is_a_folder_in_disguise_is_rejected(bench: Bench, docker_daemon: Path) -> None:
    disguised = {"Name": "disguised", "DriverOpts": {"type": "none", "o": "bind", "device": "/etc"}}
    connector = aiohttp.UnixConnector(str(docker_daemon))
    async with (
        aiohttp.ClientSession("http://docker", connector=connector) as docker,
        docker.post("/volumes/create", json=disguised) as made,
    ):
        assert made.status == 201
    runner = bench.runner()
    with pytest.raises(Rejected, match="volume disguised is /etc in disguise"):
        await runner.launch(bench.spec(("volume", "disguised:/x")))
    await runner.launch(bench.spec(("volume", "honest:/x")))
    assert len(await runner.tasks()) == 1
