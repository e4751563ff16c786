"""RemoteRunner: port Runner, and port Prober, by the RunnerServer of another machine."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from urllib.parse import quote

import aiohttp
import msgspec

from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.model.health import Probe, ProbeResult
from coldchain.model.task import Execution, TaskSpec, TaskStatistics, TaskStatus
from coldchain.ports.engine import Progress
from coldchain.ports.session import Session, TerminalSize
from coldchain.runners.remote.session import RemoteSession
from coldchain.runners.remote.wire import (
    MESSAGE_BYTES_MAX,
    SCHEME,
    SIGN_SECONDS,
    Command,
    Kill,
    Namespace,
    Preparation,
    Prepared,
    Told,
    error_of,
    read_failure,
)

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
LAUNCH_SECONDS = 330.0
"""Longer than a runner takes at most to fetch what a task needs."""
LINE_BYTES_MAX = 16 * 1024 * 1024


class RemoteRunner:
    """`url` of the server, without a slash at its end. Whoever does not answer is Unavailable: what runs there is
    unknown, and never gone."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"{SCHEME}{token}"}
        self._opened: aiohttp.ClientSession | None = None
        self._openings: set[asyncio.Future[None]] = set()
        self._pouring: set[asyncio.Task[None]] = set()

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None:
        asked = Preparation(app=app, image=image)
        async with self._request("POST", "/v1/prepare", asked, silence=3 * SIGN_SECONDS) as response:
            async for line in _lines(response):
                said = msgspec.json.decode(line, type=Prepared)
                if said.failure is not None:
                    raise error_of(said.failure)
                if said.ended:
                    return said.image
                progress(said.progress or "")
        raise Unavailable(f"the executor at {self._url} was lost while an image was fetched")

    async def launch(self, spec: TaskSpec) -> None:
        await self._change("/v1/launch", spec, LAUNCH_SECONDS)

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        limit = grace_seconds + ANSWER_SECONDS
        await self._change(f"{_path(task_id)}/kill", Kill(grace_seconds=grace_seconds), limit)

    async def forget(self, task_id: str) -> None:
        await self._change(f"{_path(task_id)}/forget", None, ANSWER_SECONDS)

    async def tasks(self) -> Sequence[TaskStatus]:
        return msgspec.json.decode(await self._ask("GET", "/v1/tasks"), type=list[TaskStatus])

    def updates(self) -> AsyncGenerator[TaskStatus, None]:
        """Port text: what is asked of this runner after this call waits until the server tells updates."""
        queue: asyncio.Queue[TaskStatus | ColdchainError] = asyncio.Queue()
        opening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._openings.add(opening)
        pouring = asyncio.create_task(self._pour(queue, opening))
        self._pouring.add(pouring)
        pouring.add_done_callback(self._pouring.discard)
        return _poured(queue, pouring)

    async def _pour(self, queue: asyncio.Queue[TaskStatus | ColdchainError], opening: asyncio.Future[None]) -> None:
        try:
            async with self._request("GET", "/v1/updates", silence=3 * SIGN_SECONDS) as response:
                self._open(opening)
                async for line in _lines(response):
                    told = msgspec.json.decode(line, type=Told)
                    if told.failure is not None:
                        raise error_of(told.failure)
                    if told.status is not None:
                        queue.put_nowait(told.status)
            queue.put_nowait(Unavailable(f"the executor at {self._url} tells no updates any more"))
        except ColdchainError as error:
            queue.put_nowait(error)
        finally:
            self._open(opening)

    def _open(self, opening: asyncio.Future[None]) -> None:
        self._openings.discard(opening)
        if not opening.done():
            opening.set_result(None)

    async def logs(
        self, task_id: str, *, follow: bool, tail: int | None, since: float | None = None
    ) -> AsyncIterator[bytes]:
        query = {"tail": tail, "since": since, "follow": "1" if follow else None}
        given = {name: str(value) for name, value in query.items() if value is not None}
        silence = None if follow else ANSWER_SECONDS
        async with self._request("GET", f"{_path(task_id)}/logs", query=given, silence=silence) as response:
            async for piece in response.content.iter_any():
                yield piece

    async def execute(self, task_id: str, command: str, timeout_seconds: float) -> Execution:
        asked = Command(command=command, timeout_seconds=timeout_seconds)
        answer = await self._ask("POST", f"{_path(task_id)}/execute", asked, timeout_seconds + ANSWER_SECONDS)
        return msgspec.json.decode(answer, type=Execution)

    async def network_namespace(self, task_id: str) -> str | None:
        """Port text, on the machine of the task: from elsewhere ask by `probe`."""
        return msgspec.json.decode(await self._ask("GET", f"{_path(task_id)}/namespace"), type=Namespace).path

    async def statistics(self, task_id: str) -> TaskStatistics:
        return msgspec.json.decode(await self._ask("GET", f"{_path(task_id)}/statistics"), type=TaskStatistics)

    async def probe(self, probe: Probe) -> ProbeResult:
        """As port Prober, from the machine of the task."""
        try:
            answer = await self._ask("POST", "/v1/probe", probe, probe.timeout_seconds + ANSWER_SECONDS)
        except ColdchainError as error:
            return ProbeResult(outcome="unknown", detail=f"the prober cannot ask: {error.message}")
        return msgspec.json.decode(answer, type=ProbeResult)

    async def open_session(self, task_id: str, command: Sequence[str], size: TerminalSize | None) -> Session:
        path = f"{_path(task_id)}/session"
        query = [("argument", word) for word in command]
        if size is not None:
            query += [("columns", str(size.columns)), ("rows", str(size.rows))]
        try:
            socket = await self._session.ws_connect(
                f"{self._url}{path}", params=query, heartbeat=SIGN_SECONDS, max_msg_size=MESSAGE_BYTES_MAX
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._silent(error) from error
        session = RemoteSession(socket)
        try:
            await session.opened()
        except BaseException:
            await session.close()
            raise
        return session

    async def close(self) -> None:
        for pouring in self._pouring:
            pouring.cancel()
        await asyncio.gather(*self._pouring, return_exceptions=True)
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    # The wire

    async def _change(self, path: str, body: Noun | None, timeout_seconds: float) -> None:
        if self._openings:
            await asyncio.wait(set(self._openings))
        await self._ask("POST", path, body, timeout_seconds)

    async def _ask(
        self, method: str, path: str, body: Noun | None = None, timeout_seconds: float = ANSWER_SECONDS
    ) -> bytes:
        async with self._request(method, path, body, silence=timeout_seconds) as response:
            return await response.read()

    @contextlib.asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        body: Noun | None = None,
        *,
        query: dict[str, str] | None = None,
        silence: float | None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """`silence`: how long nothing may be heard. Raises what the server raised."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence)
        data = msgspec.json.encode(body) if body is not None else None
        try:
            async with self._session.request(
                method, f"{self._url}{path}", params=query, data=data, timeout=timeout
            ) as response:
                if response.status != 200:
                    raise read_failure(await response.read())
                yield response
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._silent(error) from error

    def _silent(self, error: Exception) -> Unavailable:
        return Unavailable(f"the executor at {self._url} does not answer: {str(error) or type(error).__name__}")

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            # No limit of connections: streams hold one each for a long time.
            self._opened = aiohttp.ClientSession(
                headers=self._headers, connector=aiohttp.TCPConnector(limit=0), read_bufsize=LINE_BYTES_MAX
            )
        return self._opened


def _path(task_id: str) -> str:
    return f"/v1/tasks/{quote(task_id, safe='')}"


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Without the empty ones."""
    async for line in response.content:
        if line.strip():
            yield line


async def _poured(
    queue: asyncio.Queue[TaskStatus | ColdchainError], pouring: asyncio.Task[None]
) -> AsyncGenerator[TaskStatus, None]:
    try:
        while True:
            item = await queue.get()
            if isinstance(item, ColdchainError):
                raise item
            yield item
    finally:
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)
