"""FakeDockerNetworks: port DockerNetworks in memory; it asks the driver as Docker does, if it is given one."""

import itertools
from collections.abc import Sequence

from msgspec.structs import replace

from coldchain.model.docker_network import DockerNetwork
from coldchain.model.errors import ColdchainError, Conflict, Rejected, Unavailable
from coldchain.ports.docker_networks import DRIVER, NETWORK_OPTION
from coldchain.ports.network_driver import NetworkDriver, WantedNetwork


class FakeDockerNetworks:
    """`held`: the networks by id; tests put others there. `away`: Docker does not answer."""

    def __init__(self, driver: NetworkDriver | None = None) -> None:
        self.driver = driver
        self.held: dict[str, DockerNetwork] = {}
        self.away = False
        self._numbers = itertools.count(1)

    async def networks(self) -> Sequence[DockerNetwork]:
        self._check()
        return list(self.held.values())

    async def create(self, name: str, subnet: str, subnet6: str = "") -> None:
        self._check()
        if any(one.name == name for one in self.held.values()):
            raise Rejected(f"network {name} cannot be made: network with name {name} already exists")
        identity = f"{next(self._numbers):064x}"
        if self.driver is not None:
            wanted = WantedNetwork(
                id=identity,
                options={NETWORK_OPTION: name},
                pools=(subnet,),
                pools6=(subnet6,) if subnet6 else (),
            )
            try:
                await self.driver.create_network(wanted)
            except ColdchainError as error:
                raise Rejected(f"network {name} cannot be made: {error}") from error
        self.held[identity] = DockerNetwork(
            id=identity, name=name, driver=DRIVER, network=name, subnet=subnet, subnet6=subnet6
        )

    async def remove(self, docker_network: str) -> None:
        self._check()
        found = self.held.get(docker_network)
        if found is None:
            return
        if found.endpoints:
            raise Conflict(f"network {docker_network[:12]} cannot be removed: containers are in it")
        if self.driver is not None:
            await self.driver.delete_network(docker_network)
        del self.held[docker_network]

    def enter(self, docker_network: str, endpoint: str) -> None:
        found = self.held[docker_network]
        self.held[docker_network] = replace(found, endpoints=found.endpoints | {endpoint})

    def leave(self, docker_network: str, endpoint: str) -> None:
        found = self.held[docker_network]
        self.held[docker_network] = replace(found, endpoints=found.endpoints - {endpoint})

    def _check(self) -> None:
        if self.away:
            raise Unavailable("the Docker Engine does not answer")
