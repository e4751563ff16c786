"""Bytes to values. Every function here takes the position of a value and returns the value and the position after it.

Whatever comes gives values or HessianError: a length is held against the bytes that are left before anything is made
of it, and nesting, values and classes have limits.
"""

import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from coldchain.clients.hessian2 import codes
from coldchain.clients.hessian2.strings import read_text, whole
from coldchain.clients.hessian2.values import HessianError, JavaObject, Key, TypedList, TypedMap

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Limits(msgspec.Struct, frozen=True):
    """What one message may have at most. Its lengths are limited by its bytes anyway."""

    depth: int = 256
    """Lists, maps and objects in one another; Python's own limit is about twice that."""
    elements: int = 1_000_000
    """Items, entries, fields, and what holds them: a byte may become some two hundred in memory."""
    classes: int = 1_000


class Decoder:
    """The values of one message, one after the other; its references and classes are known to all of them."""

    __slots__ = ("_classes", "_data", "_depth", "_limits", "_position", "_references", "_room", "_types")

    def __init__(self, data: bytes | memoryview, *, limits: Limits = Limits()) -> None:  # noqa: B008 - it is frozen
        self._data = data if type(data) is bytes else bytes(data)
        self._position = 0
        self._limits = limits
        self._room = limits.elements
        self._depth = 0
        self._references: list[object] = []
        self._classes: list[tuple[str, list[str]]] = []
        self._types: list[str] = []

    @property
    def position(self) -> int:
        """Of the byte that the next value begins with."""
        return self._position

    @property
    def at_end(self) -> bool:
        return self._position >= len(self._data)

    def read(self) -> object:
        """The next value. Raises HessianError; then it has no other."""
        self._depth = 0
        try:
            value, self._position = _READERS[self._data[self._position]](self, self._position)
        except (IndexError, struct.error):
            raise HessianError(len(self._data), "more bytes", "the end") from None
        except RecursionError:
            raise HessianError(self._position, "a value that is less nested", "the end of Python's stack") from None
        return value


def decode(data: bytes | memoryview, *, limits: Limits = Limits()) -> list[object]:  # noqa: B008 - it is frozen
    """All values of a message. Raises HessianError."""
    decoder = Decoder(data, limits=limits)
    values = []
    while not decoder.at_end:
        values.append(decoder.read())
    return values


def _unknown(decoder: Decoder, position: int) -> tuple[object, int]:
    raise HessianError(position, "a value", f"the byte {decoder._data[position]:#04x}")


# --- numbers and dates -------------------------------------------------------------------------------------------

_signed_16 = struct.Struct(">h").unpack_from
_signed_32 = struct.Struct(">i").unpack_from
_signed_64 = struct.Struct(">q").unpack_from
_double = struct.Struct(">d").unpack_from


def _constant(decoder: Decoder, position: int) -> tuple[object, int]:
    return _CONSTANTS[decoder._data[position]], position + 1


def _int_byte(decoder: Decoder, position: int) -> tuple[int, int]:
    data = decoder._data
    return (data[position] - codes.INT_BYTE_ZERO << 8) + data[position + 1], position + 2


def _int_short(decoder: Decoder, position: int) -> tuple[int, int]:
    data = decoder._data
    high = data[position] - codes.INT_SHORT_ZERO << 16
    return high + (data[position + 1] << 8) + data[position + 2], position + 3


def _int(decoder: Decoder, position: int) -> tuple[int, int]:
    return _signed_32(decoder._data, position + 1)[0], position + 5


def _long_byte(decoder: Decoder, position: int) -> tuple[int, int]:
    data = decoder._data
    return (data[position] - codes.LONG_BYTE_ZERO << 8) + data[position + 1], position + 2


def _long_short(decoder: Decoder, position: int) -> tuple[int, int]:
    data = decoder._data
    high = data[position] - codes.LONG_SHORT_ZERO << 16
    return high + (data[position + 1] << 8) + data[position + 2], position + 3


def _long(decoder: Decoder, position: int) -> tuple[int, int]:
    return _signed_64(decoder._data, position + 1)[0], position + 9


