"""gateway settings: all that can be chosen about a gateway that runs as a process of its own."""

import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from coldchain.decisions.address import is_loopback
from coldchain.gateway.settings import DEFAULT_MARK_HEADER, GatewayMemory, GatewaySettings
from coldchain.main.gateway_options import by_option
from coldchain.model.errors import InvalidDocument, Problem

DEFAULT_GATEWAY_DATA = Path("/var/lib/coldchain-gateway")
OPTIONS = {
    "prefix": "--data",
    "listen": "--listen",
    "tlsListen": "--listen-tls",
    "statusListen": "--status",
    "trustedProxies": "--trusted-proxy",
    "markTrusted": "--mark-trusted",
    "markHeader": "--mark-header",
    "memory": "--memory",
}
"""By which option a part of GatewaySettings is given."""
NAME_CHARACTERS_MAX = 255


@dataclass(frozen=True, kw_only=True)
class GatewayProcessSettings:
    """A gateway on a machine of its own, or beside others on one."""

    controllers: tuple[str, ...]
    """Addresses of the API, `https://HOST:PORT`, of one or more controllers of a store."""

    token: str | None = field(default=None, repr=False)
    """What is shown to them: of the role operator, for the whole platform. None: they ask nobody."""

    authority: Path | None = None
    """Who vouches for their certificates. None: whom this machine trusts."""

    name: str = field(default_factory=socket.gethostname)
    """By which they know this gateway."""

    data: Path = DEFAULT_GATEWAY_DATA
    """Folder of nginx: configuration, logs, sockets. One process at a time uses it."""

    listen: tuple[str, ...] = ("0.0.0.0:80",)
    """Addresses with port where consumers reach it."""

    tls_listen: tuple[str, ...] = ()
    """Addresses with port where they reach it over TLS."""

    status: str = "127.0.0.1:8081"
    """Where the balancer before it asks for its readiness. It asks nobody who he is."""

    status_open: bool = False
    """Whether others than this machine may reach the readiness and the numbers."""

    trusted_proxies: tuple[str, ...] = ()
    """Networks of the balancer before it, whose X-Forwarded-For is believed."""

    mark_trusted: tuple[str, ...] = ()
    """Networks of apps whose requests stay gray when they call each other through this gateway."""

    mark_header: str = DEFAULT_MARK_HEADER
    """The header of these marks."""

    memory: GatewayMemory = field(default_factory=GatewayMemory)
    """How much nginx has room for."""

    leave_seconds: float = 10.0
    """How long it serves on after SIGTERM, not ready any more: longer than the balancer before it takes to notice."""

    drain_seconds: float = 30.0
    """How long, after that, connections that are still open may take to end."""

    def check(self) -> None:
        """Raises InvalidDocument with every problem. Blocking."""
        problems = list(self._problems())
        for made in (self.gateway_settings, self.trust):
            try:
                made()
            except InvalidDocument as error:
                problems += error.problems
        if problems:
            raise InvalidDocument(problems)

    def gateway_settings(self) -> GatewaySettings:
        """Raises InvalidDocument with every problem, by the option that it comes from."""
        try:
            return GatewaySettings(
                prefix=Path(os.path.abspath(self.data)) / "gateway",
                listen=self.listen,
                tls_listen=self.tls_listen,
                status_listen=self.status,
                trusted_proxies=self.trusted_proxies,
                mark_trusted=self.mark_trusted,
                mark_header=self.mark_header,
                memory=self.memory,
            )
        except InvalidDocument as error:
            raise by_option(error, OPTIONS) from error

    def trust(self) -> ssl.SSLContext | None:
        """Raises InvalidDocument. Blocking."""
        if self.authority is None:
            return None
        context = ssl.create_default_context()
        try:
            context.load_verify_locations(self.authority)
        except (OSError, ssl.SSLError) as error:
            raise InvalidDocument([Problem(path="--authority", reason=f"cannot be used: {error}")]) from error
        return context

    @property
    def readable(self) -> tuple[str, ...]:
        """The controllers to whom the token goes so that others can read it on the way."""
        if self.token is None:
            return ()
        parts = [(one, urlsplit(one)) for one in self.controllers]
        return tuple(one for one, two in parts if two.scheme == "http" and not is_loopback(two.hostname or ""))

    def _problems(self) -> Iterator[Problem]:
        if not self.controllers:
            yield Problem(path="--controller", reason="name at least one controller, as https://HOST:PORT")
        for one in self.controllers:
            if not _is_controller(one):
                yield Problem(path="--controller", reason=f"{one!r} is not http://HOST:PORT or https://HOST:PORT")
        if len(set(self.controllers)) < len(self.controllers):
            yield Problem(path="--controller", reason="one is given twice")
        if not 0 < len(self.name) <= NAME_CHARACTERS_MAX or not self.name.isprintable() or "/" in self.name:
            yield Problem(path="--name", reason=f"{self.name!r} is no name: letters, digits, `.`, `_` and `-`")
        for option, seconds in (("--leave-seconds", self.leave_seconds), ("--drain-seconds", self.drain_seconds)):
            if not 0 <= seconds < float("inf"):
                yield Problem(path=option, reason=f"{seconds:g} is no time: give seconds")
        host = self.status.rpartition(":")[0]
        if not self.status_open and _is_address(host) and not is_loopback(host):
            reason = f"{host} is not loopback, and this tells everybody the gateway's readiness and numbers"
            yield Problem(path="--status", reason=f"{reason}; say --status-open if it may")


def _is_controller(given: str) -> bool:
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        return False
    plain = not parts.path.strip("/") and not parts.query and not parts.fragment and "@" not in parts.netloc
    return parts.scheme in ("http", "https") and bool(parts.hostname) and plain and port != 0


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
