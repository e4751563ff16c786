"""Values to bytes."""

import struct
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import copysign
from typing import Any

from coldchain.clients.hessian2 import codes
from coldchain.clients.hessian2.strings import units
from coldchain.clients.hessian2.values import HessianError, JavaObject, Key, Long, TypedList, TypedMap

DEPTH_MAX = 256
"""As many lists, maps and objects in one another as a decoder takes."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

_byte_and_16 = struct.Struct(">BH").pack
_byte_and_signed_16 = struct.Struct(">Bh").pack
_byte_and_signed_32 = struct.Struct(">Bi").pack
_byte_and_signed_64 = struct.Struct(">Bq").pack
_byte_and_double = struct.Struct(">Bd").pack


class Encoder:
    """One message. A list, map or object that is written twice is written once, and then referred to: so it may hold
    itself, and must not change between two writes."""

    __slots__ = ("_buffer", "_classes", "_depth", "_kept", "_references", "_types")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._references: dict[int, int] = {}
        self._kept: list[object] = []
        self._classes: dict[tuple[str, ...], int] = {}
        self._types: dict[str, int] = {}
        self._depth = 0

    def write(self, value: object) -> None:
        """Raises HessianError for what has no form in Hessian; then the message is of no use."""
        self._depth = 0
        try:
            _write(self, value)
        except RecursionError:
            raise HessianError(len(self._buffer), "a value that is less nested", "the end of Python's stack") from None

    def getvalue(self) -> bytes:
        """What was written so far."""
        return bytes(self._buffer)


def encode(*values: object) -> bytes:
    """A message of these values. Raises HessianError."""
    encoder = Encoder()
    for value in values:
        encoder.write(value)
    return encoder.getvalue()


def _write(encoder: Encoder, value: object) -> None:
    (_WRITERS.get(type(value)) or _writer_of_a_base(encoder, value))(encoder, value)


def _writer_of_a_base(encoder: Encoder, value: object) -> Callable[[Encoder, Any], None]:
    for base in type(value).__mro__:
        if base in _WRITERS:
            return _WRITERS[base]
    raise HessianError(len(encoder._buffer), "a value that Hessian has", type(value).__name__)


# --- values that hold no others ----------------------------------------------------------------------------------


def _none(encoder: Encoder, value: None) -> None:
    encoder._buffer.append(codes.NULL)


def _bool(encoder: Encoder, value: bool) -> None:
    encoder._buffer.append(codes.TRUE if value else codes.FALSE)


def _int(encoder: Encoder, value: int) -> None:
    buffer = encoder._buffer
    if -0x10 <= value <= 0x2F:
        buffer.append(value + codes.INT_DIRECT_ZERO)
    elif -0x800 <= value <= 0x7FF:
        buffer += ((codes.INT_BYTE_ZERO << 8) + value).to_bytes(2)
    elif -0x40000 <= value <= 0x3FFFF:
        buffer += ((codes.INT_SHORT_ZERO << 16) + value).to_bytes(3)
    elif -0x80000000 <= value <= 0x7FFFFFFF:
        buffer += _byte_and_signed_32(codes.INT, value)
    else:
        _long(encoder, value)


def _long(encoder: Encoder, value: int) -> None:
    buffer = encoder._buffer
    if -0x08 <= value <= 0x0F:
        buffer.append(value + codes.LONG_DIRECT_ZERO)
    elif -0x800 <= value <= 0x7FF:
        buffer += ((codes.LONG_BYTE_ZERO << 8) + value).to_bytes(2)
    elif -0x40000 <= value <= 0x3FFFF:
        buffer += ((codes.LONG_SHORT_ZERO << 16) + value).to_bytes(3)
    elif -0x80000000 <= value <= 0x7FFFFFFF:
        buffer += _byte_and_signed_32(codes.LONG_INT, value)
    elif -0x8000000000000000 <= value <= 0x7FFFFFFFFFFFFFFF:
        buffer += _byte_and_signed_64(codes.LONG, value)
    else:
        raise HessianError(len(buffer), "an int of at most 64 bits", f"one of {value.bit_length()}")


def _float(encoder: Encoder, value: float) -> None:
    buffer = encoder._buffer
    if not -0x8000 <= value <= 0x7FFF or value != (whole := int(value)) or (whole == 0 and copysign(1, value) < 0):
        buffer += _byte_and_double(codes.DOUBLE, value)
    elif whole == 0:
        buffer.append(codes.DOUBLE_NOUGHT)
    elif whole == 1:
        buffer.append(codes.DOUBLE_ONE)
    elif -0x80 <= whole <= 0x7F:
        buffer += bytes((codes.DOUBLE_BYTE, whole & 0xFF))
    else:
        buffer += _byte_and_signed_16(codes.DOUBLE_SHORT, whole)


def _datetime(encoder: Encoder, value: datetime) -> None:
    if value.tzinfo is None:
        raise HessianError(len(encoder._buffer), "a datetime with its zone", value.isoformat())
    milliseconds = (value - EPOCH) // _MILLISECOND
    minutes, rest = divmod(milliseconds, 60_000)
    if rest == 0 and -0x80000000 <= minutes <= 0x7FFFFFFF:
        encoder._buffer += _byte_and_signed_32(codes.DATE_MINUTES, minutes)
    else:
        encoder._buffer += _byte_and_signed_64(codes.DATE, milliseconds)


def _str(encoder: Encoder, value: str) -> None:
    buffer = encoder._buffer
    if not value.isascii():
        value = units(value)
    length = len(value)
    if length > codes.PART_UNITS:
        value = _all_but_the_last_part(buffer, value)
        length = len(value)
    if length < 0x20:
        buffer.append(length)
    elif length < 0x400:
        buffer += ((codes.STRING_SHORT << 8) + length).to_bytes(2)
    else:
        buffer += _byte_and_16(codes.STRING, length)
    buffer += value.encode("utf-8", "surrogatepass")


def _all_but_the_last_part(buffer: bytearray, value: str) -> str:
    """Returns the last part. No part ends between two surrogates of one character."""
    begin = 0
    while len(value) - begin > codes.PART_UNITS:
        end = begin + codes.PART_UNITS
        if "\ud800" <= value[end - 1] <= "\udbff":
            end -= 1
        buffer += _byte_and_16(codes.STRING_PART, end - begin)
        buffer += value[begin:end].encode("utf-8", "surrogatepass")
        begin = end
    return value[begin:]


def _bytes(encoder: Encoder, value: bytes | bytearray | memoryview) -> None:
    buffer = encoder._buffer
    left = memoryview(value).cast("B")
    while len(left) > codes.PART_UNITS:
        buffer += _byte_and_16(codes.BINARY_PART, codes.PART_UNITS)
        buffer += left[: codes.PART_UNITS]
        left = left[codes.PART_UNITS :]
    length = len(left)
    if length < 0x10:
        buffer.append(codes.BINARY_DIRECT + length)
    elif length < 0x400:
        buffer += ((codes.BINARY_SHORT << 8) + length).to_bytes(2)
    else:
        buffer += _byte_and_16(codes.BINARY, length)
    buffer += left


# --- lists, maps and objects -------------------------------------------------------------------------------------


def _begins(encoder: Encoder, value: object) -> bool:
    """Whether it is written for the first time; else a reference is written."""
    index = encoder._references.setdefault(id(value), len(encoder._references))
    if index != len(encoder._kept):
        encoder._buffer.append(codes.REFERENCE)
        _int(encoder, index)
        return False
    encoder._kept.append(value)  # as long as it lives nothing else has its id
    encoder._depth += 1
    if encoder._depth > DEPTH_MAX:
        raise HessianError(len(encoder._buffer), f"nothing nested in more than {DEPTH_MAX} others", "one more")
    return True


def _type(encoder: Encoder, name: str) -> None:
    known = encoder._types.get(name)
    if known is None:
        encoder._types[name] = len(encoder._types)
        _str(encoder, name)
    else:
        _int(encoder, known)


def _list(encoder: Encoder, value: Sequence[object]) -> None:
    if not _begins(encoder, value):
        return
    length = len(value)
    if length < codes.DIRECT_LISTS:
        encoder._buffer.append(codes.LIST_DIRECT + length)
    else:
        encoder._buffer.append(codes.LIST)
        _int(encoder, length)
    _all(encoder, value)


def _typed_list(encoder: Encoder, value: TypedList) -> None:
    if not _begins(encoder, value):
        return
    length = len(value.items)
    if length < codes.DIRECT_LISTS:
        encoder._buffer.append(codes.LIST_DIRECT_TYPED + length)
        _type(encoder, value.type)
    else:
        encoder._buffer.append(codes.LIST_TYPED)
        _type(encoder, value.type)
        _int(encoder, length)
    _all(encoder, value.items)


def _all(encoder: Encoder, values: Iterable[object]) -> None:
    known = _WRITERS.get
    for value in values:
        (known(type(value)) or _writer_of_a_base(encoder, value))(encoder, value)
    encoder._depth -= 1


def _dict(encoder: Encoder, value: dict[object, object]) -> None:
    if _begins(encoder, value):
        encoder._buffer.append(codes.MAP)
        _entries(encoder, value)


def _typed_map(encoder: Encoder, value: TypedMap) -> None:
    if _begins(encoder, value):
        encoder._buffer.append(codes.MAP_TYPED)
        _type(encoder, value.type)
        _entries(encoder, value.entries)


def _entries(encoder: Encoder, entries: dict[object, object]) -> None:
    known = _WRITERS.get
    for key, value in entries.items():
        (known(type(key)) or _writer_of_a_base(encoder, key))(encoder, key)
        (known(type(value)) or _writer_of_a_base(encoder, value))(encoder, value)
    encoder._buffer.append(codes.END)
    encoder._depth -= 1


def _key(encoder: Encoder, value: Key) -> None:
    _write(encoder, value.value)


def _object(encoder: Encoder, value: JavaObject) -> None:
    if not _begins(encoder, value):
        return
    shape = (value.type, *value.fields)
    index = encoder._classes.get(shape)
    if index is None:
        index = encoder._classes[shape] = len(encoder._classes)
        encoder._buffer += _definition(shape)
    if index < codes.DIRECT_OBJECTS:
        encoder._buffer.append(codes.OBJECT_DIRECT + index)
    else:
        encoder._buffer.append(codes.OBJECT)
        _int(encoder, index)
    _all(encoder, value.fields.values())


@lru_cache(maxsize=1024)
def _definition(shape: tuple[str, ...]) -> bytes:
    """The name of a class and those of its fields; the same in every message."""
    name, *fields = shape
    encoder = Encoder()
    encoder._buffer.append(codes.CLASS)
    _str(encoder, name)
    _int(encoder, len(fields))
    for field in fields:
        _str(encoder, field)
    return encoder.getvalue()


_WRITERS: dict[type, Callable[[Encoder, Any], None]] = {
    type(None): _none,
    bool: _bool,
    int: _int,
    Long: _long,
    float: _float,
    str: _str,
    bytes: _bytes,
    bytearray: _bytes,
    memoryview: _bytes,
    datetime: _datetime,
    list: _list,
    tuple: _list,
    TypedList: _typed_list,
    dict: _dict,
    TypedMap: _typed_map,
    Key: _key,
    JavaObject: _object,
}
"""By the exact type: what is derived of one is looked for along its bases."""
