"""Bundles: the recorded inputs of an app's decisions, to be decided on again elsewhere and later."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from coldchain.decisions.actions import Action
from coldchain.decisions.reconcile import reconcile
from coldchain.decisions.view import View
from coldchain.model.base import Noun
from coldchain.model.errors import MalformedDocument

SCHEMA = 1

ActionDocument = dict[str, Any]
"""An action as JSON has it, with its name as `action`."""


class Recorded(Noun, frozen=True, kw_only=True):
    """One decision: at what time (epoch seconds), on what, and what was decided."""

    at: float
    view: View
    actions: tuple[ActionDocument, ...]


class Bundle(Noun, frozen=True, kw_only=True):
    """The last decisions on an app, the oldest first. `coldchain`: the version that made them. It has all that the
    app's definitions have, values of variables included."""

    schema: int
    coldchain: str
    app_id: str
    made_at: float
    decisions: tuple[Recorded, ...]


class Replayed(Noun, frozen=True, kw_only=True):
    """A recorded decision beside what this version of Coldchain decides on the same."""

    at: float
    recorded: tuple[ActionDocument, ...]
    today: tuple[ActionDocument, ...]

    @property
    def same(self) -> bool:
        return self.recorded == self.today


class _Head(msgspec.Struct):
    schema: int
    coldchain: str


def action_documents(actions: Iterable[Action]) -> tuple[ActionDocument, ...]:
    """The actions as JSON has them."""
    return tuple(
        {"action": type(action).__name__, **msgspec.json.decode(msgspec.json.encode(action))} for action in actions
    )


def encode_bundle(bundle: Bundle) -> bytes:
    """As JSON."""
    return msgspec.json.encode(bundle)


def decode_bundle(document: bytes) -> Bundle:
    """Raises MalformedDocument for what is no bundle, or one that this version cannot read."""
    try:
        head = msgspec.json.decode(document, type=_Head)
        if head.schema > SCHEMA:
            raise MalformedDocument(
                f"The bundle has schema {head.schema}, this version knows up to {SCHEMA}",
                todo=f"Replay it with Coldchain {head.coldchain}, which made it.",
            )
        return msgspec.json.decode(document, type=Bundle)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MalformedDocument(f"This is no bundle: {error}", todo="`coldchain bundle APP` makes one.") from error


def replay(bundle: Bundle) -> Iterator[Replayed]:
    """Decide on everything again, with today's code."""
    for one in bundle.decisions:
        today = action_documents(reconcile(one.view, one.at).actions)
        yield Replayed(at=one.at, recorded=one.actions, today=today)
