"""Stored documents: a noun with its kind and the version of the schema it was written in."""

from typing import Any, TypeVar

import msgspec

from coldchain.model.base import Noun
from coldchain.model.errors import ColdchainError

SCHEMA = 1
N = TypeVar("N", bound=Noun)


class _Document(msgspec.Struct, frozen=True):
    schema: int
    kind: str
    value: msgspec.Raw


class UnreadableDocument(ColdchainError):  # noqa: N818
    """The store holds something this version of Coldchain cannot read: it must not be guessed at."""


def encode(noun: Noun) -> bytes:
    """The stored form of a noun."""
    document: dict[str, Any] = {"schema": SCHEMA, "kind": type(noun).__name__, "value": noun}
    return msgspec.json.encode(document)


def decode(stored: bytes, kind: type[N], origin: str = "stored") -> N:
    """The noun of this kind. Raises UnreadableDocument for a newer schema, another kind, or damage. `origin`: how it
    came here."""
    try:
        document = msgspec.json.decode(stored, type=_Document)
        if document.schema > SCHEMA:
            raise UnreadableDocument(
                f"a {origin} {document.kind} has schema {document.schema}; this version knows up to {SCHEMA}",
                todo="Start the newer version of Coldchain that wrote it.",
            )
        if document.kind != kind.__name__:
            raise UnreadableDocument(f"a {origin} {document.kind} stands where a {kind.__name__} belongs")
        return msgspec.json.decode(document.value, type=kind)
    except msgspec.MsgspecError as error:
        raise UnreadableDocument(f"a {origin} {kind.__name__} is damaged: {error}") from error
