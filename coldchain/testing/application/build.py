"""Compiles the test application, and other programs of tests, once per state of their source."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from coldchain.model.errors import Rejected, Unavailable

SOURCE = Path(__file__).parent
CACHE = SOURCE.parents[2] / ".build"
FLAGS = ("-std=gnu11", "-O2", "-static", "-s", "-Wall", "-Wextra", "-Werror")


def build_application(cache: Path = CACHE) -> Path:
    """Returns the path of the test application's binary, as `build_program` does."""
    return build_program("application", SOURCE, cache)


def build_program(name: str, source: Path, cache: Path = CACHE) -> Path:
    """Returns the path of the static binary in `cache`, compiled of all in the folder `source` unless it is there
    already.

    Any number of processes may call it at once: each compiles a file of its own and renames it into place.
    Raises Unavailable without a compiler and Rejected, with the compiler's words, when it refuses the source.
    """
    units = sorted(source.glob("*.c"))
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for part in (*units, *sorted(source.glob("*.h"))):
        digest.update(part.name.encode() + b"\0" + part.read_bytes() + b"\0")
    binary = cache / f"{name}-{digest.hexdigest()[:16]}"
    if binary.exists():
        return binary
    compiler = shutil.which(os.environ.get("CC", "gcc"))
    if compiler is None:
        raise Unavailable(
            f"No C compiler for the test program {name}", todo="Install gcc and libc6-dev, or name a compiler in CC"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        fresh = Path(folder, name)
        outcome = subprocess.run([compiler, *FLAGS, "-o", fresh, *units], capture_output=True, text=True, check=False)
        if outcome.returncode != 0:
            raise Rejected(
                f"The test program {name} does not compile: {outcome.stderr.strip()}",
                todo="If a library is missing install libc6-dev, which brings the static C library",
            )
        fresh.replace(binary)
    return binary
