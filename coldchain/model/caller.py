"""caller: who asks the API, and what he may do there."""

from typing import Literal

from coldchain.model.base import Noun

Role = Literal["viewer", "operator", "owner", "admin"]
"""viewer reads; operator changes all but callers and the keys of secrets; owner is an operator of one group; admin may
do everything."""

EVERYTHING = "/"
"""The group that all apps are in."""


class Caller(Noun, frozen=True, kw_only=True):
    """Who asks: `name` stands in causes and in the audit. `group`: he sees and changes only what is in it.

    `token`: the id of the token he showed; empty for who came another way.
    """

    name: str
    role: Role
    group: str = EVERYTHING
    token: str = ""


LOCAL = Caller(name="local", role="admin")
"""Whoever reaches a platform that asks nobody who he is, or its socket in the data folder."""


class Token(Noun, frozen=True, kw_only=True):
    """An API token as it is kept. `digest`: SHA-256 of the whole text of the token in hexadecimal digits; the text is
    shown once and kept nowhere. Times in seconds since the epoch; `expires_at` None: never."""

    id: str
    name: str
    role: Role
    group: str
    digest: str
    created_at: float
    expires_at: float | None
    cause: str
