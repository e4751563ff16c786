"""Effects: one at a time, again after errors, never for ever."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from coldchain.control.effects import RETRY_SECONDS_MAX, Effects
from coldchain.model.errors import Rejected, Unavailable
from coldchain.testing.simulated_loop import SimulatedClock, SimulatedLoop, simulate


class Bench:
    """Effects whose work is scripted by `outcomes`: an error to raise, None to succeed, "hang" to never answer."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.clock = SimulatedClock(loop)
        self.effects = Effects(self.clock)
        self.outcomes: list[object] = []
        self.began: list[float] = []
        self.done = 0

    def ask(self, hold_seconds: float = 0.0) -> None:
        async def work() -> None:
            self.began.append(self.clock.monotonic())
            outcome = self.outcomes.pop(0) if self.outcomes else None
            if outcome == "hang":
                await asyncio.Event().wait()
            if isinstance(outcome, Exception):
                raise outcome

        self.effects.run("launch", "i", work, self._done, limit_seconds=10.0, hold_seconds=hold_seconds)

    def _done(self) -> None:
        self.done += 1

    async def ask_for(self, seconds: float) -> None:
        """Ask again and again, as decisions do."""
        until = self.clock.monotonic() + seconds
        while self.clock.monotonic() < until:
            self.ask()
            await self.clock.sleep(0.05)


def simulated(program: Callable[[Bench], Awaitable[None]]) -> None:
    loop = SimulatedLoop(0)

    async def whole() -> None:
        await program(Bench(loop))

    simulate(whole(), loop)


def test_after_a_success_it_is_held_back() -> None:
    async def program(bench: Bench) -> None:
        bench.ask(hold_seconds=5.0)
        await bench.ask_for(4.9)
        assert len(bench.began) == 1
        await bench.ask_for(0.3)
        assert len(bench.began) > 1

    simulated(program)


def test_delays_double_up_to_their_limit() -> None:
    async def program(bench: Bench) -> None:
        bench.outcomes = [Unavailable("away", retry_seconds=1.0) for _ in range(9)]
        await bench.ask_for(200.0)
        pauses = [round(after - before) for before, after in zip(bench.began, bench.began[1:], strict=False)]
        assert pauses[:8] == [1, 2, 4, 8, 16, 30, 30, 30]
        assert RETRY_SECONDS_MAX == 30.0
        assert bench.effects.error("launch", "i") is None

    simulated(program)


@pytest.mark.parametrize("outcome", [Rejected("no such image"), KeyError("a bug")])
def test_the_error_of_the_last_try_is_kept_whatever_it_was(outcome: Exception) -> None:
    async def program(bench: Bench) -> None:
        bench.outcomes = [outcome]
        await bench.ask_for(0.5)
        assert len(bench.began) == 1, "tried again at once"
        assert str(outcome).strip("'") in str(bench.effects.error("launch", "i"))
        assert bench.done == 1

    simulated(program)


def test_what_never_answers_ends_by_its_limit() -> None:
    async def program(bench: Bench) -> None:
        bench.outcomes = ["hang"]
        await bench.ask_for(9.9)
        assert bench.done == 0
        assert bench.effects.unsettled("launch", "i", 0.0)
        await bench.ask_for(0.2)
        assert str(bench.effects.error("launch", "i")) == "launch: no answer in 10 s"

    simulated(program)


def test_it_is_settled_once_something_began_after_its_end() -> None:
    async def program(bench: Bench) -> None:
        assert not bench.effects.unsettled("launch", "i", 0.0)
        await bench.ask_for(0.01)
        assert bench.effects.unsettled("launch", "i", 0.0)
        assert not bench.effects.unsettled("launch", "i", bench.clock.monotonic())

    simulated(program)


def test_what_is_gone_is_forgotten_and_what_runs_is_cancelled_at_the_end() -> None:
    async def program(bench: Bench) -> None:
        bench.outcomes = ["hang"]
        await bench.ask_for(0.1)
        bench.effects.forget(lambda name: True, 0.0)
        assert bench.effects.unsettled("launch", "i", 0.0), "it still runs"
        await bench.effects.stop()
        bench.effects.forget(lambda name: True, 0.0)
        assert not bench.effects.unsettled("launch", "i", 0.0)

    simulated(program)


def test_what_went_well_is_forgotten_once_it_is_settled_and_may_be_asked_for_again() -> None:
    async def program(bench: Bench) -> None:
        def forgotten() -> bool:
            bench.effects.forget(lambda name: False, bench.clock.monotonic())
            return ("launch", "i") not in bench.effects._effects

        bench.ask(hold_seconds=5.0)
        assert not forgotten(), "it runs"
        await bench.clock.sleep(0.1)
        assert not forgotten(), "it must not be asked for again yet"
        await bench.clock.sleep(5.0)
        bench.effects.forget(lambda name: False, 0.0)
        assert bench.effects.unsettled("launch", "i", 0.0), "nothing was looked at since"
        assert forgotten()
        bench.outcomes = [Unavailable("away")]
        bench.ask()
        await bench.clock.sleep(60.0)
        assert not forgotten(), "its error is asked for"

    simulated(program)
