"""catalog: what the embedded registry keeps: services, their checks, keys and the sessions that lock them.

The words and their meanings are Consul's. Indices are revisions of the store: they grow, also over restarts.
"""

from typing import Literal

from coldchain.model.base import Noun

CheckStatus = Literal["passing", "warning", "critical"]
CheckKind = Literal["ttl", "http", "tcp", "maintenance"]
Behavior = Literal["release", "delete"]

NODE_MAINTENANCE = "_node_maintenance"
NODE_ALIVE = "serfHealth"
"""The check of the node itself, which is there as long as the registry answers at all."""


class CatalogNode(Noun, frozen=True, kw_only=True):
    """The one node of the embedded registry: the machine it stands on. `id` is a UUID."""

    id: str
    name: str
    address: str
    datacenter: str = "dc1"


class Indexed(Noun, frozen=True, kw_only=True):
    """`create_index`, `modify_index`: the revisions at which it was made and last changed; 0: not yet written."""

    create_index: int = 0
    modify_index: int = 0


class CatalogService(Indexed, frozen=True, kw_only=True):
    """One registered address of a service. `address` empty: the node's own. `tagged_addresses`: address and port by
    tag. The weights are what a consumer may use while its checks pass or warn. `since`: when it was first registered;
    0: nobody knows."""

    id: str
    name: str
    tags: tuple[str, ...] = ()
    meta: dict[str, str] = {}
    address: str = ""
    port: int = 0
    tagged_addresses: dict[str, tuple[str, int]] = {}
    weight_passing: int = 1
    weight_warning: int = 1
    enable_tag_override: bool = False
    since: float = 0.0


class CatalogCheck(Indexed, frozen=True, kw_only=True):
    """One check of a service, or with an empty `service_id` of the node.

    `host`, `port` and `path` are asked by kinds http and tcp. A service whose check is critical for longer than
    `deregister_seconds` is taken out; 0: never. `since`: when it got its status; 0: nobody knows.
    """

    id: str
    name: str
    kind: CheckKind
    service_id: str = ""
    notes: str = ""
    status: CheckStatus = "critical"
    output: str = ""
    since: float = 0.0
    ttl_seconds: float = 0.0
    interval_seconds: float = 0.0
    timeout_seconds: float = 10.0
    host: str = ""
    port: int = 0
    path: str = "/"
    success_before_passing: int = 0
    failures_before_critical: int = 0
    deregister_seconds: float = 0.0


class KeyValue(Indexed, frozen=True, kw_only=True):
    """One key. `lock_index` counts how often it was locked; `session`: who holds it, empty for nobody."""

    key: str
    value: bytes = b""
    flags: int = 0
    lock_index: int = 0
    session: str = ""


class CatalogSession(Indexed, frozen=True, kw_only=True):
    """Who may hold locks, until it is destroyed, its TTL passes or one of its checks turns critical. TTL 0: none.

    After that its keys are released or deleted, as `behavior` says, and locked by nobody for `lock_delay_seconds`.
    """

    id: str
    name: str = ""
    behavior: Behavior = "release"
    ttl_seconds: float = 0.0
    lock_delay_seconds: float = 15.0
    node_checks: tuple[str, ...] = (NODE_ALIVE,)
    service_checks: tuple[str, ...] = ()


CatalogRecord = CatalogService | CatalogCheck | KeyValue | CatalogSession
