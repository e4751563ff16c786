"""The leases of a store that only one process can have open: they live in it and end with it."""

import asyncio
from collections.abc import Callable, Sequence

from coldchain.ports.store import Change
from coldchain.store.rules import lease_expired

RETRY_SECONDS = 1.0


class Leases:
    """Lives on one event loop, whose time it goes by. `end` deletes the keys of a lease; it may fail, and is then tried
    again until it does not, because nobody else would."""

    def __init__(self, end: Callable[[str], asyncio.Future[int]]) -> None:
        self._end = end
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._retries: dict[str, asyncio.TimerHandle] = {}
        self._granted = 0
        self._closed = False

    def grant(self, seconds: float) -> "LocalLease":
        if seconds <= 0:
            raise ValueError(f"a lease of {seconds} s")
        self._granted += 1
        lease = LocalLease(self, str(self._granted), seconds)
        self._begin(lease)
        return lease

    def check(self, changes: Sequence[Change]) -> None:
        """Raises LeaseExpired where a change names a lease that is not there."""
        for change in changes:
            if change.lease is not None and change.lease not in self._timers:
                raise lease_expired(change.lease)

    def begin_anew(self, lease: "LocalLease") -> None:
        timer = self._timers.get(lease.id)
        if timer is None:
            raise lease_expired(lease.id)
        timer.cancel()
        self._begin(lease)

    async def revoke(self, lease_id: str) -> None:
        timer = self._timers.get(lease_id)
        if timer is not None:
            timer.cancel()
            await self._expire(lease_id)

    def close(self) -> None:
        self._closed = True
        for timer in [*self._timers.values(), *self._retries.values()]:
            timer.cancel()
        self._timers.clear()
        self._retries.clear()

    def _begin(self, lease: "LocalLease") -> None:
        loop = asyncio.get_running_loop()
        self._timers[lease.id] = loop.call_later(lease.seconds, self._expire, lease.id)

    def _expire(self, lease_id: str) -> asyncio.Future[int]:
        """From here on nothing can be attached to it any more, so that one deletion finds all."""
        self._timers.pop(lease_id, None)
        self._retries.pop(lease_id, None)
        ended = self._end(lease_id)
        ended.add_done_callback(lambda ended: self._ended(lease_id, ended))
        return ended

    def _ended(self, lease_id: str, ended: asyncio.Future[int]) -> None:
        failed = ended.cancelled() or ended.exception() is not None
        if failed and not self._closed:
            loop = asyncio.get_running_loop()
            self._retries[lease_id] = loop.call_later(RETRY_SECONDS, self._expire, lease_id)


class LocalLease:
    """Implements ports.store.Lease."""

    def __init__(self, leases: Leases, lease_id: str, seconds: float) -> None:
        self._leases = leases
        self.id = lease_id
        self.seconds = seconds

    async def keep_alive(self) -> float:
        self._leases.begin_anew(self)
        return self.seconds

    async def revoke(self) -> None:
        await self._leases.revoke(self.id)
