"""What is wrong with a document: collected, sifted, and told in the words and with the paths of its writer."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from coldchain.model.errors import Problem

PROBLEMS_MAX = 100
"""Who has more mistakes than that will not read on; and a document made of mistakes must not keep us busy."""
SHOWN_CHARACTERS_MAX = 60

Path = tuple[str | int, ...]


class Finding(NamedTuple):
    """Something wrong at `path`. It only stands if what `needs` names could be read."""

    path: Path
    reason: str
    suggestion: str | None = None
    needs: tuple[Path, ...] = ()


class TooMany(Exception):  # noqa: N818 -- not an error of anybody, only the end of the search
    """As many problems as anybody will read were found."""


class Findings:
    """Collects what is wrong; raises `TooMany` when it is enough."""

    def __init__(self) -> None:
        self.all: list[Finding] = []
        self.renamed: dict[Path, Path] = {}
        """Where in the reader's document something stands that was put into its new form, by that form's path."""
        self._shape: list[Path] = []

    def report(self, path: Path, reason: str, suggestion: str | None = None) -> None:
        """A part that could not be read."""
        self._shape.append(path)
        self._add(Finding(path, reason, suggestion))

    def extend(self, findings: Iterable[Finding]) -> None:
        """What rules found, except where they looked at a default that stands in for something unreadable."""
        for finding in findings:
            looked_at = (finding.path, *finding.needs)
            if not any(_related(path, unreadable) for path in looked_at for unreadable in self._shape):
                self._add(finding)

    def problems(self, document: object) -> tuple[Problem, ...]:
        """In the words and with the paths of the reader's document."""
        problems = [
            Problem(
                path=pointer(self._place(document, finding.path)),
                reason=printable(finding.reason),
                suggestion=printable(finding.suggestion) if finding.suggestion else None,
            )
            for finding in self.all
        ]
        if len(problems) >= PROBLEMS_MAX:
            problems.append(Problem(path="", reason=f"only the first {PROBLEMS_MAX} problems are listed"))
        return tuple(problems)

    def _place(self, document: object, path: Path) -> Path:
        for length in range(len(path), 0, -1):
            if path[:length] in self.renamed:
                return _present(document, self.renamed[path[:length]] + path[length:])
        return path if path in self._shape else _present(document, path)

    def _add(self, finding: Finding) -> None:
        self.all.append(finding)
        if len(self.all) >= PROBLEMS_MAX:
            raise TooMany


def pointer(path: Path) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + printable(str(part)).replace("~", "~0").replace("/", "~1") for part in path)


def printable(text: str) -> str:
    """Without halves of characters, which cannot be sent to anybody."""
    return text.encode("utf-8", "backslashreplace").decode()


def shown(value: object) -> str:
    """A value as a message shows it: quoted, on one line, not too long."""
    if isinstance(value, str) and len(value) > SHOWN_CHARACTERS_MAX:
        return f"{value[:SHOWN_CHARACTERS_MAX]!r}…"
    return repr(value)


def closest(name: str, known: Iterable[str], likeness: float = 0.7) -> str | None:
    """The known name that was probably meant, whatever its capitals and underscores. `likeness`: 1 is the same."""
    plain = {other.replace("_", "").lower(): other for other in known if other}
    if len(name) > SHOWN_CHARACTERS_MAX:
        return None
    matches = get_close_matches(name.replace("_", "").lower(), plain, n=1, cutoff=likeness)
    return plain[matches[0]] if matches else None


def _related(left: Path, right: Path) -> bool:
    shorter = min(len(left), len(right))
    return left[:shorter] == right[:shorter]


def _present(document: object, path: Path) -> Path:
    """The part of the path that the document has: a rule may look at a default, of which its reader knows nothing."""
    here = document
    for depth, part in enumerate(path):
        try:
            here = here[part]  # type: ignore[index]
        except (TypeError, LookupError):
            return path[:depth]
    return path
