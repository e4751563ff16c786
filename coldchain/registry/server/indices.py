"""indices: the index of each topic that can be asked about, and who waits for it to grow."""

import asyncio
from collections.abc import Iterable

SERVICES, CHECKS, NODE, KEYS, SESSIONS = "services", "checks", "node", "keys", "sessions"


def service(name: str) -> str:
    """The topic of one service."""
    return f"service/{name}"


class Indices:
    """An index is the revision of the store at which something of its topic last changed; never less than before.

    `start`: the store's revision when everything was read: what changed before that is not known any more.
    `newest`: no index is above it.
    """

    def __init__(self) -> None:
        self.start = self.newest = self._rest = 1
        self._last: dict[str, int] = {}
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._closed = False

    def restart(self, revision: int) -> None:
        """Everything was read at this revision: whoever waits looks again."""
        self.start = self.newest = self._rest = max(1, revision)
        self._last.clear()
        for events in self._waiting.values():
            _set(events)

    def of(self, *topics: str) -> int:
        """The highest index of these topics."""
        return max(self._last.get(topic, self._rest) for topic in topics)

    def changed(self, topics: Iterable[str], revision: int) -> None:
        """Something of these topics changed; wake who waits."""
        self.newest = revision
        for topic in topics:
            self._last[topic] = revision
            _set(self._waiting.get(topic, ()))

    def forget(self, topic: str) -> None:
        """Nothing of this topic is left: what is not there has one index for all, so that names do not add up."""
        self._rest = max(self._rest, self._last.pop(topic, 0))

    async def wait(self, topics: Iterable[str], seconds: float) -> None:
        """Until one of the topics changes, the time is over, or the server closes."""
        if self._closed:
            return
        event = asyncio.Event()
        topics = tuple(topics)
        for topic in topics:
            self._waiting.setdefault(topic, set()).add(event)
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return
        finally:
            for topic in topics:
                waiting = self._waiting[topic]
                waiting.discard(event)
                if not waiting:
                    del self._waiting[topic]

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Nobody waits any longer."""
        self._closed = True
        for events in self._waiting.values():
            _set(events)


def _set(events: Iterable[asyncio.Event]) -> None:
    for event in events:
        event.set()
