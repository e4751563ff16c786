"""gateway options: those of `up`, `down` and `doctor` about where consumers come in, and what `coldchain gateway` says
in the same words."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, TypedDict

import typer

from coldchain.gateway.settings import GatewayMemory
from coldchain.model.errors import InvalidDocument, Problem

PROXIES_HELP = "Network of the balancer before it, whose X-Forwarded-For is believed."
MARKS_HELP = "Network of apps whose gray marks are believed; repeatable."
MEMORY_HELP = "Room for `rotation` (64), `control` (16) or `nonces` (16); repeatable."
HEADER_HELP = "Header in which a gray request has its mark; the same at each gateway."
MEMORY_MIB_MAX = 65_536

Gateway = Annotated[list[str] | None, typer.Option(help="IP:PORT where consumers reach the gateway; may be repeated.")]
TrustedProxies = Annotated[list[str] | None, typer.Option("--gateway-trusted-proxy", help=PROXIES_HELP)]
MarkTrusted = Annotated[list[str] | None, typer.Option("--gateway-mark-trusted", metavar="NETWORK", help=MARKS_HELP)]
MarkHeader = Annotated[str, typer.Option("--gateway-mark-header", help=HEADER_HELP)]
Memory = Annotated[list[str] | None, typer.Option("--gateway-memory", metavar="NAME=MIB", help=MEMORY_HELP)]
GatewayTls = Annotated[
    list[str] | None,
    typer.Option(help="IP:PORT where they reach it over TLS; may be repeated."),
]
GatewayName = Annotated[str | None, typer.Option(help="Name of the gateway. By default that of this machine.")]
Status = Annotated[str, typer.Option(help="IP:PORT where the gateway tells whether it is ready.")]
GatewayStatusOpen = Annotated[
    bool, typer.Option("--gateway-status-open", help="Let others than this machine see the gateway's status.")
]


class Entry(TypedDict):
    """Where consumers come in, as PlatformSettings takes it."""

    gateway: tuple[str, ...]
    gateway_tls: tuple[str, ...]
    gateway_name: str | None
    gateway_status: str
    gateway_status_open: bool
    gateway_memory: GatewayMemory


class Belief(TypedDict):
    """What of a request is believed, as PlatformSettings takes it."""

    gateway_trusted_proxies: tuple[str, ...]
    gateway_mark_trusted: tuple[str, ...]
    gateway_mark_header: str


def entered(
    listen: Gateway, encrypted: GatewayTls, name: str | None, status: str, status_open: bool, room: Memory
) -> Entry:
    return Entry(
        gateway=tuple(listen or ("0.0.0.0:80",)),
        gateway_tls=tuple(encrypted or ()),
        gateway_name=name,
        gateway_status=status,
        gateway_status_open=status_open,
        gateway_memory=chosen_memory(room, "--gateway-memory"),
    )


def chosen_memory(given: list[str] | None, option: str) -> GatewayMemory:
    """`given`: NAME=MIB of some of them; the others have their defaults. Raises BadParameter, which names `option`."""
    names = [one.name for one in fields(GatewayMemory)]
    sizes: dict[str, int] = {}
    for one in given or ():
        name, _, size = one.partition("=")
        if name not in names:
            raise typer.BadParameter(f"{one!r} is not NAME=MIB with NAME one of {', '.join(names)}", param_hint=option)
        if name in sizes:
            raise typer.BadParameter(f"{name} is given twice", param_hint=option)
        if not size.isdecimal() or not size.isascii() or not 0 < int(size) <= MEMORY_MIB_MAX:
            reason = f"{one!r}: give a whole number of MiB from 1 to {MEMORY_MIB_MAX}"
            raise typer.BadParameter(reason, param_hint=option)
        sizes[name] = int(size) * 1024 * 1024
    return GatewayMemory(**sizes)


def by_option(error: InvalidDocument, options: Mapping[str, str]) -> InvalidDocument:
    """What GatewaySettings says of its parts, said of `options`: the option by which each part is given."""
    return InvalidDocument(
        [Problem(path=options.get(one.path.split("/")[1], one.path), reason=one.reason) for one in error.problems]
    )


def believed(proxies: TrustedProxies, marked: MarkTrusted, header: str) -> Belief:
    return Belief(
        gateway_trusted_proxies=tuple(proxies or ()),
        gateway_mark_trusted=tuple(marked or ()),
        gateway_mark_header=header,
    )
