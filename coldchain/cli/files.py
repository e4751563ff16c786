"""files: app definitions read from files, all checked before anything is sent, mistakes told by file and line."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from coldchain.cli.errors import Invalid, reason_of
from coldchain.cli.language import _

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coldchain.model.app import App
    from coldchain.model.errors import InvalidDocument


class GroupFile(NamedTuple):
    """A group as a file has it. `dependencies`: of it and of all groups in it."""

    group_id: str
    document: dict[str, Any]
    dependencies: tuple[str, ...]


class Definition(NamedTuple):
    """One app as a file has it, with the bytes it stands in and where; `app` as Coldchain reads it. `group`: the one
    that the file has, which is deployed as a whole."""

    source: str
    text: bytes
    where: tuple[str, ...]
    document: dict[str, Any]
    app: "App"
    group: GroupFile | None = None

    @property
    def app_id(self) -> str:
        return self.app.id

    @property
    def checked(self) -> bool:
        """True when it has a health check."""
        return bool(self.app.health_checks)


class Mistake(NamedTuple):
    """One thing wrong with a file. `path` into the app's definition, `/` for the whole of it."""

    source: str
    line: int | None
    path: str | None
    reason: str

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{place}: {self.path}: {self.reason}" if self.path else f"{place}: {self.reason}"


class InvalidDefinitions(Invalid):
    """With everything that is wrong with any of the files."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__(_("the definitions cannot be deployed; nothing was changed"), lines=list(map(str, mistakes)))
        self.mistakes = mistakes


def read_definitions(paths: list[Path]) -> list[Definition]:
    """All apps of all files. Raises InvalidDefinitions."""
    from coldchain.model.errors import MalformedDocument

    found: list[Definition] = []
    mistakes: list[Mistake] = []
    for path in paths:
        source = source_of(path)
        try:
            text = _read(path)
            _add(source, text, parsed(path, text), found, mistakes)
        except OSError as error:
            reason = _("cannot be read: {why}", why=error.strerror or str(error))
            mistakes.append(Mistake(source, None, None, reason))
        except MalformedDocument as error:
            mistakes.append(Mistake(source, None, None, str(error)))
    mistakes += _between(found)
    if mistakes:
        raise InvalidDefinitions(mistakes)
    return found


def _between(found: list[Definition]) -> list[Mistake]:
    """What two apps cannot have both: an id, a route, the name of a service."""
    from coldchain.decisions.route import conflicts

    mistakes = []
    before: dict[str, Definition] = {}
    for one in found:
        if one.app_id in before:
            reason = _("{id} is defined in {source} already", id=one.app_id, source=before[one.app_id].source)
            mistakes.append(Mistake(one.source, None, None, reason))
        for problem in conflicts(one.app, (other.app for other in before.values())):
            line = _line(one.text, (*one.where, *_parts(problem.path)))
            mistakes.append(Mistake(one.source, line, problem.path, problem.reason))
        before[one.app_id] = one
    return mistakes


def unsafe(found: list[Definition]) -> list[str]:
    """Warnings about what can be deployed and should not be."""
    return [
        _("warning: {id} has no health check: its releases cannot be loss-free", id=one.app_id)
        for one in found
        if not one.checked
    ]


def source_of(path: Path) -> str:
    """A file as people are told of it; `-` is standard input."""
    return "standard input" if str(path) == "-" else str(path)


def text_of(path: Path) -> bytes:
    """Raises Invalid where it cannot be read."""
    try:
        return _read(path)
    except OSError as error:
        raise Invalid(_("{source} cannot be read", source=source_of(path)), why=reason_of(error)) from error


def _read(path: Path) -> bytes:
    return sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()


def parsed(path: Path, text: bytes) -> Any:
    """By its name, or else by how it begins, YAML or JSON. Raises MalformedDocument."""
    from coldchain.documents.text import parse_json, parse_yaml

    is_yaml = path.suffix in (".yaml", ".yml") or (path.suffix != ".json" and text.lstrip()[:1] not in (b"{", b"["))
    return parse_yaml(text) if is_yaml else parse_json(text)


def _add(source: str, text: bytes, document: Any, found: list[Definition], mistakes: list[Mistake]) -> None:
    from coldchain.documents.application import decode_app
    from coldchain.model.errors import InvalidDocument

    if isinstance(document, dict) and {"apps", "groups"} & document.keys() and document.keys() != {"apps"}:
        _add_group(source, text, document, found, mistakes)
        return
    prefix: tuple[str, ...] = ()
    if isinstance(document, dict) and document.keys() == {"apps"}:
        document, prefix = document["apps"], ("apps",)
    many = isinstance(document, list)
    for position, one in enumerate(document if many else [document]):
        where = (*prefix, str(position)) if many else prefix
        if not isinstance(one, dict):
            reason = _("an app definition must be an object")
            mistakes.append(Mistake(source, _line(text, where) or 1, None, reason))
            continue
        try:
            app = decode_app(one)
        except InvalidDocument as error:
            mistakes += mistakes_of(source, text, where, error)
        else:
            found.append(Definition(source, text, where, one, app))


def _add_group(
    source: str, text: bytes, document: dict[str, Any], found: list[Definition], mistakes: list[Mistake]
) -> None:
    """All apps of a group and of those in it."""
    from coldchain.decisions.group import all_updates
    from coldchain.documents.application import encode_app
    from coldchain.documents.group import decode_group
    from coldchain.model.errors import InvalidDocument

    if document.get("id") is None:
        mistakes.append(Mistake(source, 1, "/id", _("a group needs an id; `/` is the one of everything")))
        return
    try:
        request = decode_group(document)
    except InvalidDocument as error:
        mistakes += mistakes_of(source, text, (), error)
        return
    updates = list(all_updates(request.update)) if request.update is not None else []
    depends_on = tuple(name for one in updates for name in one.dependencies or ())
    group = GroupFile(request.group_id, document, depends_on)
    for app in (app for one in updates for app in one.apps or ()):
        where = tuple(map(str, request.places[app.id]))
        found.append(Definition(source, text, where, encode_app(app), app, group))


def mistakes_of(source: str, text: bytes, where: tuple[str, ...], error: "InvalidDocument") -> "Iterator[Mistake]":
    """What is wrong with a part of a file, with its lines."""
    for problem in error.problems:
        line = _line(text, (*where, *_parts(problem.path)))
        meant = f" (did you mean {problem.suggestion!r}?)" if problem.suggestion else ""
        yield Mistake(source, line, problem.path or "/", problem.reason + meant)


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
