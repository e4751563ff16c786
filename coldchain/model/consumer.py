"""consumer: who calls through the gateway, as it is kept."""

from typing import Literal

from coldchain.model.base import Noun

KeyUse = Literal["api", "hmac", "jwt"]
"""What a consumer shows: an API key, a signature of the request, or a token (JWT, HS256) that he signed himself."""


class ConsumerKey(Noun, frozen=True, kw_only=True):
    """One of the things by which a consumer is known; its text is shown once.

    `digest`: of an API key, SHA-256 in hexadecimal digits. Of the others gateways need the text: `sealed` is it as only
    the holder of key `sealed_by` can read it. Times in seconds since the epoch; `expires_at` None: never.
    """

    id: str
    use: KeyUse
    digest: str = ""
    sealed: str = ""
    sealed_by: str = ""
    created_at: float
    expires_at: float | None
    cause: str


class KeptConsumer(Noun, frozen=True, kw_only=True):
    """A consumer with his keys, several of which hold at once. `groups`: what routes may ask for instead of names."""

    name: str
    groups: tuple[str, ...] = ()
    keys: tuple[ConsumerKey, ...] = ()
    changed_at: float
    cause: str
