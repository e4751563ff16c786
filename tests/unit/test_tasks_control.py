"""What the engine says of its tasks: listings and updates in any order, and silence."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import msgspec
import pytest

from coldchain.control.tasks import LISTING_SECONDS, LISTING_SECONDS_MAX, SKEW_SECONDS, TaskWatcher
from coldchain.model.errors import Unavailable
from coldchain.model.offer import Offer
from coldchain.model.task import TaskState, TaskStatus
from coldchain.testing.fake_engine import FakeEngine
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate


def status(name: str, state: TaskState = "running") -> TaskStatus:
    return TaskStatus(
        task_id=name, instance_id=name, app_id=f"/{name}", target="cluster", agent="a", state=state, at=0.0
    )


class ListedEngine(FakeEngine):
    """An engine whose listings a test scripts: seconds they take, and what they showed when they began."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__(clock)
        self.clock = clock
        self.now: list[TaskStatus] = []
        self.takes: list[float] = []
        self.listener: asyncio.Queue[TaskStatus] = asyncio.Queue()
        self.open = 0

    async def tasks(self) -> Sequence[TaskStatus]:
        shown = list(self.now)
        await self.clock.sleep(self.takes.pop(0) if self.takes else 0.0)
        if not self.available:
            raise Unavailable("engine does not answer")
        return shown

    async def offers(self) -> Sequence[Offer]:
        return ()

    async def updates(self) -> AsyncGenerator[TaskStatus, None]:  # type: ignore[override]
        self.open += 1
        try:
            while True:
                yield await self.listener.get()
        finally:
            self.open -= 1


class Bench:
    def __init__(self, loop: SimulatedLoop) -> None:
        self.clock = SimulatedClock(loop)
        self.engine = ListedEngine(self.clock)
        self.marked: list[set[str]] = []
        self.listed: list[bool] = []
        self.watcher = TaskWatcher(self.engine, self.clock, lambda apps: self.marked.append(set(apps)))
        self.watcher.on_listed = self.listed.append

    def states(self) -> dict[str, str]:
        return {name: one.state for name, one in self.watcher.tasks.items()}


def simulated(program: Callable[[Bench], Awaitable[None]]) -> None:
    loop = SimulatedLoop(0)

    async def whole() -> None:
        await program(Bench(loop))

    simulate(whole(), loop)


def test_the_first_listing_is_told_even_if_it_is_empty() -> None:
    async def program(bench: Bench) -> None:
        assert not bench.watcher.known
        await bench.watcher.list_now()
        assert bench.watcher.known
        await bench.watcher.list_now()
        assert bench.listed == [True, False]

    simulated(program)


def test_an_update_during_a_listing_is_newer_than_it() -> None:
    async def program(bench: Bench) -> None:
        bench.engine.now, bench.engine.takes = [status("a", "staging")], [2.0]
        listing = asyncio.create_task(bench.watcher.list_now())
        await bench.clock.sleep(1.0)
        bench.watcher.note(status("a", "running"))
        bench.watcher.note(status("b", "staging"))
        await listing
        assert bench.states() == {"a": "running", "b": "staging"}

    simulated(program)


def test_of_two_listings_the_older_never_comes_last() -> None:
    async def program(bench: Bench) -> None:
        bench.engine.takes = [3.0, 0.1]
        slow = asyncio.create_task(bench.watcher.list_now())
        await bench.clock.sleep(1.0)
        bench.watcher.note(status("a"))
        bench.engine.now = [status("a")]
        await bench.clock.sleep(0.5)
        quick = asyncio.create_task(bench.watcher.list_now())
        await asyncio.gather(slow, quick)
        assert bench.states() == {"a": "running"}

    simulated(program)


def test_what_a_listing_does_not_have_is_gone_and_told() -> None:
    async def program(bench: Bench) -> None:
        bench.engine.now = [status("a"), status("b")]
        await bench.watcher.list_now()
        bench.engine.now = [status("a")]
        await bench.watcher.list_now()
        assert bench.states() == {"a": "running"}
        assert bench.marked[-1] == {"/b"}

    simulated(program)


