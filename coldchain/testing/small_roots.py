"""Roots of the smallest images that have a shell, made of files of this machine, to run a first process in."""

import os
import shutil
import subprocess
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
DASH = Path("/bin/dash")
DEBIAN = ("bash", "coreutils", "dash", "perl-base")
"""The packages of a minimal Debian (`debootstrap --variant=minbase`) that a shell script could have a use for."""

_RUN = """
mount --make-rprivate /
mount --rbind /dev "$0/dev"
mount -t proc proc "$0/proc"
exec /usr/sbin/chroot "$0" "$@"
"""


def make_root(root: Path, kind: str) -> Path:
    """Of kind `busybox`, with its static twin and a link for each applet; `debian`; or `dash`, with nothing else."""
    for name in ("bin", "dev", "proc", "tmp", "etc"):
        (root / name).mkdir(parents=True)
    if kind == "busybox":
        shutil.copy(BUSYBOX, root / "bin" / "busybox")
        listed = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
        for name in listed:
            if name != "busybox":
                (root / "bin" / name).symlink_to("busybox")
        return root
    if kind == "dash":
        _copy(root, DASH)
    else:
        (root / "bin").rmdir()
        for name in ("bin", "lib", "lib64", "sbin"):  # one place each, as Debian has it; packages name either
            (root / "usr" / name).mkdir(parents=True)
            (root / name).symlink_to(f"usr/{name}")
        listed = subprocess.run(["dpkg", "-L", *DEBIAN], capture_output=True, text=True, check=True).stdout.split("\n")
        for text in sorted(set(listed)):
            path = Path(text)
            if text and "/share/" not in text and path.is_file():  # no links to folders: those are made as folders
                _copy(root, path)
    if not (root / "bin" / "sh").exists():
        (root / "bin" / "sh").symlink_to("dash")
    return root


def _copy(root: Path, path: Path) -> None:
    """A file with the libraries that it is linked to."""
    target = root / path.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        if not target.is_symlink():
            target.symlink_to(os.readlink(path))
        return
    shutil.copy(path, target)
    if not os.access(path, os.X_OK):
        return
    linked = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
    for word in linked.split():
        library = root / word.lstrip("/")
        if word.startswith("/") and not library.exists():
            library.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(word, library)


def command_in(root: Path, *command: str) -> list[str]:
    """What runs a command as the first process in there, with this machine's network; its processes end with it."""
    unshared = ["unshare", "--pid", "--mount", "--fork", "--kill-child"]
    return [*unshared, "/bin/sh", "-c", _RUN, str(root), *command]
