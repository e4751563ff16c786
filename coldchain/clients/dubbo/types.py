"""Types of Java: how the descriptor of a method spells them, and which one a value of Python has where nobody says."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from coldchain.clients.dubbo.errors import Unreadable
from coldchain.clients.hessian2 import JavaObject, Long, TypedList, TypedMap

PRIMITIVES = {
    "void": "V",
    "boolean": "Z",
    "byte": "B",
    "char": "C",
    "double": "D",
    "float": "F",
    "int": "I",
    "long": "J",
    "short": "S",
}
NAMES = {letter: name for name, letter in PRIMITIVES.items()}
SHORT_NAMES = {"string": "java.lang.String", "object": "java.lang.Object", "date": "java.util.Date"}
"""Of Hessian's arrays: `[string` is one of strings."""
INT_MIN, INT_MAX = -(2**31), 2**31 - 1
ARGUMENTS_MAX = 255
"""A method of Java's has no more."""


def type_of(value: object) -> str:
    """Java's name of the type that a parameter for this value is likely to have: `int`, `java.util.List`. Where the
    method is declared otherwise (`Integer`, an interface, a superclass) the caller has to say it."""
    match value:
        case None:
            return "java.lang.Object"
        case bool():
            return "boolean"
        case Long():
            return "long"
        case int():
            return "int" if INT_MIN <= value <= INT_MAX else "long"
        case float():
            return "double"
        case str():
            return "java.lang.String"
        case bytes() | bytearray() | memoryview():
            return "byte[]"
        case datetime():
            return "java.util.Date"
        case JavaObject() | TypedMap():
            return value.type or "java.util.Map"
        case TypedList():
            return array_name(value.type) if value.type.startswith("[") else value.type or "java.util.List"
        case dict():
            return "java.util.Map"
        case list() | tuple():
            return "java.util.List"
    return "java.lang.Object"


def inferred_types(values: Iterable[object]) -> Sequence[str]:
    return [type_of(one) for one in values]


def array_name(hessian: str) -> str:
    """`[int` is `int[]`, `[string` is `java.lang.String[]`."""
    inner = hessian.lstrip("[")
    return SHORT_NAMES.get(inner, inner) + "[]" * (len(hessian) - len(inner))


def descriptor(types: Iterable[str]) -> str:
    """Of a method with parameters of these types, by Java's names: `java.lang.String`, `int`, `long[]`."""
    return "".join(map(_one, types))


def _one(name: str) -> str:
    inner = name.rstrip("[]")
    brackets = "[" * ((len(name) - len(inner)) // 2)
    return brackets + (PRIMITIVES.get(inner) or f"L{inner.replace('.', '/')};")


def types_in(text: str) -> Sequence[str]:
    """Java's names of the types in a descriptor. Raises Unreadable."""
    types: list[str] = []
    at = 0
    while at < len(text):
        begin = at
        while at < len(text) and text[at] == "[":
            at += 1
        brackets = "[]" * (at - begin)
        letter = text[at : at + 1]
        if letter == "L" and (end := text.find(";", at)) > at + 1:
            types.append(text[at + 1 : end].replace("/", ".") + brackets)
            at = end + 1
        elif letter in NAMES and letter != "V":
            types.append(NAMES[letter] + brackets)
            at += 1
        else:
            raise Unreadable(f"these are no types of parameters: {text[:200]!r}", heard=False)
        if len(types) > ARGUMENTS_MAX:
            raise Unreadable(f"more than {ARGUMENTS_MAX} parameters", heard=False)
    return types
