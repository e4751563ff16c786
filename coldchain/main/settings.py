"""settings: all that can be chosen about a platform on one machine, and where its things lie."""

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

from coldchain.gateway.settings import GatewaySettings
from coldchain.runners.process.settings import FetchSettings, ProcessSettings

DEFAULT_DATA = Path("/var/lib/coldchain")
DEFAULT_DOCKER = "/var/run/docker.sock"


@dataclass(frozen=True, kw_only=True)
class PlatformSettings:
    """A platform on one machine."""

    data: Path = DEFAULT_DATA
    """Folder of all that must survive: the store, and nginx with its logs. One controller at a time uses it."""

    api_host: str = "127.0.0.1"
    """Where the API listens. Loopback only: it knows no callers yet, whoever reaches it may do everything."""

    api_port: int = 8080
    """Marathon's."""

    gateway: tuple[str, ...] = ("0.0.0.0:80",)
    """Addresses with port where consumers reach the gateway."""

    gateway_status: str = "127.0.0.1:8081"
    """Where a balancer before the gateway asks for its readiness."""

    docker_socket: str = DEFAULT_DOCKER
    """Unix socket of the Docker Engine."""

    agent: str = field(default_factory=socket.gethostname)
    """Name of this machine in placements and in $HOST."""

    cpu_factor: float = 1.0
    """Offered cpus for each core."""

    publish_address: str = "127.0.0.1"
    """Address on which host ports of containers are published."""

    docker_credentials: Path | None = None
    """A Docker `config.json` with the entries that `pullConfig.secret` names."""

    cgroup_parent: str = "coldchain"
    """A path below the root of each cgroup hierarchy, for the tasks without a container."""

    root_tasks: bool = False
    """Whether tasks without a container may run as root."""

    fetch_folders: tuple[Path, ...] = ()
    """Folders below which `file:` addresses of `fetch` may point."""

    @property
    def store_file(self) -> Path:
        return self.data / "store.sqlite"

    def gateway_settings(self) -> GatewaySettings:
        """Raises InvalidDocument with every problem."""
        return GatewaySettings(
            prefix=Path(os.path.abspath(self.data)) / "gateway", listen=self.gateway, status_listen=self.gateway_status
        )

    def process_settings(self) -> ProcessSettings:
        return ProcessSettings(
            cgroup_parent=self.cgroup_parent,
            root_allowed=self.root_tasks,
            fetch=FetchSettings(file_folders=self.fetch_folders),
        )
