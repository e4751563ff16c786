"""settings: what the API needs beside the controller, handed over by `main`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from ssl import SSLContext

from coldchain.control.clock import SystemClock
from coldchain.model.app import App
from coldchain.model.caller import Role
from coldchain.model.errors import Problem
from coldchain.ports.clock import Clock


def _nothing_to_object_to(app: App) -> Sequence[Problem]:
    return ()


@dataclass(frozen=True, kw_only=True)
class ApiSettings:
    """Groups what can be chosen about the API; every field has a default that works."""

    check: Callable[[App], Sequence[Problem]] = _nothing_to_object_to
    """What the runners know to be impossible in a definition (an option Docker does not have): said before anything
    is stored, because a definition that cannot start is worth nothing on record."""

    down: Callable[[], None] | None = None
    """Called when a user asks for everything to be stopped; returns at once. None: nobody can ask."""

    hosts: tuple[str, ...] = ()
    """Names under which the API may be addressed beside localhost and the host it listens on. Any other name in a
    request's Host header is refused: a page in a browser could have bound it to this machine (DNS rebinding)."""

    tls: SSLContext | None = None
    """By which the API speaks HTTPS. None: tokens go over the network as they are."""

    certificate_role: Role | None = None
    """The role of who shows a certificate that the context `tls` accepts. None: certificates say nothing of callers."""

    socket: Path | None = None
    """Where who may open it (root alone) is never asked who he is. None: nowhere."""

    leader_wait_seconds: float = 6.0
    """How long a request waits while no controller leads, before it is refused: longer than a change of leaders."""

    leader_trust: SSLContext | None = None
    """Whom the certificate of another controller's API must be from. None: whom this machine trusts."""

    keep_alive_seconds: float = 15.0
    """Silence on an event stream after which a comment is sent, so that nothing between takes it for dead."""

    stalled_seconds: float = 60.0
    """How long a client of the event stream may take nothing before it is let go; it can resume. One that never reads
    would hold its connection for ever."""

    shutdown_seconds: float = 2.0
    """How long `stop` waits for requests under way before it cuts them off."""

    clock: Clock = field(default_factory=SystemClock)
    """Where "for how long" is counted from; the controller's own clock."""
