"""ZooKeeper for asyncio: a bridge over kazoo, whose client lives in threads; it knows nothing of ours."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

from kazoo import exceptions as words  # type: ignore[import-untyped]
from kazoo.client import KazooClient  # type: ignore[import-untyped]
from kazoo.protocol.states import KazooState  # type: ignore[import-untyped]
from kazoo.security import make_acl, make_digest_acl  # type: ignore[import-untyped]

SESSION_SECONDS = 10.0
CALL_SECONDS = 10.0
"""For an answer, also while the connection is made anew."""
RECONNECT_SECONDS_MAX = 1.0
"""Between two tries to connect; kazoo alone would wait up to an hour after a long silence."""
AGAIN_SECONDS = 1.0
"""Before something that was refused is asked for again by who watches it."""

T = TypeVar("T")
Trouble = Callable[[str], None]


class ZooKeeperError(Exception):
    """What was asked for was not done."""


class ZooKeeperUnavailable(ZooKeeperError):  # noqa: N818 -- the field's word
    """ZooKeeper does not answer, or the connection broke: whether it was done is not known."""


class ZooKeeperRefused(ZooKeeperError):  # noqa: N818
    """ZooKeeper answers that it may not be, as by its access control list."""


class NoNode(ZooKeeperError):  # noqa: N818
    """There is no such node."""


class NodeExists(ZooKeeperError):  # noqa: N818
    """There is such a node already."""


class NodeChanged(ZooKeeperError):  # noqa: N818
    """The node does not have the version that was expected."""


class Node(NamedTuple):
    """What a node says, and its version."""

    data: bytes
    version: int


class ZooKeeper:
    """One session, made anew when it expires. What was created as ephemeral is then put back, but for those that have a
    number, whose name would be another. `trouble`: why it is not connected; empty when it is. `credentials`: the
    session's number, 0 before the first, and its password."""

    def __init__(
        self,
        hosts: str,
        *,
        credential: str = "",
        guarded: bool = False,
        session_seconds: float = SESSION_SECONDS,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        """`hosts` as HOST:PORT,HOST:PORT. `credential`: NAME:PASSWORD, for the scheme `digest`. `guarded`: what is
        created may be changed only by who shows that, and read by all."""
        name, _, password = credential.partition(":")
        mine = [make_digest_acl(name, password, all=True), make_acl("world", "anyone", read=True)]
        self._client = KazooClient(
            hosts,
            timeout=session_seconds,
            auth_data=[("digest", credential)] if credential else None,
            default_acl=mine if credential and guarded else None,
            connection_retry={"max_tries": -1, "max_delay": RECONNECT_SECONDS_MAX},
        )
        self.hosts = hosts
        self._call_seconds = call_seconds
        self._client.add_listener(self._on_state)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reached = asyncio.Event()
        self._watching: set[asyncio.Event] = set()
        self._ephemerals: dict[str, bytes] = {}
        self.credentials = (0, b"")
        self._restoring: asyncio.Task[None] | None = None
        self.trouble = "it was never reached"

    async def close(self) -> None:
        """The session ends, and what is ephemeral with it."""
        if self._restoring is not None:
            self._restoring.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._restoring

        def stop() -> None:
            self._client.stop()
            self._client.close()

        await asyncio.to_thread(stop)

    async def get(self, path: str) -> Node:
        """Raises NoNode, and as all of these ZooKeeperUnavailable and ZooKeeperRefused."""
        data, about = await self._ask(path, lambda: self._client.get_async(path))
        return Node(data, about.version)

    async def children(self, path: str) -> tuple[str, ...]:
        """Their names, in order. Raises NoNode."""
        return tuple(sorted(await self._ask(path, lambda: self._client.get_children_async(path))))

    async def exists(self, path: str) -> bool:
        return bool(await self._ask(path, lambda: self._client.exists_async(path)))

    async def create(
        self, path: str, data: bytes = b"", *, ephemeral: bool = False, sequence: bool = False, parents: bool = False
    ) -> str:
        """The path, which has a number more with `sequence`. `parents`: those that are missing are made as well.
        Raises NodeExists, NoNode."""
        made = await self._ask(
            path,
            lambda: self._client.create_async(
                path, data, ephemeral=ephemeral, sequence=sequence, makepath=parents and path.count("/") > 1
            ),
        )
        if ephemeral and not sequence:
            self._ephemerals[path] = data
        return str(made)

    async def set(self, path: str, data: bytes, version: int = -1) -> int:
        """Its version now. Raises NoNode, and NodeChanged where it has another version than this one (-1: any)."""
        about = await self._ask(path, lambda: self._client.set_async(path, data, version))
        if path in self._ephemerals:
            self._ephemerals[path] = data
        return int(about.version)

    async def delete(self, path: str, version: int = -1) -> None:
        """Raises NoNode, NodeChanged."""
        self._ephemerals.pop(path, None)
        await self._ask(path, lambda: self._client.delete_async(path, version))

    def watch_children(
        self, path: str, on_trouble: Trouble = lambda words: None
    ) -> AsyncGenerator[tuple[str, ...] | None, None]:
        """The names of its children (None: there is no such node): now, and each time they change, for ever. Changes
        that follow on each other may come as one. While ZooKeeper does not answer nothing comes, and `on_trouble` is
        told why; when it does again, with no words, and what has changed meanwhile comes. To be closed by who takes
        it."""

        async def names(fire: Callable[[Any], None]) -> tuple[str, ...]:
            return tuple(sorted(await self._ask(path, lambda: self._client.get_children_async(path, watch=fire))))

        return self._watch(path, names, on_trouble)

    def watch_data(self, path: str, on_trouble: Trouble = lambda words: None) -> AsyncGenerator[bytes | None, None]:
        """What the node says, as `watch_children`."""

        async def data(fire: Callable[[Any], None]) -> bytes:
            return bytes((await self._ask(path, lambda: self._client.get_async(path, watch=fire)))[0])

        return self._watch(path, data, on_trouble)

    async def _watch(
        self, path: str, read: Callable[[Callable[[Any], None]], Awaitable[T]], on_trouble: Trouble
    ) -> AsyncGenerator[T | None, None]:
        changed = asyncio.Event()

        def fire(event: Any) -> None:
            """Also when the connection breaks, which takes the watch with it. The same function each time, so that it
            is kept once."""
            self._hand_over(changed.set)

        known: list[T | None] = []
        troubled = False
        self._watching.add(changed)
        try:
            while True:
                changed.clear()
                try:
                    found = await self._read_or_wait_for(path, read, fire)
                except ZooKeeperError as error:
                    troubled = True
                    on_trouble(str(error))
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(AGAIN_SECONDS):
                            await changed.wait()
                    continue
                if troubled:
                    troubled = False
                    on_trouble("")
                if known != [found]:
                    known = [found]
                    yield found
                await changed.wait()
        finally:
            self._watching.discard(changed)

    async def _read_or_wait_for(
        self, path: str, read: Callable[[Callable[[Any], None]], Awaitable[T]], fire: Callable[[Any], None]
    ) -> T | None:
        """A node that is not there has a watch of another kind, and may be made between the two questions."""
        while True:
            try:
                return await read(fire)
            except NoNode:
                if not await self._ask(path, lambda: self._client.exists_async(path, watch=fire)):
                    return None

    async def _ask(self, path: str, call: Callable[[], Any]) -> Any:
        self._start()
        assert self._loop is not None
        answer: asyncio.Future[Any] = self._loop.create_future()

        def answered(result: Any) -> None:
            self._hand_over(lambda: _settle(answer, result))

        try:
            async with asyncio.timeout(self._call_seconds):
                await self._reached.wait()  # what is asked before that kazoo refuses
                call().rawlink(answered)
                return await answer
        except TimeoutError:
            said = self.trouble or "no answer"
            raise ZooKeeperUnavailable(f"ZooKeeper at {self.hosts} gave no answer on {path}: {said}") from None
        except (words.KazooException, words.ZookeeperError, ValueError) as error:
            raise _own(error, path, self.hosts) from None

    def _start(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._client.start_async()

    # In kazoo's threads

    def _on_state(self, state: str) -> None:
        client_id = self._client.client_id if state == KazooState.CONNECTED else None
        self._hand_over(lambda: self._note(state, client_id or (0, b"")))

    def _hand_over(self, work: Callable[[], None]) -> None:
        # The loop may be closed at any moment: what comes after that is for nobody.
        with contextlib.suppress(RuntimeError):
            if self._loop is not None:
                self._loop.call_soon_threadsafe(work)

    # In the loop

    def _note(self, state: str, credentials: tuple[int, bytes]) -> None:
        if state != KazooState.CONNECTED:
            self.trouble = f"the connection is {state.lower()}"
            return
        self.trouble = ""
        self._reached.set()
        if credentials != self.credentials:
            expired, self.credentials = bool(self.credentials[0]), credentials
            if expired and self._ephemerals:
                before = self._restoring
                self._restoring = asyncio.ensure_future(self._restore(before))
        for changed in self._watching:
            changed.set()

    async def _restore(self, before: "asyncio.Task[None] | None") -> None:
        """Put back what went with the session before. What is there may be of that session still, and go with it."""
        if before is not None:
            before.cancel()
        for path in list(self._ephemerals):
            while path in self._ephemerals:
                try:
                    await self._put_back(path)
                    break
                except ZooKeeperError:
                    await asyncio.sleep(AGAIN_SECONDS)

    async def _put_back(self, path: str) -> None:
        about = await self._ask(path, lambda: self._client.exists_async(path))
        if about is not None and about.ephemeralOwner == self.credentials[0]:
            return
        if about is not None:
            with contextlib.suppress(NoNode):
                await self._ask(path, lambda: self._client.delete_async(path, about.version))
        data = self._ephemerals.get(path)
        if data is not None:
            await self._ask(path, lambda: self._client.create_async(path, data, ephemeral=True, makepath=True))


def _settle(answer: "asyncio.Future[Any]", result: Any) -> None:
    if answer.done():
        return
    if result.exception is None:
        answer.set_result(result.value)
    else:
        answer.set_exception(result.exception)


def _own(error: Exception, path: str, hosts: str) -> ZooKeeperError:
    what = f"{type(error).__name__.removesuffix('Error')}{f': {error}' if str(error) else ''}"
    if isinstance(error, words.NoNodeError):
        return NoNode(f"ZooKeeper at {hosts} has no node {path}")
    if isinstance(error, words.NodeExistsError):
        return NodeExists(f"ZooKeeper at {hosts} has node {path} already")
    if isinstance(error, words.BadVersionError):
        return NodeChanged(f"Node {path} of ZooKeeper at {hosts} was changed meanwhile")
    gone = (words.ConnectionLoss, words.ConnectionClosedError, words.SessionExpiredError, words.OperationTimeoutError)
    if isinstance(error, gone):
        return ZooKeeperUnavailable(f"ZooKeeper at {hosts} does not answer on {path}: {what}")
    return ZooKeeperRefused(f"ZooKeeper at {hosts} refuses {path}: {what}")