def _double_byte(decoder: Decoder, position: int) -> tuple[float, int]:
    byte = decoder._data[position + 1]
    return float(byte - 256 if byte > 127 else byte), position + 2


def _double_short(decoder: Decoder, position: int) -> tuple[float, int]:
    return float(_signed_16(decoder._data, position + 1)[0]), position + 3


def _double_thousandths(decoder: Decoder, position: int) -> tuple[float, int]:
    return 0.001 * _signed_32(decoder._data, position + 1)[0], position + 5


def _double_whole(decoder: Decoder, position: int) -> tuple[float, int]:
    return _double(decoder._data, position + 1)[0], position + 9


def _date(decoder: Decoder, position: int) -> tuple[datetime, int]:
    return _moment(position, _signed_64(decoder._data, position + 1)[0]), position + 9


def _date_minutes(decoder: Decoder, position: int) -> tuple[datetime, int]:
    return _moment(position, 60_000 * _signed_32(decoder._data, position + 1)[0]), position + 5


def _moment(position: int, milliseconds: int) -> datetime:
    try:
        return EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise HessianError(position, "a date of the years 1 to 9999", f"{milliseconds} ms after 1970") from None


# --- strings and binary data -------------------------------------------------------------------------------------


def _string_direct(decoder: Decoder, position: int) -> tuple[str, int]:
    data = decoder._data
    begin = position + 1
    end = begin + data[position]
    piece = data[begin:end]
    if piece.isascii() and end <= len(data):
        return piece.decode(), end
    return read_text(data, begin, data[position])


def _string(decoder: Decoder, position: int) -> tuple[str, int]:
    data = decoder._data
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


def _binary(decoder: Decoder, position: int) -> tuple[bytes, int]:
    data = decoder._data
    pieces = []
    while True:
        code = data[position]
        if codes.BINARY_DIRECT <= code < codes.STRING_SHORT:
            begin, length = position + 1, code - codes.BINARY_DIRECT
        elif codes.BINARY_SHORT <= code < codes.LONG_SHORT_ZERO - 4:
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


# --- lists, maps and objects -------------------------------------------------------------------------------------


def _integer(decoder: Decoder, position: int, expected: str) -> tuple[int, int]:
    """A length or a number of something: an int, never a long."""
    code = decoder._data[position]
    if code != codes.INT and not 0x80 <= code <= 0xD7:
        raise HessianError(position, expected, f"the byte {code:#04x}")
    value, end = _READERS[code](decoder, position)
    assert isinstance(value, int)
    return value, end


def _string_of(decoder: Decoder, position: int, expected: str) -> tuple[str, int]:
    code = decoder._data[position]
    if code < codes.BINARY_DIRECT:
        return _string_direct(decoder, position)
    if code not in _LONGER_STRINGS:
        raise HessianError(position, expected, f"the byte {code:#04x}")
    return _string(decoder, position)


def _type(decoder: Decoder, position: int) -> tuple[str, int]:
    """Written out, or the number of one that was."""
    code = decoder._data[position]
    if code == codes.INT or 0x80 <= code <= 0xD7:
        index, end = _integer(decoder, position, "a type")
        if not 0 <= index < len(decoder._types):
            raise HessianError(position, f"one of {len(decoder._types)} types", f"number {index}")
        return decoder._types[index], end
    name, end = _string_of(decoder, position, "a type")
    decoder._types.append(name)
    return name, end


def _enter(decoder: Decoder, position: int, count: int) -> None:
    """Something with so many values, or with as many as come if it is 0, begins."""
    decoder._depth += 1
    if decoder._depth > decoder._limits.depth:
        raise HessianError(position, f"nothing nested in more than {decoder._limits.depth} others", "one more")
    left = len(decoder._data) - position
    if not 0 <= count <= left:
        raise HessianError(position, f"{count} values", f"{left} bytes")
    decoder._room -= count + 1
    if decoder._room < 0:
        raise HessianError(position, f"at most {decoder._limits.elements} values", "more")


def _fill(decoder: Decoder, position: int, items: list[object], count: int) -> int:
    data = decoder._data
    _enter(decoder, position, count)
    for _ in range(count):
        code = data[position]
        value = _CONSTANTS[code]
        if value is _ABSENT:
            value, position = _READERS[code](decoder, position)
        else:
            position += 1
        items.append(value)
    decoder._depth -= 1
    return position


