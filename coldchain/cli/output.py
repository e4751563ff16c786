"""output: how commands end, and what they write: tables and words for people, JSON for programs."""

import sys
from collections.abc import Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from coldchain.cli.errors import INTERRUPTED, CommandError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

WIDTH_WITHOUT_TERMINAL = 1000
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def run(program: Coroutine[Any, Any, None]) -> None:
    """Run a command to its end; an error is said on standard error and becomes the exit status."""
    import asyncio

    try:
        asyncio.run(program)
    except CommandError as error:
        fail(error)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def fail(error: CommandError) -> NoReturn:
    """End the command by this error."""
    say(str(error))
    raise typer.Exit(error.exit_status) from None


def say(words: str) -> None:
    """To the user, on standard error: standard output is for results."""
    typer.echo(words, err=True)


def write_json(document: object) -> None:
    """One document on one line of standard output."""
    import json

    typer.echo(json.dumps(document, ensure_ascii=False))


def console() -> "Console":
    """Standard output; text is written as it is, never read as markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
    return Console(markup=False, highlight=False, emoji=False, width=width)


def show(renderable: "RenderableType") -> None:
    """On a terminal as wide as that; elsewhere one line stays one line, without blanks at its end."""
    to = console()
    if to.is_terminal:
        to.print(renderable)
        return
    with to.capture() as captured:
        to.print(renderable)
    typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> "Table":
    """Numbers stand to the right, the rest to the left."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, title=title, title_justify="left", pad_edge=False, padding=(0, 2, 0, 0))
    listed = [list(row) for row in rows]
    for place, name in enumerate(columns):
        numeric = bool(listed) and all(isinstance(row[place], int) for row in listed)
        made.add_column(Text(name.upper()), justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        made.add_row(
            *(cell if isinstance(cell, Text) else Text("-" if cell in (None, "") else str(cell)) for cell in row)
        )
    return made


def moment(timestamp: str) -> str:
    """A time of the API, as the clock on the user's wall has it."""
    from datetime import datetime

    return datetime.fromisoformat(timestamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def span_seconds(given: str) -> int | None:
    """How long a span such as 90s, 10m, 2h or 1d is; None for what is none."""
    import re

    found = re.fullmatch(r"(\d{1,9})([smhd])", given)
    return int(found[1]) * UNIT_SECONDS[found[2]] if found else None


def duration(seconds: float) -> str:
    """As people say it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 86400:.0f} d"
