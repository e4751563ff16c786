"""Values that hold others: lists, maps, objects, and references to them. Each is known before what it holds, which may
be itself."""

from coldchain.clients.hessian2 import codes
from coldchain.clients.hessian2.message import Message, Reader
from coldchain.clients.hessian2.scalars import ABSENT, CONSTANTS, SCALARS, read_string
from coldchain.clients.hessian2.values import HessianError, JavaObject, Key, TypedList, TypedMap


def _integer(message: Message, position: int, expected: str) -> tuple[int, int]:
    """A length or a number of something: an int, never a long."""
    code = message.data[position]
    if code != codes.INT and not 0x80 <= code <= 0xD7:
        raise HessianError(position, expected, f"the byte {code:#04x}")
    value, end = READERS[code](message, position)
    assert isinstance(value, int)
    return value, end


def _type(message: Message, position: int) -> tuple[str, int]:
    """Written out, or the number of one that was."""
    code = message.data[position]
    if code == codes.INT or 0x80 <= code <= 0xD7:
        index, end = _integer(message, position, "a type")
        if not 0 <= index < len(message.types):
            raise HessianError(position, f"one of {len(message.types)} types", f"number {index}")
        return message.types[index], end
    name, end = read_string(message, position, "a type")
    message.types.append(name)
    return name, end


def _fill(message: Message, position: int, items: list[object], count: int) -> int:
    data = message.data
    message.enter(position, count)
    for _ in range(count):
        code = data[position]
        value = CONSTANTS[code]
        if value is ABSENT:
            value, position = READERS[code](message, position)
        else:
            position += 1
        items.append(value)
    message.depth -= 1
    return position


def _fill_open(message: Message, position: int, items: list[object]) -> int:
    data = message.data
    message.enter(position, 0)
    while (code := data[position]) != codes.END:
        value, position = READERS[code](message, position)
        items.append(value)
        message.take(position, 1)
    message.depth -= 1
    return position + 1


def _list_direct(message: Message, position: int) -> tuple[list[object], int]:
    items: list[object] = []
    message.references.append(items)
    return items, _fill(message, position + 1, items, message.data[position] - codes.LIST_DIRECT)


def _list(message: Message, position: int) -> tuple[list[object], int]:
    items: list[object] = []
    message.references.append(items)
    count, position = _integer(message, position + 1, "the length of a list")
    return items, _fill(message, position, items, count)


def _list_open(message: Message, position: int) -> tuple[list[object], int]:
    items: list[object] = []
    message.references.append(items)
    return items, _fill_open(message, position + 1, items)


def _list_direct_typed(message: Message, position: int) -> tuple[TypedList, int]:
    count = message.data[position] - codes.LIST_DIRECT_TYPED
    name, position = _type(message, position + 1)
    made = TypedList(name, [])
    message.references.append(made)
    return made, _fill(message, position, made.items, count)


def _list_typed(message: Message, position: int) -> tuple[TypedList, int]:
    name, position = _type(message, position + 1)
    count, position = _integer(message, position, "the length of a list")
    made = TypedList(name, [])
    message.references.append(made)
    return made, _fill(message, position, made.items, count)


def _list_open_typed(message: Message, position: int) -> tuple[TypedList, int]:
    name, position = _type(message, position + 1)
    made = TypedList(name, [])
    message.references.append(made)
    return made, _fill_open(message, position, made.items)


def _map(message: Message, position: int) -> tuple[dict[object, object], int]:
    entries: dict[object, object] = {}
    message.references.append(entries)
    return entries, _fill_map(message, position + 1, entries)


def _map_typed(message: Message, position: int) -> tuple[TypedMap, int]:
    name, position = _type(message, position + 1)
    made = TypedMap(name, {})
    message.references.append(made)
    return made, _fill_map(message, position, made.entries)


def _fill_map(message: Message, position: int, entries: dict[object, object]) -> int:
    data = message.data
    message.enter(position, 0)
    while (code := data[position]) != codes.END:
        key, position = READERS[code](message, position)
        code = data[position]
        value = CONSTANTS[code]
        if value is ABSENT:
            value, position = READERS[code](message, position)
        else:
            position += 1
        try:
            entries[key] = value
        except TypeError:
            entries[Key(key)] = value
        message.take(position, 2)
    message.depth -= 1
    return position + 1


def _class(message: Message, position: int) -> tuple[object, int]:
    """Definitions, and the value after them, which is an object of one of them or any other."""
    data = message.data
    while (code := data[position]) == codes.CLASS:
        if len(message.classes) >= message.limits.classes:
            raise HessianError(position, f"at most {message.limits.classes} classes", "one more")
        name, position = read_string(message, position + 1, "the name of a class")
        count, position = _integer(message, position, "the number of its fields")
        message.enter(position, count)
        fields = []
        for _ in range(count):
            field, position = read_string(message, position, "the name of a field")
            fields.append(field)
        message.depth -= 1
        message.classes.append((name, fields))
    return READERS[code](message, position)


def _object_direct(message: Message, position: int) -> tuple[JavaObject, int]:
    return _instance(message, position + 1, message.data[position] - codes.OBJECT_DIRECT)


def _object(message: Message, position: int) -> tuple[JavaObject, int]:
    index, position = _integer(message, position + 1, "the number of a class")
    return _instance(message, position, index)


def _instance(message: Message, position: int, index: int) -> tuple[JavaObject, int]:
    if not 0 <= index < len(message.classes):
        raise HessianError(position, f"one of {len(message.classes)} classes", f"number {index}")
    name, names = message.classes[index]
    data = message.data
    message.enter(position, len(names))
    fields: dict[str, object] = {}
    made = JavaObject(name, fields)
    message.references.append(made)
    for field in names:
        code = data[position]
        value = CONSTANTS[code]
        if value is ABSENT:
            value, position = READERS[code](message, position)
        else:
            position += 1
        fields[field] = value
    message.depth -= 1
    return made, position


def _reference(message: Message, position: int) -> tuple[object, int]:
    index, end = _integer(message, position + 1, "the number of a value")
    if not 0 <= index < len(message.references):
        raise HessianError(position, f"one of {len(message.references)} values", f"number {index}")
    return message.references[index], end


def _unknown(message: Message, position: int) -> tuple[object, int]:
    raise HessianError(position, "a value", f"the byte {message.data[position]:#04x}")


def _readers() -> list[Reader]:
    by_code: dict[int, Reader] = SCALARS | {
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
    by_code |= dict.fromkeys(range(codes.OBJECT_DIRECT, codes.OBJECT_DIRECT + codes.DIRECT_OBJECTS), _object_direct)
    for first, reader in ((codes.LIST_DIRECT_TYPED, _list_direct_typed), (codes.LIST_DIRECT, _list_direct)):
        by_code |= dict.fromkeys(range(first, first + codes.DIRECT_LISTS), reader)
    return [by_code.get(code, _unknown) for code in range(256)]


READERS = _readers()
"""By the first byte."""
