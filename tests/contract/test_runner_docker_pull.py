"""Pulls, from a small registry of the test's own on loopback."""

import asyncio
import base64
import gzip
import hashlib
import io
import json
import tarfile
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from coldchain.clients.docker import DockerClient
from coldchain.model.app import App, Container, Docker, PullConfig
from coldchain.model.errors import Rejected
from coldchain.runners.docker import DockerRunner, DockerSettings

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
PATIENCE_SECONDS = 30.0


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Registry:
    """One repository; a manifest waits for `open` before it is given away. Counts what is asked for."""

    def __init__(self, password: str | None = None) -> None:
        self.asked: Counter[str] = Counter()
        self.busy = 0
        self.busy_max = 0
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = asyncio.Semaphore(0)
        self._password = password
        self._blobs: dict[str, bytes] = {}
        self._tags: dict[str, bytes] = {}

    def push(self, tag: str, content: bytes) -> str:
        """An image of one file; returns the digest of its manifest."""
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            entry = tarfile.TarInfo("content")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        layer = gzip.compress(stream.getvalue())
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [digest_of(stream.getvalue())]},
            }
        ).encode()
        parts = [
            {"mediaType": kind, "size": len(blob), "digest": digest_of(blob)}
            for kind, blob in (
                ("application/vnd.docker.container.image.v1+json", config),
                ("application/vnd.docker.image.rootfs.diff.tar.gzip", layer),
            )
        ]
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": parts[0], "layers": parts[1:]}
        ).encode()
        self._blobs |= {digest_of(config): config, digest_of(layer): layer}
        self._tags |= {tag: manifest, digest_of(manifest): manifest}
        return digest_of(manifest)

    async def __aenter__(self) -> "Registry":
        application = web.Application()
        application.router.add_get("/v2/", self._ping)
        application.router.add_get("/v2/{name:.+}/manifests/{reference}", self._manifest)
        application.router.add_get("/v2/{name:.+}/blobs/{digest}", self._blob)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.host = f"127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.open.set()
        await self._runner.cleanup()

    def _admit(self, request: web.Request) -> None:
        if self._password is None:
            return
        expected = base64.b64encode(f"user:{self._password}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {expected}":
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": 'Basic realm="test"'})

    async def _ping(self, request: web.Request) -> web.Response:
        self._admit(request)
        return web.json_response({})

    async def _manifest(self, request: web.Request) -> web.Response:
        self._admit(request)
        reference = request.match_info["reference"]
        self.asked[reference] += 1
        manifest = self._tags.get(reference)
        if manifest is None:
            error = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
            return web.json_response(error, status=404)
        self.busy += 1
        self.busy_max = max(self.busy, self.busy_max)
        self.waiting.release()
        await self.open.wait()
        self.busy -= 1
        headers = {"Content-Type": MANIFEST_TYPE, "Docker-Content-Digest": digest_of(manifest)}
        return web.Response(body=manifest, headers=headers)

    async def _blob(self, request: web.Request) -> web.Response:
        self._admit(request)
        return web.Response(body=self._blobs[request.match_info["digest"]])


def app_of(image: str, **docker: Any) -> App:
    return App(id="/pulled", container=Container(docker=Docker(image=image, **docker)))


def silent(_: str) -> None: ...


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with Registry() as registry:
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
    registry: Registry, runner: DockerRunner, name: str
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
    registry: Registry, runner: DockerRunner, name: str
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
    registry: Registry, runner: DockerRunner, name: str, docker_daemon: Path
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
    registry: Registry, runner: DockerRunner, name: str
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


async def test_two_pulls_at_once(registry: Registry, runner: DockerRunner, name: str) -> None:
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


async def test_reasons_of_failure(registry: Registry, runner: DockerRunner, name: str) -> None:
    with pytest.raises(Rejected, match=rf"cannot pull {registry.host}/{name}:404: .*manifest unknown"):
        await runner.prepare(app_of(f"{registry.host}/{name}:404"), None, silent)
    with pytest.raises(Rejected, match="connection refused") as caught:
        await runner.prepare(app_of("127.0.0.1:9/shop:1"), None, silent)
    assert caught.value.retry_seconds == 5.0
    with pytest.raises(Rejected, match=r"invalid reference format|Correct the image's name"):
        await runner.prepare(app_of("127.0.0.1:9/UPPER/case:1"), None, silent)


async def test_credentials_by_reference(docker_daemon: Path, tmp_path: Path, name: str) -> None:
    async with Registry(password="s3cret") as registry:
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
