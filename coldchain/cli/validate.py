"""validate: says everything that is wrong with definitions, without asking any platform."""

from pathlib import Path
from typing import Any

import typer

from coldchain.cli.errors import INVALID, CommandError
from coldchain.cli.files import Definition, InvalidDefinitions, read_definitions, unsafe
from coldchain.cli.language import _
from coldchain.cli.options import Files, Json
from coldchain.cli.output import fail, say, write_json


def validate(files: Files, as_json: Json = False) -> None:
    """Check definitions without a platform: every mistake of every file, by file, line and path.

    What only a platform knows is not looked at: whether a route belongs to another app, and whether the image is there.

    Exit status: 0 all are valid; 2 something is not.
    """
    found, error = _read(files)
    if as_json:
        write_json(_document(found, error))
        if error:
            raise typer.Exit(INVALID)
        return
    if error:
        fail(error)
    for one in found:
        typer.echo(_("{source}: {id} is valid", source=one.source, id=one.app_id))
    for warning in unsafe(found):
        say(warning)


def _read(files: list[Path]) -> tuple[list[Definition], CommandError | None]:
    try:
        return read_definitions(files), None
    except CommandError as error:
        return [], error


def _document(found: list[Definition], error: CommandError | None) -> dict[str, Any]:
    mistakes = error.mistakes if isinstance(error, InvalidDefinitions) else []
    return {
        "valid": error is None,
        "apps": [{"source": one.source, "id": one.app_id, "checked": one.checked} for one in found],
        "mistakes": [one._asdict() for one in mistakes],
    }
