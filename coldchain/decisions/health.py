"""health: which questions an instance is asked, when, and what the answers mean."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from coldchain.model.app import App, CheckProtocol, HealthCheck, PortMapping, ReadinessCheck
from coldchain.model.base import Noun
from coldchain.model.health import CheckHealth, Health, Probe, ProbeResult
from coldchain.model.instance import Instance

PASSES_TO_ENTER = 2
"""Passes in a row before an instance is healthy: one may be luck while a server warms up."""
FAILURES_TO_LEAVE = 2
"""Failures in a row before an instance loses its traffic: one may be a hiccup, and gateways retry connects anyway."""
FIRST_INTERVAL_SECONDS = 0.1
"""Until the first success a probe repeats at least this often, whatever its interval: a start must not wait for it."""
JITTER = 0.1
"""Fraction of the interval by which probes are spread, so that many instances are not asked in step."""

PROBED = ("starting", "entering", "serving")
"""The phases in which answers matter: what leaves is not asked any more."""

LOOPBACK = {"IPv4": "127.0.0.1", "IPv6": "::1"}
"""Where the protocols MESOS_… find a task, from beside it."""

_ASKED: dict[CheckProtocol, tuple[Literal["HTTP", "HTTPS", "TCP", "COMMAND"], bool]] = {
    "HTTP": ("HTTP", False),
    "HTTPS": ("HTTPS", False),
    "TCP": ("TCP", False),
    "COMMAND": ("COMMAND", False),
    "MESOS_HTTP": ("HTTP", True),
    "MESOS_HTTPS": ("HTTPS", True),
    "MESOS_TCP": ("TCP", True),
}
"""What each protocol of a definition asks, and whether beside the task."""

NO_ANSWER = "no answer yet"

Standing = Literal["healthy", "unhealthy", "unknown"]


class Verdict(Noun, frozen=True, kw_only=True):
    """What all checks together say. `condemned`: it should be replaced. `detail`: the worst answer in words.
    `marked`: it is out of service by its own wish, or an operator's, and no failure."""

    standing: Standing
    ready: bool = True
    condemned: bool = False
    marked: bool = False
    detail: str = ""


WELL = Verdict(standing="healthy")
"""Of all instances without checks."""


def questions(app: App, instance: Instance) -> tuple[Probe, ...]:
    """All probes of an instance that has an address; empty while it has none."""
    if instance.address is None:
        return ()
    probes = [
        _health_probe(app, f"health/{index}", check, instance, instance.address)
        for index, check in enumerate(app.health_checks)
    ]
    probes += [
        Probe(
            instance_id=instance.id,
            check=f"readiness/{index}",
            protocol=readiness.protocol,
            address=instance.address,
            port=_named_port(app, readiness.port_name, instance),
            path=readiness.path,
            timeout_seconds=readiness.timeout_seconds,
            statuses=readiness.http_status_codes_for_ready,
            server_name=readiness.server_name,
        )
        for index, readiness in enumerate(app.readiness_checks)
    ]
    return tuple(probes)


def asked_from_here(app: App) -> bool:
    """Whether some check needs nobody beside the task who asks."""
    return any(one.command is None and not _ASKED[one.protocol][1] for one in app.health_checks)


def _health_probe(app: App, name: str, check: HealthCheck, instance: Instance, address: str) -> Probe:
    protocol, beside = _ASKED[check.protocol]
    return Probe(
        instance_id=instance.id,
        check=name,
        protocol=protocol,
        address=LOOPBACK[check.ip_protocol] if beside else address,
        port=_health_port(app, check, instance),
        task_id=instance.task_id if beside or check.command is not None else "",
        command=check.command.value if check.command is not None else "",
        path=check.path,
        timeout_seconds=check.timeout_seconds,
        beside=beside,
        server_name=check.server_name,
        ignore_1xx=check.ignore_http1xx,
    )


def _health_port(app: App, check: HealthCheck, instance: Instance) -> int:
    if check.port is not None:
        return check.port
    index = check.port_index or 0 if check.port_name is None else app.port_names.index(check.port_name)
    if index >= len(instance.ports):
        return 0
    # Where a task is reached may be a port of its agent; beside it, it is where it listens.
    inside = app.ports[index] if _ASKED[check.protocol][1] and app.network.mode != "host" else None
    return (isinstance(inside, PortMapping) and inside.container_port) or instance.ports[index]


