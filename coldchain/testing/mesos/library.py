"""The library of Apache Mesos: fetched once, edited, and kept in `.build` beside what else is made for tests.

`bin/setup` calls this as a program; inside the sandbox, where there is no network, it is only looked up.
"""

import functools
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.testing.application.build import CACHE
from coldchain.testing.mesos import elf

REQUIREMENT = "mesos-scheduler===1.11.0.linux-x86_64"
ARCHIVE_SHA256 = "1d376f20bca6d05ee8b90c1c123a452b28753497ccc2f1c80ea3ac94c12e8f6e"
EDITED_SHA256 = "958de8c832d2aaf565ea144cdfd032975b3a321053c6afa0ad106ff7397049fc"
"""bin/setup reads this line, to see without Python whether there is anything to do."""
MEMBER = "_scheduler.so"


def library_path(cache: Path = CACHE) -> Path:
    """Where the edited library lies, if it is there."""
    return cache / f"libmesos-{EDITED_SHA256[:16]}.so"


@functools.cache
def find_library(cache: Path = CACHE) -> Path:
    """The edited library, whole: made anew when its content is not what it should be. Raises Unavailable."""
    path = library_path(cache)
    if not _is_whole(path):
        install(cache)
    return path


def install(cache: Path = CACHE) -> None:
    """Fetch, edit, check, and rename into place; what other versions left is removed. Raises Unavailable."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        content = bytearray(_fetch(Path(folder)).read_bytes())
        elf.edit(content)
        if hashlib.sha256(content).hexdigest() != EDITED_SHA256:
            raise Unavailable(
                "The edited library of Mesos is not what it should be", todo="Change EDITED_SHA256 with the edit"
            )
        fresh = Path(folder, "libmesos.so")
        fresh.write_bytes(content)
        fresh.replace(library_path(cache))
    for other in cache.glob("libmesos-*.so"):
        if other != library_path(cache):
            other.unlink(missing_ok=True)


def _is_whole(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == EDITED_SHA256


def _fetch(folder: Path) -> Path:
    """pip unpacks the archive once its hash is right, and then complains that it is no project, which is so."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{ARCHIVE_SHA256}\n")
    options = ["--no-clean", "--no-deps", "--require-hashes", "--dest", str(folder), "-r", str(requirements)]
    outcome = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", *options],
        env=os.environ | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = next(folder.rglob(MEMBER), None)
    if found is None:
        raise Unavailable(
            f"The library of Mesos cannot be fetched: {outcome.stderr.strip()[-500:]}",
            todo="Run bin/setup where there is a network",
        )
    return found


if __name__ == "__main__":
    try:
        install()
    except ColdchainError as error:
        sys.exit(str(error))
