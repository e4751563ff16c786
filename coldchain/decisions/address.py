"""address: which address and ports a task gets. What is taken includes what was released a short while ago."""

import ipaddress
from collections.abc import Collection
from itertools import chain

from coldchain.model.errors import Rejected
from coldchain.model.task import TaskSpec


def next_address(subnet: str, taken: Collection[str], last: str | None) -> str | None:
    """The first free address after `last`, round the subnet; None when it is full.

    Going round, rather than taking the lowest, keeps an address unused for as long as can be. The first usable
    address is the gateway's.
    """
    network = ipaddress.ip_network(subnet)
    first, size = int(network.network_address) + 2, network.num_addresses - 3
    if size <= 0:
        return None
    start = 0
    if last is not None and _is_within(last, network):
        start = int(ipaddress.ip_address(last)) - first + 1
    for step in range(size):
        candidate = str(ipaddress.ip_address(first + (start + step) % size))
        if candidate not in taken:
            return candidate
    return None


def _is_within(address: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    """Not a name, which is the address of a task in the network of its machine."""
    try:
        return ipaddress.ip_address(address) in network
    except ValueError:
        return False


def next_ports(
    ranges: Collection[tuple[int, int]], wanted: Collection[int | None], taken: Collection[int], last: int
) -> tuple[int, ...] | None:
    """A host port for each wanted one: None → 0 (not published), 0 → the next free after `last`, else that port.

    None when a wanted port is taken or too few are free.
    """
    fixed = [port for port in wanted if port]
    if len(set(fixed)) < len(fixed) or not set(fixed).isdisjoint(taken):
        return None
    after = (range(max(low, last + 1), high + 1) for low, high in ranges)
    before = (range(low, min(high, last) + 1) for low, high in ranges)
    free = (port for port in chain(*after, *before) if port not in taken and port not in fixed)
    given: list[int] = []
    for port in wanted:
        number = next(free, None) if port == 0 else port or 0
        if number is None:
            return None
        given.append(number)
    return tuple(given)


def task_ports(spec: TaskSpec) -> tuple[int, ...]:
    """Where the task listens, in the app's order. Raises Rejected for a port that nobody has chosen."""
    if spec.app.network.mode == "host" or spec.app.container is None:
        return spec.host_ports
    ports = []
    for index, mapping in enumerate(spec.app.container.port_mappings):
        port = mapping.container_port or published_port(spec, index)
        if not port:
            raise Rejected(
                f"port {index} of {spec.app_id} has neither a container port nor a host port",
                todo="Give `containerPort`",
            )
        ports.append(port)
    return tuple(ports)


def published_port(spec: TaskSpec, index: int) -> int:
    """On which port of its agent one of its ports is published; 0 for none."""
    return spec.host_ports[index] if index < len(spec.host_ports) else 0
