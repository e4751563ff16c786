"""docker networks: those of the Docker Engine of this machine."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from coldchain.clients.docker import DockerClient, DockerRefused, DockerUnavailable
from coldchain.model.docker_network import DockerNetwork
from coldchain.model.errors import Conflict, Rejected, Unavailable
from coldchain.ports.docker_networks import DRIVER, NETWORK_OPTION

IN_USE = "active endpoints"
"""What Docker says of a network that containers are in."""


class EngineNetworks:
    """Implements ports.docker_networks.DockerNetworks."""

    def __init__(self, client: DockerClient) -> None:
        self._client = client

    async def networks(self) -> Sequence[DockerNetwork]:
        async with _in_our_words("Docker's networks cannot be listed"):
            listed = await self._client.networks()
        found = [await self._whole(one) if one["Driver"] == DRIVER else one for one in listed]
        return [_network(one) for one in found if one is not None]

    async def create(self, name: str, subnet: str, subnet6: str = "") -> None:
        document = {
            "Name": name,
            "CheckDuplicate": True,
            "Driver": DRIVER,
            "EnableIPv6": bool(subnet6),
            "IPAM": {"Driver": DRIVER, "Config": [{"Subnet": one} for one in (subnet, subnet6) if one]},
            "Options": {NETWORK_OPTION: name},
        }
        async with _in_our_words(f"network {name} cannot be made"):
            await self._client.create_network(document)

    async def remove(self, docker_network: str) -> None:
        async with _in_our_words(f"network {docker_network[:12]} cannot be removed"):
            try:
                await self._client.remove_network(docker_network)
            except DockerRefused as error:
                if error.status != 404:
                    raise

    async def _whole(self, listed: dict[str, Any]) -> dict[str, Any] | None:
        """With its endpoints, which the list leaves out. None: it has just gone."""
        async with _in_our_words(f"network {listed['Name']} cannot be looked at"):
            try:
                return await self._client.inspect_network(listed["Id"])
            except DockerRefused as error:
                if error.status != 404:
                    raise
                return None


@asynccontextmanager
async def _in_our_words(what: str) -> AsyncIterator[None]:
    try:
        yield
    except DockerUnavailable as error:
        raise Unavailable(str(error), todo="It is asked again; containers that run go on") from error
    except DockerRefused as error:
        if IN_USE in error.message:
            raise Conflict(f"{what}: containers are in it") from error
        raise Rejected(f"{what}: {error.message}", todo="Docker's log may say more") from error


def _network(document: dict[str, Any]) -> DockerNetwork:
    subnets = [str(one.get("Subnet", "")) for one in document["IPAM"]["Config"] or ()]
    ours = document["Driver"] == DRIVER
    return DockerNetwork(
        id=document["Id"],
        name=document["Name"],
        driver=document["Driver"],
        network=(document["Options"] or {}).get(NETWORK_OPTION, "") if ours else "",
        subnet=next((one for one in subnets if ":" not in one), ""),
        subnet6=next((one for one in subnets if ":" in one), ""),
        endpoints=frozenset(one["EndpointID"] for one in (document["Containers"] or {}).values())
        if ours
        else frozenset(),
    )
