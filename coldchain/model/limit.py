"""limit: how much a route, a service or a consumer may have at once, and when an instance is left alone for a while."""

from typing import Annotated, Literal

from msgspec import Meta

from coldchain.model.base import Noun

LimitedBy = Literal["route", "service", "address", "consumer"]
Importance = Literal["low", "normal", "high"]
"""What is refused first when a gateway has too much to do; `high` never is."""


class LimitQueue(Noun, frozen=True, kw_only=True):
    """Where requests above a concurrency wait: at most `length` of them, each at most `seconds`."""

    length: Annotated[int, Meta(ge=1, le=1000)]
    seconds: Annotated[float, Meta(gt=0, le=60)]


class Limit(Noun, frozen=True, kw_only=True):
    """Either `rate` or `concurrency`.

    `rate`: requests in `per_seconds`, of which `burst` may come at once (the rate, if not given); `show_remaining`:
    every answer says how many still may. `concurrency`: requests that are open at once. `by`: what is counted together:
    all of the route; of all routes of its service that have such a limit; of one client address; of one consumer, or
    where nobody is known of the address.
    """

    rate: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None
    per_seconds: Annotated[float, Meta(ge=0.1, le=86_400)] = 1.0
    burst: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    concurrency: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    by: LimitedBy = "route"
    queue: LimitQueue | None = None
    show_remaining: bool = False


class LimitUse(Noun, frozen=True, kw_only=True):
    """What a gateway says of one of its limits. `most`: what may be open, or come in a second; `single`: of all
    requests together, else of each address or consumer. `asked`, `refused`: counts that only grow. `held`, `waiting`:
    requests that are open now, of a single limit of concurrency. `share`: by which part of it the gateway works."""

    most: float
    rate: bool = False
    single: bool = True
    asked: int = 0
    refused: int = 0
    held: int = 0
    waiting: int = 0
    share: float = 1.0


class Ejection(Noun, frozen=True, kw_only=True):
    """When an instance gets no requests for a while because those it had went wrong: answers with a status from 500,
    and none at all.

    `consecutive_errors`: so many one after the other. `error_share`: this share of those within `window_seconds`, if
    they are `requests_min` or more. `seconds`: how long, twice that the next time and so on up to `seconds_max`.
    `instances_share_max`: never more than this share of the ready instances.
    """

    consecutive_errors: Annotated[int, Meta(ge=1, le=1000)] = 5
    error_share: Annotated[float, Meta(gt=0, le=1)] | None = None
    window_seconds: Annotated[float, Meta(ge=0.1, le=600)] = 10.0
    requests_min: Annotated[int, Meta(ge=1, le=1_000_000)] = 20
    seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 5.0
    seconds_max: Annotated[float, Meta(ge=0.1, le=86_400)] = 300.0
    instances_share_max: Annotated[float, Meta(ge=0, le=1)] = 0.5


class LimitsUse(Noun, frozen=True, kw_only=True):
    """What a gateway says of all its limits, by name."""

    limits: dict[str, LimitUse] = {}
