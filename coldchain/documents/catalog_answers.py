"""Answers of Consul's API, as plain objects in its field names."""

from base64 import b64encode
from collections.abc import Iterable
from typing import Any

from coldchain.model.catalog import CatalogCheck, CatalogNode, CatalogService, CatalogSession, KeyValue

Answer = dict[str, Any]


def _indices(one: CatalogService | CatalogCheck | KeyValue | CatalogSession) -> Answer:
    return {"CreateIndex": one.create_index, "ModifyIndex": one.modify_index}


def _node_tags(node: CatalogNode) -> dict[str, str]:
    kind = "ipv6" if ":" in node.address else "ipv4"
    return dict.fromkeys(("lan", f"lan_{kind}", "wan", f"wan_{kind}"), node.address)


def node_answer(node: CatalogNode) -> Answer:
    """As in `/v1/catalog/nodes` and within entries of `/v1/health`."""
    return {
        "ID": node.id,
        "Node": node.name,
        "Address": node.address,
        "Datacenter": node.datacenter,
        "TaggedAddresses": _node_tags(node),
        "Meta": {},
        "CreateIndex": 1,
        "ModifyIndex": 1,
    }


def _tagged(service: CatalogService) -> Answer:
    return {tag: {"Address": host, "Port": port} for tag, (host, port) in service.tagged_addresses.items()}


def _weights(service: CatalogService) -> Answer:
    return {"Passing": service.weight_passing, "Warning": service.weight_warning}


def agent_service_answer(node: CatalogNode, service: CatalogService) -> Answer:
    """As in `/v1/agent/services`."""
    return {
        "ID": service.id,
        "Service": service.name,
        "Tags": list(service.tags),
        "Meta": service.meta,
        "Port": service.port,
        "Address": service.address,
        "TaggedAddresses": _tagged(service),
        "Weights": _weights(service),
        "EnableTagOverride": service.enable_tag_override,
        "Datacenter": node.datacenter,
    }


def health_service_answer(node: CatalogNode, service: CatalogService, checks: Iterable[CatalogCheck]) -> Answer:
    """As in `/v1/health/service`, and since when what is said is so, which Consul does not say."""
    return {
        "Node": node_answer(node),
        "Service": node_service_answer(service) | _since(service),
        "Checks": [
            check_answer(node, check, service if check.service_id else None) | _since(check) for check in checks
        ],
    }


def _since(one: CatalogService | CatalogCheck) -> Answer:
    return {"Coldchain": {"Since": one.since}} if one.since else {}


def node_service_answer(service: CatalogService) -> Answer:
    """As in `/v1/catalog/node` and within entries of `/v1/health`."""
    return {
        "ID": service.id,
        "Service": service.name,
        "Tags": list(service.tags),
        "Address": service.address,
        "TaggedAddresses": _tagged(service),
        "Meta": service.meta,
        "Port": service.port,
        "Weights": _weights(service),
        "EnableTagOverride": service.enable_tag_override,
        "Proxy": {"MeshGateway": {}, "Expose": {}},
        "Connect": {},
        **_indices(service),
    }


def catalog_service_answer(node: CatalogNode, service: CatalogService) -> Answer:
    """As in `/v1/catalog/service`."""
    return {
        "ID": node.id,
        "Node": node.name,
        "Address": node.address,
        "Datacenter": node.datacenter,
        "TaggedAddresses": _node_tags(node),
        "NodeMeta": {},
        "ServiceKind": "",
        "ServiceID": service.id,
        "ServiceName": service.name,
        "ServiceTags": list(service.tags),
        "ServiceAddress": service.address,
        "ServiceTaggedAddresses": _tagged(service),
        "ServiceWeights": _weights(service),
        "ServiceMeta": service.meta,
        "ServicePort": service.port,
        "ServiceEnableTagOverride": service.enable_tag_override,
        "ServiceProxy": {"MeshGateway": {}, "Expose": {}},
        "ServiceConnect": {},
        **_indices(service),
    }


def check_answer(node: CatalogNode, check: CatalogCheck, service: CatalogService | None) -> Answer:
    """As everywhere. `service`: whose check it is."""
    return {
        "Node": node.name,
        "CheckID": check.id,
        "Name": check.name,
        "Status": check.status,
        "Notes": check.notes,
        "Output": check.output,
        "ServiceID": check.service_id,
        "ServiceName": service.name if service else "",
        "ServiceTags": list(service.tags) if service else [],
        "Type": check.kind,
        "Definition": {},
        **_indices(check),
    }


def session_answer(node: CatalogNode, session: CatalogSession) -> Answer:
    """As in `/v1/session`; the lock delay in nanoseconds, as there."""
    return {
        "ID": session.id,
        "Name": session.name,
        "Node": node.name,
        "LockDelay": round(session.lock_delay_seconds * 1e9),
        "Behavior": session.behavior,
        "TTL": f"{session.ttl_seconds:g}s" if session.ttl_seconds else "",
        "NodeChecks": list(session.node_checks),
        "ServiceChecks": [{"ID": name, "Namespace": ""} for name in session.service_checks] or None,
        **_indices(session),
    }


def key_answer(one: KeyValue, *, value: bool = True) -> Answer:
    """As in `/v1/kv`. Without `value` as transactions answer what they wrote."""
    held = {"Session": one.session} if one.session else {}
    shown = b64encode(one.value).decode() if value and one.value else None
    return {"LockIndex": one.lock_index, "Key": one.key, "Flags": one.flags, "Value": shown, **held, **_indices(one)}


def agent_answer(node: CatalogNode, port: int, version: str) -> Answer:
    """As in `/v1/agent/self`, with the fields that clients look at."""
    return {
        "Config": {
            "Datacenter": node.datacenter,
            "PrimaryDatacenter": node.datacenter,
            "NodeName": node.name,
            "NodeID": node.id,
            "Revision": "",
            "Server": True,
            "Version": version,
        },
        "DebugConfig": {"Bootstrap": False, "Datacenter": node.datacenter, "NodeName": node.name, "Server": True},
        "Coord": None,
        "Member": member_answer(node, port),
        "Stats": {},
        "Meta": {},
    }


def member_answer(node: CatalogNode, port: int) -> Answer:
    """As in `/v1/agent/members`: the one that there is."""
    return {
        "Name": node.name,
        "Addr": node.address,
        "Port": port,
        "Tags": {"dc": node.datacenter, "id": node.id, "role": "consul", "build": "coldchain"},
        "Status": 1,
        "ProtocolMin": 1,
        "ProtocolMax": 5,
        "ProtocolCur": 2,
        "DelegateMin": 2,
        "DelegateMax": 5,
        "DelegateCur": 4,
    }
