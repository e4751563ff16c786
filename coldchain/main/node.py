"""node: a machine of the container network that runs no containers: routes and policy, without Docker.

What is there goes on without it: BIRD its routes, the kernel its rules.
"""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from coldchain.control.clock import SystemClock
from coldchain.control.netd.policy import PolicyLoop
from coldchain.control.netd.routes import RouteLoop
from coldchain.control.nodes import Nodes, Removed
from coldchain.decisions.node import problems
from coldchain.main.stores import EtcdAccess, open_etcd
from coldchain.model.errors import InvalidDocument, NotFound, Rejected
from coldchain.model.node import Node
from coldchain.model.route_plan import RoutePlan
from coldchain.network.bird.process import Bird
from coldchain.network.bird.render import render
from coldchain.network.filter.nftables import Nftables
from coldchain.network.links import interface_of
from coldchain.network.reach import TcpReach
from coldchain.network.tunnel import VxlanTunnels
from coldchain.ports.cipher import Cipher
from coldchain.ports.clock import Clock
from coldchain.ports.store import Store
from coldchain.store.cipher import KeyFileCipher

BIRD = "bird"
"""BIRD's folder in that of netd's state."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """One node without containers."""

    store: str
    """Address of the etcd that all machines and controllers share."""

    etcd: EtcdAccess = field(default_factory=EtcdAccess)
    """How its members are talked to."""

    name: str
    """In the container network."""

    address: str = ""
    """By which other machines reach it, with the length of its segment."""

    address6: str = ""
    """One of IPv6 besides."""

    interface: str | None = None
    """Of that address; looked for if not given."""

    state: Path
    """Folder of what must outlive a restart."""

    secret_keys: Path | None = None
    """File of the keys of secrets; without it sessions that need a password are left out."""


async def join(settings: NodeSettings) -> int:
    """Run until SIGTERM or SIGINT, or until the node is removed. Raises ColdchainError when it cannot start."""
    left = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, left.set)
    me = Node(name=settings.name, address=settings.address, address6=settings.address6, containers=False)
    if found := problems(me):
        raise InvalidDocument(found)
    interface = settings.interface or await interface_for(me.address)
    me = Node(name=me.name, address=me.address, address6=me.address6, interface=interface, containers=False)
    cipher = await asyncio.to_thread(KeyFileCipher, settings.secret_keys) if settings.secret_keys else None
    store = open_etcd(settings.store, settings.etcd)
    try:
        try:
            await Nodes(store).join(me)  # what is wrong with it is said here
        except Removed:
            await _take_routes_away(settings)
            raise
        clock = SystemClock()
        routes = route_loop(store, me, settings.state, clock, cipher)
        policy = PolicyLoop(store, Nftables(), me.name, clock)
        log.info("this machine is a node", node=me.name, address=me.address, interface=interface)
        await _until(left, routes, policy)
    finally:
        await store.close()
    if routes.removed.is_set():
        log.info("this machine is no node any more", node=me.name)
    else:
        log.info("ends; routes stay as they are", node=me.name)
    return 0


def route_loop(
    store: Store,
    me: Node,
    state: Path,
    clock: Clock,
    cipher: Cipher | None = None,
    joining: Callable[[], Awaitable[object]] | None = None,
) -> RouteLoop:
    """The loop of routes on this machine; `coldchain netd` has the same. `joining`: as of the loop."""
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


async def leave(settings: NodeSettings) -> int:
    """Its routes go from this machine and from all others. Raises Conflict while it has containers."""
    store = open_etcd(settings.store, settings.etcd)
    try:
        with contextlib.suppress(NotFound):  # it may have been cut short
            await Nodes(store).remove(settings.name, may_return=True)
    finally:
        await store.close()
    await _take_routes_away(settings)
    log.info("this machine is no node any more", node=settings.name)
    return 0


async def _take_routes_away(settings: NodeSettings) -> None:
    await Bird(settings.state / BIRD).stop()
    await VxlanTunnels().apply(None)


async def _until(left: asyncio.Event, routes: RouteLoop, policy: PolicyLoop) -> None:
    running = [asyncio.ensure_future(one.run()) for one in (routes, policy)]
    waits: list[asyncio.Future[Any]] = [
        *running,
        *(asyncio.ensure_future(one.wait()) for one in (left, routes.removed)),
    ]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in running:
            if one.done():
                one.result()
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
