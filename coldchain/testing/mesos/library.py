"""The library of Apache Mesos, and the old OpenSSL it was linked against: fetched once and kept in `.build`.

`bin/setup` calls this as a program; inside the sandbox, where there is no network, it is only looked up.
"""

import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.testing.application.build import CACHE
from coldchain.testing.mesos import elf

CONTENT_SHA256 = "1ab2e325b58deab455f8990426523d73604cc6db45a31d354e240160f637e8ae"
"""Of all that is kept, see `digest`. bin/setup reads this line, to see without Python whether all is there."""
MESOS = (
    "mesos-scheduler===1.11.0.linux-x86_64",
    "1d376f20bca6d05ee8b90c1c123a452b28753497ccc2f1c80ea3ac94c12e8f6e",
)
"""An archive that is no Python project: its `_scheduler.so` holds all of libmesos."""
OLD_PIP = ("pip==24.0", "ba0d021a166865d2265246961bec0152ff124de910c5cc39f1156ce3fa7c69dc")
"""Newer ones refuse the name of that version. A wheel of pip can be run as it is."""
OPENSSL = (
    "psycopg2-binary==2.7.7",
    "3d72a5fdc5f00ca85160915eb9a973cf9a0ab8148f6eda40708bf672c55ac1d1",
)
"""A wheel that brings OpenSSL 1.0.2 along, with what that needs; nothing else of it is taken."""
_WHEEL = ("--only-binary", ":all:", "--platform", "manylinux1_x86_64", "--python-version", "37", "--abi", "cp37m")
_NOT_OPENSSL = ("libpq", "liblber", "libldap", "libsasl2")


def folder(cache: Path = CACHE) -> Path:
    """Where it all lies, if it is there: `libmesos.so`, and `openssl` with its libraries."""
    return cache / f"mesos-{CONTENT_SHA256[:16]}"


@functools.cache
def find_library(cache: Path = CACHE) -> Path:
    """That folder, whole: made anew when its content is not what it should be. Raises Unavailable."""
    found = folder(cache)
    if digest(found) != CONTENT_SHA256:
        install(cache)
    return found


def install(cache: Path = CACHE) -> None:
    """Fetch, edit, check, and rename into place; what other versions left is removed. Raises Unavailable."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        fresh = Path(temporary, "fresh")
        (fresh / "openssl").mkdir(parents=True)
        old_pip = _fetch(Path(temporary), *OLD_PIP, wanted="pip-*.whl") / "pip"
        content = bytearray(_fetch(Path(temporary), *MESOS, wanted="_scheduler.so", pip=(str(old_pip),)).read_bytes())
        elf.edit(content)
        (fresh / "libmesos.so").write_bytes(content)
        _unpack_openssl(_fetch(Path(temporary), *OPENSSL, *_WHEEL, wanted="psycopg2*.whl"), fresh / "openssl")
        if (found := digest(fresh)) != CONTENT_SHA256:
            raise Unavailable(
                f"The library of Mesos came out as {found}", todo="If the edit was changed, change CONTENT_SHA256 too"
            )
        for other in cache.glob("mesos-*"):
            shutil.rmtree(other, ignore_errors=True)
        with contextlib.suppress(OSError):  # somebody else was faster
            fresh.rename(folder(cache))


def digest(found: Path) -> str:
    """Of the names and contents of all files below it; empty without any."""
    total = hashlib.sha256()
    files = sorted(path for path in found.rglob("*") if path.is_file())
    for path in files:
        with path.open("rb") as content:
            total.update(f"{path.relative_to(found)} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest() if files else ""


def _unpack_openssl(wheel: Path, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            path = Path(member.filename)
            if path.parent.name == ".libs" and not path.name.startswith(_NOT_OPENSSL):
                (target / path.name).write_bytes(archive.read(member))


def _fetch(
    temporary: Path, requirement: str, sha256: str, *options: str, wanted: str, pip: Sequence[str] = ("-m", "pip")
) -> Path:
    """A wheel is saved as it is; another archive is unpacked, if its hash is right, and then refused: no project."""
    requirements = temporary / "requirements.txt"
    requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    command = [sys.executable, *pip, "--disable-pip-version-check", "--no-input", "download", "--no-clean"]
    outcome = subprocess.run(
        [*command, "--no-deps", "--require-hashes", "--dest", str(temporary), "-r", str(requirements), *options],
        env=os.environ | {"TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )
    found = next(temporary.rglob(wanted), None)
    if found is None:
        raise Unavailable(
            f"{requirement} cannot be fetched: {outcome.stderr.strip()[-500:]}",
            todo="Run bin/setup where there is a network",
        )
    return found


if __name__ == "__main__":
    try:
        install()
    except ColdchainError as error:
        sys.exit(str(error))