def _fill_open(decoder: Decoder, position: int, items: list[object]) -> int:
    data = decoder._data
    _enter(decoder, position, 0)
    while (code := data[position]) != codes.END:
        value, position = _READERS[code](decoder, position)
        items.append(value)
        decoder._room -= 1
        if decoder._room < 0:
            raise HessianError(position, f"at most {decoder._limits.elements} values", "more")
    decoder._depth -= 1
    return position + 1


def _list_direct(decoder: Decoder, position: int) -> tuple[list[object], int]:
    items: list[object] = []
    decoder._references.append(items)
    return items, _fill(decoder, position + 1, items, decoder._data[position] - codes.LIST_DIRECT)


def _list(decoder: Decoder, position: int) -> tuple[list[object], int]:
    items: list[object] = []
    decoder._references.append(items)
    count, position = _integer(decoder, position + 1, "the length of a list")
    return items, _fill(decoder, position, items, count)


def _list_open(decoder: Decoder, position: int) -> tuple[list[object], int]:
    items: list[object] = []
    decoder._references.append(items)
    return items, _fill_open(decoder, position + 1, items)


def _list_direct_typed(decoder: Decoder, position: int) -> tuple[TypedList, int]:
    count = decoder._data[position] - codes.LIST_DIRECT_TYPED
    name, position = _type(decoder, position + 1)
    made = TypedList(name, [])
    decoder._references.append(made)
    return made, _fill(decoder, position, made.items, count)


def _list_typed(decoder: Decoder, position: int) -> tuple[TypedList, int]:
    name, position = _type(decoder, position + 1)
    count, position = _integer(decoder, position, "the length of a list")
    made = TypedList(name, [])
    decoder._references.append(made)
    return made, _fill(decoder, position, made.items, count)


def _list_open_typed(decoder: Decoder, position: int) -> tuple[TypedList, int]:
    name, position = _type(decoder, position + 1)
    made = TypedList(name, [])
    decoder._references.append(made)
    return made, _fill_open(decoder, position, made.items)


def _map(decoder: Decoder, position: int) -> tuple[dict[object, object], int]:
    entries: dict[object, object] = {}
    decoder._references.append(entries)
    return entries, _fill_map(decoder, position + 1, entries)


def _map_typed(decoder: Decoder, position: int) -> tuple[TypedMap, int]:
    name, position = _type(decoder, position + 1)
    made = TypedMap(name, {})
    decoder._references.append(made)
    return made, _fill_map(decoder, position, made.entries)


def _fill_map(decoder: Decoder, position: int, entries: dict[object, object]) -> int:
    data = decoder._data
    _enter(decoder, position, 0)
    while (code := data[position]) != codes.END:
        key, position = _READERS[code](decoder, position)
        code = data[position]
        value = _CONSTANTS[code]
        if value is _ABSENT:
            value, position = _READERS[code](decoder, position)
        else:
            position += 1
        try:
            entries[key] = value
        except TypeError:
            entries[Key(key)] = value
        decoder._room -= 2
        if decoder._room < 0:
            raise HessianError(position, f"at most {decoder._limits.elements} values", "more")
    decoder._depth -= 1
    return position + 1


def _class(decoder: Decoder, position: int) -> tuple[object, int]:
    """Definitions, and the value after them, which is an object of one of them or any other."""
    data = decoder._data
    while (code := data[position]) == codes.CLASS:
        if len(decoder._classes) >= decoder._limits.classes:
            raise HessianError(position, f"at most {decoder._limits.classes} classes", "one more")
        name, position = _string_of(decoder, position + 1, "the name of a class")
        count, position = _integer(decoder, position, "the number of its fields")
        _enter(decoder, position, count)
        fields = []
        for _ in range(count):
            field, position = _string_of(decoder, position, "the name of a field")
            fields.append(field)
        decoder._depth -= 1
        decoder._classes.append((name, fields))
    return _READERS[code](decoder, position)


def _object_direct(decoder: Decoder, position: int) -> tuple[JavaObject, int]:
    return _instance(decoder, position + 1, decoder._data[position] - codes.OBJECT_DIRECT)


