"""Events: ordered, unique, without a gap, resumable; and a gap that cannot be filled is said."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from coldchain.control.events import EVENTS_KEPT, EventLog
from coldchain.model.event import Event
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate


def simulated(program: Callable[[EventLog], Awaitable[None]], term: int = 1) -> None:
    loop = SimulatedLoop(0)

    async def whole() -> None:
        await program(EventLog(SimulatedClock(loop), term))

    simulate(whole(), loop)


async def take(log: EventLog, count: int, after: int | None) -> list[Event]:
    found: list[Event] = []
    async with aclosing(log.follow(after)) as events:
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


def emit(log: EventLog, count: int) -> None:
    for number in range(count):
        log.emit("test_event", "test", {"number": number})


def test_who_follows_gets_every_event_once_and_in_order() -> None:
    async def program(log: EventLog) -> None:
        following = asyncio.create_task(take(log, 6, None))
        await asyncio.sleep(0.1)
        emit(log, 3)
        await asyncio.sleep(0.1)
        emit(log, 3)
        found = await following
        first = found[0].sequence
        assert [one.sequence for one in found] == list(range(first, first + 6))

    simulated(program)


def test_a_follower_resumes_where_it_was() -> None:
    async def program(log: EventLog) -> None:
        emit(log, 5)
        whole = await take(log, 5, (1 << 32))
        assert await take(log, 3, whole[1].sequence) == whole[2:]

    simulated(program)


def test_what_is_not_known_any_more_is_said() -> None:
    async def program(log: EventLog) -> None:
        emit(log, EVENTS_KEPT + 10)
        found = await take(log, 2, (1 << 32))
        assert [one.type for one in found] == ["events_missed", "test_event"]
        assert found[1].sequence == (1 << 32) + 11
        assert found[0].sequence == found[1].sequence - 1

    simulated(program)


def test_events_of_an_earlier_controller_are_missed_and_ids_are_never_given_twice() -> None:
    async def program(log: EventLog) -> None:
        emit(log, 1)
        found = await take(log, 2, (1 << 32) + 7)
        assert [one.type for one in found] == ["events_missed", "test_event"]
        assert found[1].sequence == (2 << 32) + 1

    simulated(program, term=2)
