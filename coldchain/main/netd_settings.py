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

    interface: str | None = None
    """Of that address; looked for if not given. Links of containers have its size of packets."""

    state: Path = DEFAULT_STATE
    """Folder of what must outlive a restart. One netd at a time uses it."""

    socket: Path = DEFAULT_SOCKET
    """Where Docker looks for the driver."""

    docker: str = DEFAULT_DOCKER
    """Unix socket of the Docker Engine."""

    def check(self) -> None:
        """Raises InvalidDocument."""
        try:
            given = ipaddress.ip_interface(self.address)
            known = "/" in self.address and given.network.num_addresses != 1
        except ValueError:
            known = False
        if not known:
            reason = f"{self.address!r} is not an address with the length of its segment, as 10.10.3.5/24"
            raise InvalidDocument([Problem(path="--address", reason=reason)])
