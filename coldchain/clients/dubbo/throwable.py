"""Exceptions of Java as data, and back."""

from coldchain.clients.dubbo.errors import DubboError, RemoteException, StackElement
from coldchain.clients.hessian2 import JavaObject, TypedList, TypedMap

CAUSES_MAX = 16
STACK_MAX = 200
UNNAMED = "java.lang.RuntimeException"
"""What an error of ours comes out as: a consumer in Java has no other class for it."""
ELEMENT = "java.lang.StackTraceElement"
GENERIC = "GenericException"
"""In which a generic call's provider wraps what the method raised."""


def remote_exception(value: object, depth: int = 0) -> RemoteException:
    """Of whatever a provider sent as an exception; some send a string, or a map."""
    kind, fields = _fields(value)
    if kind.endswith(GENERIC) and fields.get("exceptionClass"):
        kind, words = str(fields["exceptionClass"]), fields.get("exceptionMessage")
    else:
        words = fields.get("detailMessage")
        if words is None:  # Node's, and other languages'
            words = fields.get("message")
    cause = fields.get("cause")
    inner = None
    if cause is not None and cause is not value and depth < CAUSES_MAX:
        inner = remote_exception(cause, depth + 1)
    return RemoteException(kind, "" if words is None else str(words), stack=_stack(fields), cause=inner)


def java_object(error: DubboError) -> JavaObject:
    """Of an exception, for the wire. Its class is the consumer's to have."""
    kind = error.kind if isinstance(error, RemoteException) else UNNAMED
    words = error.words if isinstance(error, RemoteException) else error.message
    stack = error.stack if isinstance(error, RemoteException) else ()
    cause = java_object(error.cause) if isinstance(error, RemoteException) and error.cause else None
    elements: list[object] = [
        JavaObject(
            ELEMENT,
            {
                "declaringClass": one.kind,
                "methodName": one.method,
                "fileName": one.file or None,
                "lineNumber": one.line,
            },
        )
        for one in stack
    ]
    return JavaObject(
        kind,
        {"detailMessage": words, "cause": cause, "stackTrace": TypedList(f"[{ELEMENT}", elements)},
    )


def _fields(value: object) -> tuple[str, dict[str, object]]:
    match value:
        case JavaObject(type=kind, fields=fields):
            return kind, fields
        case TypedMap(type=kind, entries=entries):
            return kind, {str(key): one for key, one in entries.items()}
        case dict():
            return str(value.get("class", UNNAMED)), {str(key): one for key, one in value.items()}
    return UNNAMED, {"detailMessage": value}


def _stack(fields: dict[str, object]) -> list[StackElement]:
    elements = fields.get("stackTrace")
    items = elements.items if isinstance(elements, TypedList) else elements
    stack: list[StackElement] = []
    for element in items[:STACK_MAX] if isinstance(items, list) else ():
        _, said = _fields(element)
        line = said.get("lineNumber")
        stack.append(
            StackElement(
                kind=str(said.get("declaringClass") or "?"),
                method=str(said.get("methodName") or "?"),
                file=str(said.get("fileName") or ""),
                line=line if isinstance(line, int) else -1,
            )
        )
    return stack
