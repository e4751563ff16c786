"""Everything is stopped on demand by the leader of several controllers: all are told, and nobody leads until one is
started again."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import structlog.testing

from coldchain.control.candidate import Candidate
from coldchain.documents import keys
from coldchain.ports.store import Change
from coldchain.testing.freezing_loop import FreezingLoop
from coldchain.testing.platform import example_app
from coldchain.testing.simulated_loop import simulate
from coldchain.testing.simulation.candidates import Machine
from coldchain.testing.simulation.leadership import Election

SEEDS = range(5)
LONGER_THAN_A_LEASE_SECONDS = 20.0

Program = Callable[[Election], Awaitable[None]]


def live(program: Program, seed: int) -> None:
    """Three controllers, whose machines are started, until the program has ended."""
    loop = FreezingLoop(seed)

    async def whole() -> None:
        election = Election(loop, seed)
        for machine in election.machines:
            machine.start()
        try:
            async with asyncio.timeout(300):
                await program(election)
        finally:
            await election.over()

    with structlog.testing.capture_logs():
        simulate(whole(), loop)


async def led(election: Election) -> tuple[Machine, Candidate]:
    """Wait until one leads."""
    while True:
        for machine in election.machines:
            if machine.well and machine.candidate is not None and machine.candidate.leads:
                return machine, machine.candidate
        await election.clock.sleep(0.1)


async def deployed(election: Election, leader: Candidate) -> None:
    """Wait until an app has two instances that serve."""
    await leader.controller.operations.create(example_app(), "user")
    while sum(one.phase == "serving" for one in leader.controller.state.instances.values()) < 2:
        await election.clock.sleep(0.1)


@pytest.mark.parametrize("seed", SEEDS)
def test_once_everything_is_stopped_all_are_told_and_nobody_leads_before_one_is_started(seed: int) -> None:
    async def program(election: Election) -> None:
        machine, leader = await led(election)
        others = [one.candidate for one in election.machines if one is not machine and one.candidate is not None]
        await deployed(election, leader)
        assert not await others[0].stop_everything()
        left: list[bool] = []

        async def take_leave() -> None:
            stopped = all(one.status.terminal for one in election.engine.held.values())
            left.append(stopped and await election.holder() is not None)

        leader.take_leave = others[0].take_leave = take_leave
        assert machine.process is not None
        assert await machine.process.start(leader.stop_everything())
        assert left == [True]
        assert all(one.status.terminal for one in election.engine.held.values())
        machine.crash()
        await election.clock.sleep(LONGER_THAN_A_LEASE_SECONDS)
        assert [one.down.is_set() for one in others] == [True, True]
        assert await election.holder() is None
        await election.store.write([Change(key=keys.CONTROLLERS_DOWN, value=None)])
        await led(election)

    live(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_who_did_not_hear_of_it_hears_when_it_reads_again(seed: int) -> None:
    async def program(election: Election) -> None:
        machine, leader = await led(election)
        away = next(one for one in election.machines if one is not machine)
        away.cut_off = True
        assert machine.process is not None
        assert await machine.process.start(leader.stop_everything())
        machine.crash()
        await election.clock.sleep(LONGER_THAN_A_LEASE_SECONDS)
        assert away.candidate is not None
        assert not away.candidate.down.is_set()
        away.cut_off = False
        await asyncio.wait_for(away.candidate.down.wait(), LONGER_THAN_A_LEASE_SECONDS)

    live(program, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_leader_that_is_lost_before_that_ends_nobody(seed: int) -> None:
    async def program(election: Election) -> None:
        machine, leader = await led(election)
        await deployed(election, leader)
        assert machine.process is not None
        stopping = machine.process.start(leader.stop_everything())
        while all(one.phase == "serving" for one in leader.controller.state.instances.values()):
            await election.clock.sleep(0.01)
        leader.leadership.abdicate()
        assert not await stopping
        machine.crash()
        _, following = await led(election)
        while sum(one.phase == "serving" for one in following.controller.state.instances.values()) < 2:
            await election.clock.sleep(0.1)
        assert await election.store.get(keys.CONTROLLERS_DOWN) is None
        assert not following.down.is_set()

    live(program, seed)
