"""The cluster of Mesos of the simulation, where it is not plain that it does as real Mesos does."""

import asyncio

import pytest

from coldchain.testing.simulated_loop import simulate
from coldchain.testing.simulation.mesos.schedule import generate
from coldchain.testing.simulation.mesos.world import MesosLoop, MesosWorld
from coldchain.testing.simulation.schedule import Injection

SLOW = Injection(kind="agent slow", at=0.0, amount=8.0)
MESSAGES = 20


@pytest.mark.parametrize("back", [True, False], ids=["to the agent", "to the master"])
def test_what_was_on_its_way_when_a_master_died_is_not_heard_under_the_next(*, back: bool) -> None:
    """An agent may hear the old one for as long as it has not registered with the next."""
    loop = MesosLoop(0)
    heard: dict[int, float] = {}

    async def life() -> float:
        world = MesosWorld(loop, generate(0))
        agent = world.machines[0].agent
        agent.start()
        await _registered(world)
        world.inject(SLOW)
        for number in range(MESSAGES):
            world.along(agent, lambda number=number: heard.update({number: loop.time()}), back=back)
        world.end(SLOW)
        world.masters.fail()
        world.masters.lead()
        again_at = await _registered(world)
        world.along(agent, lambda: heard.update({MESSAGES: loop.time()}), back=back)
        await asyncio.sleep(SLOW.amount)
        return again_at

    again_at = simulate(life(), loop)
    assert heard.pop(MESSAGES) > again_at
    assert len(heard) < MESSAGES
    assert all(at < again_at for at in heard.values())


async def _registered(world: MesosWorld) -> float:
    """When its first agent is, with whoever leads."""
    while not world.machines[0].agent.registered:
        await asyncio.sleep(0.01)
    return world.clock.monotonic()
