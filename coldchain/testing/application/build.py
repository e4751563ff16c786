"""Compiles the test application once per state of its source."""

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
    """Returns the path of the static binary in `cache`, compiled unless it is there already.

    Any number of processes may call it at once: each compiles a file of its own and renames it into place.
    Raises Unavailable without a compiler and Rejected, with the compiler's words, when it refuses the source.
    """
    units = sorted(SOURCE.glob("*.c"))
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for part in (*units, *sorted(SOURCE.glob("*.h"))):
        digest.update(part.name.encode() + b"\0" + part.read_bytes() + b"\0")
    binary = cache / f"application-{digest.hexdigest()[:16]}"
    if binary.exists():
        return binary
    compiler = shutil.which(os.environ.get("CC", "gcc"))
    if compiler is None:
        raise Unavailable(
            "No C compiler for the test application", todo="Install gcc and libc6-dev, or name a compiler in CC"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        fresh = Path(folder, "application")
        outcome = subprocess.run([compiler, *FLAGS, "-o", fresh, *units], capture_output=True, text=True, check=False)
        if outcome.returncode != 0:
            raise Rejected(
                f"The test application does not compile: {outcome.stderr.strip()}",
                todo="If a library is missing install libc6-dev, which brings the static C library",
            )
        fresh.replace(binary)
    return binary
