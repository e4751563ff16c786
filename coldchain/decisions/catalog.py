"""catalog: the rules of the registry: what checks say together, what an answer to a check means, when a session ends,
and which index a question has."""

from collections.abc import Collection, Iterable

import msgspec

from coldchain.model.base import Noun
from coldchain.model.catalog import (
    NODE_ALIVE,
    CatalogCheck,
    CatalogRecord,
    CatalogService,
    CatalogSession,
    CheckStatus,
)
from coldchain.model.health import ProbeResult

SERVICE_MAINTENANCE = "_service_maintenance:"
HTTP_PASSES = tuple(range(200, 300))
EXPIRED = "TTL expired"


class Streak(Noun, frozen=True, kw_only=True):
    """How often in a row a check was answered with the same outcome."""

    passed: int = 0
    failed: int = 0


def aggregate(checks: Iterable[CatalogCheck]) -> str:
    """What checks say together: `maintenance`, or the worst status; `passing` for none."""
    found = list(checks)
    if any(check.kind == "maintenance" for check in found):
        return "maintenance"
    statuses = {check.status for check in found}
    return next((status for status in ("critical", "warning") if status in statuses), "passing")


def maintenance(service: CatalogService | None, reason: str) -> CatalogCheck:
    """The check that takes a service, or with None the whole node, out of service."""
    default = (
        f"Maintenance mode is enabled for this {'service' if service else 'node'}, but no reason was provided."
        " This is a default message."
    )
    if service is None:
        return CatalogCheck(
            id="_node_maintenance", name="Node Maintenance Mode", kind="maintenance", notes=reason or default
        )
    return CatalogCheck(
        id=SERVICE_MAINTENANCE + service.id,
        name="Service Maintenance Mode",
        kind="maintenance",
        service_id=service.id,
        notes=reason or default,
    )


def dated(wanted: CatalogRecord, known: CatalogRecord | None, now: float) -> CatalogRecord:
    """The record with the moment since when it is so: a service is registered, a check has its status."""
    match wanted, known:
        case CatalogService(), CatalogService():
            return msgspec.structs.replace(wanted, since=known.since)
        case CatalogCheck(), CatalogCheck() if wanted.status == known.status:
            return msgspec.structs.replace(wanted, since=known.since)
        case ((CatalogService() | CatalogCheck()), _):
            return msgspec.structs.replace(wanted, since=now)
    return wanted


def renewed(wanted: CatalogCheck, known: CatalogCheck | None) -> CatalogCheck:
    """A check registered again: its definition is replaced, what is known of it stays."""
    if known is None or known.kind != wanted.kind:
        return wanted
    return msgspec.structs.replace(wanted, status=known.status, output=known.output)


def observe(check: CatalogCheck, streak: Streak, result: ProbeResult) -> tuple[CatalogCheck, Streak]:
    """The check after one more answer; its status changes only after as many in a row as it asks for. What could not
    be asked counts neither for nor against."""
    if result.outcome == "unknown":
        return msgspec.structs.replace(check, output=result.detail), streak
    if result.outcome == "passed":
        streak = Streak(passed=streak.passed + 1)
        status: CheckStatus = "passing" if streak.passed > check.success_before_passing else check.status
    else:
        streak = Streak(failed=streak.failed + 1)
        status = "critical" if streak.failed > check.failures_before_critical else check.status
    return msgspec.structs.replace(check, status=status, output=result.detail), streak


def expired(check: CatalogCheck) -> CatalogCheck:
    """A TTL check from which nothing was heard in time."""
    last = check.output.removeprefix(EXPIRED)
    said = check.output if last != check.output else f"{EXPIRED} (last output: {last})" if last else EXPIRED
    return msgspec.structs.replace(check, status="critical", output=said)


def ended_sessions(sessions: Iterable[CatalogSession], critical: Collection[str], gone: Collection[str]) -> list[str]:
    """The sessions that end because a check they name is critical or gone."""
    lost = {*critical, *gone}
    return [one.id for one in sessions if lost.intersection(one.node_checks) or lost.intersection(one.service_checks)]


def missing_checks(session: CatalogSession, known: Collection[str]) -> list[str]:
    """The checks a session names that are not there."""
    return [
        name for name in (*session.node_checks, *session.service_checks) if name not in known and name != NODE_ALIVE
    ]


def answers_at_once(asked: int, current: int, newest: int) -> bool:
    """True when a question for what is newer than index `asked` need not wait: there is something newer, or the asker
    saw an index that this registry never gave (its store was restored from older data) and must begin anew."""
    return asked == 0 or current > asked or asked > newest
