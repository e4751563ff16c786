"""A client of one address: one connection for all calls, made when it is needed and again when it was lost."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from coldchain.clients.dubbo.errors import ConnectionLost, Timeout, TooLarge, Unreachable, Unreadable
from coldchain.clients.dubbo.frame import (
    BODY_BYTES_MAX,
    HESSIAN2,
    ID_MAX,
    Frame,
    Status,
    request_frame,
    response_frame,
)
from coldchain.clients.dubbo.link import Link
from coldchain.clients.dubbo.message import Call, Result, decode_result, encode_call, encode_words, refusal
from coldchain.clients.dubbo.pace import USUAL_PACE, USUAL_PAUSE, Pace, Pause
from coldchain.clients.hessian2 import HessianError
from coldchain.clients.host_port import host_port


@dataclass(frozen=True)
class ClientSettings:
    """How patient a client is, and how large what it sends and takes may be."""

    connect_seconds: float = 3.0
    """Until a provider's machine that does not answer is given up; Dubbo's own number."""
    body_bytes_max: int = BODY_BYTES_MAX
    """Of a call and of an answer; a provider in Java has the same limit (`payload`)."""
    pace: Pace = USUAL_PACE
    pause: Pause = USUAL_PAUSE
    read_only_seconds: float = 2.0
    """A provider that said that it stops is not asked for a new connection for so long."""


class Client:
    """Of the provider at one address. Calls share the connection; answers come in any order."""

    def __init__(
        self,
        host: str,
        port: int,
        settings: ClientSettings | None = None,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`chance`: what spreads the tries to connect of many clients."""
        self.host = host
        self.port = port
        self.address = host_port(host, port)
        self._settings = settings or ClientSettings()
        self._link: _ClientLink | None = None
        self._leaving: set[_ClientLink] = set()
        """Those that take no new calls and have not answered all."""
        self._connecting: asyncio.Task[_ClientLink] | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._trouble = ""
        self._closed = False
        self._chance = chance

    @property
    def in_flight(self) -> int:
        links = [*self._leaving, *([self._link] if self._link is not None else [])]
        return sum(len(link.pending) for link in links)

    async def call(self, call: Call, timeout_seconds: float) -> Result:
        """Raises DubboError: RemoteException what the method raised, and all the others of `errors`."""
        sent = False
        try:
            async with asyncio.timeout(timeout_seconds):
                body = self._body(call, timeout_seconds)
                link = await self._ready()
                await link.flows()
                sent = True
                frame = await link.ask(body, call)
        except TimeoutError:
            words = f"{call.words} at {self.address}: no answer in {timeout_seconds:.3g} s"
            raise Timeout(words) if sent else Unreachable(f"{words}; it was not sent") from None
        return self._result(frame, call)

    async def send(self, call: Call, timeout_seconds: float) -> None:
        """One way: nothing is answered, and whether it arrived is not known. Raises Unreachable, TooLarge."""
        try:
            async with asyncio.timeout(timeout_seconds):
                body = self._body(call, None)
                link = await self._ready()
                await link.flows()
        except TimeoutError:
            raise Unreachable(f"{call.words} at {self.address}: not sent in {timeout_seconds:g} s") from None
        link.send(request_frame(link.next_id(), body, two_way=False))

    async def close(self, drain_seconds: float = 0.0) -> None:
        """No new calls; those in flight get so long."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        links = [*self._leaving, *([self._link] if self._link is not None else [])]
        for link in links:
            link.leave()
        gone = [asyncio.ensure_future(link.gone.wait()) for link in links]
        if not gone:
            return
        await asyncio.wait(gone, timeout=drain_seconds)
        for link in links:
            link.end("the client was closed", at_once=True)
        await asyncio.wait(gone)

    def _body(self, call: Call, timeout_seconds: float | None) -> bytes:
        try:
            body = encode_call(call, timeout_seconds)
        except (HessianError, ValueError) as error:
            raise Unreadable(f"{call.words}: these arguments cannot be sent: {error}", heard=False) from error
        limit = self._settings.body_bytes_max
        if len(body) > limit:
            words = f"{call.words}: a call of {len(body)} bytes is larger than the {limit} that a frame may have"
            raise TooLarge(words, heard=False)
        return body

    def _result(self, frame: Frame, call: Call) -> Result:
        if frame.body is None:
            limit = self._settings.body_bytes_max
            words = f"an answer of {frame.length} bytes is larger than the {limit} that a frame may have"
            raise TooLarge(f"{call.words} at {self.address}: {words}", heard=True)
        if frame.serialization != HESSIAN2:
            words = f"the answer is in serialization {frame.serialization}, not in Hessian 2"
            raise Unreadable(f"{call.words} at {self.address}: {words}", heard=True)
        if frame.status != Status.OK:
            raise refusal(frame.status, frame.body)
        return decode_result(frame.body)

    # The connection

    async def _ready(self) -> "_ClientLink":
        """A connection that takes calls. Raises Unreachable."""
        if self._link is not None and self._link.takes_calls:
            return self._link
        if self._closed:
            raise Unreachable(f"the client of {self.address} was closed")
        if self._connecting is None:
            wait_seconds = self._retry_at - asyncio.get_running_loop().time()
            if wait_seconds > 0:
                raise Unreachable(f"{self._trouble}; it is tried again in {wait_seconds:.1f} s")
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._connected)
        connecting = self._connecting
        try:
            # Shared by all calls that wait for it: one that is given up does not end it for the others.
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            if connecting.cancelled():
                raise Unreachable(f"the client of {self.address} was closed") from None
            raise

    def _connected(self, task: "asyncio.Task[_ClientLink]") -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()  # who waited has it

    async def _connect(self) -> "_ClientLink":
        loop, settings = asyncio.get_running_loop(), self._settings
        try:
            async with asyncio.timeout(settings.connect_seconds):
                _, link = await loop.create_connection(lambda: _ClientLink(self, settings), self.host, self.port)
        except (OSError, TimeoutError) as error:
            silent = f"no connection in {settings.connect_seconds:g} s"
            words = silent if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            self._failed(f"{self.address}: {words}")
            raise Unreachable(self._trouble) from None
        self._link = link
        return link

    def _failed(self, trouble: str) -> None:
        self._failures += 1
        self._trouble = trouble
        pause_seconds = self._settings.pause.after(self._failures, self._chance())
        self._retry_at = asyncio.get_running_loop().time() + pause_seconds

    def answered(self) -> None:
        """By the connection, which has proved that there is a provider."""
        self._failures = 0

    def left(self, link: "_ClientLink") -> None:
        """By a connection whose provider takes no new calls over it."""
        if link is self._link:
            self._link = None
            self._leaving.add(link)
            self._trouble = f"{self.address} has said that it takes no new calls"
            self._retry_at = asyncio.get_running_loop().time() + self._settings.read_only_seconds

    def lost(self, link: "_ClientLink", reason: str) -> None:
        """By a connection that is none any more. One on which nothing was ever heard is as good as refused."""
        self._leaving.discard(link)
        if link is self._link:
            self._link = None
            if not link.heard:
                self._failed(reason)


class _ClientLink(Link):
    """One connection of a client."""

    def __init__(self, client: Client, settings: ClientSettings) -> None:
        super().__init__(settings.pace, settings.body_bytes_max)
        self._client = client
        self._read_only = False
        self._number = 0
        self.pending: dict[int, asyncio.Future[Frame]] = {}
        self.gone = asyncio.Event()

    @property
    def takes_calls(self) -> bool:
        return self.open and not self._read_only

    def next_id(self) -> int:
        self._number = self._number + 1 if self._number < ID_MAX else 1
        return self._number

    async def ask(self, body: bytes, call: Call) -> Frame:
        if not self.open:
            raise Unreachable(f"{call.words}: {self._reason or f'{self.peer} closed the connection'}")
        number = self.next_id()
        answer: asyncio.Future[Frame] = self._loop.create_future()
        self.pending[number] = answer
        try:
            self.send(request_frame(number, body))
            return await answer
        finally:
            self.pending.pop(number, None)
            if self._read_only and not self.pending:
                self.end(f"{self.peer} takes no new calls")

    def leave(self) -> None:
        """No new calls over this one; it ends with the last answer."""
        self._read_only = True
        self._client.left(self)
        if not self.pending:
            self.end(f"{self.peer} takes no new calls")

    def take(self, frame: Frame) -> None:
        if frame.request:
            if frame.two_way:
                words = "no calls are taken from a provider: callbacks are not spoken here"
                self.send(response_frame(frame.id, encode_words(words), Status.BAD_REQUEST))
            return
        self._client.answered()
        answer = self.pending.get(frame.id)
        if answer is not None and not answer.done():  # else nobody waits for it any more
            answer.set_result(frame)

    def told_read_only(self) -> None:
        self.leave()

    def ended(self, reason: str) -> None:
        self._client.lost(self, reason)
        for answer in self.pending.values():
            if not answer.done():
                answer.set_exception(ConnectionLost(reason))
        self.gone.set()
