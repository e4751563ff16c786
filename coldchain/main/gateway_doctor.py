"""gateway doctor: what keeps a gateway from serving as it should, and what to do about it."""

from collections.abc import Iterator

from coldchain.cli.language import _
from coldchain.main.doctor import (
    Finding,
    descriptor_finding,
    disk_findings,
    gateway_programs,
    port_finding,
)
from coldchain.main.gateway_machine import Certificate, ControllerAnswer, GatewayMachine

CLOCK_SECONDS_MAX = 2.0
"""Tokens and signed requests go by the clock of the gateway; most consumers allow for more."""
CERTIFICATE_SECONDS = 14 * 86_400.0
MEMORY_SHARE = 0.8
"""Used of a shared memory, from which on there may soon be no room."""
EVICTING = ("coldchain_limits", "coldchain_traffic", "coldchain_tallies")
"""Where what was used least recently makes room, so that being full costs no more than that."""
MAY_FEED = ("operator", "admin")
CHOSEN = ("coldchain_rotation", "coldchain_control", "coldchain_nonces")
"""How large these are is an option of the gateway."""


def findings(machine: GatewayMachine) -> list[Finding]:
    """Everything, in the order in which a gateway needs it: programs, places, nginx itself, and whoever feeds it."""
    return [
        *_user(machine),
        *gateway_programs(machine.nginx, machine.nginx_error, machine.lua_missing, machine.firewall_missing),
        *(port_finding(port, taken_by_us=machine.state is not None) for port in machine.ports),
        *disk_findings(machine.disks),
        descriptor_finding(machine.descriptors),
        *_running(machine),
        *_memory(machine),
        *(_certificate(one, machine.now) for one in sorted(machine.certificates, key=lambda one: one.name)),
        *(_controller(one) for one in machine.controllers),
        *_clock(machine),
    ]


def _user(machine: GatewayMachine) -> Iterator[Finding]:
    if machine.user == 0:
        yield Finding("user", "ok", "root")
    else:
        todo = _("Run this as the user of the gateway: the rest cannot be seen otherwise.")
        yield Finding("user", "warning", _("not root (user {user})", user=machine.user), todo)


def _running(machine: GatewayMachine) -> Iterator[Finding]:
    state = machine.state
    if state is None:
        if machine.state_error:
            todo = _("See logs/error.log in its folder; `coldchain gateway` starts nginx again where it does not run.")
            yield Finding("gateway", "missing", machine.state_error, todo)
        else:
            said = _("none runs in that folder; what it would need is looked at")
            yield Finding(
                "gateway", "warning", said, _("Start it: `coldchain gateway`; or name its folder with --data.")
            )
        return
    said = _("revision {revision}, {workers} workers", revision=state.applied, workers=len(state.workers))
    if state.head > state.applied:
        todo = _("A worker stands still or has no room: logs/error.log in the folder of nginx says which, and why.")
        yield Finding("gateway", "missing", said + ", " + _("not all by {head}", head=state.head), todo)
    elif len(state.workers) < state.workers_wanted:
        todo = _("nginx replaces one that was killed at once, unless its master is gone: start the gateway again then.")
        yield Finding("gateway", "warning", said + ", " + _("not {wanted}", wanted=state.workers_wanted), todo)
    else:
        yield Finding("gateway", "ok", said)
    if state.draining:
        yield Finding("lease", "warning", _("it leaves: not ready any more"))
    elif state.lease_seconds > 0:
        yield Finding("lease", "ok", _("ready, for {seconds} s", seconds=f"{state.lease_seconds:.1f}"))
    else:
        todo = _("It serves on with what it knows. See that `coldchain gateway` runs and that a controller answers it.")
        yield Finding("lease", "missing", _("over: not ready, no controller has been heard for a while"), todo)


def _memory(machine: GatewayMachine) -> Iterator[Finding]:
    for one in sorted(machine.memory, key=lambda one: one.name):
        used = one.bytes - one.free
        short = one.name.removeprefix("coldchain_")
        name = f"memory {short}"
        said = _("{used} of {total} KiB used", used=used // 1024, total=one.bytes // 1024)
        if used < MEMORY_SHARE * one.bytes or one.name in EVICTING:
            yield Finding(name, "ok", said)
        else:
            todo = _("Limits of open requests count less exactly once it is full: have fewer of them.")
            if one.name in CHOSEN:
                todo = _(
                    "What does not fit is refused: have less in it, or start the gateway again with more: {option}.",
                    option=f"--memory {short}=MIB (coldchain up: --gateway-memory)",
                )
            yield Finding(name, "warning", said, todo)


def _certificate(one: Certificate, now: float) -> Finding:
    name = f"certificate {one.name}"
    todo = _("Set a new one: `coldchain certificate set`; it is in force at once.")
    if one.ends_at is None:
        return Finding(name, "warning", _("cannot be read"), todo)
    days = (one.ends_at - now) / 86_400
    if days <= 0:
        return Finding(name, "missing", _("is over"), todo)
    said = _("ends in {days} days", days=f"{days:.0f}")
    return Finding(name, "ok", said) if days * 86_400 > CERTIFICATE_SECONDS else Finding(name, "warning", said, todo)


def _controller(one: ControllerAnswer) -> Finding:
    """One that does not answer is a warning: any other does as well."""
    name = f"controller {one.address}"
    if one.refused:
        return Finding(name, "missing", one.error, _("Give it a token of role operator: --token-file."))
    if one.error:
        todo = _("Start it, and look at the address, its certificate (--authority) and the network between.")
        return Finding(name, "warning", one.error, todo)
    if one.role not in MAY_FEED:
        said = _("the token is of role {role}", role=one.role)
        return Finding(name, "missing", said, _("Give it a token of role operator: --token-file."))
    return Finding(name, "ok", _("answers, as to an {role}", role=one.role))


def _clock(machine: GatewayMachine) -> Iterator[Finding]:
    todo = _("Keep it right: `apt-get install systemd-timesyncd` or chrony.")
    known = [one for one in machine.controllers if one.ahead_seconds is not None]
    wrong = [one for one in known if abs(one.ahead_seconds or 0.0) > CLOCK_SECONDS_MAX]
    for one in wrong:
        seconds = f"{one.ahead_seconds:+.1f}"
        said = _("the clock of {address} differs by {seconds} s", address=one.address, seconds=seconds)
        yield Finding("clock", "warning", said, todo)
    if not wrong and machine.clock_synchronised is False:
        yield Finding("clock", "warning", _("nobody keeps it right"), todo)
    elif not wrong:
        yield Finding("clock", "ok", _("as the controllers'") if known else _("set"))