def _object(decoder: Decoder, position: int) -> tuple[JavaObject, int]:
    index, position = _integer(decoder, position + 1, "the number of a class")
    return _instance(decoder, position, index)


def _instance(decoder: Decoder, position: int, index: int) -> tuple[JavaObject, int]:
    if not 0 <= index < len(decoder._classes):
        raise HessianError(position, f"one of {len(decoder._classes)} classes", f"number {index}")
    name, names = decoder._classes[index]
    data = decoder._data
    _enter(decoder, position, len(names))
    fields: dict[str, object] = {}
    made = JavaObject(name, fields)
    decoder._references.append(made)
    for field in names:
        code = data[position]
        value = _CONSTANTS[code]
        if value is _ABSENT:
            value, position = _READERS[code](decoder, position)
        else:
            position += 1
        fields[field] = value
    decoder._depth -= 1
    return made, position


def _reference(decoder: Decoder, position: int) -> tuple[object, int]:
    index, end = _integer(decoder, position + 1, "the number of a value")
    if not 0 <= index < len(decoder._references):
        raise HessianError(position, f"one of {len(decoder._references)} values", f"number {index}")
    return decoder._references[index], end


# --- by their first byte -----------------------------------------------------------------------------------------

_ABSENT = object()
_LONGER_STRINGS = frozenset({codes.STRING, codes.STRING_PART, *range(codes.STRING_SHORT, codes.BINARY_SHORT)})


def _constants() -> list[object]:
    """Values that are one byte; else `_ABSENT`."""
    table: list[object] = [_ABSENT] * 256
    table[codes.INT_DIRECT_ZERO - 16 : codes.INT_DIRECT_ZERO + 48] = range(-16, 48)
    table[codes.LONG_DIRECT_ZERO - 8 : codes.LONG_DIRECT_ZERO + 16] = range(-8, 16)
    table[codes.NULL], table[codes.TRUE], table[codes.FALSE] = None, True, False
    table[codes.DOUBLE_NOUGHT], table[codes.DOUBLE_ONE] = 0.0, 1.0
    table[codes.STRING_DIRECT], table[codes.BINARY_DIRECT] = "", b""
    return table


def _readers() -> list[Callable[[Decoder, int], tuple[object, int]]]:
    table: list[Callable[[Decoder, int], tuple[object, int]]] = [_unknown] * 256

    def put(first: int, count: int, reader: Callable[[Decoder, int], tuple[object, int]]) -> None:
        table[first : first + count] = [reader] * count

    put(codes.STRING_DIRECT, 32, _string_direct)
    put(codes.BINARY_DIRECT, 16, _binary)
    put(codes.STRING_SHORT, 4, _string)
    put(codes.BINARY_SHORT, 4, _binary)
    put(codes.LONG_SHORT_ZERO - 4, 8, _long_short)
    put(codes.OBJECT_DIRECT, codes.DIRECT_OBJECTS, _object_direct)
    put(codes.LIST_DIRECT_TYPED, codes.DIRECT_LISTS, _list_direct_typed)
    put(codes.LIST_DIRECT, codes.DIRECT_LISTS, _list_direct)
    put(codes.INT_BYTE_ZERO - 8, 16, _int_byte)
    put(codes.INT_SHORT_ZERO - 4, 8, _int_short)
    put(codes.LONG_BYTE_ZERO - 8, 16, _long_byte)
    for code, reader in _BY_CODE.items():
        table[code] = reader
    for code, value in enumerate(_CONSTANTS):
        if value is not _ABSENT:
            table[code] = _constant
    return table


_BY_CODE: dict[int, Callable[[Decoder, int], tuple[object, int]]] = {
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
    codes.LIST_OPEN_TYPED: _list_open_typed,
    codes.LIST_TYPED: _list_typed,
    codes.LIST_OPEN: _list_open,
    codes.LIST: _list,
    codes.MAP_TYPED: _map_typed,
    codes.MAP: _map,
    codes.CLASS: _class,
    codes.OBJECT: _object,
    codes.REFERENCE: _reference,
}
_CONSTANTS = _constants()
_READERS = _readers()
