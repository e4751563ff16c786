"""gateway doctor command: `coldchain gateway doctor`."""

from coldchain.cli.application import application
from coldchain.cli.options import Json
from coldchain.main.credentials import read_credentials
from coldchain.main.gateway_command import (
    TOKEN,
    Authority,
    Controllers,
    Data,
    Listen,
    ListenTls,
    Status,
    TokenFile,
)
from coldchain.main.gateway_settings import DEFAULT_GATEWAY_DATA, GatewayProcessSettings


@application.command("gateway doctor")
def gateway_doctor(
    controller: Controllers = [],  # noqa: B006 -- typer makes one of its own for each call
    token_file: TokenFile = None,
    authority: Authority = None,
    data: Data = DEFAULT_GATEWAY_DATA,
    listen: Listen = None,
    listen_tls: ListenTls = None,
    status: Status = "127.0.0.1:8081",
    as_json: Json = False,
) -> None:
    """Look at this machine's gateway: what is wrong, and what to do about it. Nothing is changed.

    Give the options that `coldchain gateway` has; of the gateway of `coldchain up` its --data. Exit status: 0 nothing
    is missing; 1 something is.
    """
    from coldchain.cli.language import _
    from coldchain.main.command import run_to_end
    from coldchain.main.doctor import tell
    from coldchain.main.gateway_doctor import findings
    from coldchain.main.gateway_machine import look

    settings = GatewayProcessSettings(
        controllers=tuple(controller),
        token=read_credentials(token_file, TOKEN, "--token-file"),
        authority=authority,
        data=data,
        listen=tuple(listen or ("0.0.0.0:80",)),
        tls_listen=tuple(listen_tls or ()),
        status=status,
    )

    async def program() -> int:
        return tell(findings(await look(settings)), _("this machine's gateway is in order"), as_json=as_json)

    run_to_end(program())
