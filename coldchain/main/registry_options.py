"""registry options: those of `up`, `down` and `doctor` about the registry."""

from typing import Annotated, TypedDict

import typer

from coldchain.main.credentials import read_credentials
from coldchain.main.registry_access import EMBEDDED

TOKEN = "COLDCHAIN_CONSUL_TOKEN"  # noqa: S105 -- the name of a variable
DNS = "127.0.0.1:8600"

Registry = Annotated[
    list[str] | None,
    typer.Option(
        help="IP:PORT of the embedded registry, which speaks Consul's HTTP API, 127.0.0.1:8500 if not given; or "
        "consul://HOST:PORT or consul+https://HOST:PORT of a Consul to use instead. Repeated while moving."
    ),
]
Dns = Annotated[str, typer.Option(help="IP:PORT of the embedded registry's DNS.")]
DnsOpen = Annotated[bool, typer.Option("--dns-open", help="Let others than this machine ask the DNS.")]


class Known(TypedDict):
    """The registry, as PlatformSettings takes it."""

    registry: tuple[str, ...]
    consul_token: str | None
    dns: str
    dns_open: bool


def registered(registry: list[str] | None, dns: str = DNS, dns_open: bool = False) -> Known:
    token = read_credentials(None, TOKEN, "--registry")
    return Known(registry=tuple(registry or (EMBEDDED,)), consul_token=token, dns=dns, dns_open=dns_open)
