"""A loop of virtual time: nothing waits, what is ready runs in a shuffled order, and a seed repeats a run exactly.

No threads, no sockets: whatever is simulated stands behind a port.
"""

import asyncio
import heapq
import random
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
EPOCH = 1_700_000_000.0


class Deadlock(Exception):  # noqa: N818
    """Nothing is ready and nothing ever will be: the simulated program waits for itself."""


class _NumberedTask(asyncio.Task[Any]):
    """Its hash is its number: asyncio keeps tasks in sets, whose order by address would differ from run to run."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class SimulatedLoop(asyncio.BaseEventLoop):
    """`seed` decides the order of what is ready at the same moment. `left_open`: generators that were left to the
    garbage collector."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self.random = random.Random(seed)
        self._now = 0.0
        self._tasks = 0
        self._waits = 0
        self._waiting: list[tuple[float, int, asyncio.TimerHandle | asyncio.Future[None]]] = []
        self._next: list[asyncio.Handle] = []
        self.left_open: list[str] = []
        self.set_task_factory(self._make_task)

    def _make_task(self, loop: asyncio.AbstractEventLoop, program: Any, **options: Any) -> asyncio.Task[Any]:
        self._tasks += 1
        task = _NumberedTask.__new__(_NumberedTask)
        task.number = self._tasks  # before anything puts it into a set
        task.__init__(program, loop=loop, **options)  # type: ignore[misc]
        return task

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._next.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._wait(when, timer)
        return timer

    def at(self, when: float) -> asyncio.Future[None]:
        """Done from that moment on."""
        future: asyncio.Future[None] = self.create_future()
        self._wait(when, future)
        return future

    def _wait(self, when: float, what: asyncio.TimerHandle | asyncio.Future[None]) -> None:
        self._waits += 1
        heapq.heappush(self._waiting, (when, self._waits, what))

    def _run_once(self) -> None:
        """All that happens at one moment, in a shuffled order; if there is nothing, at the next moment for which
        something waits. Simulations spend their time here: nothing is done that only files and threads need."""
        waiting = self._waiting
        while waiting and waiting[0][2].cancelled():
            heapq.heappop(waiting)
        if not self._next and not self._stopping:  # type: ignore[attr-defined]
            if not waiting:
                raise Deadlock(f"seed {self.seed}, {self._now:.3f} s")
            self._now = max(self._now, waiting[0][0])
        while waiting and waiting[0][0] <= self._now:
            _, _, what = heapq.heappop(waiting)
            if isinstance(what, asyncio.TimerHandle):
                self._next.append(what)
            elif not what.done():
                what.set_result(None)
        ready, self._next = self._next, []
        if len(ready) > 1:
            self.random.shuffle(ready)
        for handle in ready:
            if not handle.cancelled():
                handle._run()

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """Nobody closes it any more once the loop has ended, which Python 3.13 warns of at some later time."""
        self.left_open.append(agen.__qualname__)

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
        if seconds > 0:
            await self._loop.at(self._loop.time() + seconds)
        else:
            await asyncio.sleep(0)

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
        assert not loop.left_open, f"generators that nobody closed: {loop.left_open}"
