"""command: the console script `coldchain`: the commands that start processes, beside those of `cli`."""

import asyncio
import ipaddress
import socket
import sys
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypedDict

import typer

from coldchain.cli.application import application
from coldchain.cli.options import Json
from coldchain.decisions.address import is_loopback
from coldchain.engines.fake import AGENTS_MAX
from coldchain.gateway.settings import DEFAULT_MARK_HEADER
from coldchain.main.composition_command import composition as composition
from coldchain.main.credentials import read_credentials
from coldchain.main.gateway_command import gateway as gateway
from coldchain.main.gateway_doctor_command import gateway_doctor  # noqa: F401 -- its import adds the command
from coldchain.main.gateway_options import (
    Gateway,
    GatewayName,
    GatewayStatusOpen,
    GatewayTls,
    MarkHeader,
    MarkTrusted,
    Memory,
    Status,
    TrustedProxies,
    believed,
    entered,
)
from coldchain.main.going_down import ask_to_go_down
from coldchain.main.mesos_access import COMMAND
from coldchain.main.mesos_options import (
    MesosAuthority,
    MesosContainerizer,
    MesosCredentials,
    MesosExecutor,
    MesosMaster,
    MesosRoles,
    on_mesos,
)
from coldchain.main.netd_command import netd as netd
from coldchain.main.network_doctor_command import network_doctor  # noqa: F401 -- its import adds the command
from coldchain.main.node_command import node as node
from coldchain.main.registry_options import Dns, DnsOpen, Registry, registered
from coldchain.main.runner_options import DefaultNetwork, running
from coldchain.main.settings import DEFAULT_DATA, DEFAULT_DOCKER, PlatformSettings
from coldchain.main.store_options import (
    EtcdAuthority,
    EtcdCertificate,
    EtcdCredentials,
    EtcdKey,
    Store,
    etcd_access,
    stored,
)
from coldchain.model.caller import Role
from coldchain.model.errors import ColdchainError

Data = Annotated[Path, typer.Option(envvar="COLDCHAIN_DATA", help="Folder of the store and the gateway.")]
Api = Annotated[str, typer.Option(help="IP:PORT of the API; beyond loopback only when an admin is known.")]
ReachedAt = Annotated[
    str | None, typer.Option(help="http://HOST:PORT where other controllers of the store reach the API; else as --api.")
]
Socket = Annotated[str, typer.Option(envvar="COLDCHAIN_DOCKER_SOCKET", help="Unix socket of the Docker Engine.")]
Agent = Annotated[str | None, typer.Option(help="Name of this machine; its host name if not given.")]
Factor = Annotated[float, typer.Option(min=0.01, help="Offered cpus for each core.")]
Attributes = Annotated[
    list[str] | None,
    typer.Option("--attribute", help="NAME=VALUE that constraints of apps can compare; may be repeated."),
]
Region = Annotated[str | None, typer.Option(help="Where this machine stands, for constraints on @region.")]
Zone = Annotated[str | None, typer.Option(help="Where it stands within the region, for constraints on @zone.")]
Publish = Annotated[str, typer.Option(help="Address on which host ports of containers are published.")]
Credentials = Annotated[Path | None, typer.Option(help="Docker config.json with the entries that pullConfig names.")]

HttpCredentials = Annotated[
    Path | None,
    typer.Option(help="File with NAME:PASSWORD of an admin; or the variable COLDCHAIN_HTTP_CREDENTIALS has it."),
]
Certificate = Annotated[Path | None, typer.Option(help="PEM file of the API's certificate: it speaks HTTPS.")]
Key = Annotated[Path | None, typer.Option(help="PEM file of its private key, if that is not in the same file.")]
Authority = Annotated[
    Path | None, typer.Option(help="PEM file of who vouches for callers: their certificates are accepted.")
]
CertificateRole = Annotated[Role, typer.Option(help="Role of callers who show a certificate.")]


class EngineKind(StrEnum):
    """Where tasks run."""

    LOCAL = "local"
    MESOS = "mesos"
    FAKE = "fake"


Engines = Annotated[
    list[EngineKind] | None,
    typer.Option("--engine", help="Where tasks run: here, on Mesos, or on agents that run nothing; may be repeated."),
]
FakeCount = Annotated[int, typer.Option("--fake-agents", min=1, max=AGENTS_MAX, help="How many agents are fake.")]
FakeCpus = Annotated[float, typer.Option("--fake-cpus", min=0.01, help="cpus of each fake agent.")]
FakeMem = Annotated[float, typer.Option("--fake-mem", min=1, help="Memory of each fake agent, in MiB.")]

