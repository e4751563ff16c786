"""What a standby leaves in the store."""

import asyncio

from coldchain.control.standby import KEY_SECONDS, Follower
from coldchain.control.state import State
from coldchain.documents import keys
from coldchain.store.memory import MemoryStore
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate


def test_its_key_ends_some_time_after_the_last_question() -> None:
    loop = SimulatedLoop(0)

    async def program() -> None:
        store, clock = MemoryStore(), SimulatedClock(loop)
        follower = Follower(store, State(store), clock, "one")
        following = asyncio.create_task(follower.run())
        for _ in range(10):
            await clock.sleep(KEY_SECONDS / 4)
            assert await follower.catch_up() == 0.0
            assert [one.key for one in (await store.list(keys.STANDBY)).entries] == [keys.STANDBY + "one"]
        await clock.sleep(KEY_SECONDS + 1.0)
        assert not (await store.list(keys.STANDBY)).entries
        assert await follower.catch_up() == 0.0
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await store.close()

    simulate(program(), loop)
