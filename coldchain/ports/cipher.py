"""Cipher: seals secrets by a key that lies outside the store."""

from typing import Protocol


class Cipher(Protocol):
    """`key_id`: the key by which is sealed now. Older keys are kept until `retire`."""

    @property
    def key_id(self) -> str: ...

    def seal(self, name: str, value: str) -> str:
        """The value as text that only this key opens, and only under this name."""
        ...

    def open(self, name: str, key_id: str, sealed: str) -> str:
        """The value. Raises Rejected where the key is missing, or where this was not sealed so."""
        ...

    def add_key(self) -> None:
        """Seal by a fresh key from now on; once it returns the key is on disk. Blocks."""
        ...

    def retire(self) -> None:
        """Forget all keys but the present one. Blocks."""
        ...
