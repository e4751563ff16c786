"""network doctor command: `coldchain network doctor`."""

from pathlib import Path
from typing import Annotated

import typer

from coldchain.cli.application import application
from coldchain.cli.options import Json
from coldchain.main.netd_settings import DEFAULT_SOCKET, DEFAULT_STATE
from coldchain.main.settings import DEFAULT_DOCKER
from coldchain.main.store_options import EtcdAuthority, EtcdCertificate, EtcdCredentials, EtcdKey, stored

State = Annotated[Path, typer.Option("--state-directory", help="netd's folder, as it was told.")]
Driver = Annotated[Path, typer.Option("--socket", help="Unix socket of the network driver, as netd was told.")]
Docker = Annotated[
    str, typer.Option("--docker", envvar="COLDCHAIN_DOCKER_SOCKET", help="Unix socket of the Docker Engine.")
]
Store = Annotated[
    str | None, typer.Option(help="etcd://HOST:PORT[,HOST:PORT…] of netd: compare routes and clock with it.")
]


@application.command("network doctor")
def network_doctor(
    state_directory: State = DEFAULT_STATE,
    driver: Driver = DEFAULT_SOCKET,
    docker: Docker = DEFAULT_DOCKER,
    store: Store = None,
    etcd_authority: EtcdAuthority = None,
    etcd_certificate: EtcdCertificate = None,
    etcd_key: EtcdKey = None,
    etcd_credentials_file: EtcdCredentials = None,
    as_json: Json = False,
) -> None:
    """Look at this machine's part in the container network: what is wrong, and what to do about it. Nothing is changed.

    Give the options that `netd` has. Exit status: 0 nothing is missing; 1 something is.
    """
    from coldchain.cli.errors import FAILED, Invalid
    from coldchain.cli.language import _
    from coldchain.cli.output import run
    from coldchain.main.doctor import tell
    from coldchain.main.network_doctor import findings
    from coldchain.main.network_machine import Places, look
    from coldchain.model.errors import ColdchainError

    async def program() -> None:
        try:
            places = Places(
                state=state_directory,
                driver_socket=driver,
                docker_socket=docker,
                **stored(store, etcd_authority, etcd_certificate, etcd_key, etcd_credentials_file),
            )
            found = findings(await look(places))
        except ColdchainError as error:
            raise Invalid(str(error)) from error
        if tell(found, _("this machine's part of the container network is in order"), as_json=as_json):
            raise typer.Exit(FAILED)

    run(program())
