"""An application that keeps the bytes of every request, and holds them against the strictest reading of HTTP."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

LINE = re.compile(rb"([A-Z]+) (/[!-~]*) HTTP/1\.1")
HEADER = re.compile(rb"([A-Za-z0-9-]+): ([^\0\r\n]*)")
LENGTH = re.compile(rb"0|[1-9][0-9]*")


@dataclass(frozen=True)
class Arrived:
    """A request as the strictest server reads it."""

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass
class StrictApplication:
    """`requests` by target; `wrong`: what a server could have read in another way."""

    port: int = 0
    requests: dict[str, list[Arrived]] = field(default_factory=dict)
    wrong: list[bytes] = field(default_factory=list)


def read_head(head: bytes) -> Arrived | None:
    """The request that begins so, without its body. None where another server could read something else."""
    line, *lines = head.split(b"\r\n")
    first = LINE.fullmatch(line)
    found = [HEADER.fullmatch(one) for one in lines]
    if first is None or None in found:
        return None
    headers = tuple((one[1].lower(), one[2]) for one in found if one)
    lengths = [value for name, value in headers if name == b"content-length"]
    letters = [re.sub(rb"[^a-z]", b"", name) for name, _ in headers]
    if len(lengths) > 1 or not all(LENGTH.fullmatch(one) for one in lengths) or b"transferencoding" in letters:
        return None
    if letters.count(b"contentlength") != len(lengths) or letters.count(b"host") != 1:
        return None
    return Arrived(first[1].decode(), first[2].decode(), headers, b"")


async def _serve(application: StrictApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            rest = error.partial if isinstance(error, asyncio.IncompleteReadError) else b"a head without end"
            if rest:
                application.wrong.append(rest)
            return
        one = read_head(head[:-4])
        if one is None:
            application.wrong.append(head)
            return
        length = int(dict(one.headers).get(b"content-length", b"0"))
        body = await reader.readexactly(length)
        arrived = Arrived(one.method, one.target, one.headers, body)
        application.requests.setdefault(one.target, []).append(arrived)
        answer = one.target.encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer))
        if one.method != "HEAD":
            writer.write(answer)


@contextlib.asynccontextmanager
async def strict_application() -> AsyncIterator[StrictApplication]:
    """Listens on 127.0.0.1. It keeps connections, so that what is left over of one request would be the next one's."""
    application = StrictApplication()
    writers: set[asyncio.StreamWriter] = set()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        writers.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await _serve(application, reader, writer)
        finally:
            writer.close()
            writers.discard(writer)
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    application.port = server.sockets[0].getsockname()[1]
    try:
        yield application
    finally:
        server.close()
        for writer in list(writers):
            writer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
