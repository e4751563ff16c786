"""The house rules that no other tool knows: words, links, sizes, paths and hosts. `bin/check` runs them.

Every rule takes a root and returns what it found as `path:line: text`, so that tests can plant a breach.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

LINES_MAX = 500
FUNCTION_LINES_MAX = 70

_SKIPPED = {"__pycache__", "dist", "node_modules"}
_BINARY = {".png", ".jpg", ".ico", ".woff2", ".gz"}
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"(?<![\w/.-])bin/([a-z][a-z-]*)")
_MACHINE_PATH = re.compile(r"(?<![\w.}])/(?:work|root|home)/\w")
_THEIRS = "# their word"
"""What a line ends with whose word is a name in somebody else's library."""
_REGISTRY_HOST = re.compile(
    r"\b(?:pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|(?:deb|security)\.debian\.org|proxy\.golang\.org"
    r"|registry\.yarnpkg\.com|crates\.io)\b"
)


def project_files(root: Path, *suffixes: str) -> Iterator[Path]:
    """The text files of the project (with one of `suffixes`, if any are given), in order; nothing made or installed."""
    for path in sorted(root.iterdir()):
        if path.is_dir():
            if path.name not in _SKIPPED and (not path.name.startswith(".") or path.name == ".ci"):
                yield from project_files(path, *suffixes)
        elif path.name != ".git" and path.suffix not in _BINARY and (not suffixes or path.suffix in suffixes):
            yield path


def forbidden_words(vocabulary: str) -> dict[str, str]:
    """From the table of docs/vocabulary.md: word not to be used → the word for it."""
    found = {}
    for line in vocabulary.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3:
            for synonym in re.findall(r"`([^`]+)`", cells[2]):
                found[synonym] = cells[0]
    return found


def check_words(root: Path) -> list[str]:
    """Synonyms of the vocabulary's words in names and texts. `_`, `-` and capitals part words; a last s is ignored."""
    source = root / "docs" / "vocabulary.md"
    forbidden = {" ".join(_words(synonym)): (synonym, word) for synonym, word in forbidden_words(_text(source)).items()}
    found = []
    for path in project_files(root, ".py", ".md", ".lua", ".c", ".h"):
        if path == source:
            continue
        for number, line in _lines(path):
            if line.endswith(_THEIRS):
                continue
            spoken = f" {' '.join(_words(line))} "
            for words, (synonym, word) in forbidden.items():
                if f" {words} " in spoken:
                    found.append(f"{path.relative_to(root)}:{number}: {synonym!r} is called {word!r} here")
    return found


def _words(text: str) -> list[str]:
    return [word.lower().removesuffix("s") for word in _WORD.findall(text)]


def check_links(root: Path) -> list[str]:
    """Relative links and commands of bin/ that a document names and that do not exist."""
    found = []
    for path in project_files(root, ".md"):
        for number, line in _lines(path):
            for link in _LINK.findall(line):
                target = link.partition("#")[0]
                if target and "://" not in target and not (path.parent / target).exists():
                    found.append(f"{path.relative_to(root)}:{number}: link to nothing: {link}")
            found += [
                f"{path.relative_to(root)}:{number}: no such command: bin/{command}"
                for command in _COMMAND.findall(line)
                if not (root / "bin" / command).exists()
            ]
    return found


def check_places(root: Path) -> list[str]:
    """Paths of somebody's machine and hosts of package registries."""
    found = []
    for path in project_files(root):
        for number, line in _lines(path):
            if _MACHINE_PATH.search(line):
                found.append(f"{path.relative_to(root)}:{number}: a path of one machine: {line.strip()}")
            if _REGISTRY_HOST.search(line):
                found.append(f"{path.relative_to(root)}:{number}: the host of a registry: {line.strip()}")
    return found


def check_sizes(root: Path) -> list[str]:
    """Python files that are too long, and functions of the product (a test may tell a long story)."""
    found = []
    for path in project_files(root, ".py"):
        text = _text(path)
        name = path.relative_to(root)
        if (lines := text.count("\n")) > LINES_MAX:
            found.append(f"{name}:{lines}: more than {LINES_MAX} lines")
        for item in ast.walk(ast.parse(text)):
            if name.parts[0] != "tests" and isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (item.end_lineno or item.lineno) - item.lineno + 1
                if length > FUNCTION_LINES_MAX:
                    found.append(f"{name}:{item.lineno}: {item.name} has {length} lines, {FUNCTION_LINES_MAX} may be")
    return found


def check_pure(root: Path) -> list[str]:
    """Calls of `open` in coldchain/model and coldchain/decisions, which know no file."""
    found = []
    for package in ("model", "decisions"):
        for path in project_files(root / "coldchain" / package, ".py"):
            found += [
                f"{path.relative_to(root)}:{item.lineno}: open"
                for item in ast.walk(ast.parse(_text(path)))
                if isinstance(item, ast.Name | ast.Attribute)
                and (item.id if isinstance(item, ast.Name) else item.attr) == "open"
            ]
    return found


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    return enumerate(_text(path).splitlines(), start=1)


def main() -> int:
    root = Path(__file__).parents[2]
    found = [*check_words(root), *check_links(root), *check_places(root), *check_sizes(root), *check_pure(root)]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
