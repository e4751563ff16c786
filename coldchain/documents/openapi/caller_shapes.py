"""The shapes of what is asked and answered about callers. Nouns for the document alone, as in `answers`."""

from typing import Annotated

from msgspec import Meta

from coldchain.documents.audit import AuditEntry
from coldchain.documents.openapi.answers import Time
from coldchain.model.base import Noun
from coldchain.model.caller import EVERYTHING, Role


class CallerAnswer(Noun, frozen=True, kw_only=True):
    """Who asks."""

    name: str
    role: Role
    group: str


class TokenAnswer(Noun, frozen=True, kw_only=True):
    """What is known of a token, never itself. `expiresAt` null: never."""

    name: str
    role: Role
    group: str
    created_at: Time
    expires_at: Time | None
    expired: bool
    cause: str


class NewToken(TokenAnswer, frozen=True, kw_only=True):
    """A token, and itself, this once."""

    token: str


class Tokens(Noun, frozen=True, kw_only=True):
    """All tokens."""

    tokens: tuple[TokenAnswer, ...]


class AuditEntryAnswer(AuditEntry, frozen=True, kw_only=True):
    """One request that changed something, or tried to. Of who did not say who he is `caller` is empty, `role` null."""

    at: Time  # type: ignore[assignment]


class Audit(Noun, frozen=True, kw_only=True):
    """Who did what, the latest first."""

    entries: tuple[AuditEntryAnswer, ...]


class TokenRequest(Noun, frozen=True, kw_only=True):
    """Who gets a token: `group` /: everything. `expiresAfterSeconds` null: never."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$")]
    role: Role
    group: str = EVERYTHING
    expires_after_seconds: Annotated[float, Meta(gt=0)] | None = None
