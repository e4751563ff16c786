"""connections: how many connections a process has at a port of this machine, as its kernel says."""

from pathlib import Path

PROC = Path("/proc/net")
LISTENS, OPEN = "0A", frozenset(("01", "03"))
"""Of the kernel's numbers: who listens; what is open, or about to be."""


def open_connections(port: int, folder: Path = PROC) -> int | None:
    """None where nobody listens at it in this network namespace, where its connections are then not to be seen."""
    listens, count = False, 0
    for name in ("tcp", "tcp6"):
        try:
            lines = (folder / name).read_text().splitlines()[1:]
        except FileNotFoundError:  # a machine without IPv6
            continue
        for line in lines:
            _, local, _, state, *_ = line.split()
            if int(local.rpartition(":")[2], 16) == port:
                listens = listens or state == LISTENS
                count += state in OPEN
    return count if listens else None
