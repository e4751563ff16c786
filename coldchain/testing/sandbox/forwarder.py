"""Ports of the machine's 127.0.0.1 that lead into the sandbox, for a browser outside."""

import asyncio
import contextlib
import socket
from collections.abc import Sequence

from coldchain.model.errors import Conflict

_CHUNK_BYTES = 65536


class PortInUse(Conflict):
    """Somebody listens there already."""


def listen(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1:`port` in the caller's network. Raises PortInUse."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PortInUse(
            f"Port {port} of 127.0.0.1 cannot be had: {error.strerror}",
            todo="Stop the program that listens there (`ss -ltnp` names it)",
        ) from error
    return listener


def serve(listeners: Sequence[socket.socket]) -> None:
    """Pass each connection on to the same port of 127.0.0.1 in the network namespace the caller is now in. For ever."""
    asyncio.run(_serve(listeners))


async def _serve(listeners: Sequence[socket.socket]) -> None:
    for listener in listeners:
        port: int = listener.getsockname()[1]

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int = port) -> None:
            try:
                inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:  # nobody listens inside (yet): for the caller that is a refused connection
                writer.close()
                return
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
            inner_writer.close()
            writer.close()

        await asyncio.start_server(accept, sock=listener)
    await asyncio.Event().wait()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, until its end, which is passed on too."""
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()
