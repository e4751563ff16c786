"""keeper: writes what is to be kept, many at a time, and tells when it is."""

import asyncio
import contextlib
import math
from collections.abc import Callable

import structlog

from coldchain.model.errors import ColdchainError
from coldchain.ports.clock import Clock
from coldchain.ports.store import Change, Store

CHANGES_MAX = 100
"""Of one write: etcd takes up to 128."""
RETRY_SECONDS = 0.5
GATHER_SECONDS = 0.02
"""Between two writes that nobody waits for: each is a flush of the disk, and updates of tasks come in floods."""

log = structlog.get_logger(__name__)


class Keeper:
    """Of one key the latest is written; it is tried until it succeeds."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._changes: dict[str, bytes | None] = {}
        self._after: list[Callable[[], None]] = []
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._written_at = -math.inf

    def keep(self, key: str, value: bytes | None) -> None:
        self._changes[key] = value
        self._wake.set()

    def after(self, work: Callable[[], None]) -> None:
        """Once all that was given until now is written."""
        self._after.append(work)
        self._wake.set()

    async def kept(self) -> None:
        """Until all that was given until now is written."""
        done = asyncio.get_running_loop().create_future()
        self._hurry.set()
        self.after(lambda: None if done.done() else done.set_result(None))
        await done

    async def run(self) -> None:
        """For ever."""
        while True:
            await self._wake.wait()
            await self._gather()
            self._wake.clear()
            self._hurry.clear()
            changes, self._changes = self._changes, {}
            after, self._after = self._after, []
            try:
                await self._write(changes)
            except ColdchainError as error:
                log.warning("what engine mesos knows cannot be kept; tried again", error=str(error))
                self._changes = changes | self._changes
                self._after = after + self._after
                self._wake.set()
                await self._clock.sleep(error.retry_seconds or RETRY_SECONDS)
                continue
            self._written_at = self._clock.monotonic()
            for work in after:
                work()

    async def _gather(self) -> None:
        """Let more come together, unless it is long since the last write, or somebody waits."""
        left = self._written_at + GATHER_SECONDS - self._clock.monotonic()
        if left > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._hurry.wait()

    async def _write(self, changes: dict[str, bytes | None]) -> None:
        items = [Change(key=key, value=value) for key, value in changes.items()]
        for start in range(0, len(items), CHANGES_MAX):
            await self._store.write(items[start : start + CHANGES_MAX])
