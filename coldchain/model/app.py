"""app: what a user wants to run, as Marathon's users write it, with Coldchain's own fields beside.

Field names and defaults follow Marathon's app definition; `service`, `routes`, `drain_seconds`,
`settle_seconds`, `deadline_seconds`, `rollback_on_failure` and `target` are Coldchain's own.
"""

from typing import Literal

import msgspec

from coldchain.model.base import Noun

NetworkMode = Literal["host", "container", "container/bridge"]
CheckProtocol = Literal["HTTP", "TCP"]
Balance = Literal["round_robin", "least_connections"]


class Parameter(Noun, frozen=True, kw_only=True):
    """A raw option of `docker run`, without the leading dashes."""

    key: str
    value: str


class PullConfig(Noun, frozen=True, kw_only=True):
    """Where the pull credentials stand: the name of an entry in the agent's Docker configuration, never the secret."""

    secret: str


class Docker(Noun, frozen=True, kw_only=True):
    """What the docker runner needs to know of the image."""

    image: str
    force_pull_image: bool = False
    privileged: bool = False
    parameters: tuple[Parameter, ...] = ()
    pull_config: PullConfig | None = None


class PortMapping(Noun, frozen=True, kw_only=True):
    """One port of a container. `host_port` None: not published; 0: chosen by Coldchain."""

    container_port: int = 0
    host_port: int | None = None
    protocol: Literal["tcp", "udp", "udp,tcp"] = "tcp"
    name: str | None = None
    service_port: int = 0
    labels: dict[str, str] = {}


class PortDefinition(Noun, frozen=True, kw_only=True):
    """One port of an app in host mode. `port` 0: chosen by Coldchain."""

    port: int = 0
    protocol: Literal["tcp", "udp", "udp,tcp"] = "tcp"
    name: str | None = None
    labels: dict[str, str] = {}


class Container(Noun, frozen=True, kw_only=True):
    """How the app is packed."""

    type: Literal["DOCKER"] = "DOCKER"
    docker: Docker
    port_mappings: tuple[PortMapping, ...] = ()


class Network(Noun, frozen=True, kw_only=True):
    """The network the tasks join. `name` only with mode `container`."""

    mode: NetworkMode = "container"
    name: str | None = None


class HealthCheck(Noun, frozen=True, kw_only=True):
    """A question asked for the whole life of an instance. Defaults are Marathon's."""

    protocol: CheckProtocol = "HTTP"
    path: str = "/"
    port_index: int | None = None
    port_name: str | None = None
    port: int | None = None
    grace_period_seconds: float = 300.0
    interval_seconds: float = 60.0
    timeout_seconds: float = 20.0
    max_consecutive_failures: int = 3
    delay_seconds: float = 0.0
    ignore_http1xx: bool = msgspec.field(default=False, name="ignoreHttp1xx")


class ReadinessCheck(Noun, frozen=True, kw_only=True):
    """A question asked until it is answered once with a wanted status. Defaults are Marathon's."""

    name: str = "readinessCheck"
    protocol: Literal["HTTP"] = "HTTP"
    path: str = "/"
    port_name: str = "http-api"
    interval_seconds: float = 30.0
    timeout_seconds: float = 10.0
    http_status_codes_for_ready: tuple[int, ...] = (200,)


class UpgradeStrategy(Noun, frozen=True, kw_only=True):
    """How far capacity may fall below and rise above the wanted number during a rollout, as fractions of it."""

    minimum_health_capacity: float = 1.0
    maximum_over_capacity: float = 1.0


class Route(Noun, frozen=True, kw_only=True):
    """A gateway rule: these domains, below this path prefix, go to the app. `*` stands for every other domain."""

    domains: tuple[str, ...]
    path: str = "/"
    port_index: int = 0
    balance: Balance = "round_robin"


class App(Noun, frozen=True, kw_only=True):
    """One app as wanted. Sizes: cpus in shares of a core, mem and disk in MiB."""

    id: str
    cmd: str | None = None
    args: tuple[str, ...] | None = None
    cpus: float = 1.0
    mem: float = 128.0
    disk: float = 0.0
    instances: int = 1
    container: Container | None = None
    networks: tuple[Network, ...] = ()
    port_definitions: tuple[PortDefinition, ...] = ()
    env: dict[str, str] = {}
    labels: dict[str, str] = {}
    health_checks: tuple[HealthCheck, ...] = ()
    readiness_checks: tuple[ReadinessCheck, ...] = ()
    upgrade_strategy: UpgradeStrategy = UpgradeStrategy()
    backoff_seconds: float = 1.0
    backoff_factor: float = 1.15
    max_launch_delay_seconds: float = 300.0
    task_kill_grace_period_seconds: float = 15.0
    service: str | None = None
    routes: tuple[Route, ...] = ()
    drain_seconds: float = 30.0
    settle_seconds: float = 3.0
    deadline_seconds: float = 600.0
    rollback_on_failure: bool = True
    target: str = "cluster"

    @property
    def network(self) -> Network:
        """The one network of the app; Marathon's default is the bridge of the machine when nothing is said."""
        return self.networks[0] if self.networks else Network(mode="container/bridge")

    @property
    def ports(self) -> tuple[PortMapping | PortDefinition, ...]:
        """The ports in the order in which indices and $PORT0… count them."""
        if self.network.mode == "host":
            return self.port_definitions
        return self.container.port_mappings if self.container else ()

    @property
    def port_names(self) -> tuple[str | None, ...]:
        """The names of the ports, in their order."""
        return tuple(port.name for port in self.ports)

    @property
    def wanted_host_ports(self) -> tuple[int | None, ...]:
        """For each port the host port it wants: 0 any, None none at all."""
        return tuple(port.port if isinstance(port, PortDefinition) else port.host_port for port in self.ports)

    @property
    def service_name(self) -> str | None:
        """The name in registry and gateway: as given, or made of the id when only routes are given."""
        if self.service is None and not self.routes:
            return None
        return self.service or self.id.strip("/").replace("/", "-")


def same_configuration(left: App, right: App) -> bool:
    """True when a task of one serves as a task of the other: all but the number of instances is equal."""
    return msgspec.structs.replace(left, instances=0) == msgspec.structs.replace(right, instances=0)
