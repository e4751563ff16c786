"""network grounds: what has to be there before an operation on pools or networks of containers can be done."""

from collections.abc import Callable
from typing import Any

OPERATIONS = frozenset(
    {"addPool", "showPool", "changePool", "removePool", "createNetwork", "showNetwork", "removeNetwork"}
)

Ask = Callable[[str, str, Any], Any]


def prepare_network(ask: Ask, name: str, number: int) -> tuple[dict[str, str], dict[str, Any] | None]:
    """Makes what `name` needs, by the API. `number`: another one each time, below 10,000. Returns the parameters of its
    path, and what to send."""
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
