"""credentials: one name with its password, as HTTP's basic authentication sends them with every request."""

import asyncio
import hashlib
import hmac
import secrets

from coldchain.model.caller import Caller
from coldchain.model.errors import InvalidDocument, Problem, Unavailable

COST, BLOCK_SIZE, PARALLEL = 2**14, 8, 1
"""scrypt's own numbers: about 50 ms and 16 MiB for each guess."""
WAITING_MAX = 16
"""Guesses that wait for their turn: each would cost its asker nothing and us 50 ms."""


class Credentials:
    """The password is kept as scrypt makes it. One that was right is known again by a keyed digest of this process, so
    that only guesses cost; they go one at a time."""

    def __init__(self, text: str) -> None:
        """`text`: NAME:PASSWORD. Raises InvalidDocument. Blocks for the time of one guess."""
        name, colon, password = text.partition(":")
        if not (name and colon and password) or not name.isprintable():
            reason = "must be NAME:PASSWORD, neither of them empty"
            raise InvalidDocument([Problem(path="--http-credentials", reason=reason)])
        self._caller = Caller(name=name, role="admin")
        self._salt, self._key = secrets.token_bytes(16), secrets.token_bytes(32)
        self._hash = self._slow(text.encode())
        self._known = b""
        self._one_at_a_time = asyncio.Lock()
        self._waiting = 0

    def known(self, given: bytes) -> Caller | None:
        """Whose NAME:PASSWORD it is, if it was recognised before; costs next to nothing."""
        return self._caller if hmac.compare_digest(self._quick(given), self._known) else None

    async def recognise(self, given: bytes) -> Caller | None:
        """Whose NAME:PASSWORD it is. Raises Unavailable when too many guess at once."""
        if self._waiting >= WAITING_MAX:
            raise Unavailable("Too many passwords are being tried", todo="Try again.")
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                right = hmac.compare_digest(await asyncio.to_thread(self._slow, given), self._hash)
        finally:
            self._waiting -= 1
        if right:
            self._known = self._quick(given)
        return self._caller if right else None

    def _slow(self, given: bytes) -> bytes:
        return hashlib.scrypt(given, salt=self._salt, n=COST, r=BLOCK_SIZE, p=PARALLEL)

    def _quick(self, given: bytes) -> bytes:
        return hmac.digest(self._key, given, "sha256")
