"""netd routes: the routes of a machine: their loop, the interface they go by, and how they are taken away again."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import structlog

from coldchain.control.netd.routes import RouteLoop
from coldchain.control.nodes import Nodes
from coldchain.main.netd_settings import NetdSettings
from coldchain.main.stores import open_etcd
from coldchain.model.errors import NotFound, Rejected
from coldchain.model.node import Node
from coldchain.model.route_plan import RoutePlan
from coldchain.network.bird.process import Bird
from coldchain.network.bird.render import render
from coldchain.network.links import interface_of
from coldchain.network.reach import TcpReach
from coldchain.network.tunnel import VxlanTunnels
from coldchain.ports.cipher import Cipher
from coldchain.ports.clock import Clock
from coldchain.ports.store import Store

BIRD = "bird"
"""BIRD's folder in that of netd's state."""

log = structlog.get_logger(__name__)


def route_loop(
    store: Store,
    me: Node,
    state: Path,
    clock: Clock,
    cipher: Cipher | None = None,
    joining: Callable[[], Awaitable[object]] | None = None,
) -> RouteLoop:
    """The loop of routes on this machine. `joining`: as of the loop."""
    bird = Bird(state / BIRD)

    def rendered(plan: RoutePlan, passwords: Mapping[str, str]) -> str:
        return render(plan, passwords, bird.log_file)

    return RouteLoop(store, bird, VxlanTunnels(), me, rendered, clock, cipher, TcpReach(), joining)


async def interface_for(address: str) -> str:
    """That of this machine which has the address, with its length. Raises Rejected."""
    plain = address.partition("/")[0]
    found = await interface_of(plain)
    if not found:
        raise Rejected(
            f"no interface of this machine has the address {plain}",
            todo="Give --address as `ip address` shows it, or --interface",
        )
    return found


async def leave(settings: NetdSettings) -> int:
    """Its routes go from this machine and from all others. Raises Conflict while it has containers."""
    store = open_etcd(settings.store, settings.etcd)
    try:
        with contextlib.suppress(NotFound):  # it may have been cut short
            await Nodes(store).remove(settings.node, may_return=True)
    finally:
        await store.close()
    await Bird(settings.state / BIRD).stop()
    await VxlanTunnels().apply(None)
    log.info("this machine is no node any more", node=settings.node)
    return 0
