"""Which Mesos master leads, as ZooKeeper tells it."""

import asyncio
import contextlib
import json

from coldchain.clients.host_port import host_port
from coldchain.clients.zookeeper import (
    AGAIN_SECONDS,
    SESSION_SECONDS,
    NoNode,
    ZooKeeper,
    ZooKeeperError,
    ZooKeeperUnavailable,
)
from coldchain.clients.zookeeper_address import ZooKeeperAddress

MASTER_PREFIX = "json.info_"
"""Of the node of each master that is a candidate; the one with the lowest number leads."""


class LeadingMaster:
    """Follows which Mesos master leads. `leader` waits until one is known; while ZooKeeper is silent it stays the one
    that was known last."""

    def __init__(
        self, address: ZooKeeperAddress, *, session_seconds: float = SESSION_SECONDS, by_name: bool = False
    ) -> None:
        """`by_name`: masters are told by their host names, which certificates are of, instead of by their addresses."""
        self._by_name = by_name
        self._path = address.path
        self._zookeeper = ZooKeeper(address.hosts, credential=address.credential, session_seconds=session_seconds)
        self._following: asyncio.Task[None] | None = None
        self._leader = ""
        self._known = asyncio.Event()
        self._trouble = ""

    async def leader(self, patience_seconds: float = 10.0) -> str:
        """HOST:PORT. Raises ZooKeeperUnavailable."""
        if self._following is None:
            self._following = asyncio.create_task(self._follow())
        try:
            async with asyncio.timeout(patience_seconds):
                while not self._leader:
                    await self._known.wait()
        except TimeoutError:
            trouble = self._zookeeper.trouble or self._trouble or "it does not answer"
            raise ZooKeeperUnavailable(f"ZooKeeper names no leading master below {self._path}: {trouble}") from None
        return self._leader

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
        await self._zookeeper.close()

    async def _follow(self) -> None:
        async with contextlib.aclosing(self._zookeeper.watch_children(self._path, self._note_trouble)) as changes:
            async for names in changes:
                candidates = sorted(name for name in names or () if name.startswith(MASTER_PREFIX))
                if candidates:
                    await self._look(f"{self._path}/{candidates[0]}")
                else:
                    self._note("")
                    self._note_trouble("there is no such node" if names is None else "no master is a candidate")

    async def _look(self, node: str) -> None:
        """What the first candidate says; asked until there is an answer, or it has gone, which its parent tells."""
        while True:
            try:
                self._note(_address((await self._zookeeper.get(node)).data, by_name=self._by_name))
                return
            except NoNode:
                return
            except (ValueError, KeyError) as error:
                self._note_trouble(str(error) or type(error).__name__)
                return
            except ZooKeeperError as error:
                self._note_trouble(str(error))
                await asyncio.sleep(AGAIN_SECONDS)

    def _note(self, address: str) -> None:
        self._leader = address
        if address:
            self._known.set()
        else:
            self._known.clear()

    def _note_trouble(self, words: str) -> None:
        self._trouble = words


def _address(data: bytes, *, by_name: bool) -> str:
    """Of a master's own description (MasterInfo)."""
    said = json.loads(data)
    address = said.get("address", {})
    name = address.get("hostname") or said.get("hostname")
    host = (name if by_name else None) or address.get("ip") or name or said["hostname"]
    port = address.get("port") or said["port"]
    return host_port(host, port)
