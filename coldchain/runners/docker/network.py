"""The bridge network that Coldchain owns on a machine."""

import asyncio
import ipaddress
from pathlib import Path

from coldchain.clients.docker import DockerClient, DockerRefused
from coldchain.model.errors import Rejected
from coldchain.runners.docker.settings import DockerSettings

CANDIDATES = tuple(ipaddress.IPv4Network(f"10.{number}.0.0/16") for number in range(201, 232))
"""Where a subnet is looked for: away from what Docker, Kubernetes and cloud providers take by default."""

ROUTES = Path("/proc/net/route")


class Bridge:
    """Made when missing; what is there already is used as it is, so its subnet is remembered by the network itself."""

    def __init__(self, client: DockerClient, settings: DockerSettings) -> None:
        self._client = client
        self._settings = settings
        self._subnet: str | None = None
        self._lock = asyncio.Lock()

    async def subnet(self) -> str:
        """Its subnet (CIDR); makes the network first when it is missing."""
        async with self._lock:
            if self._subnet is None:
                self._subnet = await self._find() or await self._make()
            return self._subnet

    def forget(self) -> None:
        """Look again next time: somebody has removed it."""
        self._subnet = None

    async def _find(self) -> str | None:
        try:
            document = await self._client.inspect_network(self._settings.network)
        except DockerRefused as error:
            if error.status == 404:
                return None
            raise
        for entry in document["IPAM"]["Config"] or ():
            if ":" not in entry["Subnet"]:
                return str(entry["Subnet"])
        raise Rejected(
            f"docker network {self._settings.network} has no IPv4 subnet",
            todo=f"Remove it (`docker network rm {self._settings.network}`) or give another name in the settings",
        )

    async def _make(self) -> str:
        subnet = ipaddress.IPv4Network(self._settings.subnet) if self._settings.subnet else await self._free_subnet()
        # Docker's own choices (containers without a given address) come from the end, ours from the whole.
        own_choices = list(subnet.subnets(new_prefix=max(24, min(subnet.prefixlen + 2, 30))))[-1]
        configuration = {
            "Subnet": str(subnet),
            "Gateway": str(subnet.network_address + 1),
            "IPRange": str(own_choices),
        }
        try:
            await self._client.create_network(
                {
                    "Name": self._settings.network,
                    "CheckDuplicate": True,
                    "Driver": "bridge",
                    "IPAM": {"Driver": "default", "Config": [configuration]},
                }
            )
        except DockerRefused as error:
            if error.status == 409 and (found := await self._find()):
                return found
            raise Rejected(
                f"cannot make docker network {self._settings.network} ({subnet}): {error.message}",
                todo="Give another subnet in the settings",
            ) from error
        return str(subnet)

    async def _free_subnet(self) -> ipaddress.IPv4Network:
        taken = routed_networks(await asyncio.to_thread(ROUTES.read_text))
        for network in await self._client.networks():
            for entry in network["IPAM"]["Config"] or ():
                if ":" not in entry.get("Subnet", ":"):
                    taken.append(ipaddress.IPv4Network(entry["Subnet"], strict=False))
        for candidate in CANDIDATES:
            if not any(candidate.overlaps(network) for network in taken):
                return candidate
        raise Rejected(f"no free subnet for docker network {self._settings.network}", todo="Give one in the settings")


def routed_networks(table: str) -> list[ipaddress.IPv4Network]:
    """Destinations of a kernel route table as in /proc/net/route, without the default route."""
    networks = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        destination, mask = (int.from_bytes(bytes.fromhex(fields[index]), "little") for index in (1, 7))
        if mask:
            networks.append(ipaddress.IPv4Network((destination, mask.bit_count()), strict=False))
    return networks
