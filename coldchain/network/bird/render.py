"""render: route plan → the text of bird.conf. Pure. What stands in it was checked before it got into a plan."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from coldchain.model.route_plan import RouteFamily, RoutePlan, Session
from coldchain.ports.tunnel import TUNNEL

LOG_BYTES_MAX = 1_048_576
KEEPALIVES = 3
"""So many of them may get lost before the other is given up; so it is with BFD."""
RESTART_SECONDS = 5
"""So long others keep our routes after BIRD has ended, or BFD has heard nothing of it: which is also how a BIRD looks
that was killed. So BFD takes no route by itself, it begins this wait, which netd cuts short for a machine
that is lost."""
RECOVERY_SECONDS = 10
"""So long at most it waits for the routes of others when it comes back, and leaves those of the kernel as they were:
somebody who is away holds up no longer what has changed meanwhile. Who is there has told his within some three."""
PASSED_ON_MED = 100
"""Of what is passed on from another node, against 0 of what a node announces of its own: a router that hears of a
block from several takes the shortest way."""


def render(plan: RoutePlan, passwords: Mapping[str, str], log_file: Path) -> str:
    """The whole configuration. `passwords` by the name of the secret; a session whose password is not known is left
    out: without it the other would not answer anyway."""
    sections = [
        _general(plan, log_file),
        _device(plan),
        *(_family(plan, one, passwords) for one in plan.families),
    ]
    return "\n".join(line for section in sections for line in (*section, ""))


def _general(plan: RoutePlan, log_file: Path) -> list[str]:
    return [
        "# Written by coldchain netd; what is changed here is lost.",
        f"log {_quoted(str(log_file))} {LOG_BYTES_MAX} {_quoted(f'{log_file}.1')} "
        "{ info, remote, warning, error, auth, fatal, bug };",
        f"router id {plan.router_id};",
        f"graceful restart wait {RECOVERY_SECONDS};",
    ]


def _device(plan: RoutePlan) -> list[str]:
    interface = _quoted(plan.interface) if plan.interface else '"*"'
    families = " ".join(f"{_kind(one)};" for one in plan.families)
    lines = [
        "protocol device { scan time 10; }",
        "",
        "# Without it the next hops that other nodes tell would be unreachable.",
        f"protocol direct {{ {families} interface {interface}; }}",
    ]
    if plan.bfd_interval_ms is not None:
        timing = (
            f"min rx interval {plan.bfd_interval_ms} ms; min tx interval {plan.bfd_interval_ms} ms; "
            f"multiplier {KEEPALIVES};"
        )
        lines += [
            "",
            "protocol bfd {",
            f"  interface {interface} {{ {timing} }};",
            f"  multihop {{ {timing} }};",
            "}",
        ]
    return lines


def _family(plan: RoutePlan, family: RouteFamily, passwords: Mapping[str, str]) -> list[str]:
    version = _version(family)
    sessions = [one for one in family.sessions if not one.secret or one.secret in passwords]
    lines = [
        f"# IPv{version}",
        f"protocol static blocks{version} {{",
        f"  {_kind(family)};",
        *(f"  route {block} unreachable;" for block in family.blocks),
        "}",
        "",
        "# Addresses of others' blocks, whose routes into the kernel netd makes.",
        f"protocol static borrowed{version} {{",
        f"  {_kind(family)};",
        *(f"  route {address} unreachable;" for address in family.borrowed),
        "}",
        "",
        *_filters(family),
        "",
        *_kernel(family),
        "",
        *_mesh(plan, family),
    ]
    for session in sessions:
        lines += ["", *_session(plan, family, session, passwords.get(session.secret, ""))]
    return lines


def _filters(family: RouteFamily) -> list[str]:
    version = _version(family)
    # No function: BIRD of 2.14 on wants its type, which those before do not know.
    outside = f"! (net ~ pools{version})" if family.pools else "true"
    pools = [f"define pools{version} = [ {', '.join(f'{pool}+' for pool in family.pools)} ];", ""]
    tunnel = f'{{ ifname = "{TUNNEL}"; onlink = true; gw = bgp_next_hop; }}'
    passed_on = ["  if source = RTS_BGP then accept;"] if family.passes_on else []
    inside = [f"  if source = RTS_BGP then {{ bgp_med = {PASSED_ON_MED}; accept; }}"] if family.passes_on else []
    return [
        *(pools if family.pools else ()),
        *_filter(
            f"from_nodes{version}",
            f"  if {outside} then reject;",
            *([f"  if ! (bgp_next_hop ~ {family.segment}) then {tunnel}"] if family.tunnelled else []),
            "  accept;",
        ),
        "",
        *_filter(
            f"to_nodes{version}",
            f"  if {outside} then reject;",
            "  if source = RTS_STATIC then accept;",
            *passed_on,
            "  reject;",
        ),
        "",
        *_filter(f"from_peers{version}", f"  if {outside} then reject;", "  accept;"),
        "",
        *_filter(
            f"to_peers{version}",
            f"  if {outside} then reject;",
            "  if source = RTS_STATIC then accept;",
            *inside,
            "  reject;",
        ),
        "",
        *_filter(
            f"to_kernel{version}",
            f'  if proto = "borrowed{version}" then reject;',
            f"  if {outside} then reject;",
            f"  if source = RTS_BGP then {{ krt_prefsrc = {family.address}; accept; }}",
            "  if source = RTS_STATIC then accept;",
            "  reject;",
        ),
    ]


def _kernel(family: RouteFamily) -> list[str]:
    version = _version(family)
    return [
        f"protocol kernel kernel{version} {{",
        "  scan time 10;",
        "  persist;",
        "  graceful restart;",
        f"  {_kind(family)} {{ import none; export filter to_kernel{version}; }};",
        "}",
    ]


def _mesh(plan: RoutePlan, family: RouteFamily) -> list[str]:
    """What sessions among nodes have in common. A next hop stays what it is, but for what came from outside."""
    version = _version(family)
    return [
        f"template bgp node{version} {{",
        f"  local {family.address} as {plan.autonomous_system};",
        *_timing(plan),
        f"  {_kind(family)} {{",
        f"    import filter from_nodes{version};",
        f"    export filter to_nodes{version};",
        "    gateway recursive;",
        "    next hop self ebgp;",
        "  };",
        "}",
    ]


def _session(plan: RoutePlan, family: RouteFamily, session: Session, password: str) -> list[str]:
    version = _version(family)
    neighbor = f"  neighbor {session.address} as {session.autonomous_system};"
    bfd = ["  bfd graceful;"] if session.bfd else []
    secret = [f"  password {_quoted(password)};"] if password else []
    if session.role != "external":
        client = ["  rr client;"] if session.role == "client" else []
        return [
            f"protocol bgp '{session.name}' from node{version} {{",
            neighbor,
            *bfd,
            *client,
            "}",
        ]
    return [
        f"protocol bgp '{session.name}' {{",
        f"  local {family.address} as {plan.autonomous_system};",
        neighbor,
        "  direct;",
        "  # Nodes of all segments are of one system: what comes back from a router has gone through it once.",
        "  allow local as 1;",
        *_timing(plan),
        *bfd,
        *secret,
        f"  {_kind(family)} {{",
        f"    import filter from_peers{version};",
        f"    export filter to_peers{version};",
        "    next hop self;",
        "  };",
        "}",
    ]


def _timing(plan: RoutePlan) -> Sequence[str]:
    return [
        f"  hold time {plan.hold_seconds};",
        f"  keepalive time {plan.hold_seconds // KEEPALIVES};",
        "  connect delay time 1;",
        "  connect retry time 1;",
        "  error wait time 1, 5;",
        "  graceful restart on;",
        f"  graceful restart time {RESTART_SECONDS};",
    ]


def _filter(name: str, *lines: str) -> Iterable[str]:
    return [f"filter {name} {{", *lines, "}"]


def _kind(family: RouteFamily) -> str:
    return f"ipv{_version(family)}"


def _version(family: RouteFamily) -> int:
    return 6 if family.ipv6 else 4


def _quoted(text: str) -> str:
    """BIRD knows no way to have a quotation mark or the end of a line in a text."""
    assert not {'"', "\n"} & set(text), "no text for a configuration of BIRD"
    return f'"{text}"'
