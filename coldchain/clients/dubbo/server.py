"""A server: calls over any number of connections, and a stop that loses none whose consumer can be told of it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from coldchain.clients.dubbo.errors import DubboError, Refused, RemoteException, TooLarge, Unreadable
from coldchain.clients.dubbo.frame import BODY_BYTES_MAX, HESSIAN2, Frame, Status, response_frame
from coldchain.clients.dubbo.link import Link
from coldchain.clients.dubbo.message import READ_ONLY, Call, Result, decode_call, encode_result, encode_words
from coldchain.clients.dubbo.pace import USUAL_PACE, Pace
from coldchain.clients.hessian2 import HessianError, encode

LAST_WORDS_SECONDS = 1.0
"""For what was written before a connection is closed."""
Handler = Callable[[Call], Awaitable[Result]]
"""Raises RemoteException for what the method raises, Refused for a status; all else is told as SERVICE_ERROR."""


@dataclass(frozen=True)
class ServerSettings:
    """What a server takes, and from how many."""

    body_bytes_max: int = BODY_BYTES_MAX
    """Of a call and of a result."""
    calls_max: int = 1000
    """At one time, of all connections; who comes then is told so at once, and has been carried out nowhere."""
    connections_max: int = 10_000
    kept_bytes_max: int = 256 * 1024 * 1024
    """Of calls whose end has not come, of all connections together: the one that goes beyond it is closed."""
    pace: Pace = USUAL_PACE


class Server:
    """Listens from `start` to `close`."""

    def __init__(self, handler: Handler, *, settings: ServerSettings | None = None) -> None:
        self.handler = handler
        self.settings = settings or ServerSettings()
        self.port = 0
        self.stopping = False
        self.links: set[_ServerLink] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        """One for each call that is being carried out; it goes on when its consumer has gone."""
        self.kept_bytes = 0
        """Of calls whose end has not come."""
        self.touched_at = 0.0
        """When a call was being carried out, or somebody connected, last."""
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Port 0: one that is free, see `port`."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _ServerLink(self), host, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self, *, settle_seconds: float = 0.0, drain_seconds: float = 0.0) -> None:
        """Tells all consumers, and who connects from now on, that it takes no new calls, and serves what comes all the
        same until there was none for `settle_seconds`, or `drain_seconds` are over. Who did not hear of the stop in
        time is heard out: only then it listens no more."""
        self.stopping = True
        self.touched_at = asyncio.get_running_loop().time()
        for link in self.links:
            link.tell_read_only()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_seconds):
                await self._quiet(settle_seconds)
        if self._server is not None:
            self._server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        gone = [asyncio.ensure_future(link.gone.wait()) for link in self.links]
        for link in list(self.links):
            link.end("the server was closed")
        if gone:
            await asyncio.wait(gone, timeout=LAST_WORDS_SECONDS)
            for link in list(self.links):
                link.end("the server was closed", at_once=True)
            await asyncio.wait(gone)

    async def _quiet(self, settle_seconds: float) -> None:
        """Returns once no call was carried out, and nobody has connected, for so long."""
        while True:
            rest_seconds = self.touched_at + settle_seconds - asyncio.get_running_loop().time()
            if self.tasks:
                await asyncio.wait(self.tasks)
            elif rest_seconds > 0:
                await asyncio.sleep(rest_seconds)
            else:
                return


class _ServerLink(Link):
    """One connection of a server."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.settings.pace, server.settings.body_bytes_max)
        self._server = server
        self.gone = asyncio.Event()
        self._kept_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(self._server.links) >= self._server.settings.connections_max:
            self.end("the server takes no more connections", at_once=True)
            return
        self._server.links.add(self)
        if self._server.stopping:
            self._server.touched_at = self._loop.time()
            self.tell_read_only()

    def tell_read_only(self) -> None:
        self.send_event(encode(READ_ONLY), two_way=False)

    def take(self, frame: Frame) -> None:
        if not frame.request:
            return  # an answer to nothing that was asked
        try:
            call = self._call(frame)
        except DubboError as error:
            self._answer(frame, encode_words(error.message), Status.BAD_REQUEST)
            return
        if len(self._server.tasks) >= self._server.settings.calls_max:
            words = f"{self._server.settings.calls_max} calls are being carried out, which is as many as may be"
            self._answer(frame, encode_words(words), Status.EXHAUSTED)
            return
        task = self._loop.create_task(self._carry_out(frame, call))
        self._server.tasks.add(task)
        task.add_done_callback(self._carried_out)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._keep(self._reader.kept_bytes)
        if self._kept_bytes and self._server.kept_bytes > self._server.settings.kept_bytes_max:
            self.end("the server has no room for another call", at_once=True)

    def _keep(self, kept_bytes: int) -> None:
        self._server.kept_bytes += kept_bytes - self._kept_bytes
        self._kept_bytes = kept_bytes

    def pause_writing(self) -> None:
        """Who does not take his answers is not asked for more calls."""
        super().pause_writing()
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._transport is not None and self.open:
            self._transport.resume_reading()

    def ended(self, reason: str) -> None:
        self._server.links.discard(self)
        self._keep(0)
        self.gone.set()

    def _call(self, frame: Frame) -> Call:
        """Raises Unreadable, TooLarge."""
        if frame.body is None:
            limit = self._server.settings.body_bytes_max
            raise TooLarge(
                f"a call of {frame.length} bytes is larger than the {limit} that a frame may have", heard=False
            )
        if frame.serialization != HESSIAN2:
            words = f"serialization {frame.serialization} is not spoken here, only Hessian 2 ({HESSIAN2})"
            raise Unreadable(words, heard=False)
        return decode_call(frame.body)

    async def _carry_out(self, frame: Frame, call: Call) -> None:
        status = int(Status.OK)
        try:
            body = encode_result(await self._server.handler(call), call.protocol)
        except RemoteException as error:
            body = encode_result(error, call.protocol)
        except Refused as error:
            status, body = error.status, encode_words(error.message)
        except Unreadable as error:
            status, body = Status.BAD_REQUEST, encode_words(error.message)
        except HessianError as error:
            status, body = Status.BAD_RESPONSE, encode_words(f"{call.words}: the result cannot be sent: {error}")
        except Exception as error:  # whatever a method does, its consumer waits for an answer
            words = f"{type(error).__name__}: {error}"
            status, body = Status.SERVICE_ERROR, encode_words(f"{call.words} failed: {words}")
        limit = self._server.settings.body_bytes_max
        if len(body) > limit:
            words = f"{call.words}: a result of {len(body)} bytes is larger than the {limit} that a frame may have"
            status, body = Status.BAD_RESPONSE, encode_words(words)
        self._answer(frame, body, status)

    def _carried_out(self, task: asyncio.Task[None]) -> None:
        self._server.tasks.discard(task)
        self._server.touched_at = self._loop.time()

    def _answer(self, frame: Frame, body: bytes, status: int) -> None:
        if frame.two_way:
            self.send(response_frame(frame.id, body, status))
