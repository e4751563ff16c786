"""The last changes of a store, for its watchers."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable

from coldchain.model.errors import Unavailable
from coldchain.ports.store import Changed, Compacted

KEPT_CHANGES = 1_000
"""How many changes at least are kept, with what was written: a MiB or two. Whoever falls further behind, such as by one
pass of a large deployment, lists again, which is also cheaper for him."""


class ChangeLog:
    """Lives on one event loop. It starts empty at `revision`: what came before must be listed."""

    def __init__(self, revision: int = 0, kept_changes: int = KEPT_CHANGES) -> None:
        self.revision = revision
        self._compacted = revision
        self._kept_changes = kept_changes
        self._changes: list[Changed] = []
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    def publish(self, revision: int, changes: Iterable[Changed]) -> None:
        """Tell watchers of one write. Revisions must come in order."""
        assert revision > self.revision, f"revision {revision} after {self.revision}"
        self.revision = revision
        self._changes.extend(changes)
        if len(self._changes) > 2 * self._kept_changes:
            surplus = len(self._changes) - self._kept_changes
            self._compacted = self._changes[surplus - 1].revision
            del self._changes[:surplus]
        self._wake()

    async def reached(self, revision: int) -> None:
        """Returns once `revision` has been published."""
        while self.revision < revision:
            await self._news()

    async def watch(self, prefix: str, after: int) -> AsyncIterator[Changed]:
        """As `Store.watch`; raises `Unavailable` once the store is closed."""
        while True:
            if after < self._compacted or after > self.revision:
                known = f"{self._compacted} to {self.revision}"
                raise Compacted(
                    f"the changes after revision {after} are not known here (known: {known})",
                    todo="list again and watch from there",
                )
            position = bisect_right(self._changes, after, key=lambda change: change.revision)
            changes, after = self._changes[position:], self.revision
            for change in changes:
                if change.key.startswith(prefix):
                    yield change
            if after == self.revision:
                await self._news()

    def close(self) -> None:
        self._closed = True
        self._wake()

    async def _news(self) -> None:
        if self._closed:
            raise closed()
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(news)
        try:
            await news
        finally:
            self._waiting.discard(news)
        if self._closed:
            raise closed()

    def _wake(self) -> None:
        for news in self._waiting:
            if not news.done():
                news.set_result(None)


def closed() -> Unavailable:
    return Unavailable("the store is closed", todo="open it again; whatever was acknowledged is in it")
