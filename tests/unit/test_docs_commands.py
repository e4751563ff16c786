"""Every command that the pages for users give is one that exists, with options it has."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from coldchain.cli.application import application
from coldchain.main import command

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs" / "howto").glob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
PROGRAMS = {"cp", "curl", "dig", "mkdir", "rm"}
"""Those of others that the pages use."""
MACHINE = (
    *(command.up, command.down, command.doctor, command.store, command.netd, command.node),
    *(command.gateway, command.composition),
)
"""Commands of the application since that module was imported."""


def commands(page: str) -> Iterator[list[str]]:
    """The words of each command in a block marked `sh`, or indented."""
    for block in [*re.findall(r"```sh\n(.*?)```", page, re.DOTALL), *re.findall(r"^    (coldchain .*)$", page, re.M)]:
        text = re.sub(r"\s+# .*$", "", block.strip(), flags=re.M)
        words = shlex.shlex(text, posix=True, punctuation_chars="\n;|&<>")
        words.whitespace, words.whitespace_split, words.commenters = " \t", True, ""
        command: list[str] = []
        for word in [*words, "\n"]:
            if set(word) <= set("\n;|&"):
                if command:
                    yield command
                command = []
            else:
                command.append(word)


def parse(words: list[str]) -> None:
    """Raises an error of usage for a command of `coldchain` that does not exist or has no such option or argument."""
    group = typer.main.get_group(application)
    context = typer.Context(group, info_name="coldchain")
    name, command, rest = group.resolve_command(context, words)
    assert command is not None
    command.make_context(name, rest, parent=context).close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_exists(page: Path) -> None:
    text = page.read_text()
    for program, *words in commands(text):
        if program == "coldchain":
            parse(words[: words.index("<")] if "<" in words else words)
        else:
            assert program in PROGRAMS or (ROOT / program).is_file(), f"{program}: neither ours nor known"
    known = typer.main.get_group(application).commands
    for word, rest in re.findall(r"`coldchain ([a-z][a-z-]*)([^`]*)`", text):
        name = next((one for one in known if " " in one and f"{word}{rest} ".startswith(f"{one} ")), word)
        assert name in known, f"coldchain {name}"
        options = {option for parameter in known[name].params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= options, f"coldchain {name}{rest}"


def test_what_does_not_exist_is_seen() -> None:
    page = "```sh\ncoldchain status --nonsense # words\ncp a b\n```\n    coldchain nothing /shop\n"
    assert list(commands(page)) == [
        ["coldchain", "status", "--nonsense"],
        ["cp", "a", "b"],
        ["coldchain", "nothing", "/shop"],
    ]
    for words, said in (
        (["status", "--nonsense"], "No such option"),
        (["nothing", "/shop"], "No such command"),
        (["scale", "/shop"], "Missing"),
    ):
        with pytest.raises(Exception, match=said):
            parse(words)
