"""network doctor: what keeps a machine's part of the container network from working, and what to do about it."""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from coldchain.cli.language import _
from coldchain.main.doctor import Finding
from coldchain.main.network_machine import Interface, NetworkMachine, Route, Session
from coldchain.ports.network import HOST_PREFIX

CLOCK_SECONDS_MAX = 2.0
"""Leases go by durations and mind no clock; but beyond that logs of several machines cannot be laid side by side."""
VXLAN_BYTES = 50
IMPLEMENTED = ("NetworkDriver", "IpamDriver")
ON = "1"
LOOSE = "2"
Document = Mapping[str, Any]


def findings(machine: NetworkMachine) -> list[Finding]:
    """Everything, in the order in which a packet needs it: who answers Docker, the kernel, routes, the store."""
    return [
        *_user(machine),
        *_netd(machine),
        *_driver(machine),
        *_docker(machine),
        *_sysctls(machine),
        *_forward(machine),
        *_links(machine),
        *_bird(machine),
        *_blocks(machine),
        *_clocks(machine),
    ]


def _user(machine: NetworkMachine) -> Iterator[Finding]:
    if machine.user == 0:
        yield Finding("user", "ok", "root")
    else:
        said = _("not root (user {user})", user=machine.user)
        yield Finding("user", "warning", said, _("Run this as root: the rest cannot be seen otherwise."))


def _netd(machine: NetworkMachine) -> Iterator[Finding]:
    if machine.netd is None:
        todo = _("Start it: `coldchain netd`, by its systemd unit; the journal of the unit tells why it does not.")
        yield Finding("netd", "missing", machine.netd_error, todo)
        return
    yield Finding("netd", "ok", _("answers, version {version}", version=str(machine.netd.get("version", "?"))))
    loops = machine.netd.get("loops")
    for name, status in sorted(loops.items() if isinstance(loops, dict) else ()):
        status = status if isinstance(status, dict) else {}
        troubles = list(_troubles(status))
        for trouble in troubles:
            yield Finding(
                f"netd {name}", "warning", trouble, _("It is tried again by itself; the log of netd has more.")
            )
        for one in status.get("findings", ()):
            yield Finding(f"netd {name}", "warning", str(one["reason"]), str(one["todo"]))
        if not troubles and not status.get("findings"):
            yield Finding(f"netd {name}", "ok", _("no trouble"))


def _troubles(status: Document) -> Iterator[str]:
    """What one of netd's loops says of itself: `trouble` and `…Trouble` are words, `troubles` words by their object."""
    for name, value in sorted(status.items()):
        if name.lower().endswith("trouble") and isinstance(value, str) and value:
            yield value
        elif name == "troubles" and isinstance(value, dict):
            yield from (f"{one}: {words}" for one, words in sorted(value.items()))
        elif name == "withoutLink" and value:
            yield _("containers without their link: {names}", names=", ".join(map(str, value)))


def _driver(machine: NetworkMachine) -> Iterator[Finding]:
    if _runs_no_containers(machine):
        yield Finding("driver", "ok", _("not needed: this node runs no containers"))
        return
    lacking = [name for name in IMPLEMENTED if name not in machine.driver]
    if machine.driver_error or lacking:
        said = machine.driver_error or _("it implements no {names}", names=", ".join(lacking))
        todo = _("Start netd before Docker. Until it answers, containers in networks of ours do not start.")
        yield Finding("driver", "missing", said, todo)
    else:
        yield Finding("driver", "ok", _("answers Docker"))


def _docker(machine: NetworkMachine) -> Iterator[Finding]:
    if machine.docker is None:
        if _runs_no_containers(machine):
            yield Finding("docker", "ok", _("not needed: this node runs no containers"))
        else:
            yield Finding(
                "docker", "missing", machine.docker_error, _("`coldchain doctor` says what to do about Docker.")
            )
        return
    yield Finding("docker", "ok", _("networks of ours: {names}", names=", ".join(machine.networks) or "-"))
    if machine.docker.get("LiveRestoreEnabled") is False:
        todo = _('Put "live-restore": true into /etc/docker/daemon.json.')
        yield Finding("docker live-restore", "warning", _("containers end when Docker is restarted"), todo)


def _runs_no_containers(machine: NetworkMachine) -> bool:
    node = machine.netd.get("node") if machine.netd else None
    return isinstance(node, dict) and node.get("containers") is False


def _sysctls(machine: NetworkMachine) -> Iterator[Finding]:
    wrong = list(_wrong_sysctls(machine))
    yield from wrong
    if not wrong:
        yield Finding("sysctls", "ok", _("as they should be"))


