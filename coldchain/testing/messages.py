"""messages: every message that the commands use, from the code and from their help: what a catalogue must have."""

import ast
from collections.abc import Iterator
from pathlib import Path

import typer
from typer import rich_utils

from coldchain.cli.application import application
from coldchain.decisions.placement import REASONS
from coldchain.main import command as command_line

ROOT = Path(__file__).parents[1]
FOLDERS = (ROOT / "cli", ROOT / "main")
FUNCTIONS = {"_": 1, "plural": 2}
"""What marks a message, and how many of its first arguments are messages."""
TYPERS_OWN = {
    rich_utils.ARGUMENTS_PANEL_TITLE,
    rich_utils.OPTIONS_PANEL_TITLE,
    rich_utils.COMMANDS_PANEL_TITLE,
    rich_utils.ERRORS_PANEL_TITLE,
    rich_utils.ABORTED_TEXT,
    rich_utils.DEFAULT_STRING,
    rich_utils.ENVVAR_STRING,
    rich_utils.REQUIRED_LONG_STRING,
    rich_utils.RICH_HELP,
}


def messages() -> set[str]:
    """As they stand in the code, in English."""
    return {*_marked(), *_help(), *REASONS.values(), *TYPERS_OWN}


def _marked() -> Iterator[str]:
    for folder in FOLDERS:
        for path in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
                    for argument in node.args[: FUNCTIONS[node.func.id]]:
                        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                            yield argument.value


def _help() -> Iterator[str]:
    assert callable(command_line.main), "its import adds the commands that start processes"
    group = typer.main.get_group(application)
    for command in (group, *group.commands.values()):
        texts = [command.help, command.epilog, *(getattr(one, "help", None) for one in command.params)]
        yield from (text for text in texts if text)
