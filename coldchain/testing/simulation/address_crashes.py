"""address crashes: a few containers start and stop on a node, and netd is killed at one step of all that it does:
before or after anything reaches its disk or the store. The store fails nobody here, and what is heard is true."""

import asyncio
from contextlib import suppress
from typing import NamedTuple

import structlog.testing

from coldchain.model.errors import ColdchainError
from coldchain.testing.freezing_loop import FreezingLoop
from coldchain.testing.simulated_loop import simulate
from coldchain.testing.simulation.addresses import POOL, WANTED, World

COMPARED_SECONDS = 60.0
"""By then what nobody has was given back, twice looked at."""


class Crash(NamedTuple):
    """What came of it. `steps`: of the node that was killed, in all."""

    violations: tuple[str, ...]
    steps: int


async def _containers(world: World) -> None:
    """More than a reserve, one by name, so that blocks are taken, let go, and taken again."""
    machine, other = world.machines[:2]
    for number in range(7):
        with suppress(ColdchainError):
            await machine.start_container(f"c{number}", WANTED[0] if number == 3 else None)
    with suppress(ColdchainError):
        await other.start_container("other", None)
    for address, name in list(machine.containers.items())[:5]:
        await machine.stop_container(address, name)
    await world.clock.sleep(15.0)
    for number in range(3):
        with suppress(ColdchainError):
            await machine.start_container(f"d{number}", None)
    for address, name in list(machine.containers.items()):
        await machine.stop_container(address, name)
    await world.clock.sleep(30.0)


async def _life(world: World, crash_at: int) -> None:
    world.faulty = False
    await world.pools.add(POOL)
    for machine in world.machines[:2]:
        await world.join(machine)
        machine.start_netd()
    world.machines[0].crash_at = crash_at
    compares = [asyncio.ensure_future(machine.compare()) for machine in world.machines[:2]]
    await _containers(world)
    await world.clock.sleep(COMPARED_SECONDS)
    await world.at_the_end()
    for task in compares:
        task.cancel()
    await world.over()


def crash(crash_at: int) -> Crash:
    """Kill netd at that step, the first is 1; 0: never."""
    loop = FreezingLoop(1)
    found: list[World] = []

    async def whole() -> None:
        world = World(loop, 1)
        found.append(world)
        await _life(world, crash_at)

    with structlog.testing.capture_logs():
        simulate(whole(), loop)
    return Crash(tuple(found[0].violations), found[0].machines[0].steps)
