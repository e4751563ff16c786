"""gray: which requests of a service go to a new version: the rules of a definition, and how far a rollout is."""

from typing import Annotated, Literal

from msgspec import Meta

from coldchain.model.base import Noun

GrayKind = Literal["header", "cookie", "users", "hash", "weight"]
Asker = Literal["header", "cookie", "consumer", "address"]
Side = Literal["gray", "normal"]
GrayState = Literal["open", "promoted", "aborted"]

RULES_MAX = 32
VALUES_MAX = 1000
GRAY = "gray"
"""The mark of those who give no name: what is gray at one service stays gray at all."""


class GrayRule(Noun, frozen=True, kw_only=True):
    """What decides about a request. The first rule that fits does; where none fits it goes to the normal version.

    `header`, `cookie`: the one called `name` is there, and has one of `values` where there are any. `users`: who asks
    is one of `values`. `hash`: who asks is within the share, always the same ones, and with a greater share those
    before them still. `weight`: the share of all; `sticky`: of all consumers, who keep a cookie of the gateway's.

    `who`: by what users and hashes know who asks: a header or cookie called `name`, the name of a known consumer, or
    the address. `to`: where such requests go, of rules without a share. `strict`: there or nowhere, 503 while nobody
    serves there.
    """

    by: GrayKind
    name: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    values: Annotated[tuple[Annotated[str, Meta(max_length=255)], ...], Meta(max_length=VALUES_MAX)] = ()
    who: Asker | None = None
    to: Side = "gray"
    sticky: bool = False
    strict: bool = False


GrayRules = Annotated[tuple[GrayRule, ...], Meta(max_length=RULES_MAX)]
BY_WEIGHT: tuple[GrayRule, ...] = (GrayRule(by="weight"),)


class GrayPlan(Noun, frozen=True, kw_only=True):
    """That the steps of a rollout are shares of the requests: all instances of the new version stand beside the old
    ones and get what the rules give them. `mark`: what the header says of gray requests, so that they are gray at every
    service whose release has the same mark.

    Of a service that others run and register there is no rollout: `version` says which of their endpoints are the new
    ones, by what they registered, and `share` how many of the requests these get, for as long as it stands there.
    """

    mark: Annotated[str, Meta(min_length=1, max_length=63)] = GRAY
    rules: GrayRules = BY_WEIGHT
    version: Annotated[str, Meta(min_length=1, max_length=63)] | None = None
    share: Annotated[float, Meta(ge=0, le=1)] | None = None


class GrayRollout(Noun, frozen=True, kw_only=True):
    """What the gateways are told while a gray rollout runs. `version`: the configuration that is new; `normal`: the one
    that it takes the place of; empty: all others. `share`: of all requests, 0 to 1. `promoted`: all go to the new
    version; `aborted`: none do."""

    version: str
    normal: str = ""
    mark: str = GRAY
    share: float = 0.0
    rules: tuple[GrayRule, ...] = ()
    state: GrayState = "open"