def _wrong_sysctls(machine: NetworkMachine) -> Iterator[Finding]:
    values = machine.sysctls
    for name, value in sorted(values.items()):
        parts = name.split("/")
        if name == "net/ipv4/ip_forward" and value != ON:
            yield _sysctl(name, ON, "missing", _("this machine passes no packets on to its containers"))
        elif name == "net/ipv4/conf/all/rp_filter" and value == LOOSE:
            yield _sysctl(name, ON, "warning", _("containers may send with addresses of others"))
        elif parts[:3] == ["net", "ipv4", "conf"] and parts[3].startswith(HOST_PREFIX) and value == "0":
            words = {
                "forwarding": _("this container reaches nobody beyond its machine"),
                "rp_filter": _("this container may send with addresses of others"),
            }
            if parts[4] in words:
                yield _sysctl(name, ON, "missing", words[parts[4]])
    if values.get("net/ipv6/conf/all/forwarding") == "0" and any(_is_link6(route) for route in machine.routes):
        said = _("containers have IPv6 addresses, and this machine passes no IPv6 on")
        yield _sysctl("net/ipv6/conf/all/forwarding", ON, "missing", said)
    uplink = _uplink(machine)
    if values.get("net/bridge/bridge-nf-call-iptables") == ON and uplink is not None and uplink.kind == "bridge":
        said = _("{name} is a bridge, so FORWARD decides on packets between machines, too", name=uplink.name)
        yield _sysctl("net/bridge/bridge-nf-call-iptables", "0", "warning", said)


def _sysctl(path: str, value: str, state: Any, said: str) -> Finding:
    name = path.replace("/", ".")
    return Finding(
        name, state, said, _("`sysctl -w {name}={value}`, and the same in /etc/sysctl.d.", name=name, value=value)
    )


def _forward(machine: NetworkMachine) -> Iterator[Finding]:
    if machine.forward_error:
        yield Finding("FORWARD", "ok", _("no iptables rules ({error})", error=machine.forward_error))
        return
    closed = "-P FORWARD DROP" in machine.forward
    lacking = [way for way in ("-i", "-o") if not _lets_through(machine, way)]
    if closed and lacking:
        commands = "; ".join(f"iptables -I DOCKER-USER {way} {HOST_PREFIX}+ -j ACCEPT" for way in lacking)
        said = _("its policy is DROP, and no rule lets packets of containers through")
        yield Finding("FORWARD", "missing", said, _("`{commands}`, at each start of the machine.", commands=commands))
    else:
        yield Finding("FORWARD", "ok", _("lets packets of containers through"))


def _lets_through(machine: NetworkMachine, way: str) -> bool:
    return any(f" {way} {HOST_PREFIX}+ " in f"{rule} " and "-j ACCEPT" in rule for rule in machine.forward)


def _uplink(machine: NetworkMachine) -> Interface | None:
    """By which the other machines are reached: as netd says, else that of the default route."""
    node = machine.netd.get("node") if machine.netd else None
    name = node.get("interface", "") if isinstance(node, dict) else ""
    if not name:
        name = next((route.device for route in machine.routes if route.destination == "default"), "")
    return next((one for one in machine.interfaces if one.name == name), None)


def _links(machine: NetworkMachine) -> Iterator[Finding]:
    if machine.links_error:
        yield Finding("links", "warning", machine.links_error, _("Install it: `apt-get install iproute2`."))
        return
    uplink = _uplink(machine)
    links = [one for one in machine.interfaces if one.name.startswith(HOST_PREFIX) and one.kind == "veth"]
    wrong = [finding for one in links for finding in _link(machine, one, uplink)]
    yield from wrong
    for one in machine.interfaces:
        if one.kind == "vxlan" and uplink is not None and one.mtu > uplink.mtu - VXLAN_BYTES:
            said = _(
                "MTU {mtu}, and {uplink} has {room} bytes for it",
                mtu=one.mtu,
                uplink=uplink.name,
                room=uplink.mtu - VXLAN_BYTES,
            )
            yield Finding(one.name, "missing", said, _mtu_todo(one.name, uplink.mtu - VXLAN_BYTES))
    if not wrong:
        yield Finding("links", "ok", _("{number} of containers", number=len(links)))


def _link(machine: NetworkMachine, link: Interface, uplink: Interface | None) -> Iterator[Finding]:
    restart = _("Restart the container; if that does not help, netd.")
    if not link.up:
        yield Finding(link.name, "missing", _("the link is down"), _("`ip link set {name} up`.", name=link.name))
    if not any(route.device == link.name for route in machine.routes):
        yield Finding(link.name, "missing", _("no route leads to its container"), restart)
    if uplink is not None and link.mtu > uplink.mtu:
        said = _(
            "MTU {mtu}, and {uplink} has {room}: large packets are lost",
            mtu=link.mtu,
            uplink=uplink.name,
            room=uplink.mtu,
        )
        yield Finding(link.name, "missing", said, _mtu_todo(link.name, uplink.mtu))
    elif uplink is not None and link.mtu < (room := _room(machine, uplink)):
        said = _(
            "MTU {mtu}, and {uplink} has {room}: smaller than need be",
            mtu=link.mtu,
            uplink=uplink.name,
            room=room,
        )
        yield Finding(link.name, "warning", said, restart)


