"""connection: one TCP connection that carries one request at a time.

Sockets are used directly, without the event loop's transports: it costs about half of the processor time, which the
generator shares with all that it tests, and it shows which byte was the first to be written.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from coldchain.testing.load.answer import Answer, MalformedAnswer
from coldchain.testing.load.outcome import ErrorKind

Address = tuple[socket.AddressFamily, Any]
"""A family and what `connect` takes of it."""

Ended = Callable[["Connection", Answer | ErrorKind, str], None]
"""Told how a request ended: with an answer, or with a kind of error and a detail."""


class Connection:
    """`idle_end` is called when the peer closes the connection while it carries nothing; `carried` counts requests."""

    __slots__ = ("_answer", "_ended", "_idle_end", "_loop", "_payload", "_reading", "_socket", "_writing", "carried")

    def __init__(self, loop: asyncio.AbstractEventLoop, idle_end: Callable[["Connection"], None]) -> None:
        self._loop = loop
        self._idle_end = idle_end
        self._socket: socket.socket | None = None
        self._answer: Answer | None = None
        self._ended: Ended
        self._payload = b""
        self._reading = self._writing = False
        self.carried = 0

    def send_first(self, address: Address, payload: bytes, ended: Ended) -> None:
        """Connect and send. All outcomes reach `ended`, perhaps before this returns."""
        self._start(payload, ended)
        try:
            self._socket = socket.socket(address[0], socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.connect(address[1])
        except BlockingIOError:
            pass  # under way; on the own machine mostly done already, so try at once
        except OSError as error:
            self._fail_connecting(error)
            return
        self._write()

    def send_again(self, payload: bytes, ended: Ended) -> bool:
        """Send over the kept connection. Returns False, with nothing sent, when the peer has closed it."""
        assert self._socket is not None
        try:
            self._socket.recv(1)
        except BlockingIOError:
            pass  # nothing to read: neither an end nor bytes that nobody asked for
        except OSError:
            self.close()
            return False
        else:
            self.close()
            return False
        try:
            sent = self._socket.send(payload)
        except OSError:
            self.close()
            return False
        self._start(payload[sent:], ended)
        self.carried += 1
        if self._payload:
            self._write_later()
        return True

    def close(self) -> None:
        if self._socket is None:
            return
        if self._reading:
            self._loop.remove_reader(self._socket.fileno())
        if self._writing:
            self._loop.remove_writer(self._socket.fileno())
        self._reading = self._writing = False
        self._socket.close()
        self._socket = self._answer = None

    def _start(self, payload: bytes, ended: Ended) -> None:
        self._payload = payload
        self._ended = ended
        self._answer = Answer()

    def _write_later(self) -> None:
        assert self._socket is not None
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._socket.fileno(), self._write)

    def _write(self) -> None:
        assert self._socket is not None
        try:
            sent = self._socket.send(self._payload)
        except BlockingIOError:
            self._write_later()
            return
        except OSError as error:
            if self._reading:
                self._end("reset", str(error))
            else:
                self._fail_connecting(error)
            return
        self._payload = self._payload[sent:]
        if not self._reading:
            self.carried += 1
            self._reading = True
            self._loop.add_reader(self._socket.fileno(), self._read)
        if self._payload:
            self._write_later()
        elif self._writing:
            self._writing = False
            self._loop.remove_writer(self._socket.fileno())

    def _read(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._end("reset", f"{error}, {_progress(self._answer)}")
            return
        answer = self._answer
        if answer is None:
            self._end("closed", "")
            return
        try:
            if answer.feed(data) if data else answer.end():
                self._end(answer, "")
            elif not data:
                self._end("closed", _progress(answer))
        except MalformedAnswer as error:
            self._end("malformed", str(error))

    def _fail_connecting(self, error: OSError) -> None:
        kind: ErrorKind = "unreachable"
        if isinstance(error, ConnectionRefusedError):
            kind = "refused"
        elif isinstance(error, ConnectionResetError | BrokenPipeError):
            kind = "reset"  # it had been accepted
        self._end(kind, str(error))

    def _end(self, result: Answer | ErrorKind, detail: str) -> None:
        carrying = self._answer is not None
        self._answer = None
        if isinstance(result, str) or not result.keeps_connection or self._payload:
            self.close()
        if carrying:
            self._ended(self, result, detail)
        else:
            self._idle_end(self)

    @property
    def open(self) -> bool:
        return self._socket is not None


def _progress(answer: Answer | None) -> str:
    if answer is None or answer.status is None:
        return "before an answer"
    return f"in an answer of status {answer.status} by instance {answer.instance}"
