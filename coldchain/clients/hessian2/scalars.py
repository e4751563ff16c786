"""Values that hold no others: numbers, dates, strings, binary data. Each function here is a `Reader`."""

import struct
from datetime import UTC, datetime, timedelta

from coldchain.clients.hessian2 import codes
from coldchain.clients.hessian2.message import Message, Reader
from coldchain.clients.hessian2.strings import read_text, whole
from coldchain.clients.hessian2.values import HessianError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ABSENT = object()


def _constants() -> list[object]:
    """Values that are one byte; else `ABSENT`."""
    table: list[object] = [ABSENT] * 256
    table[codes.INT_DIRECT_ZERO - 16 : codes.INT_DIRECT_ZERO + 48] = range(-16, 48)
    table[codes.LONG_DIRECT_ZERO - 8 : codes.LONG_DIRECT_ZERO + 16] = range(-8, 16)
    table[codes.NULL], table[codes.TRUE], table[codes.FALSE] = None, True, False
    table[codes.DOUBLE_NOUGHT], table[codes.DOUBLE_ONE] = 0.0, 1.0
    table[codes.STRING_DIRECT], table[codes.BINARY_DIRECT] = "", b""
    return table


CONSTANTS = _constants()
"""By the byte. Who reads many values looks here before it calls a reader."""

_signed_16 = struct.Struct(">h").unpack_from
_signed_32 = struct.Struct(">i").unpack_from
_signed_64 = struct.Struct(">q").unpack_from
_double = struct.Struct(">d").unpack_from


def _constant(message: Message, position: int) -> tuple[object, int]:
    return CONSTANTS[message.data[position]], position + 1


def _int_byte(message: Message, position: int) -> tuple[int, int]:
    data = message.data
    return (data[position] - codes.INT_BYTE_ZERO << 8) + data[position + 1], position + 2


def _int_short(message: Message, position: int) -> tuple[int, int]:
    data = message.data
    high = data[position] - codes.INT_SHORT_ZERO << 16
    return high + (data[position + 1] << 8) + data[position + 2], position + 3


def _int(message: Message, position: int) -> tuple[int, int]:
    return _signed_32(message.data, position + 1)[0], position + 5


def _long_byte(message: Message, position: int) -> tuple[int, int]:
    data = message.data
    return (data[position] - codes.LONG_BYTE_ZERO << 8) + data[position + 1], position + 2


def _long_short(message: Message, position: int) -> tuple[int, int]:
    data = message.data
    high = data[position] - codes.LONG_SHORT_ZERO << 16
    return high + (data[position + 1] << 8) + data[position + 2], position + 3


def _long(message: Message, position: int) -> tuple[int, int]:
    return _signed_64(message.data, position + 1)[0], position + 9


def _double_byte(message: Message, position: int) -> tuple[float, int]:
    byte = message.data[position + 1]
    return float(byte - 256 if byte > 127 else byte), position + 2


def _double_short(message: Message, position: int) -> tuple[float, int]:
    return float(_signed_16(message.data, position + 1)[0]), position + 3


def _double_thousandths(message: Message, position: int) -> tuple[float, int]:
    return 0.001 * _signed_32(message.data, position + 1)[0], position + 5


def _double_whole(message: Message, position: int) -> tuple[float, int]:
    return _double(message.data, position + 1)[0], position + 9


def _date(message: Message, position: int) -> tuple[datetime, int]:
    return _moment(position, _signed_64(message.data, position + 1)[0]), position + 9


def _date_minutes(message: Message, position: int) -> tuple[datetime, int]:
    return _moment(position, 60_000 * _signed_32(message.data, position + 1)[0]), position + 5


def _moment(position: int, milliseconds: int) -> datetime:
    try:
        return EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise HessianError(position, "a date of the years 1 to 9999", f"{milliseconds} ms after 1970") from None


def _string_direct(message: Message, position: int) -> tuple[str, int]:
    data = message.data
    begin = position + 1
    end = begin + data[position]
    piece = data[begin:end]
    if piece.isascii() and end <= len(data):
        return piece.decode(), end
    return read_text(data, begin, data[position])


