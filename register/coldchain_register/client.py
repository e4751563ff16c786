"""client: the few calls of Consul's HTTP API that a registration needs, one connection each."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any
from urllib.parse import quote, urlencode

from coldchain_register.settings import Settings

CALL_SECONDS = 5.0
REMOVED_AFTER = "1m"
"""A registration that is critical for so long is taken away: the least that Consul allows."""
NOTE_CHARACTERS_MAX = 1000


class RegistryUnavailable(Exception):  # noqa: N818
    """It does not answer: what it knows is unknown."""


class RegistryRefused(Exception):  # noqa: N818
    """It answered, and did not do it: such as to say something of what it does not know."""


class RegistryClient:
    """Blocks for at most CALL_SECONDS. Each call raises RegistryUnavailable or RegistryRefused."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._id = quote(settings.registration_id, safe="")

    def register(self) -> None:
        """Make it known, critical until the first good heartbeat."""
        settings = self._settings
        definition = {
            "ID": settings.registration_id,
            "Name": settings.service,
            "Address": settings.address or self._own_address(),
            "Port": settings.port,
            "Tags": list(settings.tags),
            "Meta": dict(settings.meta),
            "Check": {"TTL": f"{settings.ttl_seconds:g}s", "DeregisterCriticalServiceAfter": REMOVED_AFTER},
        }
        self._call("PUT", "/v1/agent/service/register", definition)

    def report(self, *, well: bool, note: str = "") -> None:
        """One heartbeat."""
        query = urlencode({"note": note[:NOTE_CHARACTERS_MAX]}) if note else ""
        path = f"/v1/agent/check/{'pass' if well else 'fail'}/service:{self._id}"
        self._call("PUT", f"{path}?{query}" if query else path)

    def mark(self) -> None:
        """Put it out of service; it stays registered."""
        self._call("PUT", f"/v1/agent/service/maintenance/{self._id}?enable=true&reason=draining")

    def is_marked(self) -> bool:
        """Whether it is out of service already, by whoever's word."""
        checks = self._call("GET", "/v1/agent/checks")
        return isinstance(checks, dict) and f"_service_maintenance:{self._settings.registration_id}" in checks

    def deregister(self) -> None:
        """Take it away."""
        self._call("PUT", f"/v1/agent/service/deregister/{self._id}")

    def _own_address(self) -> str:
        host, _, port = self._settings.registry.rpartition(":")
        try:
            [(family, kind, _, _, place), *_] = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
            with socket.socket(family, kind) as probe:
                probe.connect(place)  # sends nothing
                return str(probe.getsockname()[0])
        except (OSError, ValueError):
            return ""

    def _call(self, method: str, path: str, body: object = None) -> Any:
        headers = {"X-Consul-Token": self._settings.token} if self._settings.token else {}
        connection = http.client.HTTPConnection(self._settings.registry, timeout=CALL_SECONDS)
        try:
            connection.request(method, path, b"" if body is None else json.dumps(body).encode(), headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise RegistryUnavailable(f"the registry at {self._settings.registry} does not answer: {error}") from error
        finally:
            connection.close()
        if not 200 <= response.status < 300:
            words = text.decode("utf-8", "replace").strip()[:200]
            raise RegistryRefused(f"the registry at {self._settings.registry} refuses: {response.status} {words}")
        try:
            return json.loads(text) if text.strip() else None
        except ValueError as error:
            raise RegistryUnavailable(f"the registry at {self._settings.registry} answers with no JSON") from error
