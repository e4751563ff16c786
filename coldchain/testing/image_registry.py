"""A registry of images on loopback, for pulls: it keeps images of one layer and tells what it was asked for."""

import asyncio
import base64
import gzip
import hashlib
import io
import json
import tarfile
from collections import Counter
from typing import Self

from aiohttp import web

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


class ImageRegistry:
    """One repository; a manifest waits for `open` before it is given away. Counts what is asked for. Port 0: any."""

    def __init__(self, port: int = 0, password: str | None = None) -> None:
        self._port = port
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
        return self.push_layer(tag, stream.getvalue())

    def push_layer(self, tag: str, archive: bytes) -> str:
        """An image of this archive, with its programs in /bin; returns the digest of its manifest."""
        layer = gzip.compress(archive)
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Env": ["PATH=/bin"]},
                "rootfs": {"type": "layers", "diff_ids": [digest_of(archive)]},
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

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get("/v2/", self._ping)
        application.router.add_get("/v2/{name:.+}/manifests/{reference}", self._manifest)
        application.router.add_get("/v2/{name:.+}/blobs/{digest}", self._blob)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
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
