"""The shapes of what is asked and answered about consumers. Nouns for the document alone, as in `answers`."""

from typing import Annotated, Literal

from msgspec import Meta

from coldchain.documents.openapi.answers import Time
from coldchain.model.base import Noun
from coldchain.model.consumer import KeyUse

_Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$")]


class ConsumerKeyAnswer(Noun, frozen=True, kw_only=True):
    """What is known of a key, never itself. `expiresAt` null: never."""

    id: str
    use: KeyUse
    created_at: Time
    expires_at: Time | None
    expired: bool
    cause: str


class NewConsumerKey(ConsumerKeyAnswer, frozen=True, kw_only=True):
    """A key, and itself, this once."""

    key: str


class ConsumerAnswer(Noun, frozen=True, kw_only=True):
    """Who calls through the gateways. `groups`: what routes may ask for instead of his name."""

    name: str
    groups: tuple[str, ...]
    keys: tuple[ConsumerKeyAnswer, ...]
    changed_at: Time
    cause: str


class Consumers(Noun, frozen=True, kw_only=True):
    """All consumers."""

    consumers: tuple[ConsumerAnswer, ...]


class KeyOfSet(Noun, frozen=True, kw_only=True):
    """A public key by how tokens name it; `id` null: not at all."""

    id: str | None
    algorithm: Literal["RS256", "ES256"]


class KeySetAnswer(Noun, frozen=True, kw_only=True):
    """The keys that are in use from an address. `changedAt` null: none yet. `fetchedAt` null: not since this controller
    began. `problem`: why the last try failed; empty where it did not."""

    url: str
    keys: tuple[KeyOfSet, ...]
    changed_at: Time | None
    fetched_at: Time | None
    problem: str


class KeySets(Noun, frozen=True, kw_only=True):
    """All of them."""

    key_sets: tuple[KeySetAnswer, ...]


class ConsumerRequest(Noun, frozen=True, kw_only=True):
    """What a consumer is to be."""

    groups: Annotated[tuple[_Name, ...], Meta(max_length=50)] = ()


class ConsumerKeyRequest(Noun, frozen=True, kw_only=True):
    """What key it is to be. `use` api: sent along; hmac, jwt: a secret that signs requests or tokens.
    `expiresAfterSeconds` null: never."""

    use: KeyUse = "api"
    expires_after_seconds: Annotated[float, Meta(gt=0)] | None = None