def test_late_and_repeated_updates_bring_nothing_back_to_life() -> None:
    async def program(bench: Bench) -> None:
        heard: list[str] = []
        bench.watcher.on_update = lambda one: heard.append(one.state)
        for state in ("running", "running", "failed", "running", "failed"):
            bench.watcher.note(status("a", state))  # type: ignore[arg-type]
        assert heard == ["running", "failed"]
        assert bench.states() == {"a": "failed"}

    simulated(program)


def test_what_is_older_than_what_is_known_is_of_an_earlier_task_of_the_name() -> None:
    async def program(bench: Bench) -> None:
        bench.watcher.note(msgspec.structs.replace(status("a"), at=20.0))
        bench.watcher.note(msgspec.structs.replace(status("a", "failed"), at=10.0))
        assert bench.watcher.tasks["a"].state == "running"
        bench.watcher.note(msgspec.structs.replace(status("a", "failed"), at=20.0))
        assert bench.watcher.tasks["a"].state == "failed"

    simulated(program)


def test_what_is_of_the_future_is_from_before_the_clock_was_set_back() -> None:
    async def program(bench: Bench) -> None:
        now = bench.clock.now()
        bench.watcher.note(msgspec.structs.replace(status("a"), at=now))
        assert not bench.watcher.note(msgspec.structs.replace(status("a", "failed"), at=now + SKEW_SECONDS + 0.1))
        assert bench.watcher.tasks["a"].state == "running"
        assert bench.watcher.note(msgspec.structs.replace(status("a", "failed"), at=now + SKEW_SECONDS))
        assert bench.watcher.tasks["a"].state == "failed"

    simulated(program)


def test_what_only_a_listing_can_tell_is_looked_up_at_once() -> None:
    async def program(bench: Bench) -> None:
        bench.engine.now = [status("a")]
        running = asyncio.create_task(bench.watcher.run())
        await bench.clock.sleep(1.0)
        bench.engine.now = [status("a", "failed"), status("b")]
        later = bench.clock.now() + 3600.0
        bench.engine.listener.put_nowait(msgspec.structs.replace(status("a", "finished"), at=later))
        await bench.clock.sleep(0.1)
        assert bench.states() == {"a": "failed", "b": "running"}
        running.cancel()

    simulated(program)


def test_a_stream_of_updates_that_is_given_up_is_closed_at_once() -> None:
    async def program(bench: Bench) -> None:
        running = asyncio.create_task(bench.watcher.run())
        await bench.clock.sleep(1.0)
        bench.engine.available = False
        later = bench.clock.now() + 3600.0  # only a listing tells what it means, and there is none
        bench.engine.listener.put_nowait(msgspec.structs.replace(status("a"), at=later))
        await bench.clock.sleep(0.1)
        assert bench.engine.open == 0
        bench.engine.available = True
        await bench.clock.sleep(2.0)
        assert bench.engine.open == 1
        running.cancel()

    simulated(program)


@pytest.mark.parametrize("hangs", [False, True])
def test_silence_changes_nothing_and_is_said_until_it_ends(hangs: bool) -> None:
    async def program(bench: Bench) -> None:
        bench.engine.now = [status("a")]
        running = asyncio.create_task(bench.watcher.run())
        await bench.clock.sleep(1.0)
        assert bench.states() == {"a": "running"}
        bench.engine.now = []
        if hangs:
            bench.engine.takes = [10_000.0] * 2
        else:
            bench.engine.available = False
        await bench.clock.sleep(LISTING_SECONDS + LISTING_SECONDS_MAX + 1.0)
        assert bench.watcher.trouble
        assert bench.states() == {"a": "running"}
        bench.engine.available = True
        await bench.clock.sleep(LISTING_SECONDS + LISTING_SECONDS_MAX + 2.0)
        assert not bench.watcher.trouble
        assert bench.states() == {}
        running.cancel()

    simulated(program)


def test_what_was_forgotten_is_dropped() -> None:
    async def program(bench: Bench) -> None:
        bench.watcher.note(status("a", "killed"))
        bench.watcher.drop("a")
        bench.watcher.drop("unknown")
        assert bench.states() == {}
        assert bench.marked == [{"/a"}, {"/a"}]

    simulated(program)
