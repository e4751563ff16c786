"""Events: ordered, unique, without a gap, resumable; and a gap that cannot be filled is said."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.control import events as control
from coldchain.control.events import EVENTS_KEPT, TAKEN_MAX, EventLog
from coldchain.documents.event_text import event_body
from coldchain.model.event import Event
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate


def simulated(program: Callable[[EventLog], Awaitable[None]], term: int = 1) -> None:
    loop = SimulatedLoop(0)

    async def whole() -> None:
        await program(EventLog(SimulatedClock(loop), term))

    simulate(whole(), loop)


async def take(log: EventLog, count: int, after: int | None) -> list[Event]:
    """The first so many events; it waits for those that have not happened yet."""
    found: list[Event] = []
    with log.follow(after) as follower:
        while len(found) < count:
            await follower.wait()
            found += follower.take()
    return found[:count]


def emit(log: EventLog, count: int, size: int = 0) -> None:
    for number in range(count):
        log.emit("test_event", "test", {"eventType": "test_event", "number": number, "text": "x" * size})


def gap(event: Event) -> tuple[int, int]:
    """The ids between which events were missed."""
    assert event.type == "events_missed"
    body = event_body(event)
    return body["after"], body["before"]


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
        assert gap(found[0]) == (1 << 32, (1 << 32) + 11)
        assert found[1].sequence == (1 << 32) + 11
        assert found[0].sequence == found[1].sequence - 1

    simulated(program)


def test_events_of_an_earlier_controller_are_missed_and_ids_are_never_given_twice() -> None:
    async def program(log: EventLog) -> None:
        emit(log, 1)
        found = await take(log, 2, (1 << 32) + 7)
        assert gap(found[0]) == ((1 << 32) + 7, (2 << 32) + 1)
        assert found[1].sequence == (2 << 32) + 1

    simulated(program, term=2)


def test_who_was_ahead_because_the_store_was_restored_is_told_and_brought_back() -> None:
    async def program(log: EventLog) -> None:
        emit(log, 2)
        found = await take(log, 3, (3 << 32))
        assert gap(found[0]) == (3 << 32, (1 << 32) + 1)
        assert [one.sequence for one in found[1:]] == [(1 << 32) + 1, (1 << 32) + 2]

    simulated(program)


def test_memory_is_bounded_by_size_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "BYTES_KEPT", 100_000)

    async def program(log: EventLog) -> None:
        emit(log, 100, size=10_000)
        kept = log.kept()
        assert sum(len(one.text) for one in kept) <= 100_000 < sum(len(one.text) for one in kept) + 11_000
        emit(log, 1, size=1_000_000)
        assert [one.sequence for one in log.kept()] == [(1 << 32) + 101]
        emit(log, 1)
        assert [one.sequence for one in log.kept()] == [(1 << 32) + 102]

    simulated(program)


def test_followers_are_woken_at_once_for_the_first_and_together_for_those_soon_after() -> None:
    async def program(log: EventLog) -> None:
        loop = asyncio.get_running_loop()
        woken: list[tuple[float, int]] = []

        async def follow() -> None:
            with log.follow() as follower:
                while await follower.wait():
                    woken.append((loop.time(), len(follower.take())))

        followers = [asyncio.create_task(follow()) for _ in range(100)]
        await asyncio.sleep(1)
        began = loop.time()
        emit(log, 1)
        for _ in range(20):
            await asyncio.sleep(0.001)
            emit(log, 1)
        await asyncio.sleep(1)
        for one in followers:
            one.cancel()
        assert woken[:100] == [(began, 1)] * 100
        pause = control.PAUSE_SECONDS + 100 * control.PAUSE_SECONDS_EACH
        assert woken[100:] == [(began + pause, 20)] * 100

    simulated(program)


def test_waking_all_lets_those_look_who_wait_for_nothing() -> None:
    async def program(log: EventLog) -> None:
        with log.follow() as follower:
            assert not await follower.wait(5.0)
            asyncio.get_running_loop().call_later(1.0, log.wake)
            assert await follower.wait(5.0)
            assert follower.take() == []

    simulated(program)


Step = tuple[str, int]
"""What happens next: so many events, or follower number n takes, comes back by the last id he has, or comes anew."""

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("emit"), st.integers(0, 40)),
        st.tuples(st.just("take"), st.integers(0, 2)),
        st.tuples(st.just("resume"), st.integers(0, 2)),
    ),
    max_size=60,
)


def reversed_steps(steps: Sequence[Step]) -> list[Step]:
    return list(reversed(steps))


def doubled(steps: Sequence[Step]) -> list[Step]:
    return [one for one in steps for _ in range(2)]


def split(steps: Sequence[Step]) -> list[Step]:
    """Each number of events as as many single ones."""
    return [one for what, n in steps for one in ([(what, 1)] * n if what == "emit" else [(what, n)])]


def squashed(steps: Sequence[Step]) -> list[Step]:
    """All events first."""
    emitted = [one for one in steps if one[0] == "emit"]
    return [("emit", sum(n for _, n in emitted)), *(one for one in steps if one[0] != "emit")]


@pytest.mark.parametrize("expand", [list, reversed_steps, doubled, split, squashed], ids=lambda one: one.__name__)
@given(STEPS)
def test_whatever_the_order_all_come_once_in_order_or_are_said_to_be_missed(
    expand: Callable[[Sequence[Step]], list[Step]], steps: Sequence[Step]
) -> None:
    kept = 50

    async def program(log: EventLog) -> None:
        followers = [log.follow(1 << 32) for _ in range(3)]
        got: list[list[int]] = [[], [], []]
        emitted = 0

        def drain(number: int, *, wholly: bool) -> None:
            while events := followers[number].take():
                for event in events:
                    if event.type == "events_missed":
                        after, before = gap(event)
                        assert after == (got[number][-1] if got[number] else 1 << 32)
                        assert event.sequence == before - 1
                        assert emitted - (before - (1 << 32)) == kept - 1, "said to be missed, and is still there"
                        got[number] += range(after + 1, before)
                    else:
                        got[number].append(event.sequence)
                assert len(events) <= TAKEN_MAX
                if not wholly:
                    return

        for what, n in expand(steps):
            if what == "emit":
                emit(log, n)
                emitted += n
            elif what == "take":
                drain(n, wholly=False)
            else:
                followers[n] = log.follow(got[n][-1] if got[n] else 1 << 32)
        for number in range(3):
            drain(number, wholly=True)
            assert got[number] == list(range((1 << 32) + 1, (1 << 32) + 1 + emitted))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(control, "EVENTS_KEPT", kept)
        simulated(program)
