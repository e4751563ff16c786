"""Network namespaces that stand for containers on links of ours, with something in them that listens and that asks."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence

from coldchain.network.links import NetlinkLinks
from coldchain.ports.network import GATEWAY, GATEWAY6, Link, host_name, peer_name

ANSWERS = """
import socket, sys, threading
def serve(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=echo, args=(connection,), daemon=True).start()
def echo(connection):
    while data := connection.recv(4096):
        connection.sendall(data)
for port in map(int, sys.argv[1:]):
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""
ASKS = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])) as connection:
        connection.sendall(b"hello")
        print(connection.recv(16).decode(), end="")
except OSError as error:
    print(type(error).__name__, end="")
"""
STREAMS = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as connection:
    connection.settimeout(5)
    for line in sys.stdin:
        try:
            connection.sendall(line.encode())
            print(connection.recv(4096).decode(), end="", flush=True)
        except OSError as error:
            print(type(error).__name__, flush=True)
"""
ANSWERED_SECONDS = 20.0
REFUSED_SECONDS = 0.5
"""What is dropped is never answered: so long is waited for it."""


class Place:
    """A network namespace. `name` empty: the one in which this process is."""

    def __init__(self, name: str) -> None:
        self.name = name

    def command(self, *words: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *words] if self.name else [*words]

    def run(self, *words: str) -> str:
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=True)
        return done.stdout

    def reaches(self, address: str, port: int) -> bool:
        """Whether a new connection is answered, for as long as a busy machine may need."""
        return self._asked(address, port, ANSWERED_SECONDS) == "hello"

    def is_kept_from(self, address: str, port: int) -> bool:
        """Whether a new connection is not answered."""
        return self._asked(address, port, REFUSED_SECONDS) != "hello"

    def _asked(self, address: str, port: int, patience_seconds: float) -> str:
        return self.run(sys.executable, "-c", ASKS, address, str(port), str(patience_seconds))

    @contextlib.contextmanager
    def answering(self, *ports: int) -> Iterator[None]:
        """What comes to these ports is sent back."""
        command = self.command(sys.executable, "-c", ANSWERS, *map(str, ports))
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == "ready\n"
                yield
            finally:
                process.kill()

    @contextlib.contextmanager
    def stream(self, address: str, port: int) -> Iterator["Stream"]:
        """A connection that stays."""
        command = self.command(sys.executable, "-c", STREAMS, address, str(port))
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield Stream(process)
            finally:
                process.kill()


class Stream:
    """Words go and come back over one connection."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def says(self, word: str) -> str:
        """What comes back, or how it failed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextlib.contextmanager
def namespace(name: str) -> Iterator[Place]:
    """A new network namespace; gone afterwards, with what is in it."""
    subprocess.run(["ip", "netns", "add", name], check=True)
    place = Place(name)
    try:
        place.run("ip", "link", "set", "lo", "up")
        yield place
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


async def put_on_link(place: Place, letter: str, addresses: Sequence[str], source: str) -> Link:
    """What netd and Docker do for a container: a link of ours, with its peer in the namespace as eth0. `letter`: of
    which the attachment's id is made. `addresses`: of IPv4, and perhaps of IPv6."""
    identity = letter * 64
    link = Link(
        host=host_name(identity),
        peer=peer_name(identity),
        address=addresses[0],
        address6=addresses[1] if len(addresses) > 1 else "",
        mac=f"02:42:00:00:00:{ord(letter):02x}",
        mtu=1500,
        source=source,
    )
    await NetlinkLinks().add(link)
    Place("").run("ip", "link", "set", link.peer, "netns", place.name, "name", "eth0")
    place.run("ip", "address", "add", f"{link.address}/32", "dev", "eth0")
    place.run("ip", "link", "set", "eth0", "up")
    place.run("ip", "route", "add", GATEWAY, "dev", "eth0", "scope", "link")
    place.run("ip", "route", "add", "default", "via", GATEWAY)
    if link.address6:
        place.run("ip", "address", "add", f"{link.address6}/128", "dev", "eth0", "nodad")
        place.run("ip", "-6", "route", "add", "default", "via", GATEWAY6, "dev", "eth0")
    return link
