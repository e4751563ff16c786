"""The house rules are kept, and each rule sees a breach when there is one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from coldchain.testing import conventions

ROOT = Path(__file__).parents[2]
VOCABULARY = "| Word | Meaning | Not |\n|---|---|---|\n| instance | one wanted copy | `spare`, `wanted twin` |\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project without a breach."""
    files = {
        "docs/vocabulary.md": VOCABULARY,
        "README.md": "See [words](docs/vocabulary.md#top), [a site](https://example.org/x) and `bin/tool`.\n",
        "bin/tool": "#!/bin/sh\n",
        "coldchain/model/app.py": "def instances() -> int:\n    return 1\n",
        "coldchain/decisions/placement.py": "",
        ".venv/lib/spare.py": "spare",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


RULES = [
    conventions.check_words,
    conventions.check_links,
    conventions.check_places,
    conventions.check_sizes,
    conventions.check_pure,
]


@pytest.mark.parametrize("rule", RULES)
def test_a_project_in_order_has_no_finding(rule: Callable[[Path], list[str]], project: Path) -> None:
    assert rule(project) == []


LONG = "def long() -> None:\n" + "    pass\n" * 70


@pytest.mark.parametrize(
    ("rule", "name", "text", "finding"),
    [
        (conventions.check_words, "coldchain/model/app.py", "a = 1\nspare_count = 1\n", "2: 'spare' is called"),
        (conventions.check_words, "coldchain/model/app.py", "class NewSpares: ...\n", "1: 'spare' is called"),
        (
            conventions.check_words,
            "docs/page.md",
            "A wanted twin of it.\n",
            "1: 'wanted twin' is called 'instance' here",
        ),
        (conventions.check_links, "docs/page.md", "[gone](gone.md)\n", "1: link to nothing: gone.md"),
        (conventions.check_links, "docs/page.md", "Run bin/gone now.\n", "1: no such command: bin/gone"),
        (conventions.check_places, "bin/tool", "cd /" + "work/main\n", "1: a path of one machine"),
        (
            conventions.check_places,
            "lock",
            "--index-url https://" + "pypi" + ".org/simple\n",
            "1: the host of a registry",
        ),
        (conventions.check_sizes, "coldchain/model/app.py", "#\n" * 501, "501: more than 500 lines"),
        (conventions.check_sizes, "coldchain/model/app.py", LONG, "1: long has 71 lines, 70 may be"),
        (conventions.check_pure, "coldchain/model/app.py", "x = open('x')\n", "1: open"),
        (conventions.check_pure, "coldchain/decisions/placement.py", "def f(p): return p.open()\n", "1: open"),
    ],
)
def test_a_breach_is_found(
    rule: Callable[[Path], list[str]], name: str, text: str, finding: str, project: Path
) -> None:
    (project / name).write_text(text)
    [found] = rule(project)
    assert found.startswith(f"{name}:{finding}")


def test_a_word_of_another_library_is_no_breach(project: Path) -> None:
    (project / "coldchain/model/app.py").write_text("from theirs import spare  # their word\nspare()\n")
    assert conventions.check_words(project) == ["coldchain/model/app.py:2: 'spare' is called 'instance' here"]


def test_words_within_words_are_no_breach(project: Path) -> None:
    (project / "docs/page.md").write_text("spared, sparing, twins wanted\n")
    assert conventions.check_words(project) == []


def test_model_and_decisions_open_no_file() -> None:
    assert conventions.check_pure(ROOT) == []


def test_every_word_of_the_vocabulary_has_one_row() -> None:
    rows = [line for line in (ROOT / "docs/vocabulary.md").read_text().splitlines() if line.startswith("|")][2:]
    words = [row.split("|")[1].strip() for row in rows]
    assert len(set(words)) == len(words)
    assert not set(words) & set(conventions.forbidden_words("\n".join(rows)))
