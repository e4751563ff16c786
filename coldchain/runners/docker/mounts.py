"""mounts: what a path or a volume's name really leads to, which only its machine knows; admission judged the words."""

import asyncio
import os
from collections.abc import Iterable
from typing import Any

from coldchain.clients.docker import DockerClient, DockerRefused
from coldchain.decisions.host_path import normal
from coldchain.model.errors import Rejected


async def check_mounts(client: DockerClient, document: dict[str, Any]) -> None:
    """Raises Rejected for a path that leads elsewhere by a symbolic link, and for a named volume that is a folder or a
    device of the machine in disguise."""
    host_config = document["HostConfig"]
    sources = [bind.partition(":")[0] for bind in host_config.get("Binds", ())]
    folders = [source for source in sources if source.startswith("/")] + [
        one["Source"] for one in host_config["Mounts"]
    ]
    if folders:
        await asyncio.to_thread(_check_links, folders)
    for name in sources:
        if not name.startswith("/"):
            await _check_volume(client, name)


def _check_links(folders: Iterable[str]) -> None:
    for folder in folders:
        real = os.path.realpath(folder)
        if real != normal(folder):
            raise Rejected(
                f"{folder} is not mounted: by a symbolic link it leads to {real}",
                todo=f"Name {real} itself, if that is what the app needs",
            )


async def _check_volume(client: DockerClient, name: str) -> None:
    try:
        volume = await client.inspect_volume(name)
    except DockerRefused as error:
        if error.status == 404:  # Docker will make it, empty
            return
        raise
    options = volume.get("Options") or {}
    if {"bind", "rbind"} & set(options.get("o", "").split(",")) or options.get("device", "").startswith("/"):
        raise Rejected(
            f"volume {name} is {options.get('device', 'a folder of the machine')} in disguise",
            todo="Mount the folder by its path, in `container.volumes`",
        )
