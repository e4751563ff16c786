"""gateway machine: what `gateway doctor` looks at: facts of a gateway and of the machine that it runs on, gathered
without changing any of them."""

import asyncio
import email.utils
import os
import resource
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import msgspec
from cryptography import x509

from coldchain.gateway.control_socket import ControlSocket, GatewayState, SharedMemory
from coldchain.gateway.installation import FIREWALL_PACKAGES
from coldchain.gateway.settings import GatewaySettings
from coldchain.main.gateway_settings import GatewayProcessSettings
from coldchain.main.machine import (
    LOOK_SECONDS,
    LUA_LIBRARIES,
    Disk,
    Port,
    clock_synchronised,
    disk,
    listened,
    missing,
    nginx,
)
from coldchain.model.errors import ColdchainError, Unavailable


@dataclass(frozen=True, kw_only=True)
class ControllerAnswer:
    """What a controller said. `error`: why it is of no use, empty where all is well; `refused`: it answers, and not to
    who shows that token; `role`: of who does. `ahead_seconds`: of this machine's clock, None where nobody knows."""

    address: str
    error: str = ""
    refused: bool = False
    role: str = ""
    ahead_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """One that the gateway shows. `ends_at`: seconds since the epoch, None where it cannot be read."""

    name: str
    ends_at: float | None


@dataclass(frozen=True, kw_only=True)
class GatewayMachine:
    """Facts. None stands for what is not there, or could not be found out."""

    user: int
    nginx: str | None
    nginx_error: str
    lua_missing: tuple[str, ...]
    firewall_missing: tuple[str, ...]
    ports: tuple[Port, ...]
    disks: tuple[Disk, ...]
    descriptors: int
    now: float
    clock_synchronised: bool | None
    state: GatewayState | None = None
    """What nginx says of itself; None where none runs in that folder."""
    state_error: str = ""
    memory: tuple[SharedMemory, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    controllers: tuple[ControllerAnswer, ...] = ()


async def look(settings: GatewayProcessSettings) -> GatewayMachine:
    """Look at this machine as one of a gateway with these settings. Raises InvalidDocument for those that say no
    place."""
    made = settings.gateway_settings()
    trust = await asyncio.to_thread(settings.trust)
    machine = await asyncio.to_thread(_look, settings.data, made)
    machine = await _running(machine, made)
    timeout = aiohttp.ClientTimeout(total=LOOK_SECONDS)
    shown = {"Authorization": f"Bearer {settings.token}"} if settings.token else {}
    async with aiohttp.ClientSession(timeout=timeout, headers=shown) as session:
        asked = (_controller(session, url.rstrip("/"), trust or True) for url in settings.controllers)
        return replace(machine, controllers=tuple(await asyncio.gather(*asked)))


def _look(folder: Path, settings: GatewaySettings) -> GatewayMachine:
    found, error = nginx()
    return GatewayMachine(
        user=os.geteuid(),
        nginx=found,
        nginx_error=error,
        lua_missing=missing(LUA_LIBRARIES),
        firewall_missing=missing(FIREWALL_PACKAGES),
        ports=tuple(_ports(settings)),
        disks=(disk(str(folder)),),
        descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        now=time.time(),
        clock_synchronised=clock_synchronised(),
    )


def _ports(settings: GatewaySettings) -> Iterable[Port]:
    for address in settings.listen:
        yield listened("gateway", "--listen", address)
    for address in settings.tls_listen:
        yield listened("gateway", "--listen-tls", address)
    yield listened("gateway status", "--status", settings.status_listen)


async def _running(machine: GatewayMachine, settings: GatewaySettings) -> GatewayMachine:
    control = ControlSocket(settings.control_socket, LOOK_SECONDS)
    try:
        state = await control.state()
        found = await control.resources()
    except Unavailable as error:
        there = await asyncio.to_thread(settings.control_socket.exists)
        return replace(machine, state_error=error.message if there else "")
    except ColdchainError as error:
        return replace(machine, state_error=error.message)
    finally:
        await control.close()
    shown = tuple(Certificate(name=one.name, ends_at=_ends_at(one.chain)) for one in found.certificates)
    return replace(machine, state=state, memory=found.memory, certificates=shown)


def _ends_at(chain: str) -> float | None:
    """The first of a chain to end takes the others with it."""
    try:
        ends = [one.not_valid_after_utc.timestamp() for one in x509.load_pem_x509_certificates(chain.encode())]
    except ValueError:
        return None
    return min(ends)


async def _controller(session: aiohttp.ClientSession, url: str, trust: object) -> ControllerAnswer:
    """By the date in an answer, which is of whole seconds: so half a second is as good as it gets."""
    began = time.time()
    try:
        async with session.get(f"{url}/v1/caller", ssl=trust, allow_redirects=False) as answer:  # type: ignore[arg-type]
            said, middle = await answer.read(), (began + time.time()) / 2
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        words = str(error) or f"no answer in {LOOK_SECONDS:g} s"
        return ControllerAnswer(address=url, error=words)
    try:
        there = email.utils.parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
        found = ControllerAnswer(address=url, ahead_seconds=there + 0.5 - middle)
    except ValueError:
        found = ControllerAnswer(address=url)
    if answer.status in (401, 403):
        return replace(found, error=f"it knows nobody by that token ({answer.status})", refused=True)
    try:
        return replace(found, role=str(msgspec.json.decode(said, type=dict[str, object])["role"]))
    except (msgspec.MsgspecError, KeyError):
        return replace(found, error=f"something else answers there ({answer.status})")
