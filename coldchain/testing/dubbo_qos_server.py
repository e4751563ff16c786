"""The QoS server of a provider of Dubbo as Dubbo's documentation has it: no provider in Java is to be had here.

One port for both: who begins with `GET` is spoken to in HTTP, everybody else as a user of telnet, with a banner and a
prompt. A command is the path or the line, its arguments the values of the query or the other words; what is answered
is text. `offline` and `online` take a pattern of services, all of them where there is none.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, urlsplit

FOREIGN = "\r\nForeign Ip Not Permitted, Consider Config It In Whitelist.\r\n"
BANNER = "A banner of many lines\r\n"
PROMPT = "dubbo>"
BANNER_SECONDS = 0.5


class DubboQosServer:
    """`services`: whether each is announced. `foreign`: who connects is taken for one of another machine; `permits`:
    whether such a one may connect. `denied`: commands that need a permission that he does not have. `silent`: it
    accepts, and never answers. `says`: what it sends instead, byte for byte; `stays`: and does not close."""

    def __init__(self, *services: str) -> None:
        self.services = dict.fromkeys(services, True)
        self.foreign = False
        self.permits = True
        self.denied: frozenset[str] = frozenset()
        self.silent = False
        self.says: bytes | None = None
        self.stays = False
        self.port = 0
        self.serving: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection."""
        self.serving.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.silent:
                await reader.read()
            elif self.says is not None:
                await reader.readline()
                writer.write(self.says)
                if self.stays:
                    await reader.read()
            elif self.foreign and not self.permits:
                writer.write(FOREIGN.encode())
            else:
                await self._talk(reader, writer)
            await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(BANNER_SECONDS):
                first = await reader.readline()
        except TimeoutError:
            first = b""
        if first.startswith((b"GET ", b"POST ")):
            while (await reader.readline()).strip():
                pass
            path = urlsplit(first.split()[1].decode())
            status, text = self._execute(path.path.strip("/"), [value for _, value in parse_qsl(path.query)])
            body = text.encode()
            head = f"HTTP/1.1 {status} X\r\ncontent-type: text/plain\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            return
        if not first:
            writer.write(f"{BANNER}{PROMPT}".encode())
            first = await reader.readline()
        while line := first.decode().split():
            if line == ["quit"]:
                return
            status, text = self._execute(line[0], line[1:])
            text = f"{line[0]} :no such command" if status == 404 else text
            writer.write(f"{text}\r\n{PROMPT}".encode())
            first = await reader.readline()

    def _execute(self, name: str, arguments: list[str]) -> tuple[int, str]:
        if name in self.denied and self.foreign:
            return 403, ""
        if name in ("offline", "online"):
            pattern = arguments[0] if arguments else ".*"
            found = [service for service in self.services if re.fullmatch(pattern, service)]
            self.services |= dict.fromkeys(found, name == "online")
            return 200, "OK" if found else "service not found"
        if name == "ls":
            rows = [f"|{service}|{'Y' if there else 'N'}|" for service, there in self.services.items()]
            return 200, "\n".join(["As Provider side:", "|Provider Service Name|PUB|", *rows, "As Consumer side:"])
        return (200, "true") if name == "ready" else (404, "")


@contextlib.asynccontextmanager
async def qos_server(server: DubboQosServer, host: str = "127.0.0.1") -> AsyncIterator[DubboQosServer]:
    """It listens at a port of its own until the end."""
    listening = await asyncio.start_server(server.accept, host, 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()
        await asyncio.gather(*server.serving)
