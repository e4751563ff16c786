"""Machines that are network namespaces, with BIRD on each: for tests of routes, inside of the sandbox.

What is done on a machine is done by a thread in its namespace, with a loop of its own; so sockets, kernel settings and
the programs that are started there are the machine's.
"""

import asyncio
import contextlib
import json
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from coldchain.control.clock import SystemClock
from coldchain.control.netd.lost_nodes import LostNodes
from coldchain.decisions.routing import route_plan
from coldchain.model.node import Node, Routing
from coldchain.model.pool import Block, Pool
from coldchain.model.route_plan import RoutePlan
from coldchain.network.bird.process import Bird
from coldchain.network.bird.render import RESTART_SECONDS, render
from coldchain.network.reach import TcpReach
from coldchain.network.tunnel import VxlanTunnels
from coldchain.testing.sandbox import kernel

SWITCH = "switch"
UPLINK = "eth0"
CALL_SECONDS = 60.0
STREAM_PORT = 7007

T = TypeVar("T")
Routes = Mapping[str, str]
"""Of a machine's kernel: where each leads, by its destination; `10.200.0.0/26` → `10.10.3.5 eth0`."""


_GROUPS = 0x40 | 0x400
"""Of netlink: changes of routes of IPv4 and IPv6."""
_ROUTE_IS_THERE, _ROUTE_IS_GONE = 24, 25
_HEADER = 16
_OF_BIRD = 12


class Heard(NamedTuple):
    """What a monitor was told of a route of BIRD: it is there, or gone. `route`: as the kernel writes it."""

    there: bool
    route: bytes


def heard(monitor: socket.socket) -> list[Heard]:
    """All that a monitor has been told until now."""
    found = []
    with contextlib.suppress(BlockingIOError):
        while message := monitor.recv(65536, socket.MSG_DONTWAIT):
            while message:
                length, kind = struct.unpack_from("=IH", message)
                if kind in (_ROUTE_IS_THERE, _ROUTE_IS_GONE) and message[_HEADER + 5] == _OF_BIRD:
                    found.append(Heard(kind == _ROUTE_IS_THERE, message[_HEADER:length]))
                message = message[(length + 3) & ~3 :]
    return found


