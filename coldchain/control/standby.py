"""standby: what a controller has while another one leads: the records, as the leader writes them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import NoReturn

import structlog

from coldchain.control.state import State
from coldchain.documents import keys
from coldchain.model.app import App
from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.model.offer import Offer
from coldchain.model.task import Execution, TaskSpec, TaskStatistics, TaskStatus
from coldchain.ports.clock import Clock
from coldchain.ports.engine import Progress
from coldchain.ports.session import Session, TerminalSize
from coldchain.ports.store import Change, Changed, Compacted, Entry, Guard, Lease, Listing, Store

RETRY_SECONDS = 0.2
SOUND_SECONDS_MAX = 2.0
"""How long a question waits for the store; then it is answered by what is known, which says how old it is."""
KEY_SECONDS = 60.0
"""For so long its key stays after the last question, or half as long."""

log = structlog.get_logger(__name__)


class Follower:
    """Keeps a state as the store is. `name`: of the candidate, which has a key of its own. `on_down` is called when a
    leader has stopped everything, and all controllers shall end."""

    def __init__(self, store: Store, state: State, clock: Clock, name: str) -> None:
        self._store = store
        self._state = state
        self._clock = clock
        self._key = keys.STANDBY + name
        self._changed = asyncio.Event()
        self._sounding: asyncio.Task[None] | None = None
        self._known_at: float | None = None
        self._lease: Lease | None = None
        self._lease_until = 0.0
        self.on_down: Callable[[], None] = lambda: None

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                asked_at = self._clock.monotonic()
                await self._state.load()
                self._known_at = asked_at
                self._wake()
                if await self._store.get(keys.CONTROLLERS_DOWN) is not None:
                    self.on_down()
                async with aclosing(self._store.watch("", self._state.revision)) as changes:  # type: ignore[type-var]
                    async for changed in changes:
                        self._state.follow(changed)
                        if changed.key == keys.CONTROLLERS_DOWN and changed.value is not None:
                            self.on_down()
                        self._wake()
            except Compacted:
                continue
            except ColdchainError as error:
                log.warning("the store is not followed", error=str(error))
                await self._clock.sleep(RETRY_SECONDS)

    @property
    def knows(self) -> bool:
        """Whether the records were ever read."""
        return self._known_at is not None

    async def catch_up(self) -> float:
        """Wait until all is known that was written before this was asked: what a caller wrote he then reads. Returns
        how many seconds old the state may be: 0, or more when the store did not answer. Raises Unavailable when
        nothing was ever known."""
        asked_at = self._clock.monotonic()
        while (self._known_at is None or self._known_at < asked_at) and self._left(asked_at) > 0:
            if self._sounding is None:
                self._sounding = asyncio.create_task(self._sound())
                self._sounding.add_done_callback(self._sounded)
            await asyncio.wait({self._sounding}, timeout=self._left(asked_at))
        if self._known_at is None:
            raise Unavailable("This controller has not read the store yet", todo="Ask again soon.")
        return max(0.0, asked_at - self._known_at)

    def _left(self, asked_at: float) -> float:
        return asked_at + SOUND_SECONDS_MAX - self._clock.monotonic()

    async def _sound(self) -> None:
        """Write, and wait until that is heard: all that was written before is heard by then."""
        asked_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(SOUND_SECONDS_MAX):
                lease = await self._leased()
                revision = await self._store.write([Change(key=self._key, value=b"", lease=lease)])
                while self._state.revision < revision:
                    await self._changed.wait()
        except (ColdchainError, TimeoutError) as error:
            self._lease = None
            log.warning("the store is not heard", error=str(error))
            await self._clock.sleep(RETRY_SECONDS)
        else:
            self._known_at = max(asked_at, self._known_at or 0.0)

    async def _leased(self) -> str:
        """The key ends some time after the last question: that of a controller that is gone stays in no store."""
        now = self._clock.monotonic()
        if self._lease is None or now >= self._lease_until - SOUND_SECONDS_MAX:
            self._lease = await self._store.lease(KEY_SECONDS)
            self._lease_until = now + self._lease.seconds / 2
        return self._lease.id

    def _sounded(self, sounding: asyncio.Task[None]) -> None:
        self._sounding = None

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _refuse() -> NoReturn:
    raise Unavailable("This controller does not lead: it changes nothing", todo="Ask again; the leader answers.")


class ReadStore:
    """Implements ports.store.Store for who must not write."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def get(self, key: str) -> Entry | None:
        return await self._store.get(key)

    async def list(self, prefix: str) -> Listing:
        return await self._store.list(prefix)

    async def write(self, changes: Sequence[Change], guards: Sequence[Guard] = ()) -> int:
        _refuse()

    def watch(self, prefix: str, after: int) -> AsyncIterator[Changed]:
        return self._store.watch(prefix, after)

    async def lease(self, seconds: float) -> Lease:
        _refuse()

    async def close(self) -> None:
        """It is not this one's alone."""


class NoEngine:
    """Implements ports.engine.Engine for who must not touch one."""

    target = "cluster"

    async def offers(self) -> Sequence[Offer]:
        _refuse()

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None:
        _refuse()

    async def launch(self, spec: TaskSpec) -> None:
        _refuse()

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        _refuse()

    async def forget(self, task_id: str) -> None:
        _refuse()

    async def tasks(self) -> Sequence[TaskStatus]:
        _refuse()

    def updates(self) -> AsyncGenerator[TaskStatus, None]:
        _refuse()

    def logs(self, task_id: str, *, follow: bool, tail: int | None, since: float | None = None) -> AsyncIterator[bytes]:
        _refuse()

    async def execute(self, task_id: str, command: str, timeout_seconds: float) -> Execution:
        _refuse()

    async def network_namespace(self, task_id: str) -> str | None:
        _refuse()

    async def statistics(self, task_id: str) -> TaskStatistics:
        _refuse()

    async def open_session(self, task_id: str, command: Sequence[str], size: TerminalSize | None) -> Session:
        _refuse()

    async def close(self) -> None:
        """There is none."""
