"""attempts: how often somebody may fail to say who he is, by address, in bounded memory."""

import ipaddress
from collections import OrderedDict

ATTEMPTS_MAX = 20
"""Failures in a row that are answered at once: a person with an old token in three terminals is not held up."""
REGAIN_SECONDS = 6.0
"""After which one more is allowed."""
ADDRESSES_MAX = 10_000
"""Of that many the failures are known; who failed longest ago is forgotten first."""


class Attempts:
    """A count for each address that shrinks with time. Moments are those of a clock that never jumps."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, address: str, now: float) -> float:
        """How long this address has to wait before it may try again; 0: not at all."""
        return max(0.0, (self._left(_network(address), now) - (ATTEMPTS_MAX - 1)) * REGAIN_SECONDS)

    def failed(self, address: str, now: float) -> None:
        """Somebody at this address was not recognised."""
        network = _network(address)
        self._failures[network] = (self._left(network, now) + 1, now)
        self._failures.move_to_end(network)
        if len(self._failures) > ADDRESSES_MAX:
            self._failures.popitem(last=False)

    def _left(self, network: str, now: float) -> float:
        count, at = self._failures.get(network, (0.0, now))
        return max(0.0, count - (now - at) / REGAIN_SECONDS)


def _network(address: str) -> str:
    """Who has one address of version 6 has 2^64 of them."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))
