"""gateway command: `coldchain gateway`, and the systemd unit that starts it."""

import shlex
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from coldchain.cli.application import application
from coldchain.gateway.settings import DEFAULT_MARK_HEADER
from coldchain.main.credentials import read_credentials
from coldchain.main.gateway_options import HEADER_HELP, MARKS_HELP, MEMORY_HELP, PROXIES_HELP, chosen_memory
from coldchain.main.gateway_settings import DEFAULT_GATEWAY_DATA, GatewayProcessSettings
from coldchain.main.gateway_unit import gateway_unit

TOKEN = "COLDCHAIN_TOKEN"  # noqa: S105 -- the name of a variable

Controllers = Annotated[
    list[str], typer.Option("--controller", help="https://HOST:PORT of a controller's API; repeat it for each of them.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="File with a token of role operator for them; or the variable COLDCHAIN_TOKEN has it."),
]
Authority = Annotated[
    Path | None, typer.Option(help="PEM file of who vouches for their certificates; else whom this machine trusts.")
]
Name = Annotated[str | None, typer.Option(help="Name of this gateway, of no other; the host name if not given.")]
Data = Annotated[Path, typer.Option(help="Folder of nginx, with its logs.")]
Listen = Annotated[list[str] | None, typer.Option(help="IP:PORT where consumers reach it; may be repeated.")]
ListenTls = Annotated[list[str] | None, typer.Option(help="IP:PORT where they reach it over TLS; may be repeated.")]
Status = Annotated[str, typer.Option(help="IP:PORT where the balancer before it asks whether it is ready.")]
StatusOpen = Annotated[
    bool, typer.Option("--status-open", help="Let others than this machine see readiness and numbers.")
]
TrustedProxies = Annotated[list[str] | None, typer.Option("--trusted-proxy", help=PROXIES_HELP)]
MarkTrusted = Annotated[list[str] | None, typer.Option("--mark-trusted", metavar="NETWORK", help=MARKS_HELP)]
MarkHeader = Annotated[str, typer.Option(help=HEADER_HELP)]
Memory = Annotated[list[str] | None, typer.Option(metavar="NAME=MIB", help=MEMORY_HELP)]
LeaveSeconds = Annotated[
    float, typer.Option(min=0.0, help="How long it serves on after SIGTERM, until the balancer has noticed.")
]
DrainSeconds = Annotated[float, typer.Option(min=0.0, help="How long connections may take to end after that.")]
PrintUnit = Annotated[
    bool, typer.Option("--print-unit", help="Write the systemd unit that runs this command, and end.")
]


@application.command()
def gateway(
    controller: Controllers,
    token_file: TokenFile = None,
    authority: Authority = None,
    name: Name = None,
    data: Data = DEFAULT_GATEWAY_DATA,
    listen: Listen = None,
    listen_tls: ListenTls = None,
    status: Status = "127.0.0.1:8081",
    status_open: StatusOpen = False,
    trusted_proxy: TrustedProxies = None,
    mark_trusted: MarkTrusted = None,
    mark_header: MarkHeader = DEFAULT_MARK_HEADER,
    memory: Memory = None,
    leave_seconds: LeaveSeconds = 10.0,
    drain_seconds: DrainSeconds = 30.0,
    print_unit: PrintUnit = False,
) -> None:
    """Run a gateway on this machine, fed by controllers elsewhere.

    SIGTERM has it leave without a request lost. Ctrl-C ends the command alone: nginx serves on, and the next one takes
    it over.
    """
    from coldchain.main.command import run_to_end
    from coldchain.main.gateway import gateway as program
    from coldchain.main.log import open_log

    settings = GatewayProcessSettings(
        controllers=tuple(controller),
        token=read_credentials(token_file, TOKEN, "--token-file"),
        authority=authority,
        name=name if name is not None else socket.gethostname(),
        data=data,
        listen=tuple(listen or ("0.0.0.0:80",)),
        tls_listen=tuple(listen_tls or ()),
        status=status,
        status_open=status_open,
        trusted_proxies=tuple(trusted_proxy or ()),
        mark_trusted=tuple(mark_trusted or ()),
        mark_header=mark_header,
        memory=chosen_memory(memory, "--memory"),
        leave_seconds=leave_seconds,
        drain_seconds=drain_seconds,
    )
    if print_unit:
        words = [word for word in sys.argv[1:] if word != "--print-unit"]
        typer.echo(gateway_unit(shlex.join([sys.executable, "-m", "coldchain", *words]), settings), nl=False)
        return
    open_log()
    run_to_end(program(settings))
