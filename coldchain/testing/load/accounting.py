"""accounting: outcomes against what others wrote down: the applications' records and the gateway's access log."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from coldchain.model.errors import MalformedDocument
from coldchain.testing.load.outcome import Outcome

RECORD_FIELDS = 4  # id, version, instance, milliseconds since the epoch
UNANSWERED = frozenset({"502", "504", "-", ""})  # what nginx writes as the upstream's status when it had no answer


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """POSTs as the client saw them against what the applications executed. All are request ids, sorted.

    exactly_once: how many were answered with 2xx and recorded once. duplicated: recorded twice or more, whatever the
    client saw. lost: answered with 2xx, never recorded. executed_unanswered: recorded, but failed for the client (no
    fault where the gateway lost the instance; never to be tried again). unknown: recorded, but not among the outcomes.
    """

    exactly_once: int
    duplicated: tuple[str, ...]
    lost: tuple[str, ...]
    executed_unanswered: tuple[str, ...]
    unknown: tuple[str, ...]


def reconcile_records(outcomes: Iterable[Outcome], records_dir: Path) -> Reconciliation:
    """Compares with the records (`*.log`) in the folder. Take outcomes when nothing is in flight any more.

    Raises MalformedDocument for a line that is no record: then the comparison would prove nothing.
    """
    recorded = Counter(_recorded_ids(records_dir))
    posts = {outcome.id: outcome for outcome in outcomes if outcome.method == "POST"}
    answered = {request_id for request_id, outcome in posts.items() if not outcome.failed}
    return Reconciliation(
        exactly_once=sum(recorded[request_id] == 1 for request_id in answered),
        duplicated=tuple(sorted(request_id for request_id, times in recorded.items() if times > 1)),
        lost=tuple(sorted(answered - recorded.keys())),
        executed_unanswered=tuple(sorted((posts.keys() - answered) & recorded.keys())),
        unknown=tuple(sorted(recorded.keys() - posts.keys())),
    )


def _recorded_ids(records_dir: Path) -> Iterable[str]:
    for path in sorted(records_dir.glob("*.log")):
        for number, line in enumerate(path.read_text().split("\n")[:-1], 1):
            fields = line.split(" ")
            if len(fields) != RECORD_FIELDS or not fields[-1].isdigit():
                raise MalformedDocument(
                    f"{path.name} line {number} is no record: {line[:80]!r}", todo="Is the disk full?"
                )
            yield fields[0]


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """An instance killed on purpose: when that began and when it had certainly ended, in seconds since the epoch."""

    instance: str
    started_at: float
    completed_at: float


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """Every failed outcome is in exactly one of the two."""

    failed: tuple[Outcome, ...]
    failed_on_killed: tuple[Outcome, ...]


class _LogLine(msgspec.Struct, frozen=True):
    """What is needed of a line of the gateway's access log. nginx writes the fields as text or as numbers."""

    request_id: str
    instance: str
    msec: float
    request_time: float
    upstream_status: str | int = ""
    upstream_connect_time: str | float | None = None


def failed_on_killed(outcomes: Iterable[Outcome], access_log_path: Path, kills: Sequence[Kill]) -> Failures:
    """Tells failures that a kill explains from all others.

    A kill explains a failure only if the access log (JSON lines with msec, request_time, request_id, instance,
    upstream_status) has exactly one line of that id, whose last try went to the killed instance, and which came in
    before the kill was complete, ended after it was begun, was connected (where upstream_connect_time is logged), and
    had no whole answer from it. A client's time-out is never explained: a killed instance answers by a reset. Raises
    MalformedDocument when the log cannot be read as such (a torn last line is left out: nginx may be writing it).
    """
    failures = [outcome for outcome in outcomes if outcome.failed]
    wanted = {outcome.id for outcome in failures}
    logged: dict[str, list[_LogLine]] = defaultdict(list)
    for line in _log_lines(access_log_path) if wanted and kills else ():
        if line.request_id in wanted:
            logged[line.request_id].append(line)
    explained = {
        outcome.id
        for outcome in failures
        if len(lines := logged[outcome.id]) == 1 and any(_explains(kill, lines[0], outcome) for kill in kills)
    }
    return Failures(
        failed=tuple(outcome for outcome in failures if outcome.id not in explained),
        failed_on_killed=tuple(outcome for outcome in failures if outcome.id in explained),
    )


def _explains(kill: Kill, line: _LogLine, outcome: Outcome) -> bool:
    came_in = line.msec - line.request_time
    if _last(line.instance) != kill.instance or came_in > kill.completed_at or line.msec < kill.started_at:
        return False
    if line.upstream_connect_time is not None and _last(str(line.upstream_connect_time)) in ("-", ""):
        return False
    if outcome.error is None:
        return outcome.status in (502, 504) and _last(str(line.upstream_status)) in UNANSWERED
    return outcome.error in ("reset", "closed")  # cut off in its middle: it has a status in the log, but no end


def _last(tries: str) -> str:
    """The last of nginx's list of tries: `a, b` or, after an internal redirect, `a : b`."""
    return tries.replace(" : ", ",").split(",")[-1].strip()


def _log_lines(path: Path) -> Iterable[_LogLine]:
    text = path.read_bytes()
    for number, line in enumerate(text.split(b"\n")[:-1], 1):
        try:
            yield msgspec.json.decode(line, type=_LogLine, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedDocument(f"{path.name} line {number} is no line of the access log: {error}") from error
