"""exposed_method: from the JSON of an HTTP request to the call of a service, and from its answer to JSON.

The body is an object with the method's parameters by name. What is wrong with it is said all at once. Of an answer
dates become ISO 8601, binary data Base64, keys of objects text, and what JSON has no number for null.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from coldchain.documents.findings import closest, pointer, shown
from coldchain.documents.text import parse_json
from coldchain.model.errors import InvalidDocument, Problem
from coldchain.model.service_call import ExposedMethod, Parameter, ServiceAnswer, ServiceCall

INTEGER_BITS = {"byte": 8, "short": 16, "int": 32, "long": 64}
BOXED = {
    "java.lang.Boolean": "boolean",
    "java.lang.Byte": "byte",
    "java.lang.Short": "short",
    "java.lang.Integer": "int",
    "java.lang.Long": "long",
    "java.lang.Float": "float",
    "java.lang.Double": "double",
    "java.lang.Character": "char",
}
LISTS = frozenset({"java.util.List", "java.util.Collection", "java.util.Set", "java.util.ArrayList"})
MAPS = frozenset({"java.util.Map", "java.util.HashMap"})
PRIMITIVES = frozenset({*BOXED.values()})


def call_of(exposed: ExposedMethod, body: bytes, attachments: Mapping[str, str] | None = None) -> ServiceCall:
    """Raises MalformedDocument, InvalidDocument. An empty body is one without parameters."""
    return call_with(exposed, parse_json(body) if body.strip() else {}, attachments)


def call_with(exposed: ExposedMethod, document: object, attachments: Mapping[str, str] | None = None) -> ServiceCall:
    """The same for a body that was read. Raises InvalidDocument."""
    if not isinstance(document, dict):
        reason = f"the body has to be an object with the parameters of {exposed.method} by name"
        raise InvalidDocument([Problem(path="", reason=reason)])
    problems: list[Problem] = []
    names = [one.name for one in exposed.parameters]
    for name in document:
        if name not in names:
            reason = f"{exposed.method} has no such parameter"
            problems.append(Problem(path=pointer((name,)), reason=reason, suggestion=closest(name, names)))
    arguments = tuple(_argument(one, document, problems) for one in exposed.parameters)
    if problems:
        raise InvalidDocument(problems)
    return ServiceCall(
        service=exposed.service,
        method=exposed.method,
        arguments=arguments,
        parameter_types=tuple(one.type for one in exposed.parameters),
        version=exposed.version,
        group=exposed.group,
        timeout_seconds=exposed.timeout_seconds,
        attachments=dict(attachments or {}),
        idempotent=exposed.idempotent,
        generic=exposed.generic,
    )


def render(answer: ServiceAnswer) -> bytes:
    """The body of a response. Binary data and numbers are as msgspec has them in JSON."""
    return msgspec.json.encode(_rendered(answer.value))


def _argument(parameter: Parameter, document: Mapping[str, Any], problems: list[Problem]) -> Any:
    path = pointer((parameter.name,))
    if parameter.name not in document:
        if not parameter.optional:
            problems.append(Problem(path=path, reason=f"has to be given, as {_wanted(parameter.type)}"))
        return None
    value = document[parameter.name]
    if not _fits(parameter.type, value):
        reason = f"has to be {_wanted(parameter.type)}, not {shown(value)}"
        problems.append(Problem(path=path, reason=reason))
    elif BOXED.get(parameter.type, parameter.type) in ("float", "double") and value is not None:
        return float(value)
    return value


def _fits(type_name: str, value: Any) -> bool:
    """Objects and types that are not known here are looked at by the provider alone."""
    if value is None:
        return type_name not in PRIMITIVES
    kind = BOXED.get(type_name, type_name)
    if kind == "boolean":
        return isinstance(value, bool)
    if bits := INTEGER_BITS.get(kind):
        return isinstance(value, int) and not isinstance(value, bool) and -(1 << bits - 1) <= value < 1 << bits - 1
    if kind in ("float", "double"):
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308
    if kind == "char":
        return isinstance(value, str) and len(value) == 1
    if kind == "java.lang.String":
        return isinstance(value, str)
    if kind.endswith("[]"):
        return isinstance(value, list) and all(_fits(kind[:-2], one) for one in value)
    if kind in LISTS:
        return isinstance(value, list)
    return isinstance(value, dict) if kind in MAPS else True


def _wanted(type_name: str) -> str:
    kind = BOXED.get(type_name, type_name)
    if bits := INTEGER_BITS.get(kind):
        return f"an integer of {bits} bits"
    words = {"boolean": "true or false", "char": "text of one character", "java.lang.String": "text"}
    if kind in ("float", "double"):
        return "a number"
    if kind in LISTS or kind.endswith("[]"):
        return f"an array ({type_name})"
    return words.get(kind, f"an object ({type_name})")


def _rendered(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(key): _rendered(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rendered(one) for one in value]
    return value


def _key(key: object) -> str:
    if isinstance(key, bool):
        return str(key).lower()
    return key.isoformat() if isinstance(key, datetime) else "null" if key is None else str(key)
