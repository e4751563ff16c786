"""Settings of the docker runner."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class DockerSettings:
    """How containers are run on this machine."""

    network: str = "coldchain"
    """Name of the bridge network of apps with network mode `container/bridge`; made when missing."""

    subnet: str | None = None
    """Its subnet (CIDR) when it has to be made. None: the first candidate that collides with no route and no other
    network. An existing network keeps its own."""

    host_address: str = "127.0.0.1"
    """Where probes and gateways reach tasks with network mode `host`."""

    publish_address: str = "127.0.0.1"
    """Address of this machine on which host ports are published. Loopback: the gateway is the way in."""

    reached_by_host_ports: bool = False
    """Whether gateways and probes are on other machines, which a container's own address means nothing to: a task whose
    ports are all published is then reached by those."""

    starts_at_once: int = 8
    """Containers created and started at the same time; more gains nothing, the engine is the limit (measured)."""

    pulls_at_once: int = 2
    """Images pulled at the same time; more only makes each of them slower."""

    pids_max: int = 4096
    """Processes and threads of one container: room for a large Java application, an end to a fork bomb."""

    log_file_mib: int = 10
    """Size in MiB at which a container's log file is rotated."""

    log_files: int = 3
    """Log files kept per container."""

    log_tail_lines: int = 20
    """Lines of output kept with the status of a failed task."""

    credentials: Path | None = None
    """A Docker `config.json` whose `auths` entries are named by an app's `pullConfig.secret`. Read at each pull, so
    that a rotated password works at once. None: apps may name none."""
