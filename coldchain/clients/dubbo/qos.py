"""qos: a command for the QoS server of a provider, by HTTP.

It answers in HTTP, but for who may not connect: he is told so in plain text, as a user of telnet would be, before he
has said anything. What it says is text for people, so little is made of it.
"""

import asyncio
import contextlib

from coldchain.clients.host_port import host_port

ANSWER_BYTES_MAX = 65536
FOREIGN = b"foreign ip not permitted"
NOTHING_THERE = "service not found"


class QosError(Exception):
    """The command was not carried out, as far as anybody can tell."""


class QosUnreachable(QosError):  # noqa: N818 -- the field's word
    """No connection, or no answer: it may have been carried out."""


class QosForeign(QosError):  # noqa: N818
    """It takes commands from its own machine alone, or this one from who has a permission that we do not have."""


class QosRefused(QosError):  # noqa: N818
    """It did not do what it was told."""


async def command(host: str, port: int, name: str, *, within_seconds: float) -> str:
    """Tell it `offline` or another word of its, and return what it says."""
    where = host_port(host, port)
    request = f"GET /{name} HTTP/1.1\r\nHost: {where}\r\nConnection: close\r\n\r\n".encode()
    try:
        async with asyncio.timeout(within_seconds):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                answer = await _exchange(reader, writer, request)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        raise QosUnreachable(f"{where} gave no answer in {within_seconds:g} s") from None
    except OSError as error:
        raise QosUnreachable(f"{where}: {error.strerror or error}") from error
    return _read(answer, f"{where} to {name!r}")


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    """All that it says. Who may not connect finds the connection closed as he writes, and can read why all the same."""
    writer.write(request)
    answer = b""
    try:
        await writer.drain()
        while len(answer) < ANSWER_BYTES_MAX and (piece := await reader.read(ANSWER_BYTES_MAX - len(answer))):
            answer += piece
            if _is_whole(answer):
                break
    except ConnectionError:
        if not answer:
            raise
    return answer


def _is_whole(answer: bytes) -> bool:
    """Whether the length that an answer in HTTP names has come: not every server closes."""
    head, blank, body = answer.partition(b"\r\n\r\n")
    if not blank or not head.startswith(b"HTTP/"):
        return False
    return any(
        name.strip().lower() == b"content-length" and value.strip().isdigit() and len(body) >= int(value)
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n"))
    )


def _read(answer: bytes, where: str) -> str:
    if FOREIGN in answer.lower():
        raise QosForeign(f"{where}: foreign addresses are not permitted")
    head, blank, body = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n")[0].split()
    if not blank or len(status) < 2 or not status[0].startswith(b"HTTP/"):
        if not answer:
            raise QosUnreachable(f"{where}: the connection was closed without an answer")
        raise QosRefused(f"{where}: {_short(answer)!r} is no answer of a QoS server")
    text = _short(body)
    if status[1] == b"403":
        raise QosForeign(f"{where}: permission denied")
    if status[1] == b"404":
        raise QosRefused(f"{where}: it does not know this command")
    if status[1] != b"200":
        raise QosRefused(f"{where}: {status[1].decode('ascii', 'replace')} {text}".rstrip())
    if text.lower().startswith(NOTHING_THERE):
        raise QosRefused(f"{where}: {text}")
    return text


def _short(said: bytes) -> str:
    return said.decode("utf-8", "replace").strip()[:200]
