"""A small asyncio bridge over kazoo, whose client lives in threads; it knows nothing of ours."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

from kazoo.client import KazooClient  # type: ignore[import-untyped]
from kazoo.exceptions import KazooException, NoNodeError  # type: ignore[import-untyped]
from kazoo.handlers.threading import KazooTimeoutError  # type: ignore[import-untyped]
from kazoo.protocol.states import KazooState  # type: ignore[import-untyped]

from coldchain.clients.zookeeper_address import ZooKeeperAddress

SESSION_SECONDS = 10.0
MASTER_PREFIX = "json.info_"
"""Of the node of each master that is a candidate; the one with the lowest number leads."""
RECONNECT_SECONDS_MAX = 1.0
"""Between two tries to connect; kazoo alone would wait up to an hour after a long silence."""


class ZooKeeperUnavailable(Exception):  # noqa: N818 -- the field's word
    """ZooKeeper does not answer, or names no leader."""


class LeadingMaster:
    """Follows which Mesos master leads. `leader` waits until one is known; while ZooKeeper is silent it stays the one
    that was known last."""

    def __init__(
        self, address: ZooKeeperAddress, *, session_seconds: float = SESSION_SECONDS, by_name: bool = False
    ) -> None:
        """`by_name`: masters are told by their host names, which certificates are of, instead of by their addresses."""
        self._by_name = by_name
        self._path = address.path
        credentials = [("digest", address.credential)] if address.credential else None
        retry = {"max_tries": -1, "max_delay": RECONNECT_SECONDS_MAX}
        self._client = KazooClient(
            address.hosts, timeout=session_seconds, auth_data=credentials, connection_retry=retry
        )
        self._client.add_listener(self._on_state)
        self._looking = threading.Lock()
        """Looks come from several threads: what an earlier one has found must not be told after that of a later one."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leader = ""
        self._changed: asyncio.Event | None = None
        self._trouble = "it was never reached"

    async def leader(self, patience_seconds: float = 10.0) -> str:
        """HOST:PORT. Raises ZooKeeperUnavailable."""
        if self._loop is None:
            self._loop, self._changed = asyncio.get_running_loop(), asyncio.Event()
            self._client.start_async()
        assert self._changed is not None
        try:
            async with asyncio.timeout(patience_seconds):
                while not self._leader:
                    await self._changed.wait()
        except TimeoutError:
            raise ZooKeeperUnavailable(
                f"ZooKeeper names no leading master below {self._path}: {self._trouble}"
            ) from None
        return self._leader

    async def close(self) -> None:
        def stop() -> None:
            self._client.stop()
            self._client.close()

        await asyncio.to_thread(stop)

    # In kazoo's threads

    def _on_state(self, state: str) -> None:
        if state == KazooState.CONNECTED:
            self._client.handler.spawn(self._look)
        else:
            self._hand_over(lambda: self._note_trouble(f"the connection is {state.lower()}"))

    def _look(self, event: Any = None) -> None:
        """Who leads now, and a watch for the next change. A session that was lost leaves the watch with it: the new one
        comes by here."""
        with self._looking:
            while self._client.state == KazooState.CONNECTED and not self._looked():
                pass

    def _looked(self) -> bool:
        """False when what it saw has changed meanwhile, and no watch would tell."""
        try:
            names = self._client.get_children(self._path, watch=self._look)
            candidates = sorted(name for name in names if name.startswith(MASTER_PREFIX))
            found = self._client.get(f"{self._path}/{candidates[0]}")[0] if candidates else b""
            address = _address(found, by_name=self._by_name) if found else ""
        except NoNodeError:
            return self._waits_for_path()
        except (KazooException, KazooTimeoutError, ValueError, KeyError) as error:
            words = str(error) or type(error).__name__
            self._hand_over(lambda: self._note_trouble(words))
            return True
        self._hand_over(lambda: self._note(address))
        return True

    def _waits_for_path(self) -> bool:
        """False where it need not wait. The first master makes the path. Where it is there by now (it was made between
        the two questions, or only the leader's node went) this watch tells of itself alone, not of its children."""
        try:
            there = self._client.exists(self._path, watch=self._look)
        except (KazooException, KazooTimeoutError):
            return True  # the next connection looks again
        if not there:
            self._hand_over(lambda: self._note_trouble("there is no such node"))
        return not there

    def _hand_over(self, work: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work)

    # In the loop

    def _note(self, address: str) -> None:
        if not address:
            self._trouble = "no master is a candidate"
        self._leader = address
        if self._changed is not None and address:
            self._changed.set()
        elif self._changed is not None:
            self._changed.clear()

    def _note_trouble(self, words: str) -> None:
        self._trouble = words


def _address(data: bytes, *, by_name: bool) -> str:
    """Of a master's own description (MasterInfo)."""
    said = json.loads(data)
    address = said.get("address", {})
    name = address.get("hostname") or said.get("hostname")
    host = (name if by_name else None) or address.get("ip") or name or said["hostname"]
    port = address.get("port") or said["port"]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
