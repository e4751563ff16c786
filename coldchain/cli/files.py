"""files: app definitions read from files, all checked before anything is sent, mistakes told by file and line."""

import sys
from pathlib import Path
from typing import Any, NamedTuple

from coldchain.cli.errors import Invalid


class Definition(NamedTuple):
    """One app as a file has it. `app_id` and `checked` as Coldchain reads it."""

    source: str
    app_id: str
    document: dict[str, Any]
    checked: bool
    """True when it has a health check."""


def read_definitions(paths: list[Path]) -> list[Definition]:
    """All apps of all files. Raises Invalid with everything that is wrong with any of them."""
    found: list[Definition] = []
    mistakes: list[str] = []
    for path in paths:
        source = "standard input" if str(path) == "-" else str(path)
        text = _read(path, source)
        try:
            _add(source, text, _parse(path, text), found, mistakes)
        except _not_a_document() as error:
            mistakes.append(f"{source}: {error}")
    seen: dict[str, str] = {}
    for one in found:
        if one.app_id in seen:
            mistakes.append(f"{one.source}: {one.app_id} is defined in {seen[one.app_id]} already")
        seen[one.app_id] = one.source
    if mistakes:
        raise Invalid("the definitions cannot be deployed; nothing was changed", lines=mistakes)
    return found


def _not_a_document() -> type[Exception]:
    from coldchain.model.errors import MalformedDocument

    return MalformedDocument


def _read(path: Path, source: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise Invalid(f"cannot read {source}", why=error.strerror or str(error)) from error


def _parse(path: Path, text: bytes) -> Any:
    from coldchain.documents.text import parse_json, parse_yaml

    is_json = path.suffix == ".json" or text.lstrip()[:1] in (b"{", b"[")
    return parse_json(text) if is_json else parse_yaml(text)


def _add(source: str, text: bytes, document: Any, found: list[Definition], mistakes: list[str]) -> None:
    from coldchain.documents.application import decode_app
    from coldchain.model.errors import InvalidDocument

    prefix: tuple[str, ...] = ()
    if isinstance(document, dict) and document.keys() == {"apps"}:
        document, prefix = document["apps"], ("apps",)
    many = isinstance(document, list)
    for position, one in enumerate(document if many else [document]):
        where = (*prefix, str(position)) if many else prefix
        if not isinstance(one, dict):
            mistakes.append(f"{source}:{_line(text, where) or 1}: an app definition must be an object")
            continue
        try:
            app = decode_app(one)
        except InvalidDocument as error:
            for problem in error.problems:
                line = _line(text, (*where, *_parts(problem.path)))
                mistakes.append(f"{source}{f':{line}' if line else ''}: {problem}")
        else:
            found.append(Definition(source, app.id, one, bool(app.health_checks)))


def _parts(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _line(text: bytes, path: tuple[str, ...]) -> int | None:
    """The line on which the part of the document at `path` begins; JSON is read as the YAML it nearly always is."""
    import yaml

    try:
        node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError):
        return None
    line = node.start_mark.line + 1 if node else None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pairs = [pair for pair in node.value if pair[0].value == part]
            if not pairs:
                break
            line, node = pairs[0][0].start_mark.line + 1, pairs[0][1]
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
        else:
            break
    return line
