"""The test image, made in a real engine without any registry."""

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest

from coldchain.model.errors import Rejected, Unavailable
from coldchain.testing.application.image import ensure_image


async def run(docker_socket: Path, image: str, command: list[str] | None, signal: str | None = None) -> tuple[int, str]:
    """Run a container to its end (sent `signal` once it has said something); returns exit status and output."""
    async with aiohttp.ClientSession("http://docker", connector=aiohttp.UnixConnector(str(docker_socket))) as engine:
        settings = {"Image": image, "Cmd": command, "Tty": True, "HostConfig": {"NetworkMode": "none"}}
        async with engine.post("/containers/create", json=settings) as answer:
            container = f"/containers/{(await answer.json())['Id']}"
        try:
            async with engine.post(f"{container}/start") as answer:
                assert answer.status == 204, await answer.text()
            if signal:
                async with engine.get(f"{container}/logs", params={"stdout": 1, "follow": 1}) as logs:
                    await logs.content.readline()
                async with engine.post(f"{container}/kill", params={"signal": signal}) as answer:
                    assert answer.status == 204
            async with engine.post(f"{container}/wait") as answer:
                status = (await answer.json())["StatusCode"]
            async with engine.get(f"{container}/logs", params={"stdout": 1}) as logs:
                return int(status), (await logs.text()).replace("\r", "")
        finally:
            async with engine.delete(container, params={"force": 1}):
                pass


async def test_tags_differ_in_content_and_are_imported_once(docker_daemon: Path) -> None:
    socket = str(docker_daemon)
    first = await ensure_image(socket, "coldchain/image-test", "v1")
    second = await ensure_image(socket, "coldchain/image-test", "v2")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", first)
    assert first != second
    assert await ensure_image(socket, "coldchain/image-test", "v1") == first
    assert await run(docker_daemon, first, ["sh", "-c", "cat /etc/release; echo $VERSION"]) == (0, "v1\nv1\n")
    assert await run(docker_daemon, second, ["/bin/sh", "-c", "cat /etc/release"]) == (0, "v2\n")


@pytest.mark.parametrize("command", [None, ["sh", "-c", "exec application"]])
async def test_as_first_process_it_ends_on_term(docker_daemon: Path, command: list[str] | None) -> None:
    image = await ensure_image(str(docker_daemon), "coldchain/image-test", "v1")
    async with asyncio.timeout(30):
        status, output = await run(docker_daemon, image, command, signal="SIGTERM")
    assert status == 0
    assert output.startswith("listening on port 8080, version v1, instance ")
    assert output.endswith("draining\n")


async def test_a_name_that_the_engine_refuses(docker_daemon: Path) -> None:
    with pytest.raises(Rejected, match="invalid"):
        await ensure_image(str(docker_daemon), "Not A Name")


async def test_no_engine(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="Start dockerd"):
        await ensure_image(str(tmp_path / "docker.sock"))
