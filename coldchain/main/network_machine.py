"""network machine: what `network doctor` looks at: facts of this machine's part in the container network. None of them
is changed by being looked at."""

import asyncio
import contextlib
import email.utils
import json
import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from coldchain.clients.docker import DockerClient, DockerRefused, DockerUnavailable
from coldchain.documents import keys
from coldchain.documents.stored import UnreadableDocument, decode
from coldchain.main.stores import EtcdAccess, endpoints_of, open_etcd
from coldchain.model.errors import ColdchainError
from coldchain.model.node import Node
from coldchain.model.pool import Block
from coldchain.ports.docker_networks import DRIVER
from coldchain.ports.network import HOST_PREFIX

LOOK_SECONDS = 5.0
SYSCTLS = Path("/proc/sys")
ASKED = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv6/conf/all/forwarding",
    "net/bridge/bridge-nf-call-iptables",
)
OF_LINKS = ("rp_filter", "forwarding")
BIRD_CONTROLS = ("bird/bird.ctl", "bird.ctl", "/run/bird/bird.ctl")
"""Where BIRD may be asked: in netd's folder, or where Debian's package has it."""

DAY_AND_TIME = re.compile(r" (\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)")

Document = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Interface:
    """`kind` as the kernel has it (`veth`, `bridge`, `vxlan`…), empty for hardware."""

    name: str
    mtu: int
    up: bool
    kind: str = ""


@dataclass(frozen=True, kw_only=True)
class Route:
    """`via` empty: on the link. `kind`: `unicast`, `blackhole`…"""

    destination: str
    device: str = ""
    via: str = ""
    kind: str = "unicast"


@dataclass(frozen=True, kw_only=True)
class Session:
    """Of BIRD, with what it says of it beside its state."""

    name: str
    state: str
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the store has, and how far its clock is ahead of this machine's: None where it does not say."""

    nodes: tuple[Node, ...] = ()
    blocks: tuple[Block, ...] = ()
    clock_ahead_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class NetworkMachine:
    """Facts. Where one could not be found out, its `…_error` says why."""

    user: int
    sysctls: Mapping[str, str]
    """By their path below /proc/sys; those that are not there are missing."""
    forward: tuple[str, ...] = ()
    """Rules of the chains FORWARD and DOCKER-USER as `iptables -S` has them."""
    forward_error: str = ""
    interfaces: tuple[Interface, ...] = ()
    routes: tuple[Route, ...] = ()
    links_error: str = ""
    driver: tuple[str, ...] = ()
    """What our driver says that it implements."""
    driver_error: str = ""
    netd: Document | None = None
    netd_error: str = ""
    docker: Document | None = None
    networks: tuple[str, ...] = ()
    """Those of Docker whose driver is ours."""
    docker_error: str = ""
    sessions: tuple[Session, ...] = ()
    bird_error: str = ""
    clock_synchronised: bool | None = None
    shared: Shared | None = None
    """None: nobody said where the store is, or it does not answer."""
    shared_error: str = ""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where to look."""

    state: Path
    driver_socket: Path
    docker_socket: str
    store: str | None = None
    etcd: EtcdAccess = field(default_factory=EtcdAccess)


async def look(places: Places) -> NetworkMachine:
    """Look at this machine."""
    from coldchain.main.machine import clock_synchronised

    docker, networks, docker_error = await _docker(places.docker_socket)
    driver, driver_error = await _driver(places.driver_socket)
    netd, netd_error = await _ask(places.state / "netd.sock", "GET", "/status")
    shared, shared_error = await _shared(places)
    facts = await asyncio.to_thread(_kernel, places.state)
    return NetworkMachine(
        user=os.geteuid(),
        driver=driver,
        driver_error=driver_error,
        netd=netd,
        netd_error=netd_error,
        docker=docker,
        networks=networks,
        docker_error=docker_error,
        clock_synchronised=clock_synchronised(),
        shared=shared,
        shared_error=shared_error,
        **facts,
    )


def _kernel(state: Path) -> dict[str, Any]:
    """Of the kernel and BIRD. Blocks."""
    facts: dict[str, Any] = {}
    rules: list[str] = []
    for chain in ("FORWARD", "DOCKER-USER"):
        said, error = _said("iptables", "-w", "-S", chain)
        rules += said.splitlines()
        if chain == "FORWARD":
            facts["forward_error"] = error
    facts["forward"] = tuple(rules)
    links, links_error = _said("ip", "-json", "-details", "link", "show")
    routes, routes_error = _said("ip", "-json", "route", "show")
    routes6, _ = _said("ip", "-json", "-6", "route", "show")
    facts["interfaces"] = interfaces_in(links)
    facts["routes"] = (*routes_in(routes), *routes_in(routes6))
    facts["links_error"] = links_error or routes_error
    facts["sysctls"] = _sysctls(one.name for one in facts["interfaces"] if one.name.startswith(HOST_PREFIX))
    controls = [state / one for one in BIRD_CONTROLS if (state / one).exists()]
    if not controls:
        facts["bird_error"] = f"there is no control socket of BIRD in {state}, nor in /run/bird"
    else:
        said, facts["bird_error"] = _said("birdc", "-r", "-s", str(controls[0]), "show", "protocols")
        facts["sessions"] = sessions_in(said)
    return facts


def interfaces_in(said: str) -> tuple[Interface, ...]:
    """In what `ip -json -details link show` says."""
    found = json.loads(said or "[]")
    return tuple(
        Interface(
            name=one["ifname"],
            mtu=int(one.get("mtu", 0)),
            up="UP" in one.get("flags", ()),
            kind=one.get("linkinfo", {}).get("info_kind", ""),
        )
        for one in found
        if one
    )


def routes_in(said: str) -> tuple[Route, ...]:
    """In what `ip -json route show` says. Of several next hops the first is told."""
    found = json.loads(said or "[]")
    return tuple(
        Route(
            destination=one["dst"],
            device=one.get("dev") or next((hop.get("dev", "") for hop in one.get("nexthops", ())), ""),
            via=one.get("gateway") or next((hop.get("gateway", "") for hop in one.get("nexthops", ())), ""),
            kind=one.get("type", "unicast"),
        )
        for one in found
        if "dst" in one
    )


def sessions_in(said: str) -> tuple[Session, ...]:
    """In what `birdc show protocols` says: those of BGP."""
    lines = (_one_time(line).split(maxsplit=5) for line in said.splitlines())
    return tuple(
        Session(
            name=words[0], state=(words[5] if len(words) > 5 else words[3]).split(maxsplit=1)[0], words=_rest(words)
        )
        for words in lines
        if len(words) >= 5 and words[1] == "BGP"
    )


def _one_time(line: str) -> str:
    """Older ones say day and time of a session in two words."""
    return DAY_AND_TIME.sub(r" \1T\2", line)


def _rest(words: Sequence[str]) -> str:
    return words[5].partition(" ")[2].strip() if len(words) > 5 else ""


def _sysctls(links: Any) -> dict[str, str]:
    asked = [*ASKED, *(f"net/ipv4/conf/{link}/{name}" for link in links for name in OF_LINKS)]
    found = {}
    for name in asked:
        with contextlib.suppress(OSError):
            found[name] = (SYSCTLS / name).read_text().strip()
    return found


def _said(*command: str) -> tuple[str, str]:
    """What a program says, and why it does not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOOK_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        missing = isinstance(error, FileNotFoundError)
        return "", f"{command[0]} is not installed" if missing else f"{command[0]} does not answer: {error}"
    if done.returncode:
        return "", (done.stderr or done.stdout).strip().splitlines()[-1] if done.stderr or done.stdout else "failed"
    return done.stdout, ""


