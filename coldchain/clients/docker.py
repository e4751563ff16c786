"""A thin asyncio client of the Docker Engine API over its unix socket; it knows nothing of ours.

Documents go in and come out as plain dicts, exactly as the Engine API spells them. Two errors come out:
`DockerUnavailable` when the daemon does not answer (nothing is known then, the request may or may not have been
carried out), `DockerRefused` when it answered no.
"""

import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from coldchain.clients.docker_stream import DockerStream, Refusal, open_stream

Document = dict[str, Any]

SPOKEN_VERSION = (1, 41)
"""The version of the Engine API this file is written for (Docker 20.10); newer daemons still understand it."""

STREAM_HEADER_BYTES = 8
"""Each piece of a container's output is preceded by its stream's number and its length."""


class DockerUnavailable(Exception):  # noqa: N818 -- the field's word
    """The daemon does not answer: no socket, restarting, hung, or gone in the middle of an answer."""


class DockerRefused(Exception):  # noqa: N818
    """The daemon answered with an error: HTTP status and its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message} (status {status})")
        self.status = status
        self.message = message


class DockerClient:
    """One daemon. Times out after `timeout_seconds` without an answer, but never in the middle of a stream."""

    def __init__(self, socket: str | Path, *, timeout_seconds: float = 120.0) -> None:
        self.socket = str(socket)
        self._timeout_seconds = timeout_seconds
        self._opened: aiohttp.ClientSession | None = None
        self._prefix: str | None = None

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    async def info(self) -> Document:
        """What the daemon says of itself, its version and its machine."""
        return dict(await self._call("GET", "/info"))

    # Containers

    async def containers(self, labels: list[str]) -> list[Document]:
        """All containers in any state that have all the labels (`key=value`), as the list shows them."""
        query = {"all": "1", "filters": json.dumps({"label": labels})}
        return list(await self._call("GET", "/containers/json", query=query))

    async def inspect_container(self, name: str) -> Document:
        return dict(await self._call("GET", f"/containers/{quote(name)}/json"))

    async def create_container(self, name: str, document: Document) -> str:
        """Returns the new container's id. Refused with 409 when the name is taken, 404 when the image is missing."""
        created = await self._call("POST", "/containers/create", query={"name": name}, body=document)
        return str(created["Id"])

    async def start_container(self, name: str) -> None:
        """Returns when its first process runs; starting what runs already is no error."""
        await self._call("POST", f"/containers/{quote(name)}/start")

    async def stop_container(self, name: str, grace_seconds: int) -> None:
        """The image's stop signal now, SIGKILL after the grace; returns when it is over.

        The daemon carries it on by itself when the caller goes away. Stopping what is stopped is no error.
        """
        await self._call(
            "POST",
            f"/containers/{quote(name)}/stop",
            query={"t": str(grace_seconds)},
            timeout_seconds=self._timeout_seconds + grace_seconds,
        )

    async def remove_container(self, name: str, *, force: bool = False) -> None:
        """With its anonymous volumes. Refused with 409 when it runs, unless by force."""
        query = {"v": "1", "force": "1" if force else "0"}
        await self._call("DELETE", f"/containers/{quote(name)}", query=query)

    async def container_statistics(self, name: str) -> Document:
        """What it uses, by one look; empty in parts when it does not run."""
        query = {"stream": "0", "one-shot": "1"}
        return dict(await self._call("GET", f"/containers/{quote(name)}/stats", query=query))

    async def logs(
        self, name: str, *, follow: bool, tail: int | None, since: float | None = None, terminal: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """Output in the order of writing, standard output and error mixed. `terminal`: of a container that has one,
        whose output Docker sends as it is. `since` in seconds since the epoch."""
        query = {
            "stdout": "1",
            "stderr": "1",
            "follow": "1" if follow else "0",
            "tail": "all" if tail is None else str(tail),
        }
        if since is not None:
            query["since"] = f"{since:.6f}"
        async with self._request("GET", f"/containers/{quote(name)}/logs", query=query, stream=True) as response:
            rest = bytearray()
            async for chunk in response.content.iter_any():
                if terminal:
                    yield chunk
                    continue
                rest += chunk
                while len(rest) >= STREAM_HEADER_BYTES:
                    end = STREAM_HEADER_BYTES + int.from_bytes(rest[4:STREAM_HEADER_BYTES], "big")
                    if len(rest) < end:
                        break
                    piece = bytes(rest[STREAM_HEADER_BYTES:end])
                    del rest[:end]
                    yield piece

    # Commands in a running container

    async def open_execution(self, execution: str, *, terminal: bool) -> DockerStream:
        """Start it, with its input and output."""
        path = f"{self._prefix or ''}/exec/{quote(execution)}/start"
        try:
            return await open_stream(self.socket, path, {"Detach": False, "Tty": terminal}, terminal=terminal)
        except Refusal as refusal:
            raise DockerRefused(refusal.status, _message(refusal.text)) from refusal
        except OSError as error:
            raise DockerUnavailable(f"the Docker Engine at {self.socket} does not answer: {error}") from error

    async def resize_execution(self, execution: str, *, columns: int, rows: int) -> None:
        await self._call("POST", f"/exec/{quote(execution)}/resize", query={"w": str(columns), "h": str(rows)})

    async def create_execution(self, name: str, document: Document) -> str:
        """Returns its id. Refused with 409 when the container does not run."""
        created = await self._call("POST", f"/containers/{quote(name)}/exec", body=document)
        return str(created["Id"])

    async def inspect_execution(self, execution: str) -> Document:
        return dict(await self._call("GET", f"/exec/{quote(execution)}/json"))

    # Events

    async def events(
        self, filters: Mapping[str, list[str]], *, since: float, until: float | None = None
    ) -> AsyncGenerator[Document, None]:
        """What happened since then (the daemon remembers its last 256 events) and from now on, or until then.

        Times in seconds since the epoch by the daemon's clock. Without `until` it ends only by DockerUnavailable.
        """
        query = {"filters": json.dumps(filters), "since": f"{since:.6f}"}
        if until is not None:
            query["until"] = f"{until:.6f}"
        async with self._request("GET", "/events", query=query, stream=True) as response:
            async for line in _lines(response.content):
                yield json.loads(line)
        if until is None:
            raise DockerUnavailable("the event stream ended")

    # Images

    async def inspect_image(self, reference: str) -> Document:
        return dict(await self._call("GET", f"/images/{quote(reference)}/json"))

    async def pull_image(
        self, name: str, tag: str, credentials: Mapping[str, str] | None = None
    ) -> AsyncGenerator[Document, None]:
        """`tag` may be a digest. Yields the daemon's progress documents; one with `error` is the last."""
        headers = {}
        if credentials is not None:
            text = json.dumps(dict(credentials)).encode()
            headers["X-Registry-Auth"] = base64.urlsafe_b64encode(text).decode()
        query = {"fromImage": name, "tag": tag}
        async with self._request("POST", "/images/create", query=query, headers=headers, stream=True) as response:
            async for line in _lines(response.content):
                yield json.loads(line)

    # Volumes and networks

    async def inspect_volume(self, name: str) -> Document:
        return dict(await self._call("GET", f"/volumes/{quote(name)}"))

    async def networks(self) -> list[Document]:
        return list(await self._call("GET", "/networks"))

    async def inspect_network(self, name: str) -> Document:
        return dict(await self._call("GET", f"/networks/{quote(name)}"))

    async def create_network(self, document: Document) -> None:
        """Refused with 403 when the subnet overlaps another network's, 409 when the name is taken."""
        await self._call("POST", "/networks/create", body=document)

    async def remove_network(self, name: str) -> None:
        """Refused with 403 while containers are in it, 404 when it is not there."""
        await self._call("DELETE", f"/networks/{quote(name)}")

    # The wire

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Document | None = None,
        timeout_seconds: float | None = None,
    ) -> Any:
        async with self._request(method, path, query=query, body=body, timeout_seconds=timeout_seconds) as response:
            text = await response.read()
        return json.loads(text) if text else None

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Document | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
        stream: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        total = None if stream else timeout_seconds or self._timeout_seconds
        try:
            if self._prefix is None:
                self._prefix = await self._negotiate()
            async with self._session.request(
                method,
                f"http://docker{self._prefix}{path}",
                params=query,
                json=body,
                headers=headers,
                # sock_read must be lifted too: a followed log is silent for as long as the application is.
                timeout=aiohttp.ClientTimeout(total=total, sock_read=None, sock_connect=5.0),
            ) as response:
                if response.status >= 400:
                    raise DockerRefused(response.status, _message(await response.text(errors="replace")))
                yield response
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._prefix = None  # what comes back may be another daemon
            reason = str(error) or type(error).__name__
            raise DockerUnavailable(f"the Docker Engine at {self.socket} does not answer: {reason}") from error

    async def _negotiate(self) -> str:
        """Speak our version where the daemon understands it, else the nearest one that it does."""
        async with self._session.get(
            "http://docker/version", timeout=aiohttp.ClientTimeout(total=self._timeout_seconds, sock_connect=5.0)
        ) as response:
            if response.status != 200:
                raise DockerRefused(response.status, _message(await response.text(errors="replace")))
            document = await response.json()
        newest, oldest = _version(document["ApiVersion"]), _version(document.get("MinAPIVersion", "1.12"))
        major, minor = max(oldest, min(SPOKEN_VERSION, newest))
        return f"/v{major}.{minor}"

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            # No limit of connections: followed logs and stops hold one each for a long time.
            self._opened = aiohttp.ClientSession(connector=aiohttp.UnixConnector(self.socket, limit=0))
        return self._opened


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length; the reader's own would refuse long ones."""
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
    if rest.strip():
        yield rest


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip() or "no reason given"


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)
