"""node command: `coldchain node`: this machine joins the container network or leaves it; and all nodes, by the API."""

import socket
from pathlib import Path
from typing import Annotated, Any

import typer

from coldchain.cli.application import application
from coldchain.cli.language import _
from coldchain.cli.node import MAY_RETURN, NodeAction, ask_of_nodes
from coldchain.cli.options import DEFAULT_URL, Json, Url
from coldchain.main.netd_settings import DEFAULT_STATE
from coldchain.main.store_options import EtcdAuthority, EtcdCertificate, EtcdCredentials, EtcdKey, stored

Name = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="Name of the node; this machine's host name for join and leave.")
]
Store = Annotated[
    str | None,
    typer.Option(help="etcd://HOST:PORT[,HOST:PORT…] of the platform, perhaps with /NAME; for join and leave."),
]
Address = Annotated[
    str | None,
    typer.Option(help="By which other machines reach it, with the length of its segment: 10.10.3.5/24; join, set."),
]
Address6 = Annotated[str | None, typer.Option("--address6", help="One of IPv6 besides; for join and set.")]
Interface = Annotated[str | None, typer.Option(help="Of that address; looked for if not given; for join.")]
State = Annotated[Path, typer.Option("--state-directory", help="Folder of what must outlive a restart.")]
SecretKeys = Annotated[
    Path | None, typer.Option("--secret-keys", help="File of the keys of secrets, for passwords of sessions; for join.")
]
Reflector = Annotated[
    bool | None, typer.Option("--reflector/--no-reflector", help="It passes routes on, in a large network; for set.")
]
Lost = Annotated[bool, typer.Option("--lost", help="With remove: the machine is off or gone, whatever it had.")]
MayReturn = Annotated[
    bool, typer.Option("--may-return", help="With remove, also afterwards: it may join again, by itself.")
]


@application.command()
def node(
    action: Annotated[NodeAction, typer.Argument(metavar="ACTION", help="join, leave, list, show, set or remove.")],
    name: Name = None,
    store: Store = None,
    address: Address = None,
    address6: Address6 = None,
    interface: Interface = None,
    reflector: Reflector = None,
    lost: Lost = False,
    may_return: MayReturn = False,
    state_directory: State = DEFAULT_STATE,
    secret_keys: SecretKeys = None,
    etcd_authority: EtcdAuthority = None,
    etcd_certificate: EtcdCertificate = None,
    etcd_key: EtcdKey = None,
    etcd_credentials_file: EtcdCredentials = None,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Let this machine join the container network without Docker, or leave it; list, show, change or remove nodes.

    join goes on until it is told to end, and the routes stay then; leave takes them away. Machines with Docker join by
    `coldchain netd`.
    """
    from coldchain.cli.client import Client
    from coldchain.cli.output import run

    here = action in (NodeAction.JOIN, NodeAction.LEAVE)
    if (name is None and not here and action is not NodeAction.LIST) or (action is NodeAction.LIST and name):
        raise typer.BadParameter(_("{action} needs a name, or takes none", action=action), param_hint="NAME")
    if not here:
        given = {"address": address, "address6": address6, "reflector": reflector}
        change: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
        flags = [flag for flag, said in (("lost", lost), (MAY_RETURN, may_return)) if said]
        run(ask_of_nodes(Client(url), action, name or "", change, flags=flags, as_json=as_json))
        return
    if store is None or (action is NodeAction.JOIN and address is None):
        raise typer.BadParameter(
            _("{action} needs it", action=action), param_hint="--store" if store is None else "--address"
        )
    from coldchain.main.command import run_to_end
    from coldchain.main.log import open_log
    from coldchain.main.netd import netd
    from coldchain.main.netd_routes import leave
    from coldchain.main.netd_settings import NetdSettings

    settings = NetdSettings(
        **stored(store, etcd_authority, etcd_certificate, etcd_key, etcd_credentials_file),
        node=name or socket.gethostname(),
        address=address or "",
        address6=address6 or "",
        interface=interface,
        containers=False,
        state=state_directory,
        secret_keys=secret_keys,
    )
    open_log()
    run_to_end(netd(settings) if action is NodeAction.JOIN else leave(settings))
