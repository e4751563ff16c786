"""Tunnels: the way between segments whose router knows nothing of containers."""

from typing import Protocol

from coldchain.model.route_plan import Tunnel

TUNNEL = "cn-tunnel"
"""The name of its device on each machine."""


class Tunnels(Protocol):
    """VXLAN in the kernel of this machine. It stays when netd ends. Raises Unavailable where the kernel refuses."""

    async def apply(self, tunnel: Tunnel | None) -> None:
        """Afterwards it is as wanted, with no packet lost by what did not change; None: there is none."""
        ...
