"""A loop of virtual time: nothing waits, what is ready runs in a shuffled order, and a seed repeats a run exactly.

No threads, no sockets: whatever is simulated stands behind a port.
"""

import asyncio
import heapq
import random
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
EPOCH = 1_700_000_000.0
HAIR_SECONDS = 1e-9


class Deadlock(Exception):  # noqa: N818
    """Nothing is ready and nothing ever will be: the simulated program waits for itself."""


class _NumberedTask(asyncio.Task[Any]):
    """Its hash is its number: asyncio keeps tasks in sets, whose order by address would differ from run to run."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class SimulatedLoop(asyncio.BaseEventLoop):
    """`seed` decides the order of what is ready at the same moment."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.random = random.Random(seed)
        self._now = 0.0
        self._tasks = 0
        self.set_task_factory(self._make_task)

    def _make_task(self, loop: asyncio.AbstractEventLoop, program: Any, **options: Any) -> asyncio.Task[Any]:
        self._tasks += 1
        task = _NumberedTask.__new__(_NumberedTask)
        task.number = self._tasks  # before anything puts it into a set
        task.__init__(program, loop=loop, **options)  # type: ignore[misc]
        return task

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        """What the loop would do, without what only real time, files and threads need: simulations spend their time
        here. What was ready runs in a shuffled order, and after it what is due, by its time."""
        ready: Any = self._ready  # type: ignore[attr-defined]
        timers: Any = self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if ready:
            self.random.shuffle(ready)
        elif not self._stopping:  # type: ignore[attr-defined]
            if not timers:
                raise Deadlock(f"seed {self.seed}, {self._now:.3f} s")
            # A hair more than asked, so that rounding never leaves a timer a moment ahead of the time.
            self._now += max(0.0, timers[0]._when - self._now) + HAIR_SECONDS
        while timers and timers[0]._when < self._now + HAIR_SECONDS:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


class SimulatedClock:
    """Implements ports.clock.Clock on the running simulated loop. `offset` moves the time of day, as a jump does."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self._ids = 0
        self.offset = 0.0

    def now(self) -> float:
        return EPOCH + self._loop.time() + self.offset

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def random(self) -> float:
        return self._loop.random.random()

    def unique(self) -> str:
        self._ids += 1
        return f"{self._ids:032x}"


def simulate(program: Coroutine[Any, Any, T], loop: SimulatedLoop) -> T:
    """Run `program` to its end in virtual time; what it left running is cancelled. The loop is closed."""
    try:
        return loop.run_until_complete(program)
    except BaseException as error:
        error.add_note(f"simulated with seed {loop.seed}, ended at {loop.time():.3f} virtual seconds")
        raise
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
