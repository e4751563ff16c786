"""Address book: which addresses this machine's containers have, and which they can get."""

from collections.abc import Mapping
from typing import Protocol

from coldchain.model.pool import Pool


class AddressBook(Protocol):
    """Addresses of IPv4 and IPv6 without a length. Each has one attachment at most, and every call may be repeated.
    Raises Conflict for an address that somebody else has, Rejected for one that cannot be had, Unavailable where the
    store would have to be asked and is away."""

    async def give(self, pool: str, attachment: str, wanted: str | None) -> str:
        """An address of the pool, by its name, that nobody has; `wanted`: this one. `attachment` empty: Docker asks for
        an address before it says for what, and it is bound later."""
        ...

    async def bind(self, address: str, attachment: str) -> None:
        """It is this attachment's from now on. Raises Conflict where it is not given, or bound to another one."""
        ...

    async def release(self, address: str, attachment: str | None = None) -> None:
        """No error if it is free. Raises Conflict where another attachment than this has it; None: whoever has it."""
        ...

    def pool_of(self, cidr: str) -> Pool | None: ...

    async def known(self) -> Mapping[str, str]:
        """The attachment of each address that is given on this machine, empty for one that is not bound yet."""
        ...
