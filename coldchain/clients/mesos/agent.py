"""A thin asyncio client of an agent's files, which are the sandboxes of its tasks; it knows nothing of ours."""

import ssl
from typing import NamedTuple

import aiohttp
import msgspec

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0


class FilesUnavailable(Exception):  # noqa: N818 -- the field's word
    """The agent does not answer, or not with what was asked for."""


class NoFile(Exception):  # noqa: N818
    """The agent has no such file."""


class Piece(NamedTuple):
    """Of a file, and the size of the whole at that moment."""

    content: bytes
    size: int


class AgentClient:
    """Of any agent. `tls`: then agents are spoken to by HTTPS, whatever their offers say."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._opened: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    async def read_file(self, url: str, path: str, offset: int, length: int) -> Piece:
        """`url` of the agent's process, as offers have it. Raises NoFile and FilesUnavailable."""
        if self._tls is not None and url.startswith("http://"):
            url = url.replace("http", "https", 1)
        call = {"type": "READ_FILE", "read_file": {"path": path, "offset": offset, "length": length}}
        try:
            async with self._session.post(f"{url}/api/v1", data=msgspec.json.encode(call)) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise FilesUnavailable(
                f"the agent at {url} does not answer: {str(error) or type(error).__name__}"
            ) from error
        if response.status == 404:
            raise NoFile(path)
        if response.status != 200:
            words = body.decode(errors="replace").strip() or response.reason
            raise FilesUnavailable(f"the agent at {url} refuses: {words} (status {response.status})")
        try:
            answer = _decoder.decode(body).read_file
        except msgspec.MsgspecError as error:
            raise FilesUnavailable(f"the agent at {url} answers what means nothing: {error}") from error
        return Piece(answer.data, answer.size)

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=32, ssl=self._tls if self._tls is not None else True),
                headers={"Content-Type": "application/json", "Accept": "application/json"},
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS),
            )
        return self._opened


class _ReadFile(msgspec.Struct):
    size: int
    data: bytes = b""


class _Answer(msgspec.Struct):
    read_file: _ReadFile


_decoder = msgspec.json.Decoder(_Answer)
