"""gateway options: those of `up`, `down` and `doctor` about where consumers come in, and what `coldchain gateway` says
in the same words."""

from typing import Annotated, TypedDict

import typer

PROXIES_HELP = "Network of the balancer before it, whose X-Forwarded-For is believed."
MARKS_HELP = "Network of apps whose gray marks are believed; repeatable."
HEADER_HELP = "Header in which a gray request has its mark; the same at each gateway."

Gateway = Annotated[list[str] | None, typer.Option(help="IP:PORT where consumers reach the gateway; may be repeated.")]
TrustedProxies = Annotated[list[str] | None, typer.Option("--gateway-trusted-proxy", help=PROXIES_HELP)]
MarkTrusted = Annotated[list[str] | None, typer.Option("--gateway-mark-trusted", metavar="NETWORK", help=MARKS_HELP)]
MarkHeader = Annotated[str, typer.Option("--gateway-mark-header", help=HEADER_HELP)]
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


class Belief(TypedDict):
    """What of a request is believed, as PlatformSettings takes it."""

    gateway_trusted_proxies: tuple[str, ...]
    gateway_mark_trusted: tuple[str, ...]
    gateway_mark_header: str


def entered(listen: Gateway, encrypted: GatewayTls, name: str | None, status: str, status_open: bool) -> Entry:
    return Entry(
        gateway=tuple(listen or ("0.0.0.0:80",)),
        gateway_tls=tuple(encrypted or ()),
        gateway_name=name,
        gateway_status=status,
        gateway_status_open=status_open,
    )


def believed(proxies: TrustedProxies, marked: MarkTrusted, header: str) -> Belief:
    return Belief(
        gateway_trusted_proxies=tuple(proxies or ()),
        gateway_mark_trusted=tuple(marked or ()),
        gateway_mark_header=header,
    )
