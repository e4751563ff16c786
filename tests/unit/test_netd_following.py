"""Who follows the store knows what is there, whatever was missed and however long it was silent."""

import asyncio

from coldchain.control.netd.following import RETRY_SECONDS, follow
from coldchain.model.errors import ColdchainError
from coldchain.ports.store import Change, Changed, Listing
from coldchain.store.memory import MemoryStore
from coldchain.testing.faulty_store import FaultyStore
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate


def test_what_is_followed_is_known_after_silence_and_after_more_changes_than_the_store_keeps() -> None:
    loop = SimulatedLoop(1)
    clock = SimulatedClock(loop)
    known: dict[str, bytes] = {}
    wholes: list[int] = []
    troubles: list[str] = []

    def whole(listing: Listing) -> None:
        known.clear()
        known.update({entry.key: entry.value for entry in listing.entries})
        wholes.append(len(known))

    def change(one: Changed) -> None:
        if one.value is None:
            known.pop(one.key)
        else:
            known[one.key] = one.value

    def trouble(error: ColdchainError) -> None:
        troubles.append(str(error))

    async def program() -> None:
        store = FaultyStore(MemoryStore(kept_changes=3))
        store.silent = True
        following = asyncio.ensure_future(follow(store, "below/", clock, whole=whole, change=change, trouble=trouble))
        await clock.sleep(2.5 * RETRY_SECONDS)
        assert (known, troubles) == ({}, ["the store does not answer"] * 3)
        store.silent = False
        await store.write([Change(key="below/1", value=b"one"), Change(key="beside", value=b"other")])
        await clock.sleep(RETRY_SECONDS)
        assert known == {"below/1": b"one"}
        await store.write([Change(key="below/1", value=None), Change(key="below/2", value=b"two")])
        await clock.sleep(0.1)
        assert known == {"below/2": b"two"}
        assert wholes == [1]
        for number in range(10):  # without a moment for who follows
            await store.write([Change(key=f"below/{number}", value=b"more")])
        await clock.sleep(0.1)
        assert set(known.values()) == {b"more"}
        assert (len(known), wholes) == (10, [1, 10])
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    simulate(program(), loop)
