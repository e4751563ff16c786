"""machine: what `doctor` looks at: facts of this machine, gathered without changing any of them. Blocking, but for
Docker's part; call in a thread."""

import asyncio
import contextlib
import ctypes
import glob
import os
import platform
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coldchain.clients.consul import ConsulClient, ConsulRefused, ConsulUnavailable
from coldchain.clients.docker import DockerClient, DockerRefused, DockerUnavailable
from coldchain.gateway.installation import FIREWALL_PACKAGES, find_installation
from coldchain.main.registry_access import ConsulAccess
from coldchain.main.settings import PlatformSettings
from coldchain.main.stores import open_each_member
from coldchain.model.errors import Rejected, Unavailable
from coldchain.store.etcd import EtcdStore

MIB = 1024 * 1024
LUA_LIBRARIES = {
    "lua-cjson": "/usr/lib/*/lua/5.1/cjson.so",
    "lua-resty-core": "/usr/share/lua/5.1/resty/core.lua",
    "lua-luaossl": "/usr/lib/*/lua/5.1/_openssl.so",
}
"""By Debian's package: what of it the gateway loads."""
CGROUPS = Path("/sys/fs/cgroup")
LOOK_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A file system by a folder on it; sizes in MiB."""

    folder: str
    free_mib: int
    total_mib: int
    writable: bool


@dataclass(frozen=True, kw_only=True)
class Port:
    """An address that the platform listens on; `error` is why that is not possible now, None where it is."""

    name: str
    option: str
    address: str
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member of the etcd that is to keep the state. `error` and `todo` are of what its answer was, empty where all
    is well; `refused`: it answers, and would not take the platform's writes."""

    endpoint: str
    error: str = ""
    todo: str = ""
    refused: bool = False


@dataclass(frozen=True, kw_only=True)
class Consul:
    """A Consul that is to be the registry. `error`: of what its answer was, empty where all is well; `refused`: it
    answers, and not to who asks with that token."""

    address: str
    leader: str = ""
    error: str = ""
    refused: bool = False


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Facts. None stands for what is not there, or could not be found out."""

    system: str
    python: tuple[int, int]
    user: int
    docker_socket: str
    docker: dict[str, Any] | None
    """The daemon's own account of itself (`docker info`)."""
    docker_error: str
    nginx: str | None
    nginx_error: str
    lua_missing: tuple[str, ...]
    firewall_missing: tuple[str, ...]
    ports: tuple[Port, ...]
    platform_runs: bool
    """A platform answers at the API's address: the ports are its own."""
    disks: tuple[Disk, ...]
    cgroups: int | None
    controllers: frozenset[str]
    descriptors: int
    now: float
    clock_synchronised: bool | None
    members: tuple[Member, ...] = ()
    """Of etcd; none where the state is in a file."""
    consuls: tuple[Consul, ...] = ()
    """None where the registry is the embedded one."""


async def look(settings: PlatformSettings) -> Machine:
    """Look at this machine as one that is to run a platform with these settings. Raises InvalidDocument for those that
    say no place."""
    docker, docker_error = await _docker(settings.docker_socket)
    root = str(docker["DockerRootDir"]) if docker else None
    machine = await asyncio.to_thread(_look, settings, docker, docker_error, root)
    return replace(machine, members=await _members(settings), consuls=await _consuls(settings))


def _look(
    settings: PlatformSettings, docker: dict[str, Any] | None, docker_error: str, docker_root: str | None
) -> Machine:
    found, nginx_error = nginx()
    version, controllers = _cgroups()
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        python=(int(platform.python_version_tuple()[0]), int(platform.python_version_tuple()[1])),
        user=os.geteuid(),
        docker_socket=settings.docker_socket,
        docker=docker,
        docker_error=docker_error,
        nginx=found,
        nginx_error=nginx_error,
        lua_missing=missing(LUA_LIBRARIES),
        firewall_missing=missing(FIREWALL_PACKAGES),
        ports=tuple(_ports(settings)),
        platform_runs=_answers(settings),
        disks=tuple(disk(folder) for folder in (str(settings.data), docker_root) if folder is not None),
        cgroups=version,
        controllers=controllers,
        descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        now=time.time(),
        clock_synchronised=clock_synchronised(),
    )


async def _docker(path: str) -> tuple[dict[str, Any] | None, str]:
    client = DockerClient(path, timeout_seconds=LOOK_SECONDS)
    try:
        return await client.info(), ""
    except (DockerUnavailable, DockerRefused) as error:
        there = await asyncio.to_thread(os.path.exists, path)
        return None, str(error) if there else f"there is no socket {path}"
    finally:
        await client.close()


