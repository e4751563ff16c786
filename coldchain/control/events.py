"""events: what happened, with sequence ids, for whoever follows; who missed some is told so."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

from coldchain.model.event import Event
from coldchain.ports.clock import Clock

EVENTS_KEPT = 10_000
"""How far back a follower can resume: memory bounded, never a silent loss."""
TERM_SHIFT = 32


class EventLog:
    """The last events of this controller. Sequence ids are (term) × 2^32 + count: unique over restarts."""

    def __init__(self, clock: Clock, term: int) -> None:
        self._clock = clock
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._arrived = asyncio.Event()
        self._sequence = term << TERM_SHIFT
        self._first = self._sequence + 1

    def emit(self, event_type: str, cause: str, body: dict[str, Any]) -> None:
        """Record an event and wake those who follow."""
        self._sequence += 1
        self._events.append(
            Event(sequence=self._sequence, type=event_type, at=self._clock.now(), cause=cause, body=body)
        )
        self._arrived.set()
        self._arrived = asyncio.Event()

    async def follow(self, after: int | None = None) -> AsyncGenerator[Event, None]:
        """Every event after a sequence id (None: from now on), for ever. An `events_missed` event stands where some
        are not known any more; its body has the ids between which they lay."""
        last = self._sequence if after is None else after
        while True:
            arrived = self._arrived
            first = self._events[0].sequence if self._events else self._sequence + 1
            if last < first - 1 or last > self._sequence:
                yield Event(
                    sequence=first - 1,
                    type="events_missed",
                    at=self._clock.now(),
                    cause="the follower was away for longer than events are kept",
                    body={"after": last, "before": first},
                )
                last = first - 1
            for event in [event for event in self._events if event.sequence > last]:
                yield event
                last = event.sequence
            if self._sequence == last:
                await arrived.wait()
