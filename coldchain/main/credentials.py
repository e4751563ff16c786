"""credentials: names and passwords that options name: from a file or a variable."""

import os
from pathlib import Path

import typer


def read_credentials(file: Path | None, variable: str, option: str) -> str | None:
    """Never from the command line, which every user can read. The variable goes: no child inherits it."""
    given = os.environ.pop(variable, None)
    if file is None:
        return given
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} cannot be read: {error}", param_hint=option) from error
