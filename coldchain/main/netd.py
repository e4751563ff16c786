"""netd: the container network of one machine: Docker's driver, addresses, routes and policy; without Docker the last
two, as a node that has no containers.

What is there goes on without it: containers keep their links, BIRD its routes, the kernel its rules.
"""

import asyncio
import contextlib
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from coldchain.clients.docker import DockerClient
from coldchain.control.clock import SystemClock
from coldchain.control.netd.addresses import AddressBook
from coldchain.control.netd.attachments import Attachments
from coldchain.control.netd.membership import Membership
from coldchain.control.netd.networks import Networks
from coldchain.control.netd.places import PlacesLoop
from coldchain.control.netd.policy import PolicyLoop
from coldchain.control.nodes import Removed
from coldchain.main.netd_routes import interface_for, route_loop
from coldchain.main.netd_settings import NetdSettings
from coldchain.main.netd_status import StatusServer
from coldchain.main.stores import open_etcd
from coldchain.main.systemd import tell_systemd
from coldchain.model.base import Noun
from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.node import Node
from coldchain.network.docker_networks import EngineNetworks
from coldchain.network.driver import Calls, DriverServer
from coldchain.network.filter.nftables import Nftables
from coldchain.network.journal import FileJournal
from coldchain.network.links import NetlinkLinks, pass_packets_on
from coldchain.ports.clock import Clock
from coldchain.ports.network import Journal
from coldchain.ports.store import Store
from coldchain.store.cipher import KeyFileCipher

JOURNAL = "journal"
STATUS_SOCKET = "netd.sock"
PATIENCE_SECONDS = 120.0
"""How long Docker may take for one answer: making a network it asks us, and then the kernel."""

log = structlog.get_logger(__name__)


class Loop(Protocol):
    """Runs for ever; `status` says how it stands."""

    @property
    def status(self) -> Noun: ...

    async def run(self) -> None: ...


async def netd(settings: NetdSettings) -> int:
    """Run until SIGTERM or SIGINT; without containers also until the node is removed, if it has joined by then. Raises
    ColdchainError when it cannot start."""
    settings.check()
    left = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, left.set)
    node = Node(
        name=settings.node,
        address=settings.address,
        address6=settings.address6,
        interface=settings.interface or await interface_for(settings.address),
        containers=settings.containers,
    )
    await asyncio.to_thread(pass_packets_on)
    async with contextlib.AsyncExitStack() as closing:
        await asyncio.to_thread(_make_folder, settings.state)
        journal = FileJournal(settings.state / JOURNAL)
        closing.callback(journal.close)
        store = open_etcd(settings.store, settings.etcd)
        closing.push_async_callback(store.close)
        clock = SystemClock()
        loops: dict[str, Loop] = {}
        calls: Mapping[str, Calls] = {}
        loops["policy"] = policy = PolicyLoop(store, Nftables(), node.name, clock, journal)
        await policy.start()  # before Docker can start a container
        membership = Membership(store, node, _renounce_nothing, clock)
        if settings.containers:
            driver, membership = await _open_driver(settings, node, store, journal, clock, loops, policy, closing)
            calls = driver.calls
        ends_with_removal = not settings.containers and await _joins_at_once(membership)
        loops["membership"] = membership
        cipher = await asyncio.to_thread(KeyFileCipher, settings.secret_keys) if settings.secret_keys else None
        loops["routes"] = routes = route_loop(store, node, settings.state, clock, cipher, membership.joined)
        status = StatusServer(settings.state / STATUS_SOCKET, node, loops, calls, policy)
        closing.push_async_callback(status.stop)
        await status.start()
        log.info("netd is there", node=node.name, address=node.address, containers=node.containers)
        tell_systemd("READY=1")
        await _until((left, routes.removed) if ends_with_removal else (left,), loops)
        tell_systemd("STOPPING=1")
    if left.is_set():
        log.info("netd ends; containers, routes and policy stay as they are")
    else:
        log.info("this machine is no node any more", node=node.name)
    return 0


async def _joins_at_once(membership: Membership) -> bool:
    """Whoever starts it without Docker reads why it cannot be. A store that is away is waited for, with the routes of
    before, and so is, without routes, that one who was removed may return."""
    try:
        await membership.write()
    except (Unavailable, Removed):
        return False
    return True


async def _open_driver(
    settings: NetdSettings,
    node: Node,
    store: Store,
    journal: Journal,
    clock: Clock,
    loops: dict[str, Loop],
    policy: PolicyLoop,
    closing: contextlib.AsyncExitStack,
) -> tuple[DriverServer, Membership]:
    """Answers Docker from what is on the disk, before the store says anything. Adds the loops that go with it."""
    links = NetlinkLinks()
    client = DockerClient(settings.docker, timeout_seconds=PATIENCE_SECONDS)
    closing.push_async_callback(client.close)
    docker = EngineNetworks(client)
    book = AddressBook(store, journal, node.name, clock)
    await book.start()
    networks = Networks(store, docker, clock)
    attachments = Attachments(book, journal, links, node, node.interface, lambda: networks.known)
    networks.attachments = attachments
    await attachments.kept()
    policy.follow(attachments)
    loops |= {
        "addresses": book,
        "attachments": PlacesLoop(store, attachments, book, docker, links, node.name, clock),
        "networks": networks,
    }
    driver = DriverServer(attachments, settings.socket)
    closing.push_async_callback(driver.stop)
    await driver.start()
    return driver, Membership(store, node, book.renounce, clock)


async def _renounce_nothing() -> None:
    """It holds no addresses."""


async def _until(ends: Sequence[asyncio.Event], loops: Mapping[str, Loop]) -> None:
    """One of them is set. Raises what ended a loop, which none of them does by itself."""
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(one.run(), name=name) for name, one in loops.items()]
        waiting = [group.create_task(one.wait()) for one in ends]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in (*running, *waiting):
            task.cancel()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Rejected(
            f"cannot make the folder {folder}: {error.strerror}",
            todo="Run as root, or name another folder with --state-directory.",
        ) from error
