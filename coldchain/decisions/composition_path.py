"""composition path: which composition answers a request, by method and path."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import unquote

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
Answering = TypeVar("Answering")


class Found(NamedTuple, Generic[Answering]):
    """`values`: what stands in the path in the place of each placeholder."""

    answering: Answering
    values: dict[str, str]


def parts(path: str) -> tuple[str, ...]:
    """Between the slashes."""
    return tuple(path.split("/")[1:])


def placeholder(part: str) -> str | None:
    """The name, where the whole part is one."""
    found = PLACEHOLDER.fullmatch(part)
    return found[1] if found else None


def shape(path: str) -> tuple[str, ...]:
    """Paths of one shape cannot be told from each other."""
    return tuple("{}" if placeholder(part) is not None else part for part in parts(path))


class Table(Generic[Answering]):
    """What answers by method and path; words go before placeholders, from left to right."""

    def __init__(self, entries: Iterable[tuple[str, str, Answering]]) -> None:
        self._of: dict[int, list[tuple[tuple[str, ...], str, Answering]]] = {}
        for method, path, answering in entries:
            self._of.setdefault(len(parts(path)), []).append((parts(path), method, answering))
        for those in self._of.values():
            those.sort(key=lambda one: [(placeholder(part) is not None, part) for part in one[0]])

    def find(self, method: str, raw_path: str) -> Found[Answering] | None:
        """HEAD asks for what GET would answer, where nothing else does."""
        heads: Found[Answering] | None = None
        for of_method, answering, values in self._fitting(raw_path):
            if of_method == method:
                return Found(answering, values)
            if method == "HEAD" and of_method == "GET" and heads is None:
                heads = Found(answering, values)
        return heads

    def methods(self, raw_path: str) -> list[str]:
        """Those that are possible there."""
        return sorted({method for method, _, _ in self._fitting(raw_path)})

    def _fitting(self, raw_path: str) -> Iterator[tuple[str, Answering, dict[str, str]]]:
        given = tuple(unquote(part) for part in parts(raw_path))
        for wanted, method, answering in self._of.get(len(given), ()):
            values = _values(wanted, given)
            if values is not None:
                yield method, answering, values


def _values(wanted: Sequence[str], given: Sequence[str]) -> dict[str, str] | None:
    values: dict[str, str] = {}
    for part, got in zip(wanted, given, strict=True):
        name = placeholder(part)
        if name is None:
            if part != got:
                return None
        elif not got:
            return None
        else:
            values[name] = got
    return values


def filled(template: str, values: Mapping[str, str]) -> str:
    """The path with each placeholder's value, which has to be fit for it already."""
    return PLACEHOLDER.sub(lambda found: values[found[1]], template)
