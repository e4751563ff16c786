"""DubboRegistry: where providers of Dubbo are announced, and where their consumers are told to leave them."""

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from coldchain.model.dubbo import Announced, Announcement


class DubboRegistry(Protocol):
    """Raises `Unavailable` when it does not answer: what stands there is then unknown, never gone."""

    def watch(self, on_trouble: Callable[[str], None]) -> AsyncGenerator[Announced, None]:
        """All that is announced, and what of it this controller has switched off: now, and each time it changes, for
        ever. While it does not answer nothing comes, and `on_trouble` is told why; with no words when it does again. To
        be closed by who takes it."""
        ...

    async def switch_off(self, one: Announcement) -> None:
        """Have consumers leave a provider. Of one that is switched off: nothing happens. Raises `Rejected` too."""
        ...

    async def withdraw(self, one: Announcement) -> None:
        """Take a provider's announcement away in its place. Of one that is not there: nothing happens. Raises
        `Rejected` too."""
        ...

    async def switch_on(self, one: Announcement) -> None:
        """Take that back. Of one that is not switched off: nothing happens. Raises `Rejected` too."""
        ...

    async def close(self) -> None: ...
