"""Calls without a class: `$invoke`, with which a consumer names a method and its types, and objects are maps."""

from collections.abc import Mapping, Sequence

from coldchain.clients.dubbo.errors import Unreadable
from coldchain.clients.dubbo.message import Call
from coldchain.clients.hessian2 import JavaObject, Key, TypedList, TypedMap

INVOKE, INVOKE_LATER = "$invoke", "$invokeAsync"
ECHO = "$echo"
TYPES = ("java.lang.String", "java.lang.String[]", "java.lang.Object[]")
CLASS = "class"
"""The key of a map that stands for an object: of which class."""
DEPTH_MAX = 200


def generic_call(
    interface: str,
    method: str,
    types: Sequence[str],
    arguments: Sequence[object],
    *,
    version: str = "",
    group: str = "",
    path: str = "",
    attachments: Mapping[str, object] | None = None,
) -> Call:
    """An object is a dict with its class under `class`, and comes back as one."""
    named: list[object] = list(types)
    return Call(
        interface=interface,
        method=INVOKE,
        types=TYPES,
        arguments=(method, TypedList("[string", named), TypedList("[object", list(arguments))),
        version=version,
        group=group,
        path=path,
        attachments={"generic": "true", **(attachments or {})},
    )


def is_generic(call: Call) -> bool:
    return call.method in (INVOKE, INVOKE_LATER) and len(call.arguments) == 3


def meant_call(call: Call) -> Call:
    """The call that a generic one asks for. Raises Unreadable."""
    method, types, arguments = call.arguments
    named, values = _items(types), _items(arguments)
    if not isinstance(method, str) or not all(isinstance(one, str) for one in named) or len(named) != len(values):
        raise Unreadable(f"{call.words}: a generic call has a method, its types and as many arguments", heard=False)
    return Call(
        interface=call.interface,
        method=method,
        types=[str(one) for one in named],
        arguments=values,
        version=call.version,
        group=call.group,
        path=call.path,
        attachments=call.attachments,
        protocol=call.protocol,
    )


def plain(value: object, depth: int = 0) -> object:
    """The same in None, bool, int, float, str, bytes, datetime, list and dict: what a generic call's consumer gets.
    An object is a dict with its class under `class`, an enum its name. Raises Unreadable where objects contain
    themselves."""
    if depth > DEPTH_MAX:
        raise Unreadable(f"objects in objects, more than {DEPTH_MAX} deep", heard=True)
    match value:
        case bool() | None | str() | float() | bytes():
            return value
        case int():
            return int(value)
        case JavaObject(type=kind, fields=fields):
            if list(fields) == ["name"]:
                return fields["name"]
            return {CLASS: kind, **{name: plain(one, depth + 1) for name, one in fields.items()}}
        case TypedMap(type=kind, entries=entries):
            said: dict[object, object] = {} if not kind or kind.startswith("java.util.") else {CLASS: kind}
            return {**said, **_entries(entries, depth)}
        case dict():
            return _entries(value, depth)
        case TypedList(items=items) | list(items):
            return [plain(one, depth + 1) for one in items]
    return value


def _entries(entries: dict[object, object], depth: int) -> dict[object, object]:
    return {_key(key, depth): plain(one, depth + 1) for key, one in entries.items()}


def _key(key: object, depth: int) -> object:
    if not isinstance(key, Key):
        return int(key) if isinstance(key, int) and not isinstance(key, bool) else key
    simple = plain(key.value, depth + 1)
    return str(simple) if isinstance(simple, dict | list) else simple


def _items(value: object) -> list[object]:
    if isinstance(value, TypedList):
        return value.items
    return value if isinstance(value, list) else []
