"""settings: all that can be chosen about a platform on one machine, and where its things lie."""

import ipaddress
import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from coldchain.decisions.admission import Policy
from coldchain.decisions.constraint import HOSTNAME, scalar_text
from coldchain.engines.local import LocalEngineSettings
from coldchain.gateway.settings import DEFAULT_MARK_HEADER, GatewayMemory, GatewaySettings
from coldchain.main.gateway_options import by_option
from coldchain.main.mesos_access import MesosAccess
from coldchain.main.registry_access import EMBEDDED, RegistryAccess, listening, registry_access
from coldchain.main.stores import EtcdAccess, check_address
from coldchain.model.caller import Role
from coldchain.model.errors import InvalidDocument, Problem
from coldchain.model.executor import ExecutorSettings
from coldchain.runners.docker.settings import DockerSettings
from coldchain.runners.process.settings import FetchSettings, ProcessSettings

DEFAULT_DATA = Path("/var/lib/coldchain")
DEFAULT_DOCKER = "/var/run/docker.sock"
ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
ATTRIBUTE_CHARACTERS_MAX = 255
GATEWAY_OPTIONS = {
    "prefix": "--data",
    "listen": "--gateway",
    "tlsListen": "--gateway-tls",
    "statusListen": "--gateway-status",
    "trustedProxies": "--gateway-trusted-proxy",
    "markTrusted": "--gateway-mark-trusted",
    "markHeader": "--gateway-mark-header",
    "memory": "--gateway-memory",
}
"""By which option a part of GatewaySettings is given."""


