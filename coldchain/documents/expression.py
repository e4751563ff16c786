"""expression: JMESPath as compositions have it: read once, what it asks for, and its value over a document.

The document has at its root what `ROOTS` says. JMESPath knows no way back to the root from within a list or an object,
so what an expression can reach of the root stands in its text.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import jmespath  # type: ignore[import-untyped]
from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped]
from jmespath.functions import Functions  # type: ignore[import-untyped]

ROOTS = {
    "parameters": "the parameters, by name",
    "body": "the body of the request, null for none",
    "headers": "the headers of the request, in small letters",
    "steps": "what each step brought, null for one that was skipped",
    "missing": "the optional steps that failed, each with `step` and `reason`",
}
STEPS, MISSING = "steps", "missing"
WHOLE = "@"
_LEADING = frozenset(
    {"pipe", "index_expression", "projection", "value_projection", "filter_projection", "flatten", "slice"}
)
"""Only the first part of these looks at what the whole expression looks at; the rest, at what the first part found."""


class Unfit(ValueError):  # noqa: N818 -- what was given is at fault
    """Not an expression, or none that has a value over this document."""


class Expression:
    """Raises Unfit for what is no JMESPath. `reads`: what it asks of the root: names, and of an object below one of
    these the name, None where it takes the object whole."""

    def __init__(self, text: str) -> None:
        try:
            self._parsed = jmespath.compile(text)
        except JMESPathError as error:
            raise Unfit(f"is no JMESPath: {_first_line(error)}") from error
        except RecursionError as error:
            raise Unfit("is nested too deeply") from error
        for name, count in _calls(self._parsed.parsed):
            if wrong := _wrong_call(name, count):
                raise Unfit(wrong)
        self.reads = frozenset(_reads(self._parsed.parsed))

    def steps(self) -> frozenset[str]:
        return frozenset(below for name, below in self.reads if name == STEPS and below is not None)

    def value(self, document: Mapping[str, Any]) -> Any:
        """Raises Unfit where a function is given what it does not take."""
        try:
            return self._parsed.search(document)
        except JMESPathError as error:
            raise Unfit(_first_line(error)) from error
        except (ArithmeticError, RecursionError, TypeError, ValueError) as error:
            raise Unfit(f"has no value: {error}") from error


def is_true(value: Any) -> bool:
    """As JMESPath has it: a number is true, also 0."""
    return not (value is None or value is False or value == "" or value == [] or value == {})


def _reads(node: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Of a part that looks at the root."""
    kind, children = node["type"], node["children"]
    if kind == "field":
        yield node["value"], None
    elif kind in ("current", "identity"):
        yield WHOLE, None
    elif kind == "subexpression" and children[0]["type"] == "field":
        yield children[0]["value"], _first_name(children[1])
    elif kind == "subexpression" or kind in _LEADING:
        yield from _reads(children[0])
    elif kind not in ("literal", "expref", "index"):
        for child in children:
            yield from _reads(child)


def _calls(node: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Every call of a function, with the number of its arguments: the library looks at them when it comes to them."""
    if node["type"] == "function_expression":
        yield node["value"], len(node["children"])
    for child in node["children"]:
        yield from _calls(child)


def _wrong_call(name: str, count: int) -> str:
    if name not in Functions.FUNCTION_TABLE:
        return f"there is no function {name}() in JMESPath"
    signature = Functions.FUNCTION_TABLE[name]["signature"]
    more = bool(signature) and bool(signature[-1].get("variadic"))
    if count < len(signature) or (count > len(signature) and not more):
        return f"{name}() takes {len(signature)} arguments{' or more' if more else ''}, not {count}"
    return ""


def _first_name(node: Mapping[str, Any]) -> str | None:
    while node["type"] != "field":
        if node["type"] != "subexpression" and node["type"] not in _LEADING:
            return None
        node = node["children"][0]
    return str(node["value"])


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].strip().removesuffix(", for expression:")