Cgroups = Annotated[
    str, typer.Option("--cgroup-parent", envvar="COLDCHAIN_CGROUP_PARENT", help="Where cgroups of processes are made.")
]
Root = Annotated[bool, typer.Option("--allow-root-tasks", help="Let apps without a container run as root.")]
FetchFolders = Annotated[list[Path] | None, typer.Option("--fetch-folder", help="Folder that fetch may read.")]

Restrict = Annotated[
    list[str] | None, typer.Option("--restrict", help="Group whose apps must keep the strict rules; / is every app.")
]
RestrictedVolumes = Annotated[
    list[Path] | None, typer.Option("--restricted-volume", help="Folder that apps of restricted groups may mount.")
]
SecretKeys = Annotated[
    Path | None, typer.Option("--secret-keys", help="File of the keys of secrets; in the data folder if not given.")
]
KeySetNetworks = Annotated[
    list[str] | None,
    typer.Option("--key-set-network", help="Network that is not public where issuers of tokens may be asked for keys."),
]
NoOverrides = Annotated[bool, typer.Option("--no-overrides", help="Let nobody override a rule of admission.")]


class Address(TypedDict):
    """Where the API listens, as PlatformSettings takes it."""

    api_host: str
    api_port: int
    reached_at: str | None


class Shown(Address):
    """That, and what API and callers show each other."""

    http_credentials: str | None
    api_certificate: Path | None
    api_key: Path | None
    api_client_authority: Path | None
    api_client_role: Role


class Fake(TypedDict):
    """Where tasks run, as PlatformSettings takes it."""

    local: bool
    fake_agents: int
    fake_cpus: float
    fake_mem: float


class Offered(TypedDict):
    """What this machine is to those who place instances, as PlatformSettings takes it."""

    agent: str
    cpu_factor: float
    attributes: tuple[str, ...]
    region: str | None
    zone: str | None


class Admitted(TypedDict):
    """What may be deployed, as PlatformSettings takes it."""

    root_tasks: bool
    fetch_folders: tuple[Path, ...]
    restricted_groups: tuple[str, ...]
    restricted_volumes: tuple[Path, ...]
    overrides: bool


class Keys(TypedDict):
    """Where keys come from, as PlatformSettings takes it."""

    secret_keys: Path | None
    key_set_networks: tuple[str, ...]


class StoreAction(StrEnum):
    """What to do with a store."""

    MIGRATE = "migrate"


CREDENTIALS = "COLDCHAIN_HTTP_CREDENTIALS"


@application.command()
def up(
    data: Data = DEFAULT_DATA,
    store: Store = None,
    etcd_authority: EtcdAuthority = None,
    etcd_certificate: EtcdCertificate = None,
    etcd_key: EtcdKey = None,
    etcd_credentials_file: EtcdCredentials = None,
    api: Api = "127.0.0.1:8080",
    reached_at: ReachedAt = None,
    http_credentials_file: HttpCredentials = None,
    api_certificate: Certificate = None,
    api_key: Key = None,
    api_client_authority: Authority = None,
    api_client_role: CertificateRole = "viewer",
    gateway: Gateway = None,
    gateway_tls: GatewayTls = None,
    gateway_trusted_proxy: TrustedProxies = None,
    gateway_mark_trusted: MarkTrusted = None,
    gateway_mark_header: MarkHeader = DEFAULT_MARK_HEADER,
    gateway_name: GatewayName = None,
    gateway_status: Status = "127.0.0.1:8081",
    gateway_status_open: GatewayStatusOpen = False,
    gateway_memory: Memory = None,
    docker_socket: Socket = DEFAULT_DOCKER,
    agent: Agent = None,
    cpu_factor: Factor = 1.0,
    attribute: Attributes = None,
    region: Region = None,
    zone: Zone = None,
    publish_address: Publish = "127.0.0.1",
    docker_credentials: Credentials = None,
    default_network: DefaultNetwork = None,
    cgroup_parent: Cgroups = "coldchain",
    allow_root_tasks: Root = False,
    fetch_folder: FetchFolders = None,
    restrict: Restrict = None,
    restricted_volume: RestrictedVolumes = None,
    no_overrides: NoOverrides = False,
    secret_keys: SecretKeys = None,
    key_set_network: KeySetNetworks = None,
    registry: Registry = None,
    dns: Dns = "127.0.0.1:8600",
    dns_open: DnsOpen = False,
    engine: Engines = None,
    mesos_master: MesosMaster = None,
    mesos_role: MesosRoles = None,
    mesos_credentials: MesosCredentials = None,
    mesos_authority: MesosAuthority = None,
    mesos_executor: MesosExecutor = COMMAND,
    containerizer: MesosContainerizer = "executor",
    fake_agents: FakeCount = 200,
    fake_cpus: FakeCpus = 64.0,
    fake_mem: FakeMem = 262144.0,
) -> None:
    """Run the platform on this machine. Ctrl-C leaves apps and gateway serving."""
    settings = PlatformSettings(
        data=data,
        **stored(store, etcd_authority, etcd_certificate, etcd_key, etcd_credentials_file),
        **_api(api, reached_at, http_credentials_file, api_certificate, api_key, api_client_authority, api_client_role),
        **entered(gateway, gateway_tls, gateway_name, gateway_status, gateway_status_open, gateway_memory),
        **believed(gateway_trusted_proxy, gateway_mark_trusted, gateway_mark_header),
        **running(docker_socket, publish_address, docker_credentials, cgroup_parent, default_network),
        **_offered(agent, cpu_factor, attribute, region, zone),
        **_admitted(allow_root_tasks, fetch_folder, restrict, restricted_volume, no_overrides),
        **_keys(secret_keys, key_set_network),
        **registered(registry, dns, dns_open),
        **_engines(engine, fake_agents, fake_cpus, fake_mem),
        **on_mesos(engine, mesos_master, mesos_role, mesos_credentials, mesos_authority, mesos_executor, containerizer),
    )
    _run_platform(settings)


