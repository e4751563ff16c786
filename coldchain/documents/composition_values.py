"""composition values: from the text of requests to values of their types, and from values to the text of requests."""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from coldchain.documents.route_rules import HEADER_VALUE
from coldchain.documents.text import INTEGER, NUMBER

WHOLE_MAX = 2**63
BOOLEANS = {"true": True, "false": False}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Unreadable(ValueError):  # noqa: N818 -- what was given is at fault
    """Not of this type, or not fit for this place."""


def read_text(kind: str, text: str) -> Any:
    """A parameter's value. Raises Unreadable."""
    if kind == "integer":
        if not INTEGER.fullmatch(text) or abs(int(text)) >= WHOLE_MAX:
            raise Unreadable("must be a whole number of 64 bits")
        return int(text)
    if kind == "number":
        if not NUMBER.fullmatch(text) or abs(float(text)) > 1e308:
            raise Unreadable("must be a number")
        return float(text) if set(text) & set(".eE") else int(text)
    if kind == "boolean":
        if text not in BOOLEANS:
            raise Unreadable("must be true or false")
        return BOOLEANS[text]
    return text


def path_text(value: Any) -> str:
    """For a placeholder. Raises Unreadable for what could lead to another path: gateways and servers decode `%2F`."""
    text = _plain(value)
    if text in ("", ".", "..") or "/" in text or "\\" in text or _CONTROL.search(text):
        raise Unreadable("has to be text without slashes, not empty, `.` or `..`, to be part of a path")
    return quote(text, safe="")


def header_text(value: Any) -> str:
    """Raises Unreadable."""
    text = _plain(value)
    if not HEADER_VALUE.fullmatch(text):
        raise Unreadable("has to be visible ASCII characters, at most 1024, to be a header")
    return text


def query_text(values: Mapping[str, Any]) -> str:
    """What is null is left out; of a list each member is given. Raises Unreadable."""
    pairs: list[tuple[str, str]] = []
    for name, value in values.items():
        members = value if isinstance(value, list) else [value]
        pairs += [(name, _plain(one)) for one in members if one is not None]
    return urlencode(pairs, quote_via=quote)


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, dict | list):
        raise Unreadable("has to be text, a number, true or false")
    return json.dumps(value)
