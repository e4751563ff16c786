"""DubboQos: the server for operators that a provider of Dubbo has beside its services."""

from typing import Protocol


class DubboQos(Protocol):
    """Raises `Unavailable` when it does not answer, and what was asked may have been done; `Rejected` when it will not
    do it."""

    async def offline(self, host: str, port: int) -> None:
        """Have a provider take all its announcements away, and serve on. Of one that has: nothing happens."""
        ...

    async def online(self, host: str, port: int) -> None:
        """Have it announce them again. Of one that does: nothing happens."""
        ...
