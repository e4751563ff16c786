"""control_socket: speaks with a running nginx over the control protocol of lua/coldchain/control.lua."""

import io
from pathlib import Path
from typing import TypeVar

import aiohttp
import msgspec

from coldchain.model.base import Noun
from coldchain.model.errors import ColdchainError, Unavailable

T = TypeVar("T", bound=Noun)


class WorkerState(Noun, frozen=True, kw_only=True):
    """`applied`: the revision that this worker works by."""

    pid: int
    applied: int


class GatewayState(Noun, frozen=True, kw_only=True):
    """What nginx says of itself. `configuration`: digest of the text it runs by; `master`: process id; `applied`: the
    revision that all workers have, `head` the last one committed; `workers_wanted`: how many it keeps running, which an
    nginx of our first version does not say; `connections`: open ones, this call's included."""

    configuration: str
    master: int
    applied: int
    head: int
    workers_wanted: int = 1
    workers: tuple[WorkerState, ...]
    in_flight: dict[str, int]
    streams: dict[str, int] = {}
    cut: dict[str, int] = {}
    ejected: dict[str, dict[str, int]] = {}
    lease_seconds: float
    draining: bool
    connections: int


class SharedMemory(Noun, frozen=True, kw_only=True):
    """What workers share of one kind, by nginx's name of it; `free` counts what is free in whole pages."""

    name: str
    bytes: int
    free: int


class ShownCertificate(Noun, frozen=True, kw_only=True):
    """One that the gateway shows consumers; `chain`: PEM, the one with the names first."""

    name: str
    chain: str


class GatewayResources(Noun, frozen=True, kw_only=True):
    """What a doctor asks of a running nginx."""

    memory: tuple[SharedMemory, ...] = ()
    certificates: tuple[ShownCertificate, ...] = ()


class ControlSocket:
    """One client of the socket. Raises `Unavailable` when nobody answers there in time."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        self._path = path
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def state(self) -> GatewayState:
        return await self.ask("/state", GatewayState)

    async def resources(self) -> GatewayResources:
        return await self.ask("/resources", GatewayResources)

    async def ask(self, path: str, kind: type[T]) -> T:
        """GET that is answered with a document of that kind."""
        status, text = await self.call("GET", path)
        if status != 200:
            raise unexpected(status, text)
        try:
            return msgspec.json.decode(text, type=kind)
        except msgspec.DecodeError as error:
            raise Unavailable(f"the gateway at {self._path} answers something else: {error}") from error

    async def order(self, path: str, body: bytes = b"") -> None:
        """POST that has no answer but that it was done."""
        status, text = await self.call("POST", path, body)
        if status != 204:
            raise unexpected(status, text)

    async def call(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Returns status and body."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(path=str(self._path)),
                timeout=aiohttp.ClientTimeout(total=self._timeout_seconds),
            )
        try:
            async with self._session.request(method, f"http://gateway{path}", data=io.BytesIO(body)) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            late = f"no answer in {self._timeout_seconds:g} s"
            words = late if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise Unavailable(
                f"the gateway at {self._path} does not answer: {words}",
                todo="It serves on if nginx runs; see its logs/error.log otherwise",
            ) from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def message(text: bytes) -> str:
    """The `message` of an error's body, or the body."""
    try:
        return str(msgspec.json.decode(text)["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return text.decode(errors="replace").strip()[:200]


def unexpected(status: int, text: bytes) -> ColdchainError:
    return Unavailable(f"the gateway answered {status}: {message(text)}")
