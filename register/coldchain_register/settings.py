"""settings: what is registered where, as the environment says."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    """All that a registration is made of."""

    registry: str
    """HOST:PORT of the Consul agent, or of what speaks the same."""

    service: str
    """The name to register by."""

    registration_id: str
    """The id of the registration: one for each place."""

    address: str = ""
    """Where the app is reached. Empty: by which this machine reaches the registry."""

    port: int = 0
    """The port where it is reached."""

    tags: tuple[str, ...] = ()
    meta: Mapping[str, str] = field(default_factory=dict)
    """What else is known of it there."""

    token: str = field(default="", repr=False)
    """For a registry that asks for one."""

    ttl_seconds: float = 15.0
    """Without a heartbeat for so long it is out of service. One is sent each third of it."""

    settle_seconds: float = 3.0
    """How long those who ask the registry are given to hear of a mark."""

    grace_seconds: float = 10.0
    """From the signal that is passed on to SIGKILL."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings | None:
        """None where the platform does not ask the app to register itself. Raises ValueError for what is no number."""
        given = os.environ if environment is None else environment
        registry, service = given.get("COLDCHAIN_REGISTRY", ""), given.get("COLDCHAIN_SERVICE", "")
        if not registry or not service:
            return None
        port = int(given.get("COLDCHAIN_SERVICE_PORT") or 0)
        names = {"app": "COLDCHAIN_APP", "version": "COLDCHAIN_VERSION", "instance": "COLDCHAIN_INSTANCE"}
        return cls(
            registry=registry,
            service=service,
            registration_id=given.get("COLDCHAIN_SERVICE_ID") or f"{service}-{socket.gethostname()}-{port}",
            address=given.get("COLDCHAIN_SERVICE_ADDRESS", ""),
            port=port,
            tags=tuple(given.get("COLDCHAIN_SERVICE_TAGS", "").split()),
            meta={name: given[variable] for name, variable in names.items() if given.get(variable)},
            token=given.get("COLDCHAIN_REGISTRY_TOKEN", ""),
            ttl_seconds=float(given.get("COLDCHAIN_TTL_SECONDS") or cls.ttl_seconds),
            settle_seconds=float(given.get("COLDCHAIN_SETTLE_SECONDS") or cls.settle_seconds),
            grace_seconds=float(given.get("COLDCHAIN_GRACE_SECONDS") or cls.grace_seconds),
        )
