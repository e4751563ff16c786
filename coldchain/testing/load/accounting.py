"""accounting: outcomes against what others wrote down: the applications' records and the gateway's access log."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from coldchain.model.errors import MalformedDocument
from coldchain.testing.load.outcome import Outcome

RECORD_FIELDS = 4  # id, version, instance, milliseconds since the epoch
LOG_RESOLUTION_SECONDS = 0.001  # the log's times are cut to it, so an end may seem to lie before its cause
BROKEN_OFF = "the instance broke off the connection"  # the gateway's reason when the request had reached the instance
SILENT = "the instance did not answer in time"  # likewise


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
    """An instance killed on purpose: when that began and when it had certainly ended, in seconds since the epoch.

    `silent`: its machine was cut off at `started_at`, so that nothing breaks off and nothing answers; until
    `completed_at` gateways could not know that. Who came later had to go elsewhere.
    """

    instance: str
    started_at: float
    completed_at: float
    silent: bool = False


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """Every failed outcome is in exactly one of the two."""

    failed: tuple[Outcome, ...]
    failed_on_killed: tuple[Outcome, ...]


class _LogLine(msgspec.Struct, frozen=True, rename="camel"):
    """What is needed of a line of the gateway's access log: `time` is that of the end, `instances` lists the tries."""

    request_id: str
    time: float
    seconds: float
    instances: str = ""
    reason: str = ""


def failed_on_killed(outcomes: Iterable[Outcome], access_logs: Sequence[Path], kills: Sequence[Kill]) -> Failures:
    """Tells failures that a kill explains from all others. A gateway writes its log at most a second late.

    A kill explains a failure only if the access log has exactly one line of its request id, whose last try went to the
    killed instance, which came in before the kill was complete and ended after it was begun, and which was broken off:
    before its answer (the gateway says so with status 502) or within it (the client saw the end). An instance that
    could not be reached explains nothing, for the request could have gone elsewhere; nor does a time-out, but for an
    instance that was cut off. Raises MalformedDocument when a log cannot be read as such (a torn last line is left out:
    nginx may be writing it).
    """
    failures = [outcome for outcome in outcomes if outcome.failed]
    wanted = {outcome.id for outcome in failures}
    logged: dict[str, list[_LogLine]] = defaultdict(list)
    for path in access_logs if wanted and kills else ():
        for line in _log_lines(path):
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
    if line.instances.split(", ")[-1] != kill.instance:
        return False
    came_in, ended_before = line.time - line.seconds, line.time + LOG_RESOLUTION_SECONDS
    if came_in > kill.completed_at or ended_before <= kill.started_at:
        return False
    if kill.silent:
        return outcome.error == "timeout" or (outcome.status == 504 and line.reason == SILENT)
    if outcome.error is None:
        return outcome.status == 502 and line.reason == BROKEN_OFF
    return outcome.error in ("reset", "closed")


def _log_lines(path: Path) -> Iterable[_LogLine]:
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            yield msgspec.json.decode(line, type=_LogLine)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedDocument(f"{path.name} line {number} is no line of the access log: {error}") from error
