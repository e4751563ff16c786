"""composition request: what expressions see of a request, and which of its headers go along to services."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from coldchain.documents.composition_values import Unreadable, read_text
from coldchain.documents.findings import pointer
from coldchain.documents.text import parse_json
from coldchain.model.composition import Composition
from coldchain.model.errors import InvalidDocument, Problem

REQUEST_ID = "x-request-id"
PASSED = (REQUEST_ID, "traceparent", "tracestate", "baggage", "x-gray")
"""By which a request is known, traced, and gray at every service; the gateway sees to it that they can be believed."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")


def parameters_of(
    one: Composition, in_path: Mapping[str, str], query: Iterable[tuple[str, str]], headers: Mapping[str, str]
) -> dict[str, Any]:
    """`headers`: in small letters. Raises InvalidDocument with everything that is wrong; what nobody declared is left
    aside, for others may put something into a query."""
    problems: list[Problem] = []
    values: dict[str, Any] = {name: text for name, text in in_path.items() if name not in one.parameters}
    asked = list(query)
    for name, given in one.parameters.items():
        if given.place == "path":
            texts = [in_path[name]]
        elif given.place == "header":
            texts = [text for key, text in headers.items() if key == (given.header or name).lower()]
        else:
            texts = [text for key, text in asked if key == name]
        where = pointer(("parameters", name))
        if len(texts) > 1:
            problems.append(Problem(path=where, reason=f"is given {len(texts)} times"))
            continue
        text = texts[0] if texts else given.default
        if text is None and given.required:
            problems.append(Problem(path=where, reason=f"has to be given in the {given.place}"))
        try:
            values[name] = read_text(given.type, text) if text is not None else None
        except Unreadable as error:
            problems.append(Problem(path=where, reason=str(error)))
    if problems:
        raise InvalidDocument(problems)
    return values


def body_of(body: bytes) -> Any:
    """JSON, whatever it is called; null for none. Raises MalformedDocument."""
    return parse_json(body) if body.strip() else None


def passed_headers(headers: Mapping[str, str], more: Iterable[str], new_id: str) -> dict[str, str]:
    """Of those of a request, in small letters. A request that has no fit id gets `new_id`."""
    wanted = {*PASSED, *(name.lower() for name in more)}
    passed = {name: value for name, value in headers.items() if name in wanted}
    if not _REQUEST_ID.fullmatch(passed.get(REQUEST_ID, "")):
        passed[REQUEST_ID] = new_id
    return passed