def _named_port(app: App, name: str, instance: Instance) -> int:
    return instance.ports[app.port_names.index(name)]


def definition(app: App, check: str) -> HealthCheck | ReadinessCheck:
    """The definition behind a check's name (`health/0`, `readiness/0`)."""
    kind, _, index = check.partition("/")
    return app.health_checks[int(index)] if kind == "health" else app.readiness_checks[int(index)]


def next_probe_seconds(app: App, check: CheckHealth, random: float) -> float | None:
    """Seconds from one probe to the next, spread by `random` in [0, 1); None when it need not be asked again."""
    asked = definition(app, check.check)
    if isinstance(asked, ReadinessCheck) and check.ever_passed:
        return None
    interval = asked.interval_seconds
    if check.passed_in_a_row < PASSES_TO_ENTER and not (check.ever_passed and check.failed_in_a_row):
        interval = min(interval, FIRST_INTERVAL_SECONDS)
    return interval * (1 - JITTER * random)


def observe(app: App, health: Health, check: str, result: ProbeResult, now: float) -> Health:
    """Health after one more answer. `unknown` changes nothing but the detail; failures in the grace are not counted."""
    known = {one.check: one for one in health.checks}
    before = known.get(check, CheckHealth(check=check))
    asked = definition(app, check)
    if result.outcome == "passed":
        after = msgspec.structs.replace(
            before,
            passed_in_a_row=before.passed_in_a_row + 1,
            failed_in_a_row=0,
            ever_passed=before.ever_passed or isinstance(asked, ReadinessCheck) or before.passed_in_a_row > 0,
            at=now,
            detail=result.detail,
        )
    elif result.outcome == "failed":
        grace = asked.grace_period_seconds if isinstance(asked, HealthCheck) else 0.0
        counted = before.ever_passed or now - health.since >= grace
        after = msgspec.structs.replace(
            before,
            passed_in_a_row=0,
            failed_in_a_row=before.failed_in_a_row + counted,
            at=now,
            detail=result.detail,
        )
    else:
        after = msgspec.structs.replace(before, at=now, detail=result.detail)
    if isinstance(asked, ReadinessCheck) and asked.preserve_last_response and result.response is not None:
        after = msgspec.structs.replace(after, response=result.response)
    known[check] = after
    return msgspec.structs.replace(health, checks=tuple(known[name] for name in sorted(known)))


def passed_before(instance: Instance) -> bool:
    """Whether its record says that its checks have passed. Whoever begins to ask then, as after a start of the
    controller, holds it for well until it fails, and counts it among those that went bad if it does."""
    return instance.served or instance.phase == "entering"


def verdict(app: App, health: Health | None) -> Verdict:
    """What the answers mean. An app without checks is healthy once it runs; without answers nothing is known."""
    if health is None:
        if not app.readiness_checks and not app.health_checks:
            return WELL
        ready, unknown = not app.readiness_checks, bool(app.health_checks)
        words = "" if ready and not unknown else NO_ANSWER
        return Verdict(standing="unknown" if unknown else "healthy", ready=ready, detail=words)
    checks = {one.check: one for one in health.checks}
    ready = all(checks.get(f"readiness/{n}", _UNASKED).ever_passed for n in range(len(app.readiness_checks)))
    asked = [(one, checks.get(f"health/{n}", _UNASKED)) for n, one in enumerate(app.health_checks)]
    limits = [(one.max_consecutive_failures, known) for one, known in asked]
    condemned = any(limit and known.failed_in_a_row > limit for limit, known in limits)
    failing = [known for limit, known in limits if known.failed_in_a_row >= min(FAILURES_TO_LEAVE, limit or 2)]
    if failing:
        return Verdict(standing="unhealthy", ready=ready, condemned=condemned, detail=_words(failing))
    if all(known.passed_in_a_row >= PASSES_TO_ENTER or (known.ever_passed) for _, known in asked):
        return Verdict(standing="healthy", ready=ready, detail="" if ready else _words(checks.values()))
    return Verdict(standing="unknown", ready=ready, detail=_words(checks.values()))


def _words(checks: Iterable[CheckHealth]) -> str:
    return "; ".join(f"{one.check}: {one.detail}" for one in checks if one.detail) or NO_ANSWER


_UNASKED = CheckHealth(check="")
