"""switch: everything that is announced below a root of ZooKeeper, and how we say there who leaves."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

from coldchain.clients.zookeeper import NodeExists, NoNode, ZooKeeper, ZooKeeperError, ZooKeeperRefused
from coldchain.documents import dubbo_url
from coldchain.dubbo.discovery import SERVICES
from coldchain.dubbo.processes import Processes
from coldchain.model.dubbo import Announced, Announcement, DubboUrl
from coldchain.model.errors import Rejected, Unavailable

NO_INTERFACES = frozenset(("config", "mapping", "metadata"))
"""What Dubbo keeps beside the interfaces."""
PROVIDERS, CONFIGURATORS = "providers", "configurators"


class ZooKeeperDubboRegistry:
    """Implements ports.dubbo_registry.DubboRegistry. `controller_id` tells our configurators from those of operators
    and of other controllers."""

    def __init__(self, zookeeper: ZooKeeper, root: str, controller_id: str, *, services: str = SERVICES) -> None:
        self._zookeeper = zookeeper
        self._root = root.rstrip("/")
        self._controller_id = controller_id
        self._services = services
        self._following: _Following | None = None

    async def watch(self, on_trouble: Callable[[str], None]) -> AsyncGenerator[Announced, None]:
        following = _Following(self._zookeeper, self._root, self._services, self._controller_id, on_trouble)
        self._following = following
        try:
            known: Announced | None = None
            while True:
                await following.changed.wait()
                following.changed.clear()
                found = following.announced()
                if found is not None and found != known:
                    known = found
                    yield found
        finally:
            await following.close()

    async def switch_off(self, one: Announcement) -> None:
        path = self._path(one)
        await self._tell(self._zookeeper.create(path, parents=True), NodeExists)

    async def withdraw(self, one: Announcement) -> None:
        if one.process:
            for path in self._following.nodes_of(one) if self._following else ():
                await self._tell(self._zookeeper.delete(path), NoNode)
            return
        path = f"{self._root}/{one.export.interface}/{PROVIDERS}"
        await self._tell(self._withdraw(path, one), NoNode)

    async def _withdraw(self, path: str, one: Announcement) -> None:
        for name in await self._zookeeper.children(path):
            if dubbo_url.readable([name], dubbo_url.announcement)[0] == [one]:
                with contextlib.suppress(NoNode):
                    await self._zookeeper.delete(f"{path}/{name}")

    async def switch_on(self, one: Announcement) -> None:
        await self._tell(self._zookeeper.delete(self._path(one)), NoNode)

    def _path(self, one: Announcement) -> str:
        node = dubbo_url.render_node(dubbo_url.switched_off_url(one, self._controller_id))
        return f"{self._root}/{one.export.interface}/{CONFIGURATORS}/{node}"

    async def _tell(self, call: Awaitable[object], settled: type[ZooKeeperError]) -> None:
        try:
            await call
        except settled:
            return
        except ZooKeeperRefused as error:
            raise Rejected(str(error), todo="Let the controller change configurators there") from error
        except ZooKeeperError as error:
            raise Unavailable(str(error)) from error

    async def close(self) -> None:
        await self._zookeeper.close()


class _Following:
    """One task for the interfaces, and two for each: of its providers and of its configurators. And one for the
    processes that announce themselves as a whole."""

    def __init__(
        self,
        zookeeper: ZooKeeper,
        root: str,
        services: str,
        controller_id: str,
        on_trouble: Callable[[str], None],
    ) -> None:
        self._zookeeper = zookeeper
        self._root = root
        self._controller_id = controller_id
        self._on_trouble = on_trouble
        self._troubles: dict[str, str] = {}
        self._found: dict[tuple[str, str], tuple[Announcement, ...]] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._listed = False
        self.changed = asyncio.Event()
        self._processes = Processes(zookeeper, root, services, self.changed.set, self._noted)
        self._task = asyncio.create_task(self._interfaces())
        self._wholes = asyncio.create_task(self._processes.run())

    def announced(self) -> Announced | None:
        """None until all has been read once."""
        if not self._listed or self._found.keys() != self._tasks.keys() or not self._processes.listed:
            return None
        every = sorted(self._found.items())
        wholes = tuple(one for found in self._processes.announced().values() for one in found)
        return Announced(
            providers=(*(one for (_, kind), found in every if kind == PROVIDERS for one in found), *wholes),
            switched_off=tuple(one for (_, kind), found in every if kind == CONFIGURATORS for one in found),
        )

    def nodes_of(self, one: Announcement) -> tuple[str, ...]:
        """The nodes of the processes that announce it as a whole."""
        return tuple(path for path, found in self._processes.announced().items() if one in found)

    async def close(self) -> None:
        tasks = [self._task, self._wholes, *self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _interfaces(self) -> None:
        async with contextlib.aclosing(self._zookeeper.watch_children(self._root, self._noted(""))) as changes:
            async for names in changes:
                wanted = {
                    (name, kind) for name in set(names or ()) - NO_INTERFACES for kind in (PROVIDERS, CONFIGURATORS)
                }
                for key in self._tasks.keys() - wanted:
                    self._tasks.pop(key).cancel()
                    self._found.pop(key, None)
                for key in wanted - self._tasks.keys():
                    self._tasks[key] = asyncio.create_task(self._children(*key))
                self._listed = True
                self.changed.set()

    async def _children(self, interface: str, kind: str) -> None:
        path = f"{self._root}/{interface}/{kind}"
        async with contextlib.aclosing(self._zookeeper.watch_children(path, self._noted(path))) as changes:
            async for names in changes:
                found, _ = dubbo_url.readable(
                    names or (), self._own if kind == CONFIGURATORS else dubbo_url.announcement
                )
                self._found[interface, kind] = tuple(found)
                self.changed.set()

    def _own(self, url: DubboUrl) -> Announcement | None:
        return dubbo_url.switched_off(url, self._controller_id)

    def _noted(self, path: str) -> Callable[[str], None]:
        def note(words: str) -> None:
            before = bool(self._troubles)
            if words:
                self._troubles[path] = words
            else:
                self._troubles.pop(path, None)
            if before or words:
                self._on_trouble(next(iter(self._troubles.values()), ""))

        return note
