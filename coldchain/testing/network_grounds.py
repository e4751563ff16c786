"""network grounds: what has to be there before an operation on the container network can be done."""

from collections.abc import Callable
from typing import Any

from coldchain.model.node import Node

OF_NODES = frozenset({"showNode", "changeNode", "removeNode"})
OF_PEERS = frozenset({"putPeer", "removePeer"})
SENT: dict[str, dict[str, Any]] = {
    "putPolicy": {"rules": [{"name": "web", "source": {"app": "/shop/web"}, "protocol": "tcp", "ports": ["80"]}]},
    "testPolicy": {"source": "10.0.0.1", "destination": "10.0.0.2", "port": 80},
}
"""What can be done as it stands."""
OPERATIONS = OF_NODES | OF_PEERS | SENT.keys()
OPERATIONS |= {"addPool", "showPool", "changePool", "removePool", "createNetwork", "showNetwork", "removeNetwork"}

Ask = Callable[[str, str, Any], Any]
Prepared = tuple[dict[str, str], dict[str, Any] | None]


def prepare_network(ask: Ask, join: Callable[[Node], object], name: str, number: int) -> Prepared:
    """Makes what `name` needs, by the API; a node joins by itself. `number`: another one each time, below 10,000.
    Returns the parameters of its path, and what to send."""
    if name in SENT:
        return {}, SENT[name]
    if name in OF_NODES:
        node = Node(name=f"node-{number}", address=f"10.{100 + number // 250}.{number % 250}.1/24")
        join(node)
        return {"node": node.name}, {"reflector": number % 2 == 0} if name == "changeNode" else None
    if name in OF_PEERS:
        peer = {"address": f"10.{50 + number // 250}.{number % 250}.1", "autonomousSystem": 65000}
        if name == "removePeer":
            ask("PUT", f"/v1/routing/peers/peer-{number}", peer)
        return {"peer": f"peer-{number}"}, peer if name == "putPeer" else None
    pool = {"name": f"pool-{number}", "cidr": f"10.{200 + number // 256}.{number % 256}.0/26"}
    network = {"name": f"net-{number}", "pool": pool["name"]}
    if name == "addPool":
        return {}, pool
    ask("POST", "/v1/pools", pool)
    if name == "createNetwork":
        return {}, network
    if name in ("showNetwork", "removeNetwork"):
        ask("POST", "/v1/networks", network)
    path = {"pool": pool["name"], "network": network["name"]}
    return path, {"disabled": number % 2 == 0} if name == "changePool" else None
