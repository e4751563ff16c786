"""settings: all that can be chosen about a gateway's nginx. None of it comes from a definition."""

import grp
import ipaddress
import os
import pwd
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from coldchain.documents.route_rules import HEADERS_OF_CONNECTION, HEADERS_OF_THE_GATEWAY
from coldchain.model.errors import InvalidDocument, Problem

DEFAULT_MARK_HEADER = "X-Gray"
_UNSAFE = re.compile(r"[\s;{}\"'\\$#]")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,62}")
_TAKEN_HEADERS = (
    HEADERS_OF_CONNECTION | HEADERS_OF_THE_GATEWAY | {"authorization", "cookie", "traceparent", "tracestate"}
) - {DEFAULT_MARK_HEADER.lower()}
_LISTEN = re.compile(r"^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:]+\]):(\d{1,5})$")
_SOCKET_PATH_BYTES_MAX = 107
_MEMORY_BYTES_MIN = 64 * 1024


def default_worker_user() -> tuple[str, str] | None:
    """User and group for the workers: `www-data`, else `nobody`. None where nginx may not change users (not root)."""
    if os.geteuid() != 0:
        return None
    for name in ("www-data", "nobody"):
        try:
            user = pwd.getpwnam(name)
            return name, grp.getgrgid(user.pw_gid).gr_name
        except KeyError:
            continue
    return None


@dataclass(frozen=True)
class FirewallFiles:
    """ModSecurity's library, and the folder of the core rules."""

    library: Path
    rules: Path