def _room(machine: NetworkMachine, uplink: Interface) -> int:
    """In a packet that also passes the tunnel, where there is one."""
    return min([uplink.mtu, *(one.mtu for one in machine.interfaces if one.kind == "vxlan")])


def _mtu_todo(name: str, mtu: int) -> str:
    return _("`ip link set {name} mtu {mtu}`; in its container as well.", name=name, mtu=mtu)


def _bird(machine: NetworkMachine) -> Iterator[Finding]:
    others = [one for one in machine.shared.nodes if one.name != _node_name(machine)] if machine.shared else []
    if machine.bird_error:
        todo = _("`apt-get install bird2`, then have netd start it; systemd must not: `systemctl disable --now bird`.")
        yield Finding("BIRD", "missing", machine.bird_error, todo)
        return
    if others and not machine.sessions:
        said = _("no session, though there are {number} other nodes", number=len(others))
        yield Finding("BIRD", "missing", said, _("The log of netd says why it gave BIRD none."))
    for session in machine.sessions:
        yield _session(session)


def _session(session: Session) -> Finding:
    if session.state == "Established":
        return Finding(f"BIRD {session.name}", "ok", session.state)
    said = f"{session.state} {session.words}".strip()
    return Finding(f"BIRD {session.name}", "missing", said, _session_todo(said.lower()))


def _session_todo(said: str) -> str:
    """By BIRD's words for what troubles a session."""
    if "route" in said or "unreachable" in said:
        return _("This machine has no way to that one: `ip route get ADDRESS` shows what it knows.")
    if "password" in said or "authentication" in said:
        return _("Both sides must have the same password.")
    if "hold timer" in said or "bfd" in said:
        return _(
            "Packets between the machines are lost: look at the link, its MTU and what filters TCP 179 and UDP 3784."
        )
    return _("BIRD does not run there, or TCP port 179 is closed: look with the doctor on that machine.")


def _node_name(machine: NetworkMachine) -> str:
    node = machine.netd.get("node") if machine.netd else None
    return str(node.get("name", "")) if isinstance(node, dict) else ""


def _blocks(machine: NetworkMachine) -> Iterator[Finding]:
    """Each block of another node needs a route there, each of our own one that stops what nobody has in it."""
    if machine.shared is None:
        if machine.shared_error:
            todo = _("Running containers go on; see that the store runs, and that this machine reaches it.")
            yield Finding("store", "warning", machine.shared_error, todo)
        return
    own = _node_name(machine)
    known = {_canonical(route.destination): route for route in machine.routes}
    lacking = []
    for block in machine.shared.blocks:
        route = known.get(_canonical(block.cidr))
        if block.node == own or not block.node:
            continue
        if route is None:
            lacking.append(block)
            said = _("no route to {cidr} of node {node}", cidr=block.cidr, node=block.node)
            yield Finding("routes", "missing", said, _("See the session with that node, above, and the doctor there."))
        elif route.kind != "unicast" and own:  # else nobody says which are ours
            lacking.append(block)
            said = _("{cidr} is node {node}'s, and this machine stops its packets", cidr=block.cidr, node=block.node)
            yield Finding("routes", "missing", said, _("Restart netd: it still takes the block for its own."))
    if not lacking:
        yield Finding("routes", "ok", _("to all {number} blocks", number=len(machine.shared.blocks)))


def _clocks(machine: NetworkMachine) -> Iterator[Finding]:
    todo = _("Keep it right: `apt-get install systemd-timesyncd` or chrony.")
    ahead = machine.shared.clock_ahead_seconds if machine.shared else None
    if ahead is not None and abs(ahead) > CLOCK_SECONDS_MAX:
        said = _("the store's clock differs by {seconds} s", seconds=f"{ahead:+.1f}")
        yield Finding("clock", "warning", said, todo)
    elif machine.clock_synchronised is False:
        yield Finding("clock", "warning", _("nobody keeps it right"), todo)
    else:
        yield Finding("clock", "ok", _("as the store's") if ahead is not None else _("set"))


def _canonical(destination: str) -> str:
    try:
        return str(ipaddress.ip_network(destination, strict=False))
    except ValueError:
        return destination


def _is_link6(route: Route) -> bool:
    return (
        ":" in route.destination and route.device.startswith(HOST_PREFIX) and not route.destination.startswith("fe80")
    )
