"""Leases of a store that one process has open: they end by time; their keys go even if the store fails meanwhile."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from coldchain.model.errors import Unavailable
from coldchain.ports.store import Change, LeaseExpired
from coldchain.store.leases import Leases
from coldchain.store.memory import MemoryStore
from coldchain.testing.simulated_loop import SimulatedLoop, simulate


def simulated(program: Coroutine[Any, Any, None]) -> None:
    simulate(program, SimulatedLoop(1))


class Ends:
    """Notes when each lease ended; the first `failures` times it fails."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.asked: list[tuple[str, float]] = []

    def __call__(self, lease_id: str) -> asyncio.Future[int]:
        loop = asyncio.get_running_loop()
        self.asked.append((lease_id, loop.time()))
        done: asyncio.Future[int] = loop.create_future()
        if len(self.asked) <= self.failures:
            done.set_exception(Unavailable("the disk is full"))
        else:
            done.set_result(1)
        return done


def test_the_keys_of_an_ended_lease_are_deleted_as_soon_as_the_store_can() -> None:
    async def program() -> None:
        ends = Ends(failures=2)
        leases = Leases(ends)
        lease = leases.grant(5)
        await asyncio.sleep(60)
        assert ends.asked == [(lease.id, 5.0), (lease.id, 6.0), (lease.id, 7.0)]
        with pytest.raises(LeaseExpired):
            await lease.keep_alive()

    simulated(program())


def test_a_revocation_that_fails_says_so_and_is_made_good() -> None:
    async def program() -> None:
        ends = Ends(failures=1)
        leases = Leases(ends)
        lease = leases.grant(5)
        with pytest.raises(Unavailable):
            await lease.revoke()
        with pytest.raises(LeaseExpired):
            leases.check([Change(key="k", value=b"", lease=lease.id)])
        await asyncio.sleep(60)
        assert ends.asked == [(lease.id, 0.0), (lease.id, 1.0)]

    simulated(program())


def test_each_time_it_is_kept_alive_a_lease_begins_anew() -> None:
    async def program() -> None:
        store = MemoryStore()
        lease = await store.lease(10)
        await store.write([Change(key="leader", value=b"me", lease=lease.id)])
        for _ in range(5):
            await asyncio.sleep(9.9)
            assert await lease.keep_alive() == 10
        await asyncio.sleep(9.9)
        assert await store.get("leader") is not None
        await asyncio.sleep(0.2)
        assert await store.get("leader") is None

    simulated(program())


def test_closing_the_store_ends_the_time_of_its_leases() -> None:
    async def program() -> None:
        ends = Ends(failures=0)
        leases = Leases(ends)
        leases.grant(5)
        leases.close()
        await asyncio.sleep(60)
        assert ends.asked == []

    simulated(program())