@application.command()
def down(
    data: Data = DEFAULT_DATA,
    store: Store = None,
    etcd_authority: EtcdAuthority = None,
    etcd_certificate: EtcdCertificate = None,
    etcd_key: EtcdKey = None,
    etcd_credentials_file: EtcdCredentials = None,
    api: Api = "127.0.0.1:8080",
    gateway: Gateway = None,
    gateway_status: Status = "127.0.0.1:8081",
    docker_socket: Socket = DEFAULT_DOCKER,
    agent: Agent = None,
    secret_keys: SecretKeys = None,
    registry: Registry = None,
    dns: Dns = "127.0.0.1:8600",
    engine: Engines = None,
    mesos_master: MesosMaster = None,
    mesos_role: MesosRoles = None,
    mesos_credentials: MesosCredentials = None,
    mesos_authority: MesosAuthority = None,
    mesos_executor: MesosExecutor = COMMAND,
) -> None:
    """Drain and stop every instance, then the gateway. The definitions stay: `up` starts everything again."""
    from coldchain.main.down import down as run
    from coldchain.main.log import open_log

    address = _address(api)
    try:
        if ask_to_go_down(data, address["api_host"], address["api_port"]):
            return
    except ColdchainError as error:
        _fail(error)
    settings = PlatformSettings(
        data=data,
        **stored(store, etcd_authority, etcd_certificate, etcd_key, etcd_credentials_file),
        **address,
        gateway=tuple(gateway or ("0.0.0.0:80",)),
        gateway_status=gateway_status,
        docker_socket=docker_socket,
        secret_keys=secret_keys,
        **registered(registry, dns),
        agent=agent or socket.gethostname(),
        **_engines(engine, 1, 64.0, 262144.0),
        **on_mesos(engine, mesos_master, mesos_role, mesos_credentials, mesos_authority, mesos_executor),
    )
    open_log()
    run_to_end(run(settings))


@application.command()
def doctor(
    data: Data = DEFAULT_DATA,
    api: Api = "127.0.0.1:8080",
    gateway: Gateway = None,
    gateway_status: Status = "127.0.0.1:8081",
    docker_socket: Socket = DEFAULT_DOCKER,
    registry: Registry = None,
    store: Store = None,
    etcd_authority: EtcdAuthority = None,
    etcd_certificate: EtcdCertificate = None,
    etcd_key: EtcdKey = None,
    etcd_credentials_file: EtcdCredentials = None,
    as_json: Json = False,
) -> None:
    """Look at this machine: what it lacks to run a platform, and what to do about it. Nothing is changed.

    Give the options that `up` will get. Exit status: 0 nothing is missing; 1 something is.
    """
    from coldchain.main.doctor import examine

    settings = PlatformSettings(
        data=data,
        **_address(api),
        gateway=tuple(gateway or ("0.0.0.0:80",)),
        gateway_status=gateway_status,
        docker_socket=docker_socket,
        **registered(registry),
        **stored(store, etcd_authority, etcd_certificate, etcd_key, etcd_credentials_file),
    )
    run_to_end(examine(settings, as_json=as_json))


