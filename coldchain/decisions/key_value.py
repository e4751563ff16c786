"""key_value: what an operation on keys does, if it succeeds; Consul's rules of compare-and-set and of locks."""

from collections.abc import Collection, Iterator, Mapping
from typing import Literal

import msgspec

from coldchain.model.base import Noun
from coldchain.model.catalog import CatalogSession, KeyValue

Verb = Literal["set", "cas", "lock", "unlock", "delete", "delete-tree", "delete-cas"]
Keys = dict[str, KeyValue | None]
"""Changed keys; None: deleted."""


class Operation(Noun, frozen=True, kw_only=True):
    """One change. `index`: for cas and delete-cas the modify index the key must have, 0: absent."""

    verb: Verb
    key: str
    value: bytes = b""
    flags: int = 0
    index: int = 0
    session: str = ""


def carry_out(operation: Operation, keys: Mapping[str, KeyValue], delayed: Collection[str]) -> Keys | None:
    """The changed keys; None where the operation is refused. `delayed`: keys that nobody may lock yet."""
    known = keys.get(operation.key)
    match operation.verb:
        case "delete":
            return {operation.key: None} if known else {}
        case "delete-tree":
            return {key: None for key in keys if key.startswith(operation.key)}
        case "delete-cas":
            if known is None:
                return {}
            return {operation.key: None} if known.modify_index == operation.index else None
        case "set":
            return _written(operation, known)
        case "cas":
            return _written(operation, known) if operation.index == (known.modify_index if known else 0) else None
        case "lock":
            return _locked(operation, known, delayed)
        case "unlock":
            if known is None or known.session != operation.session:
                return None
            return _written(operation, msgspec.structs.replace(known, session=""))


def _written(operation: Operation, known: KeyValue | None) -> Keys:
    before = known or KeyValue(key=operation.key)
    return {operation.key: msgspec.structs.replace(before, value=operation.value, flags=operation.flags)}


def _locked(operation: Operation, known: KeyValue | None, delayed: Collection[str]) -> Keys | None:
    before = known or KeyValue(key=operation.key)
    if before.session == operation.session:
        return _written(operation, before)
    if before.session or operation.key in delayed:
        return None
    locked = msgspec.structs.replace(before, session=operation.session, lock_index=before.lock_index + 1)
    return _written(operation, locked)


def released(session: CatalogSession, keys: Mapping[str, KeyValue]) -> Keys:
    """What becomes of the keys that a session held when it ends."""
    held = (one for one in keys.values() if one.session == session.id)
    if session.behavior == "delete":
        return {one.key: None for one in held}
    return {one.key: msgspec.structs.replace(one, session="") for one in held}


def folded(keys: Collection[str], prefix: str, separator: str) -> Iterator[str]:
    """Keys in their order, each cut after the first separator that follows the prefix, and then named once."""
    last = None
    for key in keys:
        place = key.find(separator, len(prefix)) if separator else -1
        name = key if place < 0 else key[: place + len(separator)]
        if name != last:
            yield name
        last = name