class Machine:
    """One machine, with a thread of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.state = folder / name
        self.bird = Bird(self.state / "bird")
        self.tunnels = VxlanTunnels()
        self.plan: RoutePlan | None = None
        self._watching: asyncio.Future[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name=f"machine {name}", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        descriptor = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        kernel.enter_namespace(descriptor, kernel.NEW_NETWORK)
        os.close(descriptor)
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    def do(self, program: Coroutine[Any, Any, T]) -> T:
        """On this machine."""
        return asyncio.run_coroutine_threadsafe(program, self._loop).result(CALL_SECONDS)

    def call(self, function: Callable[[], T]) -> T:
        """On this machine; it may not wait."""

        async def program() -> T:
            return function()

        return self.do(program())

    def routes(self) -> Routes:
        """Those of BIRD."""
        found = {}
        for version in ("-4", "-6"):
            for one in json.loads(run("ip", "-n", self.name, version, "-j", "route", "show", "proto", "bird") or "[]"):
                where = f"{one['gateway']} {one['dev']}" if "gateway" in one else str(one.get("type"))
                found[one["dst"]] = where
        return found

    def until(self, wanted: Callable[[Routes], bool]) -> Routes:
        """Until its routes are as wanted: looked at whenever the kernel says that one has changed."""
        with self.monitor() as monitor:
            while True:
                found = self.routes()
                if wanted(found):
                    return found
                monitor.recv(65536)

    def monitor(self) -> socket.socket:
        """Hears of every change of routes from now on."""

        def listen() -> socket.socket:
            monitor = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
            monitor.bind((0, _GROUPS))
            return monitor

        return self.call(listen)

    def sessions(self) -> Mapping[str, str]:
        return self.do(self.bird.sessions())

    def established(self, *names: str) -> None:
        """Waits until these sessions are."""

        async def look() -> None:
            while True:
                states = await self.bird.sessions()
                if all(states.get(one) == "Established" for one in names):
                    return
                await asyncio.sleep(0.05)

        self.do(look())

    def hears(self, *addresses: str) -> None:
        """Waits until BFD does."""

        async def look() -> None:
            while not {one for one, heard in (await self.bird.heard()).items() if heard} >= set(addresses):
                await asyncio.sleep(0.05)

        self.do(look())

    def watch_for_lost_nodes(self) -> None:
        """From now on, as netd does, until the machine is closed."""

        async def begin() -> None:
            self._watching = asyncio.ensure_future(
                LostNodes(self.bird, TcpReach(), lambda: self.plan, SystemClock()).run()
            )

        self.do(begin())

    def log(self) -> str:
        return self.bird.log_file.read_text()

    def process(self) -> int:
        """The id of its BIRD; 0 while that is writing it."""
        return int((self.state / "bird" / "bird.pid").read_text() or 0)

    def close(self) -> None:
        if self._watching is not None:
            self._loop.call_soon_threadsafe(self._watching.cancel)
        self.do(self.bird.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


class RoutesLab:
    """Segments, each a bridge in a namespace of its own, machines on them, and routers between them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._machines: list[Machine] = []
        self._namespaces: list[str] = []

    def segment(self, name: str) -> None:
        """A switch."""
        self._namespace(f"{SWITCH}-{name}")
        inside = ("ip", "-n", f"{SWITCH}-{name}", "link")
        run(*inside, "add", "br0", "type", "bridge", "forward_delay", "0")
        run(*inside, "set", "br0", "up")

    def machine(self, name: str, links: Mapping[str, str], gateway: str = "") -> Machine:
        """`links`: its address with the length, by segment; the first is `eth0`."""
        self._namespace(name)
        for number, (segment, address) in enumerate(links.items()):
            switch, port, interface = f"{SWITCH}-{segment}", f"p-{name}", f"eth{number}"
            run(*("ip", "link", "add", port, "netns", switch, "type", "veth", "peer", "name", interface), "netns", name)
            run("ip", "-n", switch, "link", "set", port, "master", "br0", "up")
            run("ip", "-n", name, "address", "add", address, "dev", interface)
            run("ip", "-n", name, "link", "set", interface, "up")
        if gateway:
            run("ip", "-n", name, "route", "add", "default", "via", gateway)
        machine = Machine(name, self._folder)
        self._machines.append(machine)
        return machine

    def add_ipv6(self, machine: Machine, address: str) -> None:
        """On its uplink; machines have none if they are not given it."""
        for setting in ("all.disable_ipv6=0", "lo.disable_ipv6=0", f"{UPLINK}.disable_ipv6=0", "all.forwarding=1"):
            run("ip", "netns", "exec", machine.name, "sysctl", "-q", "-w", f"net.ipv6.conf.{setting}")
        run("ip", "-n", machine.name, "address", "add", address, "dev", UPLINK, "nodad")

    def cut(self, machine: Machine, segment: str) -> None:
        """Its cable at the switch: it sees nothing of that at its own end."""
        run("ip", "-n", f"{SWITCH}-{segment}", "link", "set", f"p-{machine.name}", "nomaster")

    def close(self) -> None:
        for machine in self._machines:
            machine.close()
        for name in self._namespaces:
            run("ip", "netns", "delete", name)

    def _namespace(self, name: str) -> None:
        run("ip", "netns", "add", name)
        self._namespaces.append(name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        for setting in ("ipv4.ip_forward=1", "ipv4.conf.all.rp_filter=1", "ipv6.conf.all.disable_ipv6=1"):
            run("ip", "netns", "exec", name, "sysctl", "-q", "-w", f"net.{setting}")


@contextlib.contextmanager
def routes_lab(folder: Path) -> Iterator[RoutesLab]:
    lab = RoutesLab(folder)
    try:
        yield lab
    finally:
        lab.close()


class Cluster:
    """What a store would say, and the machines that go by it."""

    def __init__(self, pools: Sequence[Pool], routing: Routing) -> None:
        self.pools = list(pools)
        self.routing = routing
        self.nodes: dict[str, Node] = {}
        self.blocks: list[Block] = []
        self.passwords: dict[str, str] = {}
        self.restart_seconds = RESTART_SECONDS
        """What others wait for a BIRD that is silent."""
        self._machines: dict[str, Machine] = {}

    def join(self, machine: Machine, address: str, address6: str = "", *, reflector: bool = False) -> None:
        self.nodes[machine.name] = Node(
            name=machine.name, address=address, address6=address6, interface=UPLINK, reflector=reflector
        )
        self._machines[machine.name] = machine

    def apply(self) -> None:
        """All machines by what is known now."""
        for name in self._machines:
            self.apply_on(name)

    def apply_on(self, name: str) -> None:
        machine = self._machines[name]
        plan = route_plan(self.nodes[name], self.nodes.values(), self.blocks, self.pools, self.routing)
        if plan.tunnel is not None:
            machine.do(machine.tunnels.apply(plan.tunnel))
        text = render(plan, self.passwords, machine.bird.log_file)
        patience = f"graceful restart time {RESTART_SECONDS};"
        assert patience in text
        machine.plan = plan
        machine.do(machine.bird.apply(text.replace(patience, f"graceful restart time {self.restart_seconds};")))
        if plan.tunnel is None:
            machine.do(machine.tunnels.apply(None))

    def has_block(self, name: str, cidr: str) -> None:
        pool = next(one for one in self.pools if (":" in one.cidr) == (":" in cidr))
        self.blocks.append(Block(pool=pool.name, cidr=cidr, node=name))


def contain(machine: Machine, address: str) -> None:
    """An address as a container of the machine has it."""
    length = ("128", "nodad") if ":" in address else ("32",)
    run("ip", "-n", machine.name, "address", "add", f"{address}/{length[0]}", "dev", "lo", *length[1:])


def asked(client: Machine, source: str, server: Machine, address: str) -> str:
    """Connects from an address of one machine to one of another. Returns whom the server saw."""

    def listen() -> socket.socket:
        listening = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        listening.settimeout(CALL_SECONDS)
        return listening

    with server.call(listen) as listening:
        port = listening.getsockname()[1]

        def connect() -> socket.socket:
            return socket.create_connection(
                (address, port), CALL_SECONDS, source_address=(source, 0) if source else None
            )

        with client.call(connect):
            accepted, seen = listening.accept()
            accepted.close()
            return str(seen[0])


class Stream:
    """Datagrams from an address of one machine to one of another, a hundred in a second, each answered, until it is
    asked how many were lost."""

    def __init__(self, client: Machine, source: str, server: Machine, address: str) -> None:
        self._client = client
        self._server = server
        self._sent: set[bytes] = set()
        self._answered: set[bytes] = set()
        self._echo = server.do(_open(_Echo, local_addr=(address, STREAM_PORT)))
        there = (address, STREAM_PORT)
        counter = partial(_Counter, self._answered)
        self._transport = client.do(_open(counter, local_addr=(source, 0), remote_addr=there))
        self._sending = client.call(lambda: asyncio.ensure_future(self._send()))

    async def _send(self) -> None:
        while True:
            word = str(len(self._sent)).encode()
            self._sent.add(word)
            self._transport.sendto(word)
            await asyncio.sleep(0.01)

    def lost(self) -> int:
        """Of all that were sent until now. The last ones have a second to be answered."""
        lost = self._client.do(self._end())
        self._server.call(self._echo.close)
        return lost

    async def _end(self) -> int:
        self._sending.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while not self._sent <= self._answered:
                    await asyncio.sleep(0.01)
        self._transport.close()
        return len(self._sent - self._answered)


async def _open(protocol: Callable[[], asyncio.DatagramProtocol], **addresses: Any) -> asyncio.DatagramTransport:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(protocol, **addresses)
    return transport


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._transport.sendto(data, address)


class _Counter(asyncio.DatagramProtocol):
    def __init__(self, answered: set[bytes]) -> None:
        self._answered = answered

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._answered.add(data)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout
