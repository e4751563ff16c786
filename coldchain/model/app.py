"""app: what a user wants to run, as Marathon's users write it, with Coldchain's own fields beside.

Field names and defaults follow Marathon's app definition; `service`, `registration`, `routes`, `drain_seconds`,
`settle_seconds`, `deadline_seconds`, `rollback_on_failure`, `rollout` and `target` are Coldchain's own.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from coldchain.model.base import Noun
from coldchain.model.firewall import Firewall
from coldchain.model.gray import GrayPlan
from coldchain.model.limit import Ejection, Importance, Limit
from coldchain.model.route_access import AddressRules, Authentication

YEAR_SECONDS = 365 * 86400
INSTANCES_MAX = 10_000
"""Of one app."""

# The ranges are checked when a definition is decoded, and again when a stored one is read: a later version of Coldchain
# may widen them, and must migrate what is stored before it narrows one.
Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(ge=0, le=YEAR_SECONDS)]
PositiveSeconds = Annotated[float, Meta(gt=0, le=YEAR_SECONDS)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Text = Annotated[str, Meta(max_length=65536)]
ConstraintText = Annotated[tuple[Annotated[str, Meta(max_length=255)], ...], Meta(min_length=2, max_length=3)]
"""Field, operator and perhaps a value: `decisions.constraint` says what they mean."""

NetworkMode = Literal["host", "container", "container/bridge"]
CheckProtocol = Literal["HTTP", "HTTPS", "TCP", "COMMAND", "MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP"]
Balance = Literal["round_robin", "least_connections"]
PathKind = Literal["prefix", "exact", "regex"]
KillSelection = Literal["YOUNGEST_FIRST", "OLDEST_FIRST"]
Registrar = Literal["platform", "self"]


class Parameter(Noun, frozen=True, kw_only=True):
    """A raw option of `docker run`, without the leading dashes."""

    key: Name
    value: Text


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
    """One port of a container. `host_port` None: not published; 0: chosen by Coldchain, as for `service_port`."""

    container_port: Port = 0
    host_port: Port | None = None
    protocol: Literal["tcp", "udp", "udp,tcp"] = "tcp"
    name: str | None = None
    service_port: Port = 0
    labels: dict[Name, Text] = {}


class PortDefinition(Noun, frozen=True, kw_only=True):
    """One port of an app in network mode `host`. `port` is its service port, 0: chosen by Coldchain; with the app's
    `require_ports` also the port on the agent."""

    port: Port = 0
    protocol: Literal["tcp", "udp", "udp,tcp"] = "tcp"
    name: str | None = None
    labels: dict[Name, Text] = {}


class Volume(Noun, frozen=True, kw_only=True):
    """A folder or file of the machine that the container sees at `container_path`."""

    container_path: Annotated[str, Meta(min_length=1, max_length=4096)]
    host_path: Annotated[str, Meta(min_length=1, max_length=4096)]
    mode: Literal["RO", "RW"] = "RW"


class Container(Noun, frozen=True, kw_only=True):
    """How the app is packed."""

    type: Literal["DOCKER"] = "DOCKER"
    docker: Docker
    volumes: tuple[Volume, ...] = ()
    port_mappings: tuple[PortMapping, ...] = ()


class Network(Noun, frozen=True, kw_only=True):
    """The network the tasks join. `name` only with mode `container`. `labels`: what the network is told of them beside
    the labels of the app; not with mode `host`, where there is nobody to be told."""

    mode: NetworkMode = "container"
    name: str | None = None
    labels: dict[Name, Text] = {}

    @property
    def by_name(self) -> bool:
        """Whether the network, and nobody here, gives each task an address of its own."""
        return self.mode == "container" and self.name is not None


class Fetch(Noun, frozen=True, kw_only=True):
    """A file brought into the folder of a process task before it starts. `dest_file` None: named as in `uri`."""

    uri: Annotated[str, Meta(min_length=1, max_length=4096)]
    extract: bool = True
    executable: bool = False
    cache: bool = False
    dest_file: Name | None = None
    sha256: Name | None = None


class Command(Noun, frozen=True, kw_only=True):
    """A command line for the shell, run beside the task."""

    value: Annotated[str, Meta(min_length=1, max_length=65536)]


class HealthCheck(Noun, frozen=True, kw_only=True):
    """A question asked for the whole life of an instance. Defaults are Marathon's.

    `server_name`: over HTTPS the certificate must be valid for this name and lead to an authority this machine trusts;
    None: any certificate will do. `ip_protocol`: which loopback address the protocols MESOS_… ask, beside the task.
    """

    protocol: CheckProtocol = "HTTP"
    path: str = "/"
    command: Command | None = None
    port_index: Annotated[int, Meta(ge=0)] | None = None
    port_name: str | None = None
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    grace_period_seconds: Seconds = 300.0
    interval_seconds: PositiveSeconds = 60.0
    timeout_seconds: PositiveSeconds = 20.0
    max_consecutive_failures: Annotated[int, Meta(ge=0, le=1000)] = 3
    delay_seconds: Seconds = 0.0
    ignore_http1xx: bool = msgspec.field(default=False, name="ignoreHttp1xx")
    ip_protocol: Literal["IPv4", "IPv6"] = "IPv4"
    server_name: Name | None = None


class ReadinessCheck(Noun, frozen=True, kw_only=True):
    """A question asked until it is answered once with a wanted status. Defaults are Marathon's.

    `preserve_last_response`: what was answered last is kept, to be read. `server_name`: as for health checks.
    """

    name: str = "readinessCheck"
    protocol: Literal["HTTP", "HTTPS"] = "HTTP"
    path: str = "/"
    port_name: str = "http-api"
    interval_seconds: PositiveSeconds = 30.0
    timeout_seconds: PositiveSeconds = 10.0
    http_status_codes_for_ready: Annotated[
        tuple[Annotated[int, Meta(ge=100, le=599)], ...], Meta(min_length=1, max_length=100)
    ] = (200,)
    preserve_last_response: bool = False
    server_name: Name | None = None


class UpgradeStrategy(Noun, frozen=True, kw_only=True):
    """How far capacity may fall below and rise above the wanted number during a rollout, as fractions of it."""

    minimum_health_capacity: Annotated[float, Meta(ge=0, le=1)] = 1.0
    maximum_over_capacity: Annotated[float, Meta(ge=0, le=100)] = 1.0


class UnreachableStrategy(Noun, frozen=True, kw_only=True):
    """After how long of silence from its agent an instance is replaced, and after how long it is given up."""

    inactive_after_seconds: Seconds = 0.0
    expunge_after_seconds: Seconds = 0.0


class ResourceLimits(Noun, frozen=True, kw_only=True):
    """What a task may use at most, while `cpus` and `mem` of the app are what it is given. None: cpus are not limited,
    and mem is what the app has."""

    cpus: Annotated[float, Meta(ge=0.001, le=10_000)] | Literal["unlimited"] | None = None
    mem: Annotated[float, Meta(ge=0, le=2**30)] | Literal["unlimited"] | None = None


class HeaderChanges(Noun, frozen=True, kw_only=True):
    """What is done to the headers of a request or an answer on its way: first removed, then set."""

    set: Annotated[dict[str, str], Meta(max_length=32)] = {}
    remove: Annotated[tuple[str, ...], Meta(max_length=32)] = ()


class Redirect(Noun, frozen=True, kw_only=True):
    """The answer that sends a consumer elsewhere. What is not given is as in the request; the query goes along. `path`
    takes the place of what the route matched, as `rewrite` does."""

    scheme: Literal["http", "https"] | None = None
    domain: str | None = None
    path: str | None = None
    status: Annotated[int, Meta(ge=301, le=308)] = 302


class RouteFilters(Noun, frozen=True, kw_only=True):
    """What the gateway does with a request of a route, and with its answer.

    `rewrite`: the path that takes the place of the prefix, of the whole path, or, with `$1`, of what the regular
    expression matched. `timeout_seconds`: how long an instance may send nothing. `body_bytes_max`: a longer request is
    refused. `tries`: at how many instances a request is tried of which none got a byte. `addresses`, `authentication`:
    who is let in. `limits`: how much may come. `firewall`: requests that look like attacks are told of or refused.
    `importance`: what a gateway with too much to do refuses first. `ejection`: when an instance is left alone for a
    while. `slow_start_seconds`: how long an instance that just came gets less than its part. `protocol`: what
    the instances speak, HTTP/1.1 if not given.
    """

    rewrite: str | None = None
    redirect: Redirect | None = None
    request_headers: HeaderChanges | None = None
    response_headers: HeaderChanges | None = None
    timeout_seconds: Annotated[float, Meta(ge=0.1, le=86_400)] | None = None
    body_bytes_max: Annotated[int, Meta(ge=0, le=2**40)] | None = None
    tries: Annotated[int, Meta(ge=1, le=5)] | None = None
    addresses: AddressRules | None = None
    authentication: Authentication | None = None
    firewall: Firewall | None = None
    limits: Annotated[tuple[Limit, ...], Meta(min_length=1, max_length=8)] | None = None
    importance: Importance | None = None
    ejection: Ejection | None = None
    slow_start_seconds: Annotated[float, Meta(ge=1, le=3600)] | None = None
    protocol: Literal["grpc"] | None = None


class Route(Noun, frozen=True, kw_only=True):
    """A gateway rule: requests for these domains and this path go to the app. `*` stands for every other domain, and
    `*.shop.test` for those below `shop.test`.

    `path` is a prefix of whole parts, the path itself, or a regular expression of the whole path. `methods`: one of
    these, any if empty. `headers`: each of them has this value, any if that is `*`. `priority`: the higher goes first,
    whatever the paths.
    """

    domains: Annotated[tuple[str, ...], Meta(min_length=1, max_length=1000)]
    path: str = "/"
    path_kind: PathKind = "prefix"
    methods: Annotated[tuple[str, ...], Meta(max_length=32)] = ()
    headers: Annotated[dict[str, str], Meta(max_length=32)] = {}
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 0
    port_index: Annotated[int, Meta(ge=0)] = 0
    balance: Balance = "round_robin"
    filters: RouteFilters | None = None


class RolloutStep(Noun, frozen=True, kw_only=True):
    """How many instances of a new version serve before the rollout pauses: as a number, or as a share of all, rounded
    up; in a gray rollout the share of the requests. `pause_seconds` None: until somebody lets it go on."""

    instances: Annotated[int, Meta(ge=1, le=INSTANCES_MAX)] | None = None
    share: Annotated[float, Meta(ge=0, le=1)] | None = None
    pause_seconds: Seconds | None = None


class Acceptance(Noun, frozen=True, kw_only=True):
    """When a rollout is stopped because the gateways see that the new version serves clearly worse than the old one.

    `requests_min`: fewer requests of a version within the last minute say nothing. `error_share_increase_max`: how much
    higher the share of failed requests may be than the old version's, 0.02 being two in a hundred. `error_share_max`:
    how high it may be while the old version gets no requests to compare with. `latency_factor_max`: how many times as
    long as the old version's the usual (median) or the long (95th percentile) requests may take.
    """

    enabled: bool = True
    requests_min: Annotated[int, Meta(ge=10, le=10**9)] = 100
    error_share_increase_max: Annotated[float, Meta(ge=0, le=1)] = 0.02
    error_share_max: Annotated[float, Meta(ge=0, le=1)] = 0.5
    latency_factor_max: Annotated[float, Meta(ge=1, le=1000)] = 3.0


class Rollout(Noun, frozen=True, kw_only=True):
    """How a new version takes over: by which steps, and what makes it be taken back on the way. `gray`: it stands
    beside the old one, and the steps are shares of the requests."""

    steps: Annotated[tuple[RolloutStep, ...], Meta(max_length=100)] = ()
    gray: GrayPlan | None = None
    acceptance: Acceptance = Acceptance()


class SecretSource(Noun, frozen=True, kw_only=True):
    """The name under which a secret is kept."""

    source: Name


class DubboQos(Noun, frozen=True, kw_only=True):
    """Where the QoS server of a provider of Dubbo listens: at the app's port of that name, else at `port` of the
    instance's own address."""

    port: Annotated[int, Meta(ge=1, le=65535)] = 22222
    port_name: str | None = None


class Dubbo(Noun, frozen=True, kw_only=True):
    """That the app provides services of Dubbo, which are announced in ZooKeeper.

    `registry`: where, as zk://HOST:PORT[,HOST:PORT...]/ROOT. `interfaces`: what a new instance must announce before it
    serves, as [GROUP/]INTERFACE[:VERSION]; none: what those before it announce. `qos`: who leaves is told so by its QoS
    server; None: by configurators.
    """

    registry: Annotated[str, Meta(min_length=1, max_length=4096)]
    interfaces: Annotated[tuple[Name, ...], Meta(max_length=1000)] = ()
    qos: DubboQos | None = None


class App(Noun, frozen=True, kw_only=True):
    """One app as wanted. Sizes: cpus in shares of a core, mem and disk in MiB. `secret_env`: variables whose value is a
    secret, by its name in `secrets`; definitions have them in `env`, as `{"secret": NAME}`. `dependencies`: ids of apps
    and groups that must be there first where they are deployed together. `registration`: who tells the registry of its
    instances."""

    id: str
    cmd: Text | None = None
    args: tuple[Text, ...] | None = None
    user: Name | None = None
    fetch: tuple[Fetch, ...] = ()
    cpus: Annotated[float, Meta(ge=0.001, le=10_000)] = 1.0
    mem: Annotated[float, Meta(ge=0, le=2**30)] = 128.0
    disk: Annotated[float, Meta(ge=0, le=2**40)] = 0.0
    gpus: Annotated[int, Meta(ge=0, le=1000)] = 0
    resource_limits: ResourceLimits | None = None
    tty: bool = False
    instances: Annotated[int, Meta(ge=0, le=INSTANCES_MAX)] = 1
    container: Container | None = None
    networks: tuple[Network, ...] = ()
    port_definitions: tuple[PortDefinition, ...] = ()
    require_ports: bool = False
    env: dict[Name, Text] = {}
    secrets: dict[Name, SecretSource] = {}
    secret_env: dict[Name, Name] = {}
    labels: dict[Name, Text] = {}
    dependencies: Annotated[tuple[Name, ...], Meta(max_length=1000)] = ()
    health_checks: tuple[HealthCheck, ...] = ()
    readiness_checks: tuple[ReadinessCheck, ...] = ()
    constraints: Annotated[tuple[ConstraintText, ...], Meta(max_length=100)] = ()
    role: Name | None = None
    accepted_resource_roles: Annotated[tuple[Name, ...], Meta(max_length=100)] = ()
    kill_selection: KillSelection = "YOUNGEST_FIRST"
    unreachable_strategy: UnreachableStrategy | Literal["disabled"] = UnreachableStrategy()
    upgrade_strategy: UpgradeStrategy = UpgradeStrategy()
    backoff_seconds: Seconds = 1.0
    backoff_factor: Annotated[float, Meta(ge=1, le=1000)] = 1.15
    max_launch_delay_seconds: Seconds = 300.0
    task_kill_grace_period_seconds: Seconds = 15.0
    service: str | None = None
    dubbo: Dubbo | None = None
    registration: Registrar = "platform"
    routes: tuple[Route, ...] = ()
    drain_seconds: Seconds = 30.0
    settle_seconds: Seconds = 3.0
    deadline_seconds: PositiveSeconds = 600.0
    rollback_on_failure: bool = True
    rollout: Rollout = Rollout()
    target: str = "cluster"

    @property
    def network(self) -> Network:
        """The one network of the app: as given, else the bridge for containers and the machine's own for processes."""
        if self.networks:
            return self.networks[0]
        return Network(mode="container/bridge" if self.container is not None else "host")

    @property
    def external(self) -> bool:
        """True for a service that others run and register: nothing is launched, and routes lead to what the registry
        knows of it."""
        return self.container is None and self.cmd is None and not self.args and self.service is not None

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
        return tuple(
            port.port * self.require_ports if isinstance(port, PortDefinition) else port.host_port
            for port in self.ports
        )

    @property
    def service_ports(self) -> tuple[int, ...]:
        """For each port its number at a balancer: 0 none yet."""
        return tuple(port.port if isinstance(port, PortDefinition) else port.service_port for port in self.ports)

    @property
    def offered_roles(self) -> tuple[str, ...]:
        """The roles of the offers that it may take: those it accepts, else what is for all and what is for its own."""
        return self.accepted_resource_roles or ("*", *([self.role] if self.role else []))

    @property
    def registers_itself(self) -> bool:
        """True where its instances are in rotation by a registration of their own."""
        return self.registration == "self"

    @property
    def service_name(self) -> str | None:
        """The name in registry and gateway: as given, or made of the id when only routes are given."""
        if self.service is None and not self.routes:
            return None
        return self.service or self.id.strip("/").replace("/", "-")


def same_configuration(left: App, right: App) -> bool:
    """True when a task of one serves as a task of the other: all but the number of instances, who of them leaves first
    or is given up, the way a version takes over and what it waits for is equal; and of the routes, of which only the
    gateways know, the ports they lead to."""
    same = ["instances", "kill_selection", "unreachable_strategy", "rollout", "dependencies"]
    if left.service_name == right.service_name and _ports_routed(left) == _ports_routed(right):
        same.append("routes")
    return left == msgspec.structs.replace(right, **{name: getattr(left, name) for name in same})


def _ports_routed(app: App) -> frozenset[int]:
    return frozenset(route.port_index for route in app.routes) or frozenset((0,))
