"""Applications that misbehave on the wire, one script per connection, and remember every request that reached them."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Request:
    """What arrived. Header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class RawApplication:
    """A listening application. `requests`: all that was read whole, in order; `connections`: how many were accepted."""

    port: int
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)


Script = Callable[[RawApplication, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_request(application: RawApplication, reader: asyncio.StreamReader) -> Request | None:
    """None at the end of the connection."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head[:-4].split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    method, target, _ = line.split(" ")
    request = Request(method, target, headers, body)
    application.requests.append(request)
    application.arrived.set()
    return request


def response(body: bytes, status: int = 200, extra: str = "") -> bytes:
    return f"HTTP/1.1 {status} Status\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


async def answers(application: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Every request with its port, on a kept-alive connection."""
    while await read_request(application, reader) is not None:
        writer.write(response(str(application.port).encode()))


async def holds(application: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers only when it is released."""
    while await read_request(application, reader) is not None:
        await application.released.wait()
        writer.write(response(str(application.port).encode()))


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def resets(application: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads the request whole and resets the connection."""
    await read_request(application, reader)
    _reset(writer)


async def answers_as_asked(
    application: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """By the path: `/error` with status 500, `/reset` by resetting the connection, `/slow` after 30 ms, `/events` by
    a stream that ends when it is released."""
    while (request := await read_request(application, reader)) is not None:
        if request.target == "/reset":
            _reset(writer)
            return
        if request.target == "/events":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nbegun")
            await application.released.wait()
            return
        if request.target == "/slow":
            await asyncio.sleep(0.03)
        writer.write(response(b"an answer", 500 if request.target == "/error" else 200))


async def closes(application: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Closes at once, without reading."""


async def answers_once(application: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers one request as if the connection stayed, and closes it when it is released."""
    await read_request(application, reader)
    writer.write(response(str(application.port).encode()))
    await application.released.wait()


def answers_status(status: int) -> Script:
    """Answers every request with this status."""

    async def script(application: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(application, reader) is not None:
            writer.write(response(b"from the app", status))

    return script


@contextlib.asynccontextmanager
async def raw_application(script: Script = answers, port: int = 0) -> AsyncIterator[RawApplication]:
    """Listens on 127.0.0.1 until the end of the block, which cuts whatever is still open."""
    application = RawApplication(0)
    open_connections: set[asyncio.StreamWriter] = set()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        application.connections += 1
        open_connections.add(writer)
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError):
                await script(application, reader, writer)
        finally:
            writer.close()
            open_connections.discard(writer)
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    application.port = server.sockets[0].getsockname()[1]
    try:
        yield application
    finally:
        server.close()
        application.released.set()
        for writer in list(open_connections):
            writer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
