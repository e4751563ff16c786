"""Clock: time, sleep and randomness for the loops, so that simulations own all three."""

from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch, for people and records; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump, for waiting."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    def random(self) -> float:
        """Uniform in [0, 1)."""
        ...

    def unique(self) -> str:
        """A new id: 32 lower-case hexadecimal digits."""
        ...
