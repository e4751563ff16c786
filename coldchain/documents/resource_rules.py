"""resource_rules: what is wrong with the parts of a definition that say what an app takes and from whom."""

import re
from collections.abc import Iterator

from coldchain.documents.findings import Finding, Path, shown
from coldchain.model.app import App, UnreachableStrategy

ROLE = re.compile(r"\*|[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


def resource_findings(app: App) -> Iterator[Finding]:
    """Everything wrong with roles, limits, service ports, and with how long an unreachable instance is waited for."""
    yield from _roles(app)
    yield from _limits(app)
    yield from _service_ports(app)
    strategy = app.unreachable_strategy
    if isinstance(strategy, UnreachableStrategy) and strategy.expunge_after_seconds < strategy.inactive_after_seconds:
        yield Finding(
            ("unreachableStrategy", "expungeAfterSeconds"),
            f"must be at least inactiveAfterSeconds ({strategy.inactive_after_seconds:g})",
            needs=(("unreachableStrategy", "inactiveAfterSeconds"),),
        )
    if app.tty and app.container is None:
        yield Finding(("tty",), "needs a container: a process has no terminal", needs=(("container",),))


def _roles(app: App) -> Iterator[Finding]:
    named: list[tuple[Path, str]] = [(("role",), app.role)] if app.role is not None else []
    named += [(("acceptedResourceRoles", n), role) for n, role in enumerate(app.accepted_resource_roles)]
    for path, role in named:
        if not ROLE.fullmatch(role):
            yield Finding(path, f"{shown(role)} is no role: `*`, or letters, digits, `_`, `-` and `.`, parted by `/`")


def _limits(app: App) -> Iterator[Finding]:
    limits = app.resource_limits
    if limits is None:
        return
    if app.container is None:
        reason = "is for apps with a container so far: a process is limited by mem, and has cpus as its share"
        yield Finding(("resourceLimits",), reason, needs=(("container",),))
    for name, limit, given in (("cpus", limits.cpus, app.cpus), ("mem", limits.mem, app.mem)):
        if isinstance(limit, float) and limit < given:
            path: Path = ("resourceLimits", name)
            yield Finding(path, f"must be at least {name} ({given:g})", needs=((name,),))


def _service_ports(app: App) -> Iterator[Finding]:
    host = app.network.mode == "host"
    where: Path = ("portDefinitions",) if host else ("container", "portMappings")
    first: dict[int, int] = {}
    for position, port in enumerate(app.service_ports):
        if port and first.setdefault(port, position) != position:
            path = (*where, position, "port" if host else "servicePort")
            yield Finding(path, f"port {first[port]} has the number {port} already", needs=(("networks",),))
