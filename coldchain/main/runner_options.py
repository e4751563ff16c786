"""runner options: those of `up` about how tasks run on a machine."""

from pathlib import Path
from typing import TypedDict


class Running(TypedDict):
    """How tasks run on a machine, as PlatformSettings takes it."""

    docker_socket: str
    publish_address: str
    docker_credentials: Path | None
    cgroup_parent: str


def running(docker_socket: str, publish_address: str, docker_credentials: Path | None, cgroup_parent: str) -> Running:
    return Running(
        docker_socket=docker_socket,
        publish_address=publish_address,
        docker_credentials=docker_credentials,
        cgroup_parent=cgroup_parent,
    )
