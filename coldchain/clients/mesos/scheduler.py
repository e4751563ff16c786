"""A thin asyncio client of a master's v1 scheduler API; it knows nothing of ours.

Two errors come out: `MesosUnavailable` when no leading master answers or the stream ended (nothing is known then, a
call may or may not have been carried out), `MesosRefused` when the answer was no.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from coldchain.clients.mesos.events import Event, read_event
from coldchain.clients.mesos.recordio import NOT_YET, RecordDecoder

Document = dict[str, Any]
PATH = "/master/api/v1/scheduler"
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
HEARTBEAT_SECONDS = 15.0
"""Mesos's own, until the master has said how often it gives a sign of life."""
HEARTBEATS_MISSED_MAX = 2
REDIRECTS_MAX = 4
PIECE_BYTES = 1 << 20


class MesosUnavailable(Exception):  # noqa: N818 -- the field's word
    """No leading master answers, or the stream ended or fell silent."""


class MesosRefused(Exception):  # noqa: N818
    """The master answered with an error: HTTP status and its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message} (status {status})")
        self.status = status
        self.message = message


class SchedulerClient:
    """One scheduler. `find_master` names a master, HOST:PORT, best the leading one; a standby says who leads.
    `credential`: principal and secret, for HTTP basic authentication; `tls`: then masters are spoken to by HTTPS."""

    def __init__(
        self,
        find_master: Callable[[], Awaitable[str]],
        *,
        credential: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.master = ""
        self._find_master = find_master
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if credential:
            self._headers["Authorization"] = aiohttp.encode_basic_auth(*credential)
        self._tls = tls
        self._scheme = "https" if tls else "http"
        self._stream_id = ""
        self._framework_id = ""
        self._opened: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    async def subscribe(self, framework: Document) -> AsyncGenerator[Event, None]:
        """What the leading master tells, for ever, as `FrameworkInfo` says: SUBSCRIBED comes first. Ends by raising.
        Afterwards nothing can be called until it is subscribed again."""
        body: Document = {"type": "SUBSCRIBE", "subscribe": {"framework_info": framework}}
        if "id" in framework:
            body["framework_id"] = framework["id"]
        try:
            async with await self._subscription(msgspec.json.encode(body)) as response:
                self._stream_id = response.headers.get("Mesos-Stream-Id", "")
                async for event in self._events(response):
                    yield event
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise self._silent(error) from error
        finally:
            self._stream_id = ""
        raise MesosUnavailable(f"the master at {self.master} ended the subscription")

    async def call(self, kind: str, **content: Any) -> None:
        """One call by its type. It was received when this returns; what comes of it comes as events."""
        if not self._stream_id:
            raise MesosUnavailable("not subscribed to a master")
        body = {"type": kind, "framework_id": {"value": self._framework_id}, **content}
        headers = {"Mesos-Stream-Id": self._stream_id}
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
        try:
            async with self._session.post(
                self._url, data=msgspec.json.encode(body), headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                await self._check(response)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._silent(error) from error

    async def _events(self, response: aiohttp.ClientResponse) -> AsyncGenerator[Event, None]:
        decoder = RecordDecoder()
        patience_seconds = HEARTBEAT_SECONDS * HEARTBEATS_MISSED_MAX
        while True:
            async with asyncio.timeout(patience_seconds):
                piece = await response.content.readany()
            if not piece:
                return
            for record in decoder.feed(piece):
                event = read_event(record)
                if event.subscribed is not None:
                    self._framework_id = event.subscribed.framework_id.value
                    beat_seconds = event.subscribed.heartbeat_interval_seconds or HEARTBEAT_SECONDS
                    patience_seconds = beat_seconds * HEARTBEATS_MISSED_MAX
                yield event

    async def _subscription(self, body: bytes) -> aiohttp.ClientResponse:
        self.master = await self._find_master()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        for _ in range(REDIRECTS_MAX):
            async with asyncio.timeout(ANSWER_SECONDS):
                response = await self._session.post(self._url, data=body, timeout=timeout, allow_redirects=False)
            if response.status == 200:
                return response
            async with response:
                leader = urlsplit(response.headers.get("Location", "")).netloc
                if response.status != 307 or not leader:
                    await self._check(response)
                self.master = leader
        raise MesosUnavailable(f"no master leads: the last one named is {self.master}")

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        if response.status in (200, 202):
            return
        message = (await response.text(errors="replace")).strip() or response.reason or ""
        if response.status in (307, *NOT_YET):
            raise MesosUnavailable(f"the master at {self.master} does not lead or cannot answer: {message}")
        raise MesosRefused(response.status, message)

    def _silent(self, error: Exception) -> MesosUnavailable:
        return MesosUnavailable(f"the master at {self.master} does not answer: {str(error) or type(error).__name__}")

    @property
    def _url(self) -> str:
        return f"{self._scheme}://{self.master}{PATH}"

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=32, ssl=self._tls if self._tls is not None else True),
                headers=self._headers,
                read_bufsize=PIECE_BYTES,
            )
        return self._opened
