"""runner options: those of `up` about how tasks run on a machine."""

from pathlib import Path
from typing import Annotated, TypedDict

import typer

from coldchain.decisions.docker_options import is_network

DefaultNetwork = Annotated[
    str | None,
    typer.Option(help="Network that apps of mode container join when they name none; else their machine's bridge."),
]


class Running(TypedDict):
    """How tasks run on a machine, as PlatformSettings takes it."""

    docker_socket: str
    publish_address: str
    docker_credentials: Path | None
    cgroup_parent: str
    default_network: str | None


def running(
    docker_socket: str,
    publish_address: str,
    docker_credentials: Path | None,
    cgroup_parent: str,
    default_network: str | None = None,
) -> Running:
    if default_network is not None and not is_network(default_network):
        raise typer.BadParameter(f"{default_network!r} is no name of a network", param_hint="--default-network")
    return Running(
        docker_socket=docker_socket,
        publish_address=publish_address,
        docker_credentials=docker_credentials,
        cgroup_parent=cgroup_parent,
        default_network=default_network,
    )
