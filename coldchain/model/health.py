"""health: what probes know of an instance."""

from typing import Literal

import msgspec

from coldchain.model.base import Noun

Outcome = Literal["passed", "failed", "unknown"]


class Probe(Noun, frozen=True, kw_only=True):
    """One question to one instance. `statuses` None: 200–399 pass. `command`: what protocol COMMAND runs beside the
    task `task_id`, which then needs neither address nor port. `beside`: the address is one of that task's own network.
    `server_name`: whom the certificate must name; None: anybody. `ignore_1xx`: such an answer says nothing."""

    instance_id: str
    check: str
    protocol: Literal["HTTP", "HTTPS", "TCP", "COMMAND"]
    address: str
    port: int
    task_id: str = ""
    command: str = ""
    path: str = "/"
    timeout_seconds: float = 20.0
    statuses: tuple[int, ...] | None = None
    beside: bool = False
    server_name: str | None = None
    ignore_1xx: bool = msgspec.field(default=False, name="ignore1xx")


class Response(Noun, frozen=True, kw_only=True):
    """What an instance answered over HTTP: the beginning of its body."""

    status: int
    content_type: str
    body: str


class ProbeResult(Noun, frozen=True, kw_only=True):
    """The answer. `unknown` when the prober itself could not ask; that counts neither for nor against."""

    outcome: Outcome
    detail: str = ""
    seconds: float = 0.0
    response: Response | None = None


class CheckHealth(Noun, frozen=True, kw_only=True):
    """What is known of one check of one instance; `at` of the last result in seconds since the epoch. `response`: the
    last one, where the check wants it kept."""

    check: str
    passed_in_a_row: int = 0
    failed_in_a_row: int = 0
    ever_passed: bool = False
    at: float = 0.0
    detail: str = ""
    response: Response | None = None


class Health(Noun, frozen=True, kw_only=True):
    """All checks of one instance. `since`: when the task was first seen running."""

    instance_id: str
    since: float
    checks: tuple[CheckHealth, ...] = ()
