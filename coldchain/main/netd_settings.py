"""netd settings: all that can be chosen about netd, and where its things lie."""

import ipaddress
import socket
from dataclasses import dataclass, field
from pathlib import Path

from coldchain.main.settings import DEFAULT_DOCKER
from coldchain.main.stores import EtcdAccess
from coldchain.model.errors import InvalidDocument, Problem
from coldchain.ports.docker_networks import DRIVER

DEFAULT_STATE = Path("/var/lib/coldchain-netd")
DEFAULT_SOCKET = Path(f"/run/docker/plugins/{DRIVER}.sock")


@dataclass(frozen=True, kw_only=True)
class NetdSettings:
    """netd of one machine."""

    store: str
    """Address of the etcd that all machines and controllers share."""

    etcd: EtcdAccess = field(default_factory=EtcdAccess)
    """How its members are talked to."""

    node: str = field(default_factory=socket.gethostname)
    """Name of this machine in the container network."""

    address: str
    """By which other machines reach it, with the length of its segment: `10.10.3.5/24`."""

    address6: str = ""
    """The same of IPv6, `fd00:3::5/64`, where networks have addresses of it."""

    interface: str | None = None
    """Of that address; looked for if not given. Links of containers have its size of packets."""

    containers: bool = True
    """False: this machine has no Docker, or none of its containers in the network; it has routes and policy alone."""

    state: Path = DEFAULT_STATE
    """Folder of what must outlive a restart. One netd at a time uses it."""

    socket: Path = DEFAULT_SOCKET
    """Where Docker looks for the driver."""

    docker: str = DEFAULT_DOCKER
    """Unix socket of the Docker Engine."""

    secret_keys: Path | None = None
    """File of the keys by which secrets are sealed, for passwords of routers. None: sessions with one are left out."""

    def check(self) -> None:
        """Raises InvalidDocument."""
        problems = []
        for option, given, version, example in (
            ("--address", self.address, 4, "10.10.3.5/24"),
            ("--address6", self.address6, 6, "fd00:3::5/64"),
        ):
            if not _has_segment(given, version) and not (version == 6 and given == ""):
                reason = f"{given!r} is not an address of IPv{version} with the length of its segment, as {example}"
                problems.append(Problem(path=option, reason=reason))
        if problems:
            raise InvalidDocument(problems)


def _has_segment(given: str, version: int) -> bool:
    try:
        interface = ipaddress.ip_interface(given)
    except ValueError:
        return False
    return "/" in given and interface.version == version and interface.network.num_addresses > 1
