"""What is to be kept is written many at a time, until it is; what waits for that comes afterwards."""

import asyncio
from collections.abc import Sequence

import pytest

from coldchain.engines.mesos.keeper import CHANGES_MAX, Keeper
from coldchain.model.errors import Unavailable
from coldchain.ports.store import Change
from coldchain.store.memory import MemoryStore
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate


class FailingStore(MemoryStore):
    """Does not answer the first few times."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures
        self.sizes: list[int] = []

    async def write(self, changes: Sequence[Change]) -> int:
        await asyncio.sleep(0.01)
        if self.failures:
            self.failures -= 1
            raise Unavailable("away")
        self.sizes.append(len(changes))
        return await super().write(changes)


async def value(store: MemoryStore, key: str) -> bytes | None:
    entry = await store.get(key)
    return entry.value if entry else None


def test_what_is_acknowledged_afterwards_is_stored_however_often_that_fails() -> None:
    loop = SimulatedLoop(1)

    async def program() -> None:
        store = FailingStore(2)
        keeper = Keeper(store, SimulatedClock(loop))
        running = asyncio.create_task(keeper.run())
        for number in range(CHANGES_MAX + 1):
            keeper.keep(f"k{number:03}", b"1")
        acknowledged: list[int] = []
        keeper.after(lambda: acknowledged.append(store.failures))
        await asyncio.sleep(0.005)  # the first try is on its way
        assert acknowledged == []
        keeper.keep("k000", b"2")
        await keeper.kept()
        assert acknowledged == [0]
        assert await value(store, "k000") == b"2"
        assert await value(store, f"k{CHANGES_MAX:03}") == b"1"
        assert max(store.sizes) <= CHANGES_MAX
        keeper.keep("k000", None)
        await keeper.kept()
        assert await value(store, "k000") is None
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    simulate(program(), loop)


def test_what_nobody_waits_for_is_written_together_and_what_is_waited_for_at_once() -> None:
    loop = SimulatedLoop(1)

    async def program() -> None:
        store, clock = FailingStore(0), SimulatedClock(loop)
        keeper = Keeper(store, clock)
        running = asyncio.create_task(keeper.run())
        keeper.keep("first", b"1")
        for number in range(10):
            await asyncio.sleep(0.002)
            keeper.keep(f"k{number}", b"1")
        await asyncio.sleep(0.05)
        assert store.sizes == [1, 10]
        keeper.keep("last", b"1")
        await asyncio.sleep(0.011)  # it is written, as nothing was for a while
        keeper.keep("urgent", b"1")
        began = clock.monotonic()
        await keeper.kept()
        assert clock.monotonic() - began == pytest.approx(0.01)  # what the store takes
        assert store.sizes == [1, 10, 1, 1]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    simulate(program(), loop)
