"""embedded: the registry put together: content, checks, HTTP and DNS. It needs a store, a prober and a clock."""

import uuid

from coldchain.model.catalog import CatalogNode
from coldchain.ports.clock import Clock
from coldchain.ports.prober import Prober
from coldchain.ports.store import Store
from coldchain.registry.server.checks import CheckRunner
from coldchain.registry.server.content import Content
from coldchain.registry.server.dns_server import DnsServer
from coldchain.registry.server.server import RegistryServer

Address = tuple[str, int]
"""Where to listen: a host and a port, 0 for any free one."""


class EmbeddedRegistry:
    """`start` reads what was registered and listens; `run` goes on until cancelled; `stop` listens no more. What is
    registered outlives it, in the store."""

    def __init__(
        self, store: Store, prober: Prober, clock: Clock, node: CatalogNode, http: Address, dns: Address
    ) -> None:
        self.content = Content(store, clock, node)
        self.checks = CheckRunner(self.content, prober, clock)
        self.server = RegistryServer(self.content, *http)
        self.dns = DnsServer(self.content, *dns)

    async def start(self) -> None:
        """Raises ColdchainError where it cannot listen, Unavailable when the store does not answer."""
        await self.content.load()
        await self.server.start()
        try:
            await self.dns.start()
        except BaseException:
            await self.server.stop()
            raise
        self.checks.start()

    async def run(self) -> None:
        """The loop of the checks, until cancelled."""
        try:
            await self.checks.run()
        finally:
            await self.checks.stop()

    async def stop(self) -> None:
        """Listen no more."""
        await self.dns.stop()
        await self.server.stop()
        await self.checks.stop()


def local_node(name: str, controller_id: str, listening: str) -> CatalogNode:
    """The node of this machine; its id is made of the controller's, so that it stays the same. Its address is where it
    listens, or where it listens everywhere, loopback: who registers from elsewhere says his own address."""
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listening, listening)  # noqa: S104
    return CatalogNode(id=str(uuid.uuid5(uuid.NAMESPACE_OID, controller_id)), name=name, address=address)
