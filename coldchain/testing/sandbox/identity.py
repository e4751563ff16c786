"""Identity of a sandbox: its name, and what outside its namespaces belongs to it."""

import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

MARK = Path("/run/coldchain-sandbox")
"""A file that exists only inside a sandbox, on its own /run."""


@dataclass(frozen=True)
class Identity:
    """`cgroup_parent`: a path below the root of every cgroup hierarchy. `temporary_directory`: seen from both sides."""

    name: str
    temporary_directory: Path
    cgroup_parent: str

    def environment(self) -> dict[str, str]:
        """What the command finds in its environment beside the launcher's own variables."""
        return {
            "COLDCHAIN_SANDBOX": self.name,
            "COLDCHAIN_CGROUP_PARENT": self.cgroup_parent,
            "TMPDIR": str(self.temporary_directory),
        }


def new_identity() -> Identity:
    """A name nobody else has. Inside a sandbox all of it lies within the outer one's, which sweeps what we leave."""
    name = f"coldchain-{secrets.token_hex(4)}"
    outer = os.environ["COLDCHAIN_CGROUP_PARENT"] if inside() else ""
    return Identity(name, Path(tempfile.gettempdir()) / name, f"{outer}/{name}")


def inside() -> bool:
    """True when the caller runs in a sandbox."""
    return MARK.exists()
