"""nodes: follows what each child of a node of ZooKeeper says."""

import asyncio
import contextlib
from collections.abc import Callable

from coldchain.clients.zookeeper import Trouble, ZooKeeper


class Nodes:
    """`said`: by name, of those that have been read. `run` follows them until it is cancelled."""

    def __init__(
        self,
        zookeeper: ZooKeeper,
        path: str,
        changed: Callable[[], None],
        on_trouble: Trouble,
        wanted: Callable[[str], bool] = lambda name: True,
    ) -> None:
        self._zookeeper = zookeeper
        self._path = path
        self._changed = changed
        self._on_trouble = on_trouble
        self._wanted = wanted
        self.said: dict[str, bytes] = {}
        self.listed = asyncio.Event()
        """Set when all that were there at first have been read."""

    async def run(self) -> None:
        following: dict[str, asyncio.Task[None]] = {}
        try:
            async with contextlib.aclosing(self._zookeeper.watch_children(self._path, self._on_trouble)) as changes:
                async for names in changes:
                    wanted = {name for name in names or () if self._wanted(name)}
                    for name in following.keys() - wanted:
                        following.pop(name).cancel()
                        self.said.pop(name, None)
                    for name in wanted - following.keys():
                        following[name] = asyncio.create_task(self._follow(name, following))
                    self._tell(following)
        finally:
            for task in following.values():
                task.cancel()
            await asyncio.gather(*following.values(), return_exceptions=True)

    async def _follow(self, name: str, following: dict[str, asyncio.Task[None]]) -> None:
        path = f"{self._path}/{name}"
        async with contextlib.aclosing(self._zookeeper.watch_data(path, self._on_trouble)) as changes:
            async for data in changes:
                if data is None:
                    self.said.pop(name, None)
                else:
                    self.said[name] = data
                self._tell(following)

    def _tell(self, following: dict[str, asyncio.Task[None]]) -> None:
        if following.keys() <= self.said.keys():
            self.listed.set()
        self._changed()
