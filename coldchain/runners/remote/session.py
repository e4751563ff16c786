"""session: a program beside a task over a WebSocket. Binary messages are bytes: to its input; from it behind one byte
that tells the stream. Text messages are `SessionWords`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import msgspec
from aiohttp import WSMsgType, web

from coldchain.model.errors import ColdchainError, MalformedDocument, Unavailable
from coldchain.ports.runner import Runner
from coldchain.ports.session import Session, Stream, TerminalSize
from coldchain.runners.remote.wire import (
    MESSAGE_BYTES_MAX,
    SIGN_SECONDS,
    STREAM_BYTES,
    STREAMS,
    SessionWords,
    error_of,
    failure_of,
)


async def serve_session(request: web.Request, runner: Runner, stopping: asyncio.Event) -> web.StreamResponse:
    """`argument` (repeated: the program and its arguments), `columns` and `rows` where it is to have a terminal."""
    command = request.query.getall("argument", [])
    socket = web.WebSocketResponse(heartbeat=SIGN_SECONDS, max_msg_size=MESSAGE_BYTES_MAX)
    if not command or not socket.can_prepare(request).ok:
        raise MalformedDocument("a program runs over a WebSocket, its words given as `argument`")
    size = _size(request)
    await socket.prepare(request)
    with contextlib.suppress(ConnectionError):  # who asked has left
        try:
            session = await runner.open_session(request.match_info["task_id"], command, size)
            try:
                await socket.send_str(_text(SessionWords(opened=True)))
                last = SessionWords(exit_status=await _carry(socket, session, stopping))
            finally:
                await session.close()
        except ColdchainError as error:
            last = SessionWords(failure=failure_of(error))
        if not socket.closed:
            await socket.send_str(_text(last))
    await socket.close()
    return socket


def _text(words: SessionWords) -> str:
    return msgspec.json.encode(words).decode()


def _size(request: web.Request) -> TerminalSize | None:
    try:
        given = [int(request.query[name]) for name in ("columns", "rows") if name in request.query]
    except ValueError as error:
        raise MalformedDocument(f"the size of the terminal is wrong: {error}") from error
    return TerminalSize(*given) if len(given) == 2 else None


async def _carry(socket: web.WebSocketResponse, session: Session, stopping: asyncio.Event) -> int | None:
    """Both ways until the program ends (its exit status), the client leaves or the server stops (None)."""
    sending = asyncio.create_task(_send(socket, session))
    others = [asyncio.create_task(_receive(socket, session)), asyncio.create_task(_stopped(stopping))]
    try:
        await asyncio.wait({sending, *others}, return_when=asyncio.FIRST_COMPLETED)
        return await sending if sending.done() else None
    finally:
        for task in (sending, *others):
            task.cancel()
        await asyncio.gather(sending, *others, return_exceptions=True)


async def _stopped(stopping: asyncio.Event) -> None:
    await stopping.wait()


async def _send(socket: web.WebSocketResponse, session: Session) -> int:
    async for stream, piece in session.output():
        await socket.send_bytes(STREAM_BYTES[stream] + piece)
    return await session.exit_status()


async def _receive(socket: web.WebSocketResponse, session: Session) -> None:
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            await session.write(message.data)
        elif message.type is WSMsgType.TEXT:
            words = msgspec.json.decode(message.data, type=SessionWords)
            if words.end_of_input:
                await session.end_input()
            elif words.columns is not None and words.rows is not None:
                await session.resize(TerminalSize(columns=words.columns, rows=words.rows))


class RemoteSession:
    """Port Session at the other end."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._last: SessionWords | None = None

    async def opened(self) -> None:
        """Wait until the program runs. Raises what kept it from running."""
        message = await self._socket.receive()
        if message.type is not WSMsgType.TEXT:
            raise Unavailable("the executor was lost before the program ran")
        words = msgspec.json.decode(message.data, type=SessionWords)
        if words.failure is not None:
            raise error_of(words.failure)

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        async for message in self._socket:
            if message.type is WSMsgType.BINARY:
                yield STREAMS[message.data[0]], message.data[1:]
            elif message.type is WSMsgType.TEXT:
                self._last = msgspec.json.decode(message.data, type=SessionWords)
                if self._last.failure is not None:
                    raise error_of(self._last.failure)
                return
        raise Unavailable("the executor was lost on the way; the program may still run")

    async def write(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # it has ended, as its output tells
            await self._socket.send_bytes(data)

    async def end_input(self) -> None:
        await self._say(SessionWords(end_of_input=True))

    async def resize(self, size: TerminalSize) -> None:
        await self._say(SessionWords(columns=size.columns, rows=size.rows))

    async def exit_status(self) -> int:
        if self._last is None or self._last.exit_status is None:
            raise Unavailable("nobody knows how the command ended: the executor stopped")
        return self._last.exit_status

    async def close(self) -> None:
        await self._socket.close()

    async def _say(self, words: SessionWords) -> None:
        with contextlib.suppress(ConnectionError):
            await self._socket.send_str(_text(words))
