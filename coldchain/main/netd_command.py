"""netd command: `coldchain netd`, and the systemd unit that starts it before Docker."""

import shlex
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from coldchain.cli.application import application
from coldchain.main.netd_settings import DEFAULT_SOCKET, DEFAULT_STATE, NetdSettings
from coldchain.main.netd_unit import unit
from coldchain.main.settings import DEFAULT_DOCKER
from coldchain.main.store_options import EtcdAuthority, EtcdCertificate, EtcdCredentials, EtcdKey, stored

Store = Annotated[str, typer.Option(help="etcd://HOST:PORT[,HOST:PORT…] of the platform, perhaps with /NAME.")]
NodeName = Annotated[str | None, typer.Option("--node", help="Name of this machine; its host name if not given.")]
Address = Annotated[
    str, typer.Option(help="By which other machines reach this one, with the length of its segment: 10.10.3.5/24.")
]
Address6 = Annotated[str, typer.Option(help="The same of IPv6, where networks have addresses of it: fd00:3::5/64.")]
Interface = Annotated[str | None, typer.Option(help="Of that address; looked for if not given.")]
NoContainers = Annotated[
    bool, typer.Option("--no-containers", help="For a machine without Docker: routes and policy alone.")
]
State = Annotated[Path, typer.Option("--state-directory", help="Folder of what must outlive a restart.")]
Driver = Annotated[Path, typer.Option("--socket", help="Unix socket at which Docker finds the network driver.")]
Docker = Annotated[
    str, typer.Option("--docker", envvar="COLDCHAIN_DOCKER_SOCKET", help="Unix socket of the Docker Engine.")
]
SecretKeys = Annotated[
    Path | None, typer.Option(help="File of the keys by which secrets are sealed, for passwords of routers.")
]
PrintUnit = Annotated[
    bool, typer.Option("--print-unit", help="Write the systemd unit that runs this command, and end.")
]


@application.command()
def netd(
    store: Store,
    address: Address,
    node: NodeName = None,
    address6: Address6 = "",
    interface: Interface = None,
    no_containers: NoContainers = False,
    state_directory: State = DEFAULT_STATE,
    driver: Driver = DEFAULT_SOCKET,
    docker: Docker = DEFAULT_DOCKER,
    etcd_authority: EtcdAuthority = None,
    etcd_certificate: EtcdCertificate = None,
    etcd_key: EtcdKey = None,
    etcd_credentials_file: EtcdCredentials = None,
    secret_keys: SecretKeys = None,
    print_unit: PrintUnit = False,
) -> None:
    """Run the container network of this machine: addresses and links for Docker, routes, policy.

    It is started before Docker. When it ends all that is there stays, and goes on.
    """
    from coldchain.main.command import run_to_end
    from coldchain.main.log import open_log
    from coldchain.main.netd import netd as program

    settings = NetdSettings(
        **stored(store, etcd_authority, etcd_certificate, etcd_key, etcd_credentials_file),
        node=node or socket.gethostname(),
        address=address,
        address6=address6,
        interface=interface,
        containers=not no_containers,
        state=state_directory,
        socket=driver,
        docker=docker,
        secret_keys=secret_keys,
    )
    if print_unit:
        words = [word for word in sys.argv[1:] if word != "--print-unit"]
        typer.echo(unit(shlex.join([sys.executable, "-m", "coldchain", *words])), nl=False)
        return
    open_log()
    run_to_end(program(settings))
