"""How far a watcher of a store in this process may fall behind."""

import asyncio
from contextlib import aclosing

import pytest

from coldchain.ports.store import Change, Compacted
from coldchain.store.memory import MemoryStore
from coldchain.testing.simulated_loop import SimulatedLoop, simulate


def test_a_watcher_that_falls_behind_what_is_kept_is_told_so() -> None:
    async def program() -> None:
        store = MemoryStore(kept_changes=10)
        slow = store.watch("", 0)
        await store.write([Change(key="first", value=b"v")])
        assert (await anext(slow)).key == "first"
        for number in range(50):
            await store.write([Change(key=f"k/{number}", value=b"v")])
        with pytest.raises(Compacted, match="are not known here"):
            await anext(slow)
        recent = (await store.list("")).revision - 10
        async with asyncio.timeout(1), aclosing(store.watch("", recent)) as changes:  # type: ignore[type-var]
            assert [(await anext(changes)).key for _ in range(10)] == [f"k/{number}" for number in range(40, 50)]

    simulate(program(), SimulatedLoop(1))