@dataclass(frozen=True, kw_only=True)
class PlatformSettings:
    """A platform on one machine."""

    data: Path = DEFAULT_DATA
    """Folder of all that must survive: the store, and nginx with its logs. One controller at a time uses it."""

    store: str | None = None
    """Address of an etcd, `etcd://HOST:PORT[,HOST:PORT…][/NAME]`, for controllers on several machines. None: a file in
    the data folder."""

    etcd: EtcdAccess = field(default_factory=EtcdAccess)
    """How that etcd is talked to."""

    api_host: str = "127.0.0.1"
    """Where the API listens. Beyond loopback only when somebody is known who may ask it."""

    api_port: int = 8080
    """Marathon's."""

    reached_at: str | None = None
    """Where other controllers of the same store, and whom they send here, reach the API: `https://HOST:PORT`. None: by
    the address where it listens."""

    http_credentials: str | None = field(default=None, repr=False)
    """NAME:PASSWORD of an admin, for clients that know nothing but basic authentication."""

    api_certificate: Path | None = None
    """Certificate of the API, with those that vouch for it: then it speaks HTTPS and nothing else."""

    api_key: Path | None = None
    """The private key of the certificate. None: it is in the same file."""

    api_client_authority: Path | None = None
    """Certificates of those who vouch for callers: who shows one of theirs is the common name in it."""

    api_client_role: Role = "viewer"
    """What callers who show a certificate may do."""

    gateway: tuple[str, ...] = ("0.0.0.0:80",)
    """Addresses with port where consumers reach the gateway."""

    gateway_tls: tuple[str, ...] = ()
    """Addresses with port where they reach it over TLS, with the certificates that `coldchain certificate` sets."""

    gateway_trusted_proxies: tuple[str, ...] = ()
    """Networks of the balancer before the gateway, whose X-Forwarded-For is believed."""

    gateway_mark_trusted: tuple[str, ...] = ()
    """Networks of apps whose requests stay gray when they call each other through the gateway."""

    gateway_mark_header: str = DEFAULT_MARK_HEADER
    """The header of these marks."""

    gateway_name: str | None = None
    """Name of this machine's gateway, by which controllers know it. None: that of the machine."""

    gateway_status: str = "127.0.0.1:8081"
    """Where a balancer before the gateway asks for its readiness. It asks nobody who he is."""

    gateway_status_open: bool = False
    """Whether others than this machine may reach the gateway's readiness and numbers."""

    gateway_memory: GatewayMemory = field(default_factory=GatewayMemory)
    """How much the gateway's nginx has room for."""

    docker_socket: str = DEFAULT_DOCKER
    """Unix socket of the Docker Engine."""

    default_network: str | None = None
    """Which network an app joins that asks for mode `container` and names none. None: the bridge of its machine."""

    agent: str = field(default_factory=socket.gethostname)
    """Name of this machine in placements and in $HOST."""

    cpu_factor: float = 1.0
    """Offered cpus for each core."""

    attributes: tuple[str, ...] = ()
    """What constraints can compare of this machine, as NAME=VALUE."""

    region: str | None = None
    """Where this machine stands, for constraints on `@region`."""

    zone: str | None = None
    """Where this machine stands within its region, for constraints on `@zone`."""

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

    restricted_groups: tuple[str, ...] = ()
    """Groups whose apps must keep admission's strict rules, with all below them; `/` is every app."""

    restricted_volumes: tuple[Path, ...] = ()
    """Folders of this machine that apps of restricted groups may mount."""

    overrides: bool = True
    """Whether rules of admission can be overridden, which goes on record with who and why."""

    key_set_networks: tuple[str, ...] = ()
    """Networks that are not public in which the controller asks issuers of tokens for their keys."""

    secret_keys: Path | None = None
    """File of the keys by which secrets are sealed. None: `secret.keys` in the data folder. Who has it and the store
    can read all secrets: save the two in different places."""

    registry: tuple[str, ...] = (EMBEDDED,)
    """Where services are registered: IP:PORT where the embedded registry listens (Consul's port; on loopback it asks
    nobody who he is: who reaches it may change it; beyond, it asks for a token), or `consul://HOST:PORT` of a Consul.
    Several while moving from one to another; what others registered is followed in the first."""

    consul_token: str | None = field(default=None, repr=False)
    """For each Consul that names no file of its token."""

    dns: str = "127.0.0.1:8600"
    """Where the embedded registry answers the DNS, over UDP and TCP; Consul's port."""

    dns_open: bool = False
    """Whether others than this machine may ask the DNS, which tells everybody where services are."""

    local: bool = True
    """Whether this machine runs tasks, in Docker and as processes; without it there is no gateway either."""

    mesos: MesosAccess | None = None
    """A cluster of Mesos to run tasks on. It is the target `cluster` where this machine runs no tasks, else `mesos`."""

    fake_agents: int = 0
    """How many agents are offered that run nothing, to try the platform out. They are the target `cluster` where this
    machine runs no tasks, else `fake`."""

    fake_cpus: float = 64.0
    """cpus of each fake agent."""

    fake_mem: float = 262144.0
    """Memory of each fake agent, in MiB."""

    @property
    def store_file(self) -> Path:
        return self.data / "store.sqlite"

    @property
    def api_socket(self) -> Path:
        return api_socket(self.data)

    @property
    def secret_keys_file(self) -> Path:
        return self.secret_keys or self.data / "secret.keys"

    def own_url(self) -> str:
        """Where others reach the API. Raises InvalidDocument for what they could not reach."""
        if self.reached_at is not None:
            parts = urlsplit(self.reached_at)
            if (
                parts.scheme not in ("http", "https")
                or not parts.hostname
                or parts.path.strip("/")
                or "@" in parts.netloc
            ):
                reason = f"{self.reached_at!r} is not http://HOST:PORT"
                raise InvalidDocument([Problem(path="--reached-at", reason=reason)])
            return f"{parts.scheme}://{parts.netloc}"
        try:
            everywhere = ipaddress.ip_address(self.api_host).is_unspecified
        except ValueError:
            everywhere = False
        if everywhere:
            reason = f"other controllers cannot reach {self.api_host}: say where they find this one"
            raise InvalidDocument([Problem(path="--reached-at", reason=reason)])
        host = f"[{self.api_host}]" if ":" in self.api_host else self.api_host
        return f"{'http' if self.api_certificate is None else 'https'}://{host}:{self.api_port}"

    def registry_access(self) -> RegistryAccess:
        """Raises InvalidDocument with every problem. Blocking: it reads tokens."""
        return registry_access(self.registry, self.consul_token or "")

    def dns_address(self) -> tuple[str, int]:
        """Where the embedded registry answers the DNS. Raises InvalidDocument."""
        try:
            return listening(self.dns)
        except ValueError:
            raise InvalidDocument([Problem(path="--dns", reason=f"{self.dns!r} is not IP:PORT")]) from None

    def gateway_settings(self) -> GatewaySettings:
        """Raises InvalidDocument with every problem, by the option that it comes from."""
        prefix = Path(os.path.abspath(self.data)) / "gateway"
        try:
            return GatewaySettings(
                prefix=prefix,
                listen=self.gateway,
                tls_listen=self.gateway_tls,
                status_listen=self.gateway_status,
                trusted_proxies=self.gateway_trusted_proxies,
                mark_trusted=self.gateway_mark_trusted,
                mark_header=self.gateway_mark_header,
                memory=self.gateway_memory,
            )
        except InvalidDocument as error:
            raise by_option(error, GATEWAY_OPTIONS) from error

    def docker_settings(self) -> DockerSettings:
        """Raises InvalidDocument for an address that means every interface: ports are published on a named one."""
        try:
            everywhere = ipaddress.ip_address(self.publish_address).is_unspecified
        except ValueError:
            raise InvalidDocument(
                [Problem(path="--publish-address", reason=f"{self.publish_address!r} is not an IP address")]
            ) from None
        if everywhere:
            reason = f"{self.publish_address} publishes ports to everybody who reaches this machine; name one address"
            raise InvalidDocument([Problem(path="--publish-address", reason=reason)])
        return DockerSettings(publish_address=self.publish_address, credentials=self.docker_credentials)

    def admission_policy(self) -> Policy:
        """What may be deployed here. What lies where the platform keeps its own is protected under every name."""
        kept = (self.docker_credentials, self.etcd.certificate, self.etcd.key)
        own = [self.data, self.secret_keys_file, *(one for one in kept if one is not None)]
        return Policy(
            protected=_names(own),
            sockets=_names([Path(self.docker_socket)]),
            restricted=self.restricted_groups,
            restricted_volumes=_names(self.restricted_volumes),
            root_tasks=self.root_tasks,
            fetch_folders=_names(self.fetch_folders),
            overrides=self.overrides,
        )

    def engine_settings(self) -> LocalEngineSettings:
        """Raises InvalidDocument for an attribute that no constraint could name."""
        return LocalEngineSettings(
            cpu_factor=self.cpu_factor,
            disk_path=self.data,
            attributes=_attributes(self.attributes),
            region=self.region,
            zone=self.zone,
        )

    @property
    def serves(self) -> bool:
        """Whether there is anything that requests could go to, and so a gateway."""
        return self.local or self.mesos is not None

    def executor_settings(self, controller_id: str) -> ExecutorSettings:
        """What executors on the agents of Mesos are told: paths are those of their machines."""
        return ExecutorSettings(
            controller_id=controller_id,
            version="",
            docker_socket=self.docker_socket,
            docker_credentials=str(self.docker_credentials) if self.docker_credentials else None,
            cgroup_parent=self.cgroup_parent,
            root_tasks=self.root_tasks,
            fetch_folders=tuple(map(str, self.fetch_folders)),
        )

    def check(self) -> None:
        """Raises InvalidDocument for what is wrong of the settings of engines and store."""
        if self.mesos is not None:
            self.mesos.check()
        if self.store is not None:
            check_address(self.store, "--store")
            self.own_url()
        elif self.reached_at is not None:
            reason = "is for controllers that share a store: --store"
            raise InvalidDocument([Problem(path="--reached-at", reason=reason)])
        self.etcd.context()
        for one in self.registry_access().consuls:
            one.context()
        self.docker_settings()
        self.engine_settings()

    def process_settings(self) -> ProcessSettings:
        return ProcessSettings(
            cgroup_parent=self.cgroup_parent,
            root_allowed=self.root_tasks,
            fetch=FetchSettings(file_folders=self.fetch_folders),
        )


def api_socket(data: Path) -> Path:
    """By it this machine's own commands reach the API of the platform in this folder."""
    return Path(os.path.abspath(data)) / "api.socket"


def _names(paths: Iterable[Path]) -> tuple[str, ...]:
    """Absolute, each as it was given and as the machine knows it."""
    return tuple(dict.fromkeys(name for one in paths for name in (os.path.abspath(one), os.path.realpath(one))))


def _attributes(given: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    problems: list[str] = []
    for text in given:
        name, separator, value = text.partition("=")
        if not separator or not ATTRIBUTE_NAME.fullmatch(name) or not 0 < len(value) <= ATTRIBUTE_CHARACTERS_MAX:
            problems.append(f"{text!r} is not NAME=VALUE, with a name of letters, digits, `_`, `.` and `-`")
        elif name in HOSTNAME:
            problems.append(f"{name} is the name of this machine: --agent gives it")
        elif name in found:
            problems.append(f"{name} is given twice")
        found[name] = scalar_text(value)
    if problems:
        raise InvalidDocument([Problem(path="--attribute", reason=reason) for reason in problems])
    return found
