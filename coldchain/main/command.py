"""command: the console script `coldchain`: the commands that start processes, beside those of `cli`."""

import asyncio
import contextlib
import http.client
import socket
import sys
import time
from collections.abc import Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypedDict

import typer

from coldchain.cli.application import application
from coldchain.cli.options import Json
from coldchain.engines.fake import AGENTS_MAX
from coldchain.main.settings import DEFAULT_DATA, DEFAULT_DOCKER, PlatformSettings
from coldchain.model.errors import ColdchainError

Data = Annotated[Path, typer.Option(envvar="COLDCHAIN_DATA", help="Folder of the store and the gateway.")]
Api = Annotated[str, typer.Option(help="HOST:PORT of the API; loopback only.")]
Gateway = Annotated[list[str] | None, typer.Option(help="IP:PORT where consumers reach the gateway; may be repeated.")]
Status = Annotated[str, typer.Option(help="IP:PORT where the gateway tells whether it is ready.")]
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

Registry = Annotated[str, typer.Option(help="IP:PORT of the embedded registry, which speaks Consul's HTTP API.")]
Dns = Annotated[str, typer.Option(help="IP:PORT of the embedded registry's DNS.")]
Consul = Annotated[str | None, typer.Option(help="HOST:PORT of a Consul agent to use instead of the embedded one.")]


class EngineKind(StrEnum):
    """Where tasks run."""

    LOCAL = "local"
    FAKE = "fake"


Engines = Annotated[
    list[EngineKind] | None,
    typer.Option("--engine", help="Where tasks run: here, or on fake agents that run nothing; may be repeated."),
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
NoOverrides = Annotated[bool, typer.Option("--no-overrides", help="Let nobody override a rule of admission.")]


class Address(TypedDict):
    """Where the API listens, as PlatformSettings takes it."""

    api_host: str
    api_port: int


LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


@application.command()
def up(
    data: Data = DEFAULT_DATA,
    api: Api = "127.0.0.1:8080",
    gateway: Gateway = None,
    gateway_status: Status = "127.0.0.1:8081",
    docker_socket: Socket = DEFAULT_DOCKER,
    agent: Agent = None,
    cpu_factor: Factor = 1.0,
    attribute: Attributes = None,
    region: Region = None,
    zone: Zone = None,
    publish_address: Publish = "127.0.0.1",
    docker_credentials: Credentials = None,
    cgroup_parent: Cgroups = "coldchain",
    allow_root_tasks: Root = False,
    fetch_folder: FetchFolders = None,
    restrict: Restrict = None,
    restricted_volume: RestrictedVolumes = None,
    no_overrides: NoOverrides = False,
    secret_keys: SecretKeys = None,
    registry: Registry = "127.0.0.1:8500",
    dns: Dns = "127.0.0.1:8600",
    consul: Consul = None,
    engine: Engines = None,
    fake_agents: FakeCount = 200,
    fake_cpus: FakeCpus = 64.0,
    fake_mem: FakeMem = 262144.0,
) -> None:
    """Run the platform on this machine. Ctrl-C leaves apps and gateway serving."""
    from coldchain.main.log import open_log
    from coldchain.main.up import up as run

    settings = PlatformSettings(
        data=data,
        **_address(api),
        gateway=tuple(gateway or ("0.0.0.0:80",)),
        gateway_status=gateway_status,
        docker_socket=docker_socket,
        cpu_factor=cpu_factor,
        attributes=tuple(attribute or ()),
        region=region,
        zone=zone,
        publish_address=publish_address,
        docker_credentials=docker_credentials,
        cgroup_parent=cgroup_parent,
        root_tasks=allow_root_tasks,
        fetch_folders=tuple(fetch_folder or ()),
        restricted_groups=tuple(restrict or ()),
        restricted_volumes=tuple(restricted_volume or ()),
        overrides=not no_overrides,
        secret_keys=secret_keys,
        registry=registry,
        dns=dns,
        consul=consul,
        local=engine is None or "local" in engine,
        fake_agents=fake_agents if engine and "fake" in engine else 0,
        fake_cpus=fake_cpus,
        fake_mem=fake_mem,
        agent=agent or socket.gethostname(),
    )
    open_log()
    _run(run(settings))


@application.command()
def down(
    data: Data = DEFAULT_DATA,
    api: Api = "127.0.0.1:8080",
    gateway: Gateway = None,
    gateway_status: Status = "127.0.0.1:8081",
    docker_socket: Socket = DEFAULT_DOCKER,
    agent: Agent = None,
    secret_keys: SecretKeys = None,
    registry: Registry = "127.0.0.1:8500",
    dns: Dns = "127.0.0.1:8600",
    consul: Consul = None,
) -> None:
    """Drain and stop every instance, then the gateway. The definitions stay: `up` starts everything again."""
    from coldchain.main.down import down as run
    from coldchain.main.log import open_log

    address = _address(api)
    if _ask_to_go_down(address["api_host"], address["api_port"]):
        return
    settings = PlatformSettings(
        data=data,
        **address,
        gateway=tuple(gateway or ("0.0.0.0:80",)),
        gateway_status=gateway_status,
        docker_socket=docker_socket,
        secret_keys=secret_keys,
        registry=registry,
        dns=dns,
        consul=consul,
        agent=agent or socket.gethostname(),
    )
    open_log()
    _run(run(settings))


@application.command()
def doctor(
    data: Data = DEFAULT_DATA,
    api: Api = "127.0.0.1:8080",
    gateway: Gateway = None,
    gateway_status: Status = "127.0.0.1:8081",
    docker_socket: Socket = DEFAULT_DOCKER,
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
    )
    examine(settings, as_json=as_json)


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise typer.BadParameter(f"{text!r} is not HOST:PORT", param_hint="--api")
    if host not in LOOPBACK:
        raise typer.BadParameter(
            f"{host} is not loopback; the API asks nobody who he is, so only this machine may reach it",
            param_hint="--api",
        )
    return Address(api_host=host.strip("[]"), api_port=int(port))


def _ask_to_go_down(host: str, port: int) -> bool:
    """Ask a running `up`, and wait until it has gone. False when none answers."""
    try:
        _request(host, port, "POST", "/v1/down")
    except OSError:
        return False
    while True:
        try:
            _request(host, port, "GET", "/ping")
        except OSError:
            return True
        time.sleep(0.2)


def _request(host: str, port: int, method: str, path: str) -> None:
    connection = http.client.HTTPConnection(host, port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path)
        connection.getresponse().read()


def _run(program: Coroutine[Any, Any, int]) -> NoReturn:
    """Run to the end; an error is said in words, with what to do, and exits with 1."""
    from coldchain.main.platform import describe

    try:
        status = asyncio.run(program)
    except (ColdchainError, ExceptionGroup) as error:
        sys.stderr.write(f"coldchain: {describe(error)}\n")
        status = 1
    raise SystemExit(status)


def main() -> None:
    """The console script."""
    application()
