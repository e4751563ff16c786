"""Frames: sixteen bytes of header, and a body of the length that it says, in pieces of any size."""

import enum
import struct
from typing import NamedTuple

from coldchain.clients.dubbo.errors import DamagedFrame

MAGIC = 0xDABB
HEADER = struct.Struct(">HBBqi")
HEADER_BYTES = HEADER.size
BODY_BYTES_MAX = 8 * 1024 * 1024
"""Dubbo's own limit where nobody set another."""
REQUEST, TWO_WAY, EVENT, SERIALIZATION = 0x80, 0x40, 0x20, 0x1F
HESSIAN2 = 2
ID_MAX = 2**63 - 1


class Status(enum.IntEnum):
    """Of a response. All but OK come with words instead of a result."""

    OK = 20
    SERIALIZATION_ERROR = 25
    CLIENT_TIMEOUT = 30
    SERVER_TIMEOUT = 31
    CHANNEL_INACTIVE = 35
    BAD_REQUEST = 40
    BAD_RESPONSE = 50
    SERVICE_NOT_FOUND = 60
    SERVICE_ERROR = 70
    SERVER_ERROR = 80
    CLIENT_ERROR = 90
    EXHAUSTED = 100


class Frame(NamedTuple):
    """One message. `body` is None where it was too large to be kept: `length` still says how large it was."""

    flags: int
    status: int
    id: int
    length: int
    body: bytes | None

    @property
    def request(self) -> bool:
        return bool(self.flags & REQUEST)

    @property
    def two_way(self) -> bool:
        return bool(self.flags & TWO_WAY)

    @property
    def event(self) -> bool:
        return bool(self.flags & EVENT)

    @property
    def serialization(self) -> int:
        return self.flags & SERIALIZATION


def encode_frame(flags: int, status: int, number: int, body: bytes) -> bytes:
    return HEADER.pack(MAGIC, flags | HESSIAN2, status, number, len(body)) + body


def request_frame(number: int, body: bytes, *, two_way: bool = True) -> bytes:
    return encode_frame(REQUEST | TWO_WAY if two_way else REQUEST, 0, number, body)


def response_frame(number: int, body: bytes, status: int = Status.OK) -> bytes:
    return encode_frame(0, status, number, body)


class FrameReader:
    """Give it what comes, as it comes. It never keeps more than one body of `body_bytes_max` and the last piece: what
    is larger goes by uncounted for, and is told as a frame without a body once its end has come."""

    def __init__(self, body_bytes_max: int = BODY_BYTES_MAX) -> None:
        self._limit = body_bytes_max
        self._buffer = bytearray()
        self._large: Frame | None = None
        self._skip = 0

    def feed(self, piece: bytes) -> list[Frame]:
        """The frames that end in this piece. Raises DamagedFrame; it is of no use afterwards."""
        frames: list[Frame] = []
        if self._large is not None:
            piece = self._skipped(piece, frames)
        buffer = self._buffer
        buffer += piece
        at, end = 0, len(buffer)
        while end - at >= HEADER_BYTES:
            magic, flags, status, number, length = HEADER.unpack_from(buffer, at)
            if magic != MAGIC:
                raise DamagedFrame(f"a frame begins with {MAGIC:#06x}, this with {magic:#06x}")
            if length < 0:
                raise DamagedFrame(f"a frame of {length} bytes")
            begin = at + HEADER_BYTES
            if length > self._limit:
                self._large, self._skip = Frame(flags, status, number, length, None), length
                rest = self._skipped(bytes(buffer[begin:]), frames)
                buffer[:] = rest
                at, end = 0, len(buffer)
                continue
            if end - begin < length:
                break
            at = begin + length
            frames.append(Frame(flags, status, number, length, bytes(buffer[begin:at])))
        del buffer[:at]
        return frames

    def _skipped(self, piece: bytes, frames: list[Frame]) -> bytes:
        """What of the piece comes after the large frame; nothing while that goes on."""
        assert self._large is not None
        count = min(self._skip, len(piece))
        self._skip -= count
        if self._skip == 0:
            frames.append(self._large)
            self._large = None
        return piece[count:]

    @property
    def kept_bytes(self) -> int:
        return len(self._buffer)

    @property
    def between_frames(self) -> bool:
        """Whether a connection may end here."""
        return self._large is None and not self._buffer