def _string(message: Message, position: int) -> tuple[str, int]:
    data = message.data
    pieces = []
    code = data[position]
    while code == codes.STRING_PART:
        piece, position = read_text(data, position + 3, data[position + 1] << 8 | data[position + 2])
        pieces.append(piece)
        code = data[position]
    if code < codes.BINARY_DIRECT:
        piece, position = read_text(data, position + 1, code)
    elif codes.STRING_SHORT <= code < codes.BINARY_SHORT:
        piece, position = read_text(data, position + 2, (code - codes.STRING_SHORT << 8) + data[position + 1])
    elif code == codes.STRING:
        piece, position = read_text(data, position + 3, data[position + 1] << 8 | data[position + 2])
    else:
        raise HessianError(position, "the rest of a string", f"the byte {code:#04x}")
    pieces.append(piece)
    return whole("".join(pieces)) if len(pieces) > 1 else piece, position


def _binary(message: Message, position: int) -> tuple[bytes, int]:
    data = message.data
    pieces = []
    while True:
        code = data[position]
        if codes.BINARY_DIRECT <= code < codes.STRING_SHORT:
            begin, length = position + 1, code - codes.BINARY_DIRECT
        elif codes.BINARY_SHORT <= code < codes.BINARY_SHORT + 4:
            begin, length = position + 2, (code - codes.BINARY_SHORT << 8) + data[position + 1]
        elif code in (codes.BINARY, codes.BINARY_PART):
            begin, length = position + 3, data[position + 1] << 8 | data[position + 2]
        else:
            raise HessianError(position, "the rest of binary data", f"the byte {code:#04x}")
        position = begin + length
        if position > len(data):
            raise HessianError(begin, f"{length} bytes of binary data", f"{len(data) - begin}")
        pieces.append(data[begin:position])
        if code != codes.BINARY_PART:
            return b"".join(pieces), position


def read_string(message: Message, position: int, expected: str) -> tuple[str, int]:
    """A string where nothing else may be."""
    code = message.data[position]
    if code < codes.BINARY_DIRECT:
        return _string_direct(message, position)
    if code not in _LONGER_STRINGS:
        raise HessianError(position, expected, f"the byte {code:#04x}")
    return _string(message, position)


_LONGER_STRINGS = frozenset({codes.STRING, codes.STRING_PART, *range(codes.STRING_SHORT, codes.BINARY_SHORT)})


def _readers() -> dict[int, Reader]:
    table: dict[int, Reader] = {
        codes.INT: _int,
        codes.LONG: _long,
        codes.LONG_INT: _int,
        codes.DOUBLE: _double_whole,
        codes.DOUBLE_BYTE: _double_byte,
        codes.DOUBLE_SHORT: _double_short,
        codes.DOUBLE_THOUSANDTHS: _double_thousandths,
        codes.DATE: _date,
        codes.DATE_MINUTES: _date_minutes,
        codes.STRING: _string,
        codes.STRING_PART: _string,
        codes.BINARY: _binary,
        codes.BINARY_PART: _binary,
    }

    def put(first: int, count: int, reader: Reader) -> None:
        table.update(dict.fromkeys(range(first, first + count), reader))

    put(codes.STRING_DIRECT, 32, _string_direct)
    put(codes.BINARY_DIRECT, 16, _binary)
    put(codes.STRING_SHORT, 4, _string)
    put(codes.BINARY_SHORT, 4, _binary)
    put(codes.LONG_SHORT_ZERO - 4, 8, _long_short)
    put(codes.INT_BYTE_ZERO - 8, 16, _int_byte)
    put(codes.INT_SHORT_ZERO - 4, 8, _int_short)
    put(codes.LONG_BYTE_ZERO - 8, 16, _long_byte)
    for code, value in enumerate(CONSTANTS):
        if value is not ABSENT:
            table[code] = _constant
    return table


SCALARS = _readers()
"""By the first byte."""
