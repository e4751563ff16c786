"""KeySource: brings the public keys of who issues tokens (JWKS) from where a definition says."""

from typing import Protocol


class KeySource(Protocol):
    async def fetch(self, url: str) -> bytes:
        """What is there now. Raises `Unavailable` with the reason in words where nothing is, or nothing that may be
        taken: no answer, another status than 200, too much, an address that nobody allowed."""
        ...

    async def close(self) -> None: ...
