"""The connection that the Docker Engine turns into a stream both ways when a command is run in a container.

Written on a plain socket: no HTTP client hands out a connection that has stopped to speak HTTP.
"""

import asyncio
import json
from collections.abc import AsyncGenerator

HEADER_BYTES = 8
"""Without a terminal each piece of output is preceded by its stream's number and its length."""
PIECE_BYTES = 64 * 1024
STANDARD_ERROR = 2


class Refusal(Exception):  # noqa: N818 -- the field's word
    """The daemon answered with an error: HTTP status and what it sent."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class DockerStream:
    """Raises OSError when the connection is lost."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, terminal: bool) -> None:
        self._reader = reader
        self._writer = writer
        self._terminal = terminal

    async def output(self) -> AsyncGenerator[tuple[bool, bytes], None]:
        """Pieces of output, with whether they were written to standard error; with a terminal none is."""
        while True:
            if self._terminal:
                piece, error = await self._reader.read(PIECE_BYTES), False
            else:
                try:
                    header = await self._reader.readexactly(HEADER_BYTES)
                    piece = await self._reader.readexactly(int.from_bytes(header[4:], "big"))
                except asyncio.IncompleteReadError:
                    return
                error = header[0] == STANDARD_ERROR
            if not piece:
                return
            yield error, piece

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def end_input(self) -> None:
        if self._writer.can_write_eof():
            self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()


async def open_stream(socket: str, path: str, document: object, *, terminal: bool) -> DockerStream:
    """POST the document to the path and take over the connection. Raises Refusal, OSError."""
    body = json.dumps(document).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        status = int(answer.split(maxsplit=2)[1])
        if status not in (101, 200):
            raise Refusal(status, (await reader.read(PIECE_BYTES)).decode(errors="replace"))
    except asyncio.IncompleteReadError as error:
        writer.close()
        raise ConnectionResetError("the daemon closed the connection") from error
    except BaseException:
        writer.close()
        raise
    return DockerStream(reader, writer, terminal=terminal)
