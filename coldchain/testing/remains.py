"""remains: what something that lives in the sandbox could leave behind there, and whether it did."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from coldchain.testing.sandbox import cgroups, kernel

PATIENCE_SECONDS = 5.0


class Remains(NamedTuple):
    """Everything that could be left behind."""

    processes: frozenset[str]
    links: frozenset[str]
    rules: str
    mounts: tuple[tuple[str, str], ...]
    cgroups: frozenset[str]
    files: frozenset[str]


def take() -> Remains:
    """Everything, now."""
    own_cgroup = os.environ["COLDCHAIN_CGROUP_PARENT"]  # made with the first within it; the outer sandbox removes it
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    return Remains(
        frozenset(entry for entry in os.listdir("/proc") if entry.isdigit()),
        frozenset(name for _, name in socket.if_nameindex()),
        "\n".join(line.split("[")[0] for line in rules.splitlines() if not line.startswith("#")),
        tuple(kernel.mounts()),
        frozenset(str(path) for path in cgroups.directories(own_cgroup) if not str(path).endswith(own_cgroup)),
        frozenset(path.name for path in Path(os.environ["TMPDIR"]).glob("coldchain-*")),
    )


@contextlib.contextmanager
def nothing_remains() -> Iterator[None]:
    """All is afterwards as it was before."""
    take()  # the first look loads what iptables-save itself needs
    before = take()
    yield
    deadline = time.monotonic() + PATIENCE_SECONDS
    while take() != before and time.monotonic() < deadline:
        time.sleep(0.01)  # a process closes its files, which is what tests wait for, a moment before it is buried
    after = take()
    assert after == before, [
        f"{name}: {one} became {other}"
        for name, one, other in zip(Remains._fields, before, after, strict=True)
        if one != other
    ]