async def _docker(path: str) -> tuple[Document | None, tuple[str, ...], str]:
    client = DockerClient(path, timeout_seconds=LOOK_SECONDS)
    try:
        info, networks = await client.info(), await client.networks()
    except (DockerUnavailable, DockerRefused) as error:
        return None, (), str(error)
    finally:
        await client.close()
    return info, tuple(sorted(one["Name"] for one in networks if one["Driver"] == DRIVER)), ""


async def _driver(path: Path) -> tuple[tuple[str, ...], str]:
    """As Docker does it when it first uses a driver."""
    answer, error = await _ask(path, "POST", "/Plugin.Activate")
    return tuple(answer.get("Implements", ())) if answer else (), error


async def _ask(path: Path, method: str, address: str) -> tuple[Document | None, str]:
    if not await asyncio.to_thread(path.exists):
        return None, f"there is no socket {path}"
    timeout = aiohttp.ClientTimeout(total=LOOK_SECONDS)
    try:
        connector = aiohttp.UnixConnector(str(path))
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.request(method, f"http://netd{address}") as answer,
        ):
            found = json.loads(await answer.read())
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        return None, f"{path} does not answer: {error or type(error).__name__}"
    return (found, "") if isinstance(found, dict) else (None, f"{path} answers with something else")


async def _shared(places: Places) -> tuple[Shared | None, str]:
    if places.store is None:
        return None, ""
    store = open_etcd(places.store, places.etcd)
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            nodes = [decode(one.value, Node) for one in (await store.list(keys.NODE)).entries]
            blocks = [decode(one.value, Block) for one in (await store.list(keys.BLOCK)).entries]
    except (ColdchainError, TimeoutError) as error:
        unreadable = isinstance(error, UnreadableDocument)
        return None, str(error) if unreadable else f"it does not answer: {error or 'no answer'}"
    finally:
        await store.close()
    ahead = await _clock_ahead_seconds(endpoints_of(places.store), places.etcd)
    return Shared(nodes=tuple(nodes), blocks=tuple(blocks), clock_ahead_seconds=ahead), ""


async def _clock_ahead_seconds(endpoints: Sequence[str], access: EtcdAccess) -> float | None:
    """By the date in an answer, which is of whole seconds: so half a second is as good as it gets."""
    context = access.context()
    timeout = aiohttp.ClientTimeout(total=LOOK_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for endpoint in endpoints:
            url = f"{'https' if context else 'http'}://{endpoint}/version"
            began = time.time()
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError, TypeError):
                async with session.get(url, ssl=context or True) as answer:
                    there = email.utils.parsedate_to_datetime(answer.headers.get("Date", ""))
                    return there.timestamp() + 0.5 - (began + time.time()) / 2
    return None
