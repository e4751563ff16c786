"""Tunnels in memory."""

from coldchain.model.errors import Unavailable
from coldchain.model.route_plan import Tunnel


class FakeTunnels:
    """Implements `ports.tunnel.Tunnels`. `refuses` True: the kernel does not do it."""

    def __init__(self) -> None:
        self.tunnel: Tunnel | None = None
        self.refuses = False

    async def apply(self, tunnel: Tunnel | None) -> None:
        if self.refuses:
            raise Unavailable("the tunnel cannot be made: Operation not supported", todo="It needs the module vxlan")
        self.tunnel = tunnel
