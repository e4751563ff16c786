"""mesos options: those of `up` about Mesos."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, TypedDict

import typer

from coldchain.main.credentials import read_credentials
from coldchain.main.mesos_access import MesosAccess

MESOS_CREDENTIALS = "COLDCHAIN_MESOS_CREDENTIALS"

MesosMaster = Annotated[
    str | None, typer.Option(help="Masters of Mesos: zk://HOST:PORT[,HOST:PORT…]/PATH, or HOST:PORT[,HOST:PORT…].")
]
MesosRoles = Annotated[
    list[str] | None, typer.Option("--mesos-role", help="Role of the framework in Mesos; may be repeated.")
]
MesosCredentials = Annotated[
    Path | None,
    typer.Option(
        "--mesos-credentials-file",
        help="File with PRINCIPAL:SECRET for Mesos; or the variable COLDCHAIN_MESOS_CREDENTIALS has it.",
    ),
]
MesosAuthority = Annotated[
    Path | None, typer.Option(help="PEM file of who vouches for the masters of Mesos: they are talked to over TLS.")
]
MesosExecutor = Annotated[str, typer.Option(help="What agents of Mesos start: a program and its arguments.")]
MesosContainerizer = Annotated[
    str,
    typer.Option(
        "--mesos-containerizer",
        help="Who runs tasks on agents of Mesos without the attribute coldchain_containerizer: "
        "executor (Coldchain's) or docker (their own Docker containerizer).",
    ),
]


class Cluster(TypedDict):
    """Where else tasks run, as PlatformSettings takes it."""

    mesos: MesosAccess | None


def on_mesos(
    engines: Collection[str] | None,
    master: str | None,
    roles: list[str] | None,
    credentials: Path | None,
    authority: Path | None,
    executor: str,
    containerizer: str = "executor",
) -> Cluster:
    """None unless it is one of the engines."""
    given = read_credentials(credentials, MESOS_CREDENTIALS, "--mesos-credentials-file")
    if "mesos" not in (engines or ()):
        return Cluster(mesos=None)
    if master is None:
        raise typer.BadParameter("with --engine mesos it must be said where masters are", param_hint="--mesos-master")
    access = MesosAccess(
        master=master,
        roles=tuple(roles or ("*",)),
        credentials=given,
        authority=authority,
        executor=executor,
        containerizer=containerizer,
    )
    return Cluster(mesos=access)
