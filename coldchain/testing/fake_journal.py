"""A journal in memory: what it has outlives who wrote it, as a disk does. It can fail, and stop half way."""

from collections.abc import Callable, Mapping
from typing import Literal

from coldchain.model.errors import Unavailable

JournalFault = Literal["unavailable", "lost reply"]


class FakeJournal:
    """Implements ports.network.Journal. `fault(number)` is asked before each write, numbered from 1, what befalls it:
    `unavailable` does nothing of it, `lost reply` all, and neither says so. `wait` is awaited in each write, before
    and after it takes place."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self.fault: Callable[[int], JournalFault | None] = lambda number: None
        self.writes = 0

    async def wait(self) -> None:
        """A disk takes its time: others run meanwhile."""

    async def read(self) -> Mapping[str, bytes]:
        return dict(self._values)

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        self.writes += 1
        fault = self.fault(self.writes)
        await self.wait()
        if fault == "unavailable":
            raise Unavailable("the disk is full")
        for name, value in changes.items():
            if value is None:
                self._values.pop(name, None)
            else:
                self._values[name] = value
        await self.wait()
        if fault == "lost reply":
            raise Unavailable("the disk does not answer")
