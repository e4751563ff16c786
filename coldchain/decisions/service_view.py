"""service_view: what is told of a service: what the registry says of its endpoints, and the rotation makes of it."""

from collections.abc import Sequence

from coldchain.decisions.registration import OUTSIDE, is_numeric
from coldchain.model.base import Noun
from coldchain.model.registration import KnownEndpoint
from coldchain.model.rotation import Endpoint, ServiceRotation

UNROUTED = "no app on the platform has or uses this service"
OVERRULED = "it gets requests all the same: so many of its service fail that the checks are likely at fault"
UNLISTED = "the registry does not list it, and nobody said that it is gone"
UNREGISTERED = "the registry is told next"
FOLLOWING = "the gateways are told next"
NAMED = "its address is a name, and gateways ask no DNS"
PORTLESS = "it has no port"
TWICE = "it gets requests by another registration of its place"
STRANGER = "only instances of its app get requests under this name"
PAST = "no instance of its app is there"


class Told(Noun, frozen=True, kw_only=True):
    """An endpoint as it is told. `known` None: the registry does not list it. `in_rotation` None: the service is not in
    the rotation at all. `why`: what there is to say of its health and of its place in the rotation."""

    known: KnownEndpoint | None = None
    endpoint: Endpoint | None = None
    in_rotation: bool | None = None
    why: str = ""


def told(found: Sequence[KnownEndpoint], rotation: ServiceRotation | None) -> tuple[Told, ...]:
    """Every endpoint that the registry lists, and every one that serves and is not listed, which stays."""
    if rotation is None:
        return tuple(Told(known=one, why=_both(one.why, UNROUTED)) for one in found)
    places = {(one.address, one.port): one for one in rotation.endpoints}
    listed = {(one.address, one.port) for one in found}
    well = {(one.address, one.port) for one in found if one.status in ("passing", "warning")}
    ours = any(map(_is_ours, rotation.endpoints))
    unlisted = (one for place, one in places.items() if one.weight and place not in listed)
    return (
        *(_told(one, places.get((one.address, one.port)), well, ours=ours) for one in found),
        *(Told(endpoint=one, in_rotation=True, why=UNREGISTERED if _is_ours(one) else UNLISTED) for one in unlisted),
    )


def _is_ours(one: Endpoint) -> bool:
    return not one.instance_id.startswith(OUTSIDE)


def _told(one: KnownEndpoint, endpoint: Endpoint | None, well: set[tuple[str, int]], *, ours: bool) -> Told:
    if endpoint is None:
        return Told(known=one, in_rotation=False, why=_both(one.why, _left_out(one, ours=ours)))
    serves, passes = endpoint.weight > 0, one.status in ("passing", "warning")
    more = ""
    if serves and not passes:
        by_another = (one.address, one.port) in well
        more = TWICE if by_another else OVERRULED if one.status == "critical" else FOLLOWING
    elif passes and not serves:
        more = FOLLOWING
    return Told(known=one, endpoint=endpoint, in_rotation=serves, why=_both(one.why, more))


def _left_out(one: KnownEndpoint, *, ours: bool) -> str:
    if not is_numeric(one.address):
        return NAMED
    if not one.port:
        return PORTLESS
    if one.app_id is not None:
        return PAST
    return STRANGER if ours else FOLLOWING


def _both(*words: str) -> str:
    return "; ".join(filter(None, words))
