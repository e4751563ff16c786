"""firewall: which requests of a route look so much like an attack that the gateway tells of them, or refuses them."""

from typing import Annotated, Literal

from msgspec import Meta

from coldchain.model.base import Noun

FirewallMode = Literal["off", "detect", "block"]
RuleSet = Literal["protocol", "scanners", "lfi", "rfi", "rce", "php", "nodejs", "xss", "sqli", "sessions", "java"]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
INSPECTED_BYTES = 16_384
"""The longer, the more time the worst body takes of a worker of the gateway, which does nothing else meanwhile."""
INSPECTED_BYTES_MAX = 131_072


class FirewallExclusion(Noun, frozen=True, kw_only=True):
    """A rule of the core rule set that is not asked, or not about one parameter, header or cookie."""

    rule: Annotated[int, Meta(ge=910_000, le=948_999)]
    parameter: str | None = None
    header: str | None = None
    cookie: str | None = None


class Firewall(Noun, frozen=True, kw_only=True):
    """How requests of a route are looked at. `detect` tells of what would be refused and lets it pass.

    `sets`: the kinds of attack that are looked for, all if empty. `paranoia`: the higher, the more is suspicious.
    `threshold`: a request is refused when the rules that it breaks have this score together; a critical one has 5.
    `methods`: any other breaks a rule. `inspected_bytes_max`: a request with a longer body is refused.
    """

    mode: FirewallMode = "block"
    sets: Annotated[tuple[RuleSet, ...], Meta(max_length=16)] = ()
    paranoia: Annotated[int, Meta(ge=1, le=4)] = 1
    threshold: Annotated[int, Meta(ge=1, le=1000)] = 5
    exclusions: Annotated[tuple[FirewallExclusion, ...], Meta(max_length=100)] = ()
    methods: Annotated[tuple[str, ...], Meta(max_length=32)] = METHODS
    inspected_bytes_max: Annotated[int, Meta(ge=0, le=INSPECTED_BYTES_MAX)] = INSPECTED_BYTES
