"""DockerSession: port Session on a command that the Docker Engine runs in a container."""

import contextlib
from collections.abc import AsyncIterator

from coldchain.clients.docker import DockerClient, DockerRefused, DockerUnavailable
from coldchain.clients.docker_stream import DockerStream
from coldchain.model.errors import Unavailable
from coldchain.ports.session import Stream, TerminalSize


class DockerSession:
    """The Engine ends no command whose caller has left; what reads its input or has a terminal notices by itself."""

    def __init__(self, client: DockerClient, name: str, stream: DockerStream, *, terminal: bool) -> None:
        self._client = client
        self._name = name
        self._stream = stream
        self._terminal = terminal

    async def output(self) -> AsyncIterator[tuple[Stream, bytes]]:
        try:
            async for error, piece in self._stream.output():
                yield "error" if error else "output", piece
        except OSError as error:
            raise Unavailable(f"the Docker Engine was lost: {error}") from error

    async def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # it has ended, as its output tells
            await self._stream.write(data)

    async def end_input(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.end_input()

    async def resize(self, size: TerminalSize) -> None:
        if not self._terminal:
            return
        with contextlib.suppress(DockerRefused, DockerUnavailable):  # it has ended, as its output tells
            await self._client.resize_execution(self._name, columns=size.columns, rows=size.rows)

    async def exit_status(self) -> int:
        try:
            return int((await self._client.inspect_execution(self._name))["ExitCode"])
        except (DockerRefused, DockerUnavailable) as error:
            raise Unavailable(f"nobody knows how the command ended: {error}") from error

    async def close(self) -> None:
        self._stream.close()
