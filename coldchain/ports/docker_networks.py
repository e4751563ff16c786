"""Docker networks: the networks that Docker has on this machine."""

from collections.abc import Sequence
from typing import Protocol

from coldchain.model.docker_network import DockerNetwork

DRIVER = "coldchain"
"""What Docker knows our driver and our address management by."""

NETWORK_OPTION = "coldchain.network"
"""The option of a Docker network that says which container network it is: Docker does not tell its driver the name."""


class DockerNetworks(Protocol):
    """Raises Unavailable where Docker does not answer: unknown, never empty. Rejected for what it refuses."""

    async def networks(self) -> Sequence[DockerNetwork]:
        """All of them, of whatever driver."""
        ...

    async def create(self, name: str, subnet: str, subnet6: str = "") -> None:
        """One of ours, under the name of its container network."""
        ...

    async def remove(self, docker_network: str) -> None:
        """By its id. No error if it has gone. Raises Conflict while containers are in it."""
        ...
