"""events: what happened, with sequence ids, for whoever follows; who missed some is told so."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from coldchain.documents.event_text import about, event_text, missed_text
from coldchain.model.event import AppMove, Event
from coldchain.ports.clock import Clock

EVENTS_KEPT = 10_000
"""How far back a follower can resume: memory bounded, never a silent loss."""
BYTES_KEPT = 8 * 2**20
"""Of their texts. Where a few are very large, fewer are kept; the last one always is."""
TAKEN_MAX = 100
TAKEN_BYTES_MAX = 64 * 1024
"""What a follower gets at once: so many events, and no more once their texts are so long."""
PAUSE_SECONDS = 0.01
PAUSE_SECONDS_EACH = 0.0002
"""Followers are woken for the first event at once, and then not again for so long, and this for each of them longer:
however many follow and however much happens, the loop has time for its work."""
TERM_SHIFT = 32


class EventLog:
    """The last events of this controller. Sequence ids are (term) × 2^32 + count: unique over restarts."""

    def __init__(self, clock: Clock, term: int) -> None:
        self._clock = clock
        self._events: dict[int, Event] = {}
        self._bytes = 0
        self._sequence = term << TERM_SHIFT
        self._first = self._sequence + 1
        self._followers = 0
        self._arrived = asyncio.Event()
        self._waking: asyncio.TimerHandle | None = None
        self._pause_until = 0.0

    def emit(self, event_type: str, cause: str, body: dict[str, Any], moves: Sequence[AppMove] = ()) -> None:
        """Record an event and wake those who follow. `moves`: those of the deployment whose plan the body has."""
        self._sequence += 1
        text = event_text(self._sequence, body, cause)
        self._events[self._sequence] = Event(
            sequence=self._sequence, type=event_type, text=text, app_ids=about(body, moves), moves=tuple(moves)
        )
        self._bytes += len(text)
        while len(self._events) > EVENTS_KEPT or (self._bytes > BYTES_KEPT and len(self._events) > 1):
            self._bytes -= len(self._events.pop(self._first).text)
            self._first += 1
        if self._followers and self._waking is None:
            loop = asyncio.get_running_loop()
            self._waking = loop.call_at(max(loop.time(), self._pause_until), self.wake)

    def wake(self) -> None:
        """Have all who follow look, whether there is anything or not."""
        pause = PAUSE_SECONDS + self._followers * PAUSE_SECONDS_EACH
        self._pause_until = asyncio.get_running_loop().time() + pause
        if self._waking is not None:
            self._waking.cancel()
            self._waking = None
        arrived, self._arrived = self._arrived, asyncio.Event()
        arrived.set()

    def follow(self, after: int | None = None) -> "Follower":
        """Whoever follows from a sequence id on (None: from now on)."""
        return Follower(self, self._sequence if after is None else after)

    def kept(self) -> Sequence[Event]:
        """All that a follower can still be told, the oldest first."""
        return [self._events[sequence] for sequence in range(self._first, self._sequence + 1)]


class Follower:
    """One place in the log, and no more: what is not taken yet stands in the log alone, for all together. To be used
    in a `with`."""

    def __init__(self, log: EventLog, last: int) -> None:
        self._log = log
        self._last = last

    def __enter__(self) -> "Follower":
        self._log._followers += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log._followers -= 1

    def take(self) -> list[Event]:
        """The next events, in order, each once; none where nothing has happened since. An `events_missed` event stands
        where some are not known any more; its body has the ids between which they lay."""
        log, taken = self._log, []
        if not log._first - 1 <= self._last <= log._sequence:
            gap = log._first - 1
            text = missed_text(gap, self._last, log._first, log._clock.now())
            taken.append(Event(sequence=gap, type="events_missed", text=text))
            self._last = gap
        size = 0
        while self._last < log._sequence and size < TAKEN_BYTES_MAX and len(taken) < TAKEN_MAX:
            self._last += 1
            taken.append(log._events[self._last])
            size += len(taken[-1].text)
        return taken

    async def wait(self, seconds: float | None = None) -> bool:
        """Until there is something to take, or somebody wakes all who follow. False when nothing came in that time."""
        if self._last != self._log._sequence:
            return True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._log._arrived.wait()
                return True
        return False
