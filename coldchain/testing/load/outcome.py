"""outcome: what became of one request."""

from typing import Literal

import msgspec

Method = Literal["GET", "POST"]
Mode = Literal["new", "kept_alive"]
ErrorKind = Literal["refused", "unreachable", "reset", "closed", "timeout", "malformed"]
"""No connection: refused, or unreachable for any other reason (of this machine too: no port, no file left).
No whole answer: reset by the peer, closed by the peer, timeout, malformed (not HTTP, or the answer to another)."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request and its end. Either `status` or `error` is set.

    started_at: when it was to start, in seconds since the epoch. latency_seconds: from then to the end of its answer,
    or to its failure. service_seconds: the service time that it asked for itself.
    reused: it was sent over a connection that had carried another request before.
    """

    id: str
    step: str
    method: Method
    mode: Mode
    reused: bool
    host: str
    path: str
    status: int | None
    error: ErrorKind | None
    detail: str
    version: str | None
    instance: str | None
    started_at: float
    latency_seconds: float
    service_seconds: float

    @property
    def failed(self) -> bool:
        """No answer, or any status but 2xx."""
        return self.status is None or not 200 <= self.status < 300

    @property
    def ended_at(self) -> float:
        return self.started_at + self.latency_seconds

    @property
    def kind(self) -> str:
        """The kind of error, or the status as text."""
        return self.error or str(self.status)