@dataclass(frozen=True, kw_only=True)
class GatewayMemory:
    """Shared memory of nginx that refuses what does not fit, in bytes. All is touched only as far as used; changing one
    empties it."""

    rotation: int = 64 * 1024 * 1024
    """The rotation. 1,000 routes with 10 instances each take 0.5 MB, and an update that replaces the whole stands
    beside the old one while it is written."""

    nonces: int = 16 * 1024 * 1024
    """What signed requests must not be sent twice: an eighth of a kB for each, for as long as its timestamp holds.
    Where it is full signed requests are refused."""

    control: int = 16 * 1024 * 1024
    """What workers tell each other and what is told beside the rotation: what is open where, shares of limits. 0.1 kB
    for each endpoint in use and worker, and for each limit."""


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """Refused with all its problems (`InvalidDocument`) when a value could not stand in nginx's configuration."""

    prefix: Path
    """Directory of this nginx alone: configuration, logs, sockets, temporary files. Absolute; every user must be able
    to pass through its parents, since the workers keep large bodies below it."""

    listen: tuple[str, ...] = ("0.0.0.0:80",)
    """Addresses with port where consumers reach the gateway; IPv6 in brackets."""

    tls_listen: tuple[str, ...] = ()
    """Addresses with port where they reach it over TLS, HTTP/2 included, with the certificates of the rotation."""

    status_listen: str = "127.0.0.1:8081"
    """Where the balancer before this gateway asks `GET /.coldchain/ready`, and Prometheus `GET /metrics`. Loopback
    unless they stand elsewhere: the metrics name services and instances to whoever reaches it."""

    worker_processes: int | None = None
    """nginx workers. None: one per core."""

    worker_user: tuple[str, str] | None = field(default_factory=default_worker_user)
    """User and group of the workers; they need no right but to answer. None: nginx stays who it is."""

    memory: GatewayMemory = field(default_factory=GatewayMemory)
    """How much there is room for."""

    upstream_keepalive_seconds: float = 4.0
    """How long an idle connection to an app is kept: below the 5 s after which Node closes its own, because a request
    that crosses such a closing on its way cannot be repeated safely."""

    upstream_connect_timeout_seconds: float = 0.3
    """A stopped container's address answers nothing at all; the next endpoint is tried after this time."""

    upstream_read_timeout_seconds: float = 60.0
    """Longest silence of an app in the middle of an exchange, WebSockets included."""

    request_body_bytes_max: int = 1024 * 1024 * 1024
    """Larger requests are answered with 413. A body is taken in whole before an app is chosen (so a slow upload holds
    no app, and can still go elsewhere when the first one cannot be reached), so it must fit on the disk."""

    acknowledge_timeout_seconds: float = 5.0
    """How long an update waits for every worker to take it over; usually 20 ms."""

    open_requests_max: int = 6000
    """Open requests of a worker at which it refuses more but of important routes; of unimportant ones from three
    quarters of it on. Each takes two of the worker's 16,384 connections."""

    lag_seconds_max: float = 0.5
    """A worker that comes later than that to what it has to do refuses requests of unimportant routes."""

    access_log: bool = True
    """One JSON line per request in `logs/access.log`, at most a second late."""

    firewall: bool = True
    """Whether ModSecurity and the core rules are loaded, where they are installed; they take 15 MB. Without them the
    requests of a route that asks for a firewall are refused, or let pass where they are only to be told of."""

    trusted_proxies: tuple[str, ...] = ()
    """Networks whose X-Forwarded-For and X-Forwarded-Proto are believed and continued (the balancer before this
    gateway). Everybody else's are replaced."""

    mark_header: str = DEFAULT_MARK_HEADER
    """The header in which a gray request has its mark, on its way to an app and from there to other services."""

    mark_trusted: tuple[str, ...] = ()
    """Networks whose marks are believed: those of the apps that call each other through this gateway. A balancer before
    it is not one, since it passes on what consumers say."""

    def __post_init__(self) -> None:
        problems = [*self._text_problems(), *self._number_problems()]
        if problems:
            raise InvalidDocument(problems)

    @property
    def control_socket(self) -> Path:
        return self.prefix / "control" / "gateway.sock"

    @property
    def addresses(self) -> tuple[str, ...]:
        """All that it listens on."""
        return (*self.listen, *self.tls_listen, self.status_listen)

    @property
    def configuration_file(self) -> Path:
        return self.prefix / "nginx.conf"

    @property
    def placeholder_file(self) -> Path:
        """The certificate that nginx wants to see when it starts. No consumer is shown it."""
        return self.prefix / "placeholder.pem"

    @property
    def error_log_file(self) -> Path:
        return self.prefix / "logs" / "error.log"

    @property
    def access_log_file(self) -> Path:
        return self.prefix / "logs" / "access.log"

    @property
    def firewall_log_file(self) -> Path:
        return self.prefix / "logs" / "firewall.log"

    @property
    def status_address(self) -> tuple[str, int]:
        """Address and port at which `status_listen` is reached from this machine."""
        host, _, port = self.status_listen.rpartition(":")
        address = ipaddress.ip_address(host.strip("[]"))
        if address.is_unspecified:
            return ("127.0.0.1" if address.version == 4 else "::1"), int(port)
        return str(address), int(port)

    def _text_problems(self) -> list[Problem]:
        problems = []
        if not self.prefix.is_absolute() or _UNSAFE.search(str(self.prefix)):
            problems.append(Problem(path="/prefix", reason="must be an absolute path of plain characters"))
        if len(os.fsencode(self.control_socket)) > _SOCKET_PATH_BYTES_MAX:
            problems.append(Problem(path="/prefix", reason="is too long for the path of a unix socket"))
        if not self.listen and not self.tls_listen:
            problems.append(Problem(path="/listen", reason="needs at least one address"))
        addresses = [(f"/listen/{index}", address) for index, address in enumerate(self.listen)]
        addresses += [(f"/tlsListen/{index}", address) for index, address in enumerate(self.tls_listen)]
        seen: set[str] = set()
        for path, address in (*addresses, ("/statusListen", self.status_listen)):
            if not _is_listen_address(address):
                problems.append(Problem(path=path, reason=f"{address!r} is not an IP address with a port"))
            elif address in seen:
                problems.append(Problem(path=path, reason=f"{address} is given twice"))
            seen.add(address)
        problems += [
            Problem(path="/workerUser", reason=f"{name!r} is not a plain name")
            for name in self.worker_user or ()
            if not name or _UNSAFE.search(name)
        ]
        if not _HEADER.fullmatch(self.mark_header):
            problems.append(Problem(path="/markHeader", reason=f"{self.mark_header!r} is no plain name of a header"))
        elif self.mark_header.lower() in _TAKEN_HEADERS:
            problems.append(Problem(path="/markHeader", reason=f"{self.mark_header} has another meaning"))
        for path, networks in (("/trustedProxies", self.trusted_proxies), ("/markTrusted", self.mark_trusted)):
            for index, network in enumerate(networks):
                try:
                    ipaddress.ip_network(network)
                except ValueError as error:
                    problems.append(Problem(path=f"{path}/{index}", reason=str(error)))
        return problems

    def _number_problems(self) -> list[Problem]:
        lowest: dict[str, tuple[float | None, float]] = {
            "/workerProcesses": (self.worker_processes, 1),
            **{f"/memory/{name}": (size, _MEMORY_BYTES_MIN) for name, size in asdict(self.memory).items()},
            "/upstreamKeepaliveSeconds": (self.upstream_keepalive_seconds, 0.001),
            "/upstreamConnectTimeoutSeconds": (self.upstream_connect_timeout_seconds, 0.001),
            "/upstreamReadTimeoutSeconds": (self.upstream_read_timeout_seconds, 0.001),
            "/requestBodyBytesMax": (self.request_body_bytes_max, 1),
            "/acknowledgeTimeoutSeconds": (self.acknowledge_timeout_seconds, 0.001),
            "/openRequestsMax": (self.open_requests_max, 1),
            "/lagSecondsMax": (self.lag_seconds_max, 0.001),
        }
        return [
            Problem(path=path, reason=f"must be at least {least:g}")
            for path, (value, least) in lowest.items()
            if value is not None and not value >= least
        ]


def _is_listen_address(address: str) -> bool:
    match = _LISTEN.match(address)
    if not match or address != address.strip() or not 1 <= int(match.group(3)) <= 65535:
        return False
    try:
        ipaddress.ip_address(match.group(1).strip("[]"))
    except ValueError:
        return False
    return True
