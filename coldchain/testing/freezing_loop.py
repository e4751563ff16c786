"""A simulated loop on which a process can stand still, as by SIGSTOP: nothing of it runs until it is woken, and then
all that became ready meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar, TypeVarTuple

from coldchain.testing.simulated_loop import SimulatedLoop

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class Process:
    """Whatever is run by `start` belongs to it, and whatever that starts."""

    def __init__(self, loop: "FreezingLoop") -> None:
        self._loop = loop
        self._held: list[asyncio.Handle] = []
        self.frozen = False

    def start(self, program: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        context = copy_context()
        context.run(PROCESS.set, self)
        return asyncio.get_running_loop().create_task(program, context=context)

    def hold(self, handle: asyncio.Handle) -> None:
        """It was this one's turn, and the process stands still."""
        self._held.append(handle)

    def thaw(self) -> None:
        """It goes on."""
        self.frozen = False
        held, self._held = self._held, []
        self._loop.ready(held)


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


async def outside(program: Coroutine[Any, Any, T]) -> T:
    """What happens on the way, or at somebody else's: it goes on while the process stands still that asked for it."""
    context = copy_context()
    context.run(PROCESS.set, None)
    return await asyncio.get_running_loop().create_task(program, context=context)


class _Handle(asyncio.Handle):
    _context: Context

    def _run(self) -> None:
        process = self._context.get(PROCESS)
        if process is not None and process.frozen:
            process.hold(self)
        else:
            super()._run()


class _TimerHandle(asyncio.TimerHandle):
    _context: Context

    def _run(self) -> None:
        process = self._context.get(PROCESS)
        if process is not None and process.frozen:
            process.hold(self)
        else:
            super()._run()


class FreezingLoop(SimulatedLoop):
    """A simulated loop whose processes can stand still."""

    def call_soon(
        self, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        handle = _Handle(callback, args, self, context)
        self._next.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = _TimerHandle(when, callback, args, self, context)
        self._wait(when, timer)
        return timer

    def ready(self, handles: list[asyncio.Handle]) -> None:
        """Their turn is now."""
        self._next.extend(handles)
