"""callers: who asks the API: tokens made, revoked and recognised, and a name with its password."""

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from typing import Any

from coldchain.control.credentials import Credentials
from coldchain.control.state import State
from coldchain.documents.keys import Record
from coldchain.documents.rules import ID_SEGMENT
from coldchain.model.caller import EVERYTHING, LOCAL, Caller, Role, Token
from coldchain.model.errors import Conflict, InvalidDocument, NotFound, Problem
from coldchain.ports.clock import Clock

PREFIX = "cct"
"""Every token begins with it, so that one that lies somewhere by mistake is known for what it is."""
SECRET_BYTES = 32
ID_BYTES = 6
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
LIFE_SECONDS_MAX = 10 * 366 * 86400.0


class Callers:
    """Tokens are 256 random bits: nobody guesses one, so SHA-256 hides them well, and a slow hash would only cost.
    `credentials`: beside the tokens, who asks by name and password is an admin."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._changed = asyncio.Event()
        self.credentials: Credentials | None = None
        state.on_commit(self._committed)

    @property
    def asked(self) -> bool:
        """Whether callers are asked who they are. One token is enough, also one whose time is over: what was closed
        does not open by itself."""
        return self.credentials is not None or bool(self._state.tokens)

    @property
    def any_admin(self) -> bool:
        """Whether some caller can come in who may do everything."""
        return self.credentials is not None or any(
            one.role == "admin" and self._current(one) for one in self._state.tokens.values()
        )

    async def create(
        self, name: str, role: Role, group: str, life_seconds: float | None, caller: str
    ) -> tuple[Token, str]:
        """A new token, and its text, which nobody can ask for again. Raises InvalidDocument, Conflict."""
        if problems := _problems(name, role, group, life_seconds):
            raise InvalidDocument(problems)
        async with self._state.lock:
            await self._state.fresh()
            if any(one.name == name for one in self._state.tokens.values()):
                raise Conflict(f"There is a token '{name}'", todo="Revoke it first, or choose another name.")
            if role != "admin" and not self.any_admin:
                raise Conflict(
                    "The first token must be an admin's: from then on everybody is asked for one",
                    todo="Make one with the role admin, then this one.",
                )
            now, token_id = self._clock.now(), secrets.token_hex(ID_BYTES)
            text = f"{PREFIX}_{token_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
            token = Token(
                id=token_id,
                name=name,
                role=role,
                group=group,
                digest=_digest(text),
                created_at=now,
                expires_at=None if life_seconds is None else now + life_seconds,
                cause=f"made by {caller}",
            )
            await self._state.commit([token])
            return token, text

    async def revoke(self, name: str, *, keep_admin: bool) -> None:
        """From now on the token is nobody's; its streams end. Raises NotFound; Conflict for the last one of an admin
        while there are others, or with `keep_admin` in any case."""
        async with self._state.lock:
            await self._state.fresh()
            found = next((one for one in self._state.tokens.values() if one.name == name), None)
            if found is None:
                raise NotFound(f"There is no token '{name}'", todo="`coldchain token list` has all.")
            others = [one for one in self._state.tokens.values() if one.id != found.id]
            admins = [one for one in others if one.role == "admin" and self._current(one)]
            if (others or keep_admin) and not admins and self.credentials is None:
                todo = "Make another admin's token first" + ("." if keep_admin else ", or revoke the others first.")
                raise Conflict(f"'{name}' is the last token of an admin", todo=todo)
            await self._state.commit([], [found])

    def of_token(self, text: str) -> Caller | None:
        """Whose token it is; None for one that is not known, or not any more."""
        parts = text.split("_", 2)
        token = self._state.tokens.get(parts[1]) if len(parts) == 3 and parts[0] == PREFIX else None
        if token is None or not hmac.compare_digest(token.digest, _digest(text)) or not self._current(token):
            return None
        return Caller(name=token.name, role=token.role, group=token.group, token=token.id)

    async def ended(self, caller: Caller, *, asked: bool) -> None:
        """Returns once the caller may not go on: his token is revoked or its time is over; or he came when nobody was
        asked (not `asked`), and now everybody is."""
        while True:
            changed = self._changed
            wait: float | None = None
            if caller.token:
                token = self._state.tokens.get(caller.token)
                if token is None or not self._current(token):
                    return
                wait = None if token.expires_at is None else token.expires_at - self._clock.now()
            elif self.asked and not asked:
                return
            await self._pass(changed, wait)

    async def _pass(self, changed: asyncio.Event, seconds: float | None) -> None:
        """Until tokens have changed, or so much time has passed."""
        if seconds is None:
            await changed.wait()
            return
        waits: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(changed.wait()),
            asyncio.ensure_future(self._clock.sleep(seconds)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _current(self, token: Token) -> bool:
        return token.expires_at is None or self._clock.now() < token.expires_at

    def _committed(self, pairs: Sequence[tuple[Record | None, Record | None]]) -> None:
        if any(isinstance(after or before, Token) for before, after in pairs):
            self._changed.set()
            self._changed = asyncio.Event()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _problems(name: str, role: Role, group: str, life_seconds: float | None) -> list[Problem]:
    found = []
    if not NAME.fullmatch(name) or name == LOCAL.name:
        reason = f"must be 1 to 64 letters, digits and `_.@-`, the first a letter or a digit, and not {LOCAL.name!r}"
        found.append(Problem(path="/name", reason=reason))
    if group != EVERYTHING and not (
        group.startswith("/") and all(ID_SEGMENT.fullmatch(part) for part in group[1:].split("/"))
    ):
        found.append(Problem(path="/group", reason="must be the id of a group, such as /shop, or / for everything"))
    elif role == "owner" and group == EVERYTHING:
        reason = "an owner needs a group of his own; who owns everything has the role operator"
        found.append(Problem(path="/group", reason=reason))
    elif role in ("operator", "admin") and group != EVERYTHING:
        reason = f"the role {role} is for everything; for one group there is the role owner"
        found.append(Problem(path="/group", reason=reason))
    if life_seconds is not None and not 0 < life_seconds <= LIFE_SECONDS_MAX:
        found.append(Problem(path="/expiresAfterSeconds", reason="must be more than 0 and at most ten years"))
    return found
