"""service_view: what is told of a service: what the registry says of its endpoints, and the rotation makes of it."""

from collections.abc import Mapping, Sequence

import msgspec

from coldchain.decisions.registration import OUTSIDE, is_numeric
from coldchain.model.base import Noun
from coldchain.model.instance import Instance
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
OUTSIDE_ROTATION = "its instance is {phase}"


class Told(Noun, frozen=True, kw_only=True):
    """An endpoint as it is told. `known` None: the registry does not list it. `in_rotation` None: the service is not in
    the rotation at all. `why`: what there is to say of its health and of its place in the rotation."""

    known: KnownEndpoint | None = None
    endpoint: Endpoint | None = None
    in_rotation: bool | None = None
    why: str = ""


def told(
    found: Sequence[KnownEndpoint], rotation: ServiceRotation | None, owners: Mapping[str, Instance] | None = None
) -> tuple[Told, ...]:
    """Every endpoint that the registry lists, and every one that serves and is not listed, which stays. `owners`: the
    instances that registered themselves, by the ids of their registrations."""
    owners = owners or {}
    found = [_owned(one, owners.get(one.id)) for one in found]
    if rotation is None:
        return tuple(Told(known=one, why=_both(one.why, UNROUTED)) for one in found)
    places = {(one.address, one.port): one for one in rotation.endpoints}
    by_instance = {one.instance_id: one for one in rotation.endpoints}
    well = {(one.address, one.port) for one in found if one.status in ("passing", "warning")}
    ours = any(map(_is_ours, rotation.endpoints))
    result: list[Told] = []
    for one in found:
        owner = owners.get(one.id)
        # One that registered itself may have done so at its port on the agent.
        endpoint = by_instance.get(owner.id) if owner is not None else places.get((one.address, one.port))
        result.append(_told(one, endpoint, well, ours=ours, owner=owner))
    listed = {each.endpoint.instance_id for each in result if each.endpoint is not None}
    unlisted = (one for one in rotation.endpoints if one.weight and one.instance_id not in listed)
    result += (
        Told(endpoint=one, in_rotation=True, why=UNREGISTERED if _is_ours(one) else UNLISTED) for one in unlisted
    )
    return tuple(result)


def _owned(one: KnownEndpoint, owner: Instance | None) -> KnownEndpoint:
    return one if owner is None else msgspec.structs.replace(one, app_id=owner.app_id)


def _is_ours(one: Endpoint) -> bool:
    return not one.instance_id.startswith(OUTSIDE)


def _told(
    one: KnownEndpoint,
    endpoint: Endpoint | None,
    well: set[tuple[str, int]],
    *,
    ours: bool,
    owner: Instance | None,
) -> Told:
    if endpoint is None:
        words = _left_out(one, ours=ours) if owner is None else OUTSIDE_ROTATION.format(phase=owner.phase)
        return Told(known=one, in_rotation=False, why=_both(one.why, words))
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
