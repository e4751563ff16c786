"""dns_server: the registry's DNS over UDP and TCP, on one port of choice."""

import asyncio
import contextlib
import random
from bisect import bisect_left
from functools import partial
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import structlog
from dns.message import Message
from dns.rrset import RRset

from coldchain.model.errors import ColdchainError
from coldchain.registry.server.content import Content
from coldchain.registry.server.dns_answers import answer

DATAGRAM_BYTES, DATAGRAM_BYTES_MAX, STREAM_BYTES_MAX = 512, 4096, 65535
QUESTION_BYTES_MAX = 4096
HEADER_BYTES = 12
IDLE_SECONDS = 10.0
CONNECTIONS_MAX = 200
TRIES = 10

log = structlog.get_logger(__name__)


class DnsServer:
    """Answers for the domain `consul.` and refuses all else. Port 0: any free one; `port` says which."""

    def __init__(self, content: Content, host: str, port: int) -> None:
        self._content = content
        self.host = host
        self.port = port
        self._stream: asyncio.Server | None = None
        self._datagrams: asyncio.DatagramTransport | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on both. Raises ColdchainError naming the address when that cannot be."""
        wanted = self.port
        for left in reversed(range(TRIES if wanted == 0 else 1)):
            try:
                await self._open(wanted)
                break
            except (OSError, OverflowError) as error:
                await self.stop()
                if not left:
                    raise ColdchainError(
                        f"The registry's DNS cannot listen on {self.host}:{wanted}: {error}",
                        todo="Choose another address with --dns.",
                    ) from error
        log.info("registry's DNS listens", host=self.host, port=self.port)

    async def _open(self, port: int) -> None:
        self._stream = await asyncio.start_server(self._serve, self.host, port)
        self.port = self._stream.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        self._datagrams, _ = await loop.create_datagram_endpoint(
            partial(_Datagrams, self), local_addr=(self.host, self.port)
        )

    async def stop(self) -> None:
        """Listen no more."""
        if self._datagrams is not None:
            self._datagrams.close()
        if self._stream is not None:
            self._stream.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._datagrams = self._stream = None

    def answered(self, packet: bytes, bytes_max: int | None) -> bytes | None:
        """The answer to a packet; None where none is due. `bytes_max` None: as much as the asker says he can take, cut
        off and marked so if it is more."""
        if len(packet) < HEADER_BYTES or packet[2] & 0x80:
            return None  # not a question: answering answers would never end
        try:
            question = dns.message.from_wire(packet)
        except (dns.exception.DNSException, ValueError):
            return _malformed(packet)
        try:
            response = answer(self._content, question, random.shuffle)
            limit = bytes_max or min(DATAGRAM_BYTES_MAX, max(DATAGRAM_BYTES, question.payload))
            return fitting(response, limit)
        except Exception:
            log.exception("a bug of ours: no answer", question=str(question.question))
            failure = dns.message.make_response(question)
            failure.set_rcode(dns.rcode.SERVFAIL)
            return failure.to_wire()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) <= CONNECTIONS_MAX:
                with contextlib.suppress(OSError, EOFError, TimeoutError):
                    await self._converse(reader, writer)
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(IDLE_SECONDS):
                size = int.from_bytes(await reader.readexactly(2), "big")
                if size > QUESTION_BYTES_MAX:
                    return
                packet = await reader.readexactly(size)
                response = self.answered(packet, STREAM_BYTES_MAX)
                if response is None:
                    return
                writer.write(len(response).to_bytes(2, "big") + response)
                await writer.drain()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, packet: bytes, address: tuple[str, int]) -> None:
        response = self._server.answered(packet, None)
        if response is not None and self._transport is not None:
            self._transport.sendto(response, address)


def fitting(response: Message, bytes_max: int) -> bytes:
    """The message in at most so many bytes: what is only helpful goes first; then so many answers are told as there is
    room for, marked as cut off, for those who do not ask again over TCP."""
    try:
        return response.to_wire(max_size=bytes_max)
    except dns.exception.TooBig:
        response.additional.clear()
    try:
        return response.to_wire(max_size=bytes_max)
    except dns.exception.TooBig:
        response.flags |= dns.flags.TC
    whole = response.answer[0]
    kept = bisect_left(range(1, len(whole) + 1), True, key=lambda count: not _fits(response, whole, count, bytes_max))
    response.answer = [_first(whole, kept)] if kept else []
    return response.to_wire(max_size=bytes_max)


def _first(whole: RRset, count: int) -> RRset:
    return dns.rrset.from_rdata_list(whole.name, whole.ttl, list(whole)[:count])


def _fits(response: Message, whole: RRset, count: int, bytes_max: int) -> bool:
    response.answer = [_first(whole, count)]
    try:
        response.to_wire(max_size=bytes_max)
    except dns.exception.TooBig:
        return False
    return True


def _malformed(packet: bytes) -> bytes:
    """A header that says so, with the id of the question."""
    return packet[:2] + bytes([0x80, dns.rcode.FORMERR]) + bytes(8)
