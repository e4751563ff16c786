"""Pulls, from a small registry of the test's own on loopback."""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coldchain.clients.docker import DockerClient
from coldchain.model.app import App, Container, Docker, PullConfig
from coldchain.model.errors import Rejected
from coldchain.runners.docker import DockerRunner, DockerSettings
from coldchain.testing.image_registry import ImageRegistry

PATIENCE_SECONDS = 30.0


def app_of(image: str, **docker: Any) -> App:
    return App(id="/pulled", container=Container(docker=Docker(image=image, **docker)))


def silent(_: str) -> None: ...


@pytest.fixture
async def registry() -> AsyncIterator[ImageRegistry]:
    async with ImageRegistry() as registry:
        yield registry


@pytest.fixture
async def runner(docker_daemon: Path) -> AsyncIterator[DockerRunner]:
    runner = DockerRunner(DockerClient(docker_daemon), "pull", "agent-1", DockerSettings())
    yield runner
    await runner.close()


@pytest.fixture
def name() -> str:
    return f"shop-{uuid.uuid4().hex[:8]}"


async def test_a_tag_is_pulled_once_and_resolved_to_its_digest(
    registry: ImageRegistry, runner: DockerRunner, name: str
) -> None:
    digest = registry.push("1", name.encode())
    told: list[str] = []
    app = app_of(f"{registry.host}/{name}:1")
    image = await runner.prepare(app, None, told.append)
    assert image == f"{registry.host}/{name}@{digest}"
    assert told[0] == f"pulling {registry.host}/{name}:1"
    assert f"pulling {registry.host}/{name}:1: 1 of 1 layers" in "\n".join(told)
    assert told[-1] == f"pulled {registry.host}/{name}:1"
    asked = registry.asked.total()
    assert await runner.prepare(app, None, told.append) == image
    assert await runner.prepare(app, image, told.append) == image
    assert registry.asked.total() == asked


async def test_forced_pulls_see_a_moved_tag_and_a_digest_stays_what_it_was(
    registry: ImageRegistry, runner: DockerRunner, name: str
) -> None:
    reference = f"{registry.host}/{name}:1"
    registry.push("1", b"old" + name.encode())
    old = await runner.prepare(app_of(reference), None, silent)
    registry.push("1", b"new" + name.encode())
    assert await runner.prepare(app_of(reference), None, silent) == old
    new = await runner.prepare(app_of(reference, force_pull_image=True), None, silent)
    assert new != old
    assert await runner.prepare(app_of(reference, force_pull_image=True), old, silent) == old


async def test_a_lost_image_is_brought_back_by_its_digest(
    registry: ImageRegistry, runner: DockerRunner, name: str, docker_daemon: Path
) -> None:
    reference = f"{registry.host}/{name}:1"
    registry.push("1", b"old" + name.encode())
    old = await runner.prepare(app_of(reference), None, silent)
    registry.push("1", b"new" + name.encode())
    client = DockerClient(docker_daemon)
    await client._call("DELETE", f"/images/{reference}", query={"force": "1"})
    assert await runner.prepare(app_of(reference), old, silent) == old
    await client.close()


async def test_an_image_id_that_is_gone_cannot_come_back(runner: DockerRunner) -> None:
    with pytest.raises(Rejected, match=r"is not on this machine, and it came from no registry\. Load or build it"):
        await runner.prepare(app_of("shop:1"), "sha256:" + "0" * 64, silent)


async def test_callers_of_one_image_share_a_pull_and_one_that_leaves_takes_it_from_nobody(
    registry: ImageRegistry, runner: DockerRunner, name: str
) -> None:
    registry.push("1", name.encode())
    registry.open.clear()
    app = app_of(f"{registry.host}/{name}:1")
    callers = [asyncio.create_task(runner.prepare(app, None, silent)) for _ in range(5)]
    async with asyncio.timeout(PATIENCE_SECONDS):
        await registry.waiting.acquire()
        callers[0].cancel()
        registry.open.set()
        images = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(images[0], asyncio.CancelledError)
    assert len({*images[1:]}) == 1
    assert registry.asked["1"] == 1


async def test_two_pulls_at_once(registry: ImageRegistry, runner: DockerRunner, name: str) -> None:
    for tag in "1234":
        registry.push(tag, (name + tag).encode())
    registry.open.clear()
    queued = asyncio.Semaphore(0)

    def tell(line: str) -> None:
        if line.startswith("waiting for other pulls"):
            queued.release()

    callers = [
        asyncio.create_task(runner.prepare(app_of(f"{registry.host}/{name}:{tag}"), None, tell)) for tag in "1234"
    ]
    async with asyncio.timeout(PATIENCE_SECONDS):
        for reached in (registry.waiting, queued):
            await reached.acquire()
            await reached.acquire()
        registry.open.set()
        await asyncio.gather(*callers)
    assert queued.locked()
    assert registry.busy_max == 2


async def test_reasons_of_failure(registry: ImageRegistry, runner: DockerRunner, name: str) -> None:
    with pytest.raises(Rejected, match=rf"cannot pull {registry.host}/{name}:404: .*manifest unknown"):
        await runner.prepare(app_of(f"{registry.host}/{name}:404"), None, silent)
    with pytest.raises(Rejected, match="connection refused") as caught:
        await runner.prepare(app_of("127.0.0.1:9/shop:1"), None, silent)
    assert caught.value.retry_seconds == 5.0
    with pytest.raises(Rejected, match=r"invalid reference format|Correct the image's name"):
        await runner.prepare(app_of("127.0.0.1:9/UPPER/case:1"), None, silent)


async def test_credentials_by_reference(docker_daemon: Path, tmp_path: Path, name: str) -> None:
    async with ImageRegistry(password="s3cret") as registry:
        registry.push("1", name.encode())
        auth = base64.b64encode(b"user:s3cret").decode()
        configuration = tmp_path / "config.json"
        configuration.write_bytes(msgspec.json.encode({"auths": {registry.host: {"auth": auth}}}))
        settings = DockerSettings(credentials=configuration)
        runner = DockerRunner(DockerClient(docker_daemon), "pull", "agent-1", settings)
        image = f"{registry.host}/{name}:1"
        with pytest.raises(Rejected, match=r"cannot pull .*(no basic auth credentials|unauthorized)"):
            await runner.prepare(app_of(image), None, silent)
        resolved = await runner.prepare(app_of(image, pull_config=PullConfig(secret=registry.host)), None, silent)
        assert resolved is not None
        assert resolved.startswith(f"{registry.host}/{name}@sha256:")
        await runner.close()
