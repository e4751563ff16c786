"""processes: what processes announce as a whole (Dubbo 2.7.5 and later), of all applications below one node."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from coldchain.clients.zookeeper import NoNode, Trouble, ZooKeeper, ZooKeeperError
from coldchain.decisions.dubbo_switch import as_whole
from coldchain.documents import dubbo_instances
from coldchain.dubbo.nodes import Nodes
from coldchain.model.dubbo import Announcement, Process, Provided

AGAIN_SECONDS = 2.0


class Processes:
    """`run` follows them until it is cancelled. What their metadata say is read once for each revision; until it has
    been, and where only the process itself has it, a process announces its application and nothing more."""

    def __init__(
        self,
        zookeeper: ZooKeeper,
        root: str,
        services: str,
        changed: Callable[[], None],
        noted: Callable[[str], Trouble],
    ) -> None:
        self._zookeeper = zookeeper
        self._root = root
        self._services = services
        self._changed = changed
        self._noted = noted
        self._applications: dict[str, Nodes] = {}
        self._metadata: dict[tuple[str, str], tuple[Provided, ...]] = {}
        self._listed = False
        self._woken = asyncio.Event()

    @property
    def listed(self) -> bool:
        """Whether all that were there at first have been read."""
        return self._listed and all(nodes.listed.is_set() for nodes in self._applications.values())

    def announced(self) -> dict[str, tuple[Announcement, ...]]:
        """By the path of its node, what each process announces."""
        return {
            path: as_whole(process, self._metadata.get((process.application, process.revision)))
            for path, process in self._processes()
        }

    def _processes(self) -> Iterator[tuple[str, Process]]:
        for application, nodes in sorted(self._applications.items()):
            for name, data in sorted(nodes.said.items()):
                # What cannot be read is of somebody else, whom we neither wait for nor send away.
                with contextlib.suppress(ValueError):
                    if (process := dubbo_instances.process(data)) is not None:
                        yield f"{self._services}/{application}/{name}", process

    async def run(self) -> None:
        following: dict[str, asyncio.Task[None]] = {}
        reading = asyncio.create_task(self._read())
        try:
            noted = self._noted(self._services)
            async with contextlib.aclosing(self._zookeeper.watch_children(self._services, noted)) as changes:
                async for names in changes:
                    wanted = set(names or ())
                    for name in following.keys() - wanted:
                        following.pop(name).cancel()
                        del self._applications[name]
                    for name in wanted - following.keys():
                        path = f"{self._services}/{name}"
                        nodes = Nodes(self._zookeeper, path, self._woken.set, self._noted(path))
                        self._applications[name] = nodes
                        following[name] = asyncio.create_task(nodes.run())
                    self._listed = True
                    self._woken.set()
        finally:
            for task in (reading, *following.values()):
                task.cancel()
            await asyncio.gather(reading, *following.values(), return_exceptions=True)

    async def _read(self) -> None:
        """The metadata of what came, and of what was missing again after a while."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            whole = await self._read_metadata()
            self._changed()
            if not whole:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN_SECONDS):
                        await self._woken.wait()
                self._woken.set()

    async def _read_metadata(self) -> bool:
        known = {(process.application, process.revision) for _, process in self._processes()}
        self._metadata = {key: provided for key, provided in self._metadata.items() if key in known}
        whole = True
        for application, revision in sorted(known - self._metadata.keys()):
            if not revision:
                continue
            try:
                node = await self._zookeeper.get(f"{self._root}/metadata/{application}/{revision}")
                self._metadata[application, revision] = dubbo_instances.metadata(node.data)
            except (NoNode, ZooKeeperError, ValueError):
                whole = False
        return whole
