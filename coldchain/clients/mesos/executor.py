"""A thin asyncio client of an agent's v1 executor API; it knows nothing of ours.

Two errors come out: `AgentUnavailable` when the agent does not answer or the stream ended (it restarts, say),
`AgentRefused` when it answered no.
"""

import ssl
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import aiohttp
import msgspec

from coldchain.clients.mesos.recordio import NOT_YET, RecordDecoder

Document = dict[str, Any]

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0


class AgentUnavailable(Exception):  # noqa: N818 -- the field's word
    """The agent does not answer, or has ended the stream, or is not ready yet."""


class AgentRefused(Exception):  # noqa: N818
    """The agent answered with an error: HTTP status and its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message} (status {status})")
        self.status = status
        self.message = message


class ExecutorClient:
    """One executor of one agent. `url` of the agent's API; `token`: by which the agent knows its executors, where it
    asks for one; `tls`: what is needed where it speaks that."""

    def __init__(
        self, url: str, framework_id: str, executor_id: str, token: str = "", tls: ssl.SSLContext | None = None
    ) -> None:
        self._url = url
        self._names = {"framework_id": {"value": framework_id}, "executor_id": {"value": executor_id}}
        accepted = {"Accept": "application/json", "Content-Type": "application/json"}
        self._headers = accepted | ({"Authorization": f"Bearer {token}"} if token else {})
        self._tls = tls
        self._opened: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    async def subscribe(self, updates: Sequence[Document], tasks: Sequence[Document]) -> AsyncGenerator[Document, None]:
        """The agent's events, for ever. `updates` and `tasks`: those that it has not acknowledged yet, in their order
        (`Call.Update` and `TaskInfo`). Ends by raising."""
        subscription = {"unacknowledged_updates": list(updates), "unacknowledged_tasks": list(tasks)}
        body = self._call("SUBSCRIBE", subscribe=subscription)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        try:
            async with self._session.post(self._url, data=body, timeout=timeout) as response:
                await _check(response)
                decoder = RecordDecoder()
                async for piece in response.content.iter_any():
                    for record in decoder.feed(piece):
                        yield msgspec.json.decode(record)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, msgspec.MsgspecError) as error:
            raise AgentUnavailable(f"the agent at {self._url} does not answer: {_words(error)}") from error
        raise AgentUnavailable(f"the agent at {self._url} ended the subscription")

    async def update(self, status: Document) -> None:
        """Tell a `TaskStatus`; that it is kept comes as an event."""
        await self._send("UPDATE", update={"status": status})

    async def message(self, data: str) -> None:
        """Bytes (base64) for the scheduler; they may be lost."""
        await self._send("MESSAGE", message={"data": data})

    async def _send(self, kind: str, **content: Document) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
        try:
            async with self._session.post(self._url, data=self._call(kind, **content), timeout=timeout) as response:
                await _check(response)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise AgentUnavailable(f"the agent at {self._url} does not answer: {_words(error)}") from error

    def _call(self, kind: str, **content: Document) -> bytes:
        return msgspec.json.encode({"type": kind, **self._names, **content})

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            connector = aiohttp.TCPConnector(ssl=self._tls if self._tls is not None else True)
            self._opened = aiohttp.ClientSession(connector=connector, headers=self._headers)
        return self._opened


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status in (200, 202):
        return
    message = (await response.text(errors="replace")).strip() or response.reason or ""
    if response.status in NOT_YET:
        raise AgentUnavailable(f"the agent cannot answer yet: {message}")
    raise AgentRefused(response.status, message)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
