"""event: something that happened, with a sequence id that is never given twice."""

from typing import Any

from coldchain.model.base import Noun


class Event(Noun, frozen=True, kw_only=True):
    """`sequence` grows by one within a controller's term; `at` in seconds since the epoch; `body` is Marathon's."""

    sequence: int
    type: str
    at: float
    cause: str
    body: dict[str, Any] = {}
