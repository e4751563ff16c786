"""answer: an HTTP/1.1 answer, read as its bytes come in."""

from typing import Literal

HEAD_BYTES_MAX = 65536


class MalformedAnswer(Exception):  # noqa: N818 -- the field's word
    """These bytes are no answer to one request."""


class Answer:
    """Reads one answer to a GET or POST. Its body is measured, not kept."""

    __slots__ = ("_buffer", "_framing", "_remaining", "instance", "keeps_connection", "request_id", "status", "version")

    def __init__(self) -> None:
        self.status: int | None = None
        self.version: str | None = None
        self.instance: str | None = None
        self.request_id: str | None = None
        self.keeps_connection = True
        self._buffer = b""
        self._framing: Literal["length", "chunk size", "chunk", "chunk end", "trailers", "to the end"] = "length"
        self._remaining = 0

    def feed(self, data: bytes) -> bool:
        """Takes the next bytes. Returns True when the answer is complete. Raises MalformedAnswer."""
        self._buffer += data
        while self.status is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > HEAD_BYTES_MAX:
                    raise MalformedAnswer("endless head")
                return False
            head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
            self._read_head(head)
        if self._framing not in ("length", "to the end"):
            return self._read_chunks()
        if self._framing == "to the end":
            self._buffer = b""
            return False
        if len(self._buffer) > self._remaining:
            raise MalformedAnswer("longer than its Content-Length")
        self._remaining -= len(self._buffer)
        self._buffer = b""
        return self._remaining == 0

    def end(self) -> bool:
        """The connection was closed. Returns True when that makes the answer complete."""
        return self.status is not None and self._framing == "to the end"

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        status = first[9:12]
        if (
            not first.startswith(b"HTTP/1.")
            or len(status) != 3
            or not status.isdigit()
            or first[12:13] not in (b" ", b"")
        ):
            raise MalformedAnswer(f"no status line: {first[:80]!r}")
        if status.startswith(b"1"):
            return  # an interim answer; the real one follows
        fields: dict[bytes, bytes] = {}
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon:
                raise MalformedAnswer(f"no header: {line[:80]!r}")
            fields[name.lower()] = value.strip()
        self.status = int(status)
        self.version = _text(fields.get(b"x-version"))
        self.instance = _text(fields.get(b"x-instance"))
        self.request_id = _text(fields.get(b"x-request-id"))
        connection = fields.get(b"connection", b"").lower()
        self.keeps_connection = connection != b"close" and (first[7:8] == b"1" or connection == b"keep-alive")
        if self.status in (204, 304):
            return
        length = fields.get(b"content-length")
        if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
            self._framing = "chunk size"
        elif length is None:
            self._framing = "to the end"
            self.keeps_connection = False
        elif length.isdigit():
            self._remaining = int(length)
        else:
            raise MalformedAnswer(f"no length: {length[:80]!r}")

    def _read_chunks(self) -> bool:
        while True:
            if self._framing == "chunk":
                taken = min(self._remaining, len(self._buffer))
                self._remaining -= taken
                self._buffer = self._buffer[taken:]
                if self._remaining:
                    return False
                self._framing = "chunk end"
            line, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                return False
            self._buffer = rest
            if self._framing == "trailers":
                if not line:
                    if rest:
                        raise MalformedAnswer("longer than its chunks")
                    return True
            elif self._framing == "chunk end":
                if line:
                    raise MalformedAnswer(f"longer than its chunk: {line[:80]!r}")
                self._framing = "chunk size"
            else:
                try:
                    self._remaining = int(line.partition(b";")[0], 16)
                except ValueError:
                    raise MalformedAnswer(f"no chunk size: {line[:80]!r}") from None
                self._framing = "chunk" if self._remaining else "trailers"


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
