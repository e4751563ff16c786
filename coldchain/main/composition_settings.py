"""composition settings: what the process of the composition layer is told at its start."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class CompositionSettings:
    """Of one copy."""

    file: Path
    """What is composed; read again on SIGHUP."""
    listen: tuple[str, int]
    """Where requests of consumers come in, from the gateway."""
    status: tuple[str, int] | None = None
    """Where its numbers are shown; None: nowhere."""
    address: str = "127.0.0.1"
    """By which it is named in ZooKeeper as a consumer of Dubbo."""
    settle_seconds: float = 0.0
    """How long it serves after SIGTERM for those who have not noticed. Where the platform runs it nobody is left by
    then: it is taken out of rotation first."""
    drain_seconds: float = 30.0
    """How long what is open may take after that."""
