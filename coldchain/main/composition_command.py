"""composition command: `coldchain composition`, one copy of the composition layer."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from coldchain.cli.application import application
from coldchain.cli.errors import INVALID
from coldchain.cli.language import _
from coldchain.model.errors import ColdchainError, InvalidDocument

File = Annotated[Path, typer.Argument(metavar="FILE", help="YAML file of what is composed.")]
Listen = Annotated[str, typer.Option(envvar="COLDCHAIN_LISTEN", help="HOST:PORT where requests come in.")]
ListenStatus = Annotated[str | None, typer.Option("--status", help="HOST:PORT where health and metrics are shown.")]
Reached = Annotated[
    str, typer.Option("--address", help="By which the registry of Dubbo shows this machine as a consumer.")
]
Settle = Annotated[
    float, typer.Option(min=0, max=600, help="Serve for so long after SIGTERM, for who has not noticed.")
]
Drain = Annotated[float, typer.Option(min=0, max=3600, help="How long open requests may take after that.")]
Check = Annotated[bool, typer.Option("--check", help="Say everything that is wrong with the file, and end.")]


@application.command()
def composition(
    file: File,
    listen: Listen = "127.0.0.1:8090",
    status: ListenStatus = None,
    address: Reached = "127.0.0.1",
    settle_seconds: Settle = 0.0,
    drain_seconds: Drain = 30.0,
    check: Check = False,
) -> None:
    """Answer requests by calling several services, over HTTP and Dubbo, as a file declares it.

    It runs behind the gateway as any service, in several copies. SIGHUP reads the file again; a wrong one changes
    nothing. SIGTERM lets open requests end.

    Exit status: 0 it was told to end, or the file is valid; 1 it cannot run; 2 the file is not valid.
    """
    from coldchain.main.command import run_to_end
    from coldchain.main.composition import composition as program
    from coldchain.main.composition import read_file
    from coldchain.main.composition_settings import CompositionSettings
    from coldchain.main.log import open_log

    settings = CompositionSettings(
        file=file,
        listen=_host_port(listen, "--listen"),
        status=_host_port(status, "--status") if status is not None else None,
        address=address,
        settle_seconds=settle_seconds,
        drain_seconds=drain_seconds,
    )
    try:
        found = read_file(file)
    except ColdchainError as error:
        problems = error.problems if isinstance(error, InvalidDocument) else ()
        for one in problems:
            sys.stderr.write(f"{file}: {one}\n")
        if not problems:
            sys.stderr.write(f"coldchain: {error}\n")
        raise SystemExit(INVALID) from None
    if check:
        typer.echo(_("{file}: {count} compositions are valid", file=file, count=len(found.compositions)))
        return
    open_log()
    run_to_end(program(settings))


def _host_port(text: str, option: str) -> tuple[str, int]:
    host, _colon, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 <= int(port) < 65536:
        raise typer.BadParameter(f"{text!r} is not HOST:PORT", param_hint=option)
    return host.strip("[]"), int(port)
