"""What Hessian has and Python has not: longs, lists and maps with a type, objects of a class."""

import msgspec


class HessianError(Exception):
    """These bytes are no value, or this value has no bytes. `position`: of the byte it is about."""

    def __init__(self, position: int, expected: str, found: str) -> None:
        super().__init__(f"at byte {position}: expected {expected}, found {found}")
        self.position = position
        self.expected = expected
        self.found = found


class Long(int):
    """Written as a long although it would fit an int: a method of Java's may be declared so."""

    __slots__ = ()


class JavaObject(msgspec.Struct):
    """An object of a class: its name, its fields in the order of their definition. An enum has one field, `name`."""

    type: str
    fields: dict[str, object]


class TypedList(msgspec.Struct):
    """A list that says of what: an array such as `[int`, or a class such as `java.util.LinkedList`."""

    type: str
    items: list[object]


class TypedMap(msgspec.Struct):
    """A map that says which: a class such as `java.util.TreeMap`, or one whose reader knows no fields of it."""

    type: str
    entries: dict[object, object]


class Key(msgspec.Struct, eq=False, frozen=True):
    """A key of a map that Python cannot hash, such as an enum: each is equal to itself alone."""

    value: object
