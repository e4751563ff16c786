"""discovery: who provides an interface, as ZooKeeper tells it, followed by watches.

providers, configurators, routers, documents of rules → Directory → whoever calls
/services, mapping, metadata (Dubbo 2.7.5 and later)  ↗
"""

import asyncio
from collections.abc import Sequence

import structlog

from coldchain.clients.zookeeper import NodeExists, ZooKeeper, ZooKeeperError
from coldchain.decisions import dubbo as decide
from coldchain.documents import dubbo_url
from coldchain.dubbo.interface import AGAIN_SECONDS, Interface
from coldchain.model.dubbo import Consumer, Export, Provider

ROOT = "/dubbo"
SERVICES = "/services"
"""Where processes announce themselves as a whole, beside the root of their interfaces."""

log = structlog.get_logger(__name__)


class Directory:
    """Follows the interfaces that it was asked about, from then on. What was known stays while ZooKeeper is silent, and
    also when its session expires: nothing is emptied by that. A service whose providers have all left is empty only
    where ZooKeeper says so. `trouble`: why the answer may be old, or what could not be read; empty otherwise."""

    def __init__(self, zookeeper: ZooKeeper, consumer: Consumer, *, root: str = ROOT, services: str = SERVICES) -> None:
        """The client is its owner's to close."""
        self._zookeeper = zookeeper
        self._consumer = consumer
        self._root = root.rstrip("/")
        self._services = services
        self._followed: dict[str, Interface] = {}
        self._announced: dict[Export, asyncio.Task[None]] = {}
        self._changes = asyncio.Event()

    @property
    def trouble(self) -> str:
        return "; ".join(filter(None, (one.trouble for one in self._followed.values())))

    def providers(self, interface: str, group: str = "", version: str = "", *, method: str = "") -> Sequence[Provider]:
        """Whom a call may go to. An interface that is asked about for the first time has none yet: see `known`."""
        wanted = Export(interface=interface, group=group, version=version)
        followed = self._follow(interface)
        self._announce(wanted)
        found = decide.effective(followed.providers, followed.configurators, wanted, self._consumer)
        return decide.routed(found, followed.routers, self._consumer, method)

    async def known(self, interface: str) -> None:
        """Wait until ZooKeeper has told once who provides it."""
        await self._follow(interface).known.wait()

    async def changed(self) -> None:
        """Wait for the next change of anything that is followed."""
        changes = self._changes
        await changes.wait()

    async def close(self) -> None:
        for task in self._announced.values():
            task.cancel()
        await asyncio.gather(*self._announced.values(), return_exceptions=True)
        await asyncio.gather(*(one.close() for one in self._followed.values()))

    def _follow(self, interface: str) -> Interface:
        if interface not in self._followed:
            self._followed[interface] = Interface(
                self._zookeeper, interface, self._root, self._services, self._consumer.application, self._tell
            )
        return self._followed[interface]

    def _announce(self, wanted: Export) -> None:
        """So that operators see who calls. It is put back by the client when the session expires."""
        if wanted not in self._announced:
            self._announced[wanted] = asyncio.create_task(self._create(wanted))

    async def _create(self, wanted: Export) -> None:
        node = dubbo_url.render_node(dubbo_url.consumer_url(self._consumer, wanted))
        while True:
            try:
                await self._zookeeper.create(
                    f"{self._root}/{wanted.interface}/consumers/{node}", ephemeral=True, parents=True
                )
            except NodeExists:
                return
            except ZooKeeperError as error:
                log.warning("not announced as a consumer", interface=wanted.interface, error=str(error))
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            return

    def _tell(self) -> None:
        self._changes.set()
        self._changes = asyncio.Event()
