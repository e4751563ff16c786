"""consumer: who calls through the gateway, as it is kept."""

from typing import Literal

from coldchain.model.base import Noun

KeyUse = Literal["api", "hmac", "jwt"]
"""What a consumer shows: an API key, a signature of the request, or a token (JWT, HS256) signed by himself."""


class ConsumerKey(Noun, frozen=True, kw_only=True):
    """One of the things by which a consumer is known; the text of it is shown once. `digest`: of an API key, SHA-256 in
    hexadecimal digits; of the others the gateways need the text, which is kept sealed as a secret. Times in seconds
    since the epoch; `expires_at` None: never."""

    id: str
    use: KeyUse
    digest: str = ""
    created_at: float
    expires_at: float | None
    cause: str


class ConsumerRecord(Noun, frozen=True, kw_only=True):
    """A consumer with his keys, of which several hold at once. `groups`: what routes may ask for instead of names."""

    name: str
    groups: tuple[str, ...] = ()
    keys: tuple[ConsumerKey, ...] = ()
    changed_at: float
    cause: str


def secret_name(consumer: str, key_id: str) -> str:
    """Under which name a secret of a consumer is kept; no secret of an app has a slash in its name."""
    return f"consumer/{consumer}/{key_id}"
