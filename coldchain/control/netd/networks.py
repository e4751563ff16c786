"""networks: the loop that makes Docker on this machine have each network of the store, and no other of ours."""

from collections.abc import Mapping

import structlog
from msgspec.structs import replace

from coldchain.control.netd.attachments import Attachments
from coldchain.control.netd.waiting import until_written
from coldchain.decisions.docker_network import Create, Remove, Step, Trouble, steps
from coldchain.documents.keys import CONTAINER_NETWORK, POOL
from coldchain.documents.stored import decode
from coldchain.model.base import Noun
from coldchain.model.container_network import ContainerNetwork
from coldchain.model.docker_network import DockerNetwork, KeptNetwork
from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.model.pool import Pool
from coldchain.ports.clock import Clock
from coldchain.ports.docker_networks import DRIVER, DockerNetworks
from coldchain.ports.store import Store

AGAIN_SECONDS = 30.0
"""How often Docker is looked at again, whose networks can be removed by hand."""
RETRY_SECONDS = 1.0
TROUBLED_SECONDS = 2.0
"""While some network is not as it should be: those who are in its way leave without telling."""

log = structlog.get_logger(__name__)


class NetworksStatus(Noun, frozen=True, kw_only=True):
    """`present`: networks of the store that Docker has. `troubles`: by network, why it is not as the store has it.
    `trouble`: what keeps the loop from its work; empty: nothing."""

    present: tuple[str, ...] = ()
    troubles: dict[str, str] = {}
    trouble: str = ""


class Networks:
    """Has to know the networks before `Attachments` is asked to make one, and what was made before it knew."""

    def __init__(self, store: Store, docker: DockerNetworks, clock: Clock) -> None:
        self._store = store
        self._docker = docker
        self._clock = clock
        self.attachments: Attachments | None = None
        self.known: Mapping[str, ContainerNetwork] | None = None
        self.status = NetworksStatus()

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                after = await self.step()
                seconds = RETRY_SECONDS if self.status.trouble else AGAIN_SECONDS
                if self.status.troubles:
                    seconds = min(seconds, TROUBLED_SECONDS)
                await until_written(self._store, after, self._clock, seconds)
            except ColdchainError as error:
                self._trouble(error)
                await self._clock.sleep(RETRY_SECONDS)

    async def step(self) -> Mapping[str, int]:
        """Once. Returns up to which revision it knows what is below each prefix. Raises Unavailable of the store."""
        pool_listing = await self._store.list(POOL)
        listing = await self._store.list(CONTAINER_NETWORK)
        pools = [decode(entry.value, Pool) for entry in pool_listing.entries]
        networks = [decode(entry.value, ContainerNetwork) for entry in listing.entries]
        self.known = {one.name: one for one in networks}
        try:
            await self._compare(networks, {one.name: one for one in pools})
        except Unavailable as error:
            self._trouble(error)  # of Docker
        return {POOL: pool_listing.revision, CONTAINER_NETWORK: listing.revision}

    async def _compare(self, networks: list[ContainerNetwork], pools: Mapping[str, Pool]) -> None:
        present = await self._docker.networks()
        for one in present:
            await self._adopt(one)
        troubles = {}
        for step in steps(networks, pools, present, DRIVER):
            try:
                reason = await self._carry_out(step)
            except Unavailable:
                raise
            except ColdchainError as error:
                reason = str(error)
            if reason:
                troubles[step.name] = reason
        if troubles != self.status.troubles:
            for name, reason in troubles.items():
                log.warning("a network is not as it should be", network=name, reason=reason)
        there = tuple(sorted(one.name for one in networks if one.name not in troubles))
        self.status = NetworksStatus(present=there, troubles=troubles)

    async def _carry_out(self, step: Step) -> str:
        match step:
            case Create():
                await self._docker.create(step.name, step.subnet, step.subnet6)
                log.info("network made", network=step.name, subnet=step.subnet)
            case Remove():
                await self._docker.remove(step.id)
                log.info("network removed", network=step.name)
            case Trouble():
                return step.reason
        return ""

    async def _adopt(self, found: DockerNetwork) -> None:
        """Docker had it before the journal: nobody's disk is for ever."""
        if found.driver == DRIVER and found.network and self.attachments is not None:
            network = KeptNetwork(id=found.id, network=found.network, with_ipv6=bool(found.subnet6))
            await self.attachments.adopt_network(network)

    def _trouble(self, error: ColdchainError) -> None:
        if str(error) != self.status.trouble:
            log.warning("networks are not compared", error=str(error))
        self.status = replace(self.status, trouble=str(error))
