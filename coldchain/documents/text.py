"""From bytes to plain objects: JSON and YAML read strictly, so that what is meant and what is read cannot differ."""

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

from coldchain.model.errors import MalformedDocument

DOCUMENT_BYTES_MAX = 1024 * 1024
"""A larger document is refused unread: no app needs it, and reading it would hold up everybody else."""
DEPTH_MAX = 64
SWITCHES = {"true": True, "false": False, "": True, "1": True, "0": False, "True": True, "False": False}
"""What a switch in the query of an address may say; with nothing behind it it is on. Python clients write capitals."""


def parse_json(document: bytes | str) -> Any:
    """Raises `MalformedDocument` with line and column; for duplicate names and for numbers that JSON has not, too."""
    text = _text(document)
    try:
        return json.loads(text, object_pairs_hook=_members, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise MalformedDocument(
            f"line {error.lineno}, column {error.colno}: {error.msg[0].lower()}{error.msg[1:]}",
            todo="Send one JSON document",
        ) from error
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise MalformedDocument("a number has thousands of digits", todo="Write a smaller one") from error


def parse_yaml(document: bytes | str) -> Any:
    """One YAML document of maps, lists and scalars, as YAML 1.2 and JSON read them.

    YAML 1.1 would make `on` true, `22:22` 1342 and `012` 10; here they are text. Anchors and tags are refused.
    Raises `MalformedDocument` with line and column.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        events = yaml.parse(_text(document), Loader=loader)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                break
        else:
            raise MalformedDocument("the document is empty", todo="Send one YAML document")
        value = _value(next(events), events, 0)
        next(events)  # The end of the document.
        following = next(events)
    except yaml.MarkedYAMLError as error:
        place = _place(error.problem_mark or error.context_mark)
        raise MalformedDocument(f"{place}{error.problem or error.context}", todo="Send one YAML document") from error
    except yaml.YAMLError as error:
        raise MalformedDocument(" ".join(str(error).split()), todo="Send one YAML document") from error
    if isinstance(following, yaml.DocumentStartEvent):
        raise MalformedDocument(
            f"{_place(following.start_mark)}a second document begins", todo="Send them one by one, each for itself"
        )
    return value


def _text(document: bytes | str) -> str:
    size = len(document)
    if size > DOCUMENT_BYTES_MAX:
        raise MalformedDocument(
            f"the document has {size} bytes; at most {DOCUMENT_BYTES_MAX} are read",
            todo="Split it, or keep large values in files that the app fetches",
        )
    if isinstance(document, str):
        return document
    try:
        return document.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = document.count(b"\n", 0, error.start) + 1
        raise MalformedDocument(f"line {line}: not UTF-8 text", todo="Send the document in UTF-8") from error


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _twice("", name)
            seen.add(name)
    return members


def _no_number(name: str) -> NoReturn:
    raise MalformedDocument(f"{name} is not a number of JSON", todo="Write a finite number, or leave the field out")


def _too_deep() -> MalformedDocument:
    return MalformedDocument("the document is nested too deeply", todo="No app definition needs such depth")


def _twice(place: str, name: str) -> MalformedDocument:
    shown = json.dumps(name[:100])
    return MalformedDocument(f"{place}{shown} is given twice in one object", todo="Keep one of the two")


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""


def _value(event: Any, events: Iterator[Any], depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise _too_deep()
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
        raise MalformedDocument(
            f"{_place(event.start_mark)}anchors and aliases are not read", todo="Write the value out where it is needed"
        )
    if event.tag is not None and event.tag != "!":
        raise MalformedDocument(f"{_place(event.start_mark)}tags are not read", todo="Leave the tag out")
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(_value(event, events, depth + 1))
        return items
    if isinstance(event, yaml.MappingStartEvent):
        return _mapping(events, depth)
    return plain_scalar(event.value) if event.implicit[0] else event.value


def _mapping(events: Iterator[Any], depth: int) -> dict[str, Any]:
    members: dict[str, Any] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        place = _place(event.start_mark)
        if not isinstance(event, yaml.ScalarEvent) or event.anchor is not None:
            raise MalformedDocument(f"{place}the name of a field must be plain text", todo="Write `name: value`")
        if event.value in members:
            raise _twice(place, event.value)
        members[event.value] = _value(next(events), events, depth + 1)
    return members


INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,30})")
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]+)?([eE][-+]?[0-9]+)?")
WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}


def plain_scalar(text: str) -> Any:
    """A scalar without quotes: as JSON would read it, and text where JSON would not."""
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text):
        return int(text)
    if NUMBER.fullmatch(text):
        return float(text)
    return text