async def _members(settings: PlatformSettings) -> tuple[Member, ...]:
    """Each is asked by itself: a cluster that has lost one works, and somebody should know."""
    if settings.store is None:
        return ()
    stores = open_each_member(settings.store, settings.etcd)
    return tuple(await asyncio.gather(*(_member(endpoint, store) for endpoint, store in stores)))


async def _consuls(settings: PlatformSettings) -> tuple[Consul, ...]:
    access = await asyncio.to_thread(settings.registry_access)
    return tuple(await asyncio.gather(*(_consul(one) for one in access.consuls)))


async def _consul(access: ConsulAccess) -> Consul:
    tls = await asyncio.to_thread(access.context)
    url = f"{access.scheme}://{access.address}"
    client = ConsulClient(url, token=access.token, timeout_seconds=LOOK_SECONDS, tls=tls)
    try:
        leader = await client.leader()
        await client.node_name()  # unlike the question before it needs a right, where there are any
    except ConsulUnavailable as error:
        return Consul(address=access.text, error=str(error))
    except ConsulRefused as error:
        return Consul(address=access.text, error=str(error), refused=True)
    finally:
        await client.close()
    return Consul(address=access.text, leader=leader, error="" if leader else "no server of it leads")


async def _member(endpoint: str, store: EtcdStore) -> Member:
    try:
        await store.check_limits()
    except (Unavailable, Rejected) as error:
        return Member(
            endpoint=endpoint, error=error.message, todo=error.todo or "", refused=isinstance(error, Rejected)
        )
    finally:
        await store.close()
    return Member(endpoint=endpoint)


def nginx() -> tuple[str | None, str]:
    """Its version, and what is wrong with it."""
    try:
        found = find_installation()
        command = [str(found.nginx), "-v"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=LOOK_SECONDS, check=False)  # noqa: S603
    except Rejected as error:
        return None, error.message
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"nginx does not run: {error}"
    return said.stderr.strip().removeprefix("nginx version: "), ""


def missing(packages: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name for name, pattern in packages.items() if not glob.glob(pattern))


def _ports(settings: PlatformSettings) -> Iterable[Port]:
    yield listened("API", "--api", f"{settings.api_host}:{settings.api_port}")
    for address in settings.gateway:
        yield listened("gateway", "--gateway", address)
    yield listened("gateway status", "--gateway-status", settings.gateway_status)


def listened(name: str, option: str, address: str) -> Port:
    """Tries to listen there, for a moment."""
    host, _, port = address.rpartition(":")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host.strip("[]"), int(port)), family=family):
            error = None
    except OSError as failure:
        error = os.strerror(failure.errno) if failure.errno and failure.errno > 0 else str(failure)
    except ValueError:
        error = "is no HOST:PORT"
    return Port(name=name, option=option, address=address, error=error)


def _answers(settings: PlatformSettings) -> bool:
    """True when a platform answers there, if only to ask who we are; or by the socket in the folder."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(LOOK_SECONDS)
        connection.connect(str(settings.api_socket))
        return _is_ours(connection)
    place = (settings.api_host, settings.api_port)
    with contextlib.suppress(OSError), socket.create_connection(place, timeout=LOOK_SECONDS) as connection:
        return _is_ours(connection)
    return False


def _is_ours(connection: socket.socket) -> bool:
    connection.sendall(b"GET /ping HTTP/1.0\r\nHost: localhost\r\n\r\n")
    said = connection.makefile("rb").read(4096)
    return said.endswith(b"pong") or b'realm="coldchain"' in said


def disk(folder: str) -> Disk:
    """Of the folder, or of the nearest one above it that is there."""
    there = Path(folder).absolute()
    while not there.exists():
        there = there.parent
    usage = shutil.disk_usage(there)
    writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    return Disk(folder=folder, free_mib=usage.free // MIB, total_mib=usage.total // MIB, writable=writable)


def _cgroups() -> tuple[int | None, frozenset[str]]:
    """Their version and which resources they can limit."""
    try:
        if (CGROUPS / "cgroup.controllers").exists():
            return 2, frozenset((CGROUPS / "cgroup.controllers").read_text().split())
        names = frozenset(name for one in CGROUPS.iterdir() for name in one.name.split(",") if one.is_dir())
    except OSError:
        return None, frozenset()
    return (1, names) if "memory" in names else (None, names)


def clock_synchronised() -> bool | None:
    """Whether the kernel's clock is kept right by somebody; None where it does not say."""
    try:
        state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != 5  # TIME_ERROR