@application.command(hidden=True)
def executor(
    sweep: Annotated[
        Path | None, typer.Option(help="Look after this folder of executors that have gone, until none of it runs.")
    ] = None,
) -> None:
    """Run the tasks of a Mesos agent. Agents start it by themselves."""
    from coldchain.main import executor as program
    from coldchain.main.log import open_log

    open_log()
    run_to_end(program.executor() if sweep is None else program.sweep(sweep))


@application.command()
def store(
    action: Annotated[StoreAction, typer.Argument(metavar="ACTION", help="migrate.")],
    source: Annotated[str, typer.Argument(metavar="FROM", help="A file store.sqlite, or etcd://…")],
    target: Annotated[str, typer.Argument(metavar="TO", help="Where it goes: an empty one of the same kinds.")],
    etcd_authority: EtcdAuthority = None,
    etcd_certificate: EtcdCertificate = None,
    etcd_key: EtcdKey = None,
    etcd_credentials_file: EtcdCredentials = None,
    as_json: Json = False,
) -> None:
    """Bring the whole state of a platform from one store into another: from a file to etcd, or back.

    No controller may use either; apps and gateways serve on. The first store is of no use afterwards. What was cut
    short is done again in the same words: it goes on where it ended.

    Exit status: 0 everything is in TO; 1 not; 2 usage.
    """
    from coldchain.cli.output import run
    from coldchain.main.migrate_store import migrate_store

    access = etcd_access(etcd_authority, etcd_certificate, etcd_key, etcd_credentials_file)
    run(migrate_store(source, target, access, as_json=as_json))


def _address(text: str, reached_at: str | None = None) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise typer.BadParameter(f"{text!r} is not HOST:PORT", param_hint="--api")
    if not is_loopback(host) and not _is_address(host):
        raise typer.BadParameter(f"{host!r} is a name; give the address to listen on", param_hint="--api")
    return Address(api_host=host.strip("[]"), api_port=int(port), reached_at=reached_at)


def _api(
    address: str,
    reached_at: str | None,
    credentials: Path | None,
    certificate: Path | None,
    key: Path | None,
    authority: Path | None,
    role: Role,
) -> Shown:
    return Shown(
        **_address(address, reached_at),
        http_credentials=read_credentials(credentials, CREDENTIALS, "--http-credentials-file"),
        api_certificate=certificate,
        api_key=key,
        api_client_authority=authority,
        api_client_role=role,
    )


def _engines(engines: Engines, agents: int, cpus: float, mem: float) -> Fake:
    return Fake(
        local=engines is None or "local" in engines,
        fake_agents=agents if engines and "fake" in engines else 0,
        fake_cpus=cpus,
        fake_mem=mem,
    )


def _keys(secret_keys: Path | None, networks: list[str] | None) -> Keys:
    for one in networks or ():
        try:
            ipaddress.ip_network(one)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--key-set-network") from error
    return Keys(secret_keys=secret_keys, key_set_networks=tuple(networks or ()))


def _offered(
    agent: str | None, cpu_factor: float, attributes: list[str] | None, region: str | None, zone: str | None
) -> Offered:
    return Offered(
        agent=agent or socket.gethostname(),
        cpu_factor=cpu_factor,
        attributes=tuple(attributes or ()),
        region=region,
        zone=zone,
    )


def _admitted(
    root_tasks: bool,
    fetch_folders: list[Path] | None,
    restrict: list[str] | None,
    volumes: list[Path] | None,
    no_overrides: bool,
) -> Admitted:
    return Admitted(
        root_tasks=root_tasks,
        fetch_folders=tuple(fetch_folders or ()),
        restricted_groups=tuple(restrict or ()),
        restricted_volumes=tuple(volumes or ()),
        overrides=not no_overrides,
    )


def _run_platform(settings: PlatformSettings) -> None:
    from coldchain.main.log import open_log
    from coldchain.main.up import up as run

    open_log()
    run_to_end(run(settings))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def run_to_end(program: Coroutine[Any, Any, int]) -> NoReturn:
    """Run to the end; an error is said in words, with what to do, and exits with 1."""
    try:
        status = asyncio.run(program)
    except (ColdchainError, ExceptionGroup) as error:
        _fail(error)
    raise SystemExit(status)


def _fail(error: Exception) -> NoReturn:
    from coldchain.main.platform import describe

    sys.stderr.write(f"coldchain: {describe(error)}\n")
    raise SystemExit(1)


def main() -> None:
    """The console script."""
    application()
