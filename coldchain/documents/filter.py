"""The `filter` of Consul's API: expressions such as `Service.Meta.version == "2" and "blue" in Service.Tags`.

`matches` is not there: a regular expression from outside could hold up the whole process for as long as it likes.
"""

import re
from collections.abc import Callable
from typing import Any

from coldchain.model.errors import MalformedDocument

FILTER_CHARACTERS_MAX = 4096
DEPTH_MAX = 32
_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<sign>==|!=|[()])"""
    r"""|(?P<word>[A-Za-z0-9_/-]+(?:\.[A-Za-z0-9_/-]+|\["[^"]*"\])*))"""
)
_STEP = re.compile(r"\[\"([^\"]*)\"\]|\.?([^.\[]+)")
_MAPS = {"Meta", "ServiceMeta", "NodeMeta", "TaggedAddresses", "ServiceTaggedAddresses", "Definition"}
"""Fields whose members are the users' own: one that is missing is no mistake."""

Document = dict[str, Any]
Test = Callable[[Document], bool]


def parse_filter(expression: str) -> Test:
    """What decides on one document of an answer. Raises MalformedDocument; the test may, for a field that is not."""
    if len(expression) > FILTER_CHARACTERS_MAX:
        raise _bad(f"it is longer than {FILTER_CHARACTERS_MAX} characters")
    parser = _Parser(_tokens(expression))
    test = parser.either()
    if parser.rest:
        raise _bad(f"nothing is expected before {parser.rest[0][1]!r}")
    return test


def _bad(reason: str) -> MalformedDocument:
    return MalformedDocument(f"Failed to create boolean expression evaluator: {reason}")


def _tokens(expression: str) -> list[tuple[str, str]]:
    found = []
    place, end = 0, len(expression.rstrip())
    while place < end:
        match = _TOKEN.match(expression, place)
        if match is None:
            raise _bad(f"cannot read on from character {place + 1}")
        kind = str(match.lastgroup)
        text = match[kind]
        if kind == "quoted":
            text = text[1:-1] if text[0] == "`" else re.sub(r"\\(.)", r"\1", text[1:-1])
        found.append((kind, text))
        place = match.end()
    return found


class _Parser:
    """`rest`: the tokens not yet read, as kind and text."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.rest = tokens
        self._depth = 0

    def either(self) -> Test:
        tests = [self._both()]
        while self._take("or"):
            tests.append(self._both())
        return tests[0] if len(tests) == 1 else lambda document: any(test(document) for test in tests)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._take("and"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda document: all(test(document) for test in tests)

    def _one(self) -> Test:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise _bad("it is nested too deeply")
        try:
            if self._take("not"):
                inner = self._one()
                return lambda document: not inner(document)
            if self._take("("):
                inner = self.either()
                self._expect(")")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Test:
        kind, left = self._next()
        path = _path(left)
        if self._take("in"):
            return _contains(_path(self._next()[1]), left)
        if kind != "word":
            self._expect("not")
            self._expect("in")
            return _negated(_contains(_path(self._next()[1]), left))
        if self._take("=="):
            return _equals(path, self._next()[1])
        if self._take("!="):
            return _negated(_equals(path, self._next()[1]))
        if self._take("is"):
            negated = self._take("not")
            self._expect("empty")
            return _negated(_empty(path)) if negated else _empty(path)
        negated = self._take("not")
        if negated and self._take("in"):
            return _negated(_contains(_path(self._next()[1]), left))
        if self._take("matches"):
            raise _bad("`matches` is not possible here; compare with ==, in or contains")
        self._expect("contains")
        test = _contains(path, self._next()[1])
        return _negated(test) if negated else test

    def _next(self) -> tuple[str, str]:
        if not self.rest or self.rest[0][0] == "sign":
            raise _bad("a name or a value is missing")
        return self.rest.pop(0)

    def _take(self, text: str) -> bool:
        if self.rest and self.rest[0][0] != "quoted" and self.rest[0][1] == text:
            del self.rest[0]
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise _bad(f"{text!r} is expected" + (f" before {self.rest[0][1]!r}" if self.rest else " at the end"))


def _path(selector: str) -> list[str]:
    return [bracketed or plain for bracketed, plain in _STEP.findall(selector)]


def _values(document: Any, path: list[str], holder: str = "") -> list[Any]:
    """What a selector leads to: of a list, what it leads to in each member."""
    if isinstance(document, list) and path:
        return [value for member in document for value in _values(member, path, holder)]
    if not path:
        return [document]
    if isinstance(document, dict) and path[0] in document:
        return _values(document[path[0]], path[1:], path[0])
    if holder in _MAPS:
        return [None]
    raise _bad(f"selector {path[0]!r} is not valid")


def _negated(test: Test) -> Test:
    return lambda document: not test(document)


def _equals(path: list[str], wanted: str) -> Test:
    return lambda document: any(_same(value, wanted) for value in _values(document, path))


def _same(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return str(value).lower() == wanted.lower()
    if isinstance(value, int):
        if not re.fullmatch(r"-?\d{1,18}", wanted):
            raise _bad(f"{wanted!r} is compared with a number and is none")
        return value == int(wanted)
    return bool(value == wanted)


def _contains(path: list[str], wanted: str) -> Test:
    return lambda document: any(wanted in (value or ()) for value in _values_to_search(document, path))


def _values_to_search(document: Document, path: list[str]) -> list[Any]:
    values = _values(document, path)
    if any(isinstance(value, int) for value in values):
        raise _bad(f"{'.'.join(path)!r} is a number, nothing can be in it")
    return values


def _empty(path: list[str]) -> Test:
    return lambda document: all(not value for value in _values(document, path))
