"""rotation: which endpoints get traffic, as one versioned object; and when every gateway knows it.

The rotation is a pure function of the instances' phases and their health. Nothing but a decision to stop an instance
removes its endpoint: where probes would take the last one out, it stays in.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

import msgspec
from msgspec import UNSET

from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.gateway_resource import Resource
from coldchain.model.instance import Instance
from coldchain.model.rotation import Endpoint, GatewayReport, Rotation, RotationUpdate, RouteRule, ServiceRotation

T = TypeVar("T")

IN_ROTATION = ("entering", "serving")
LEAVING = ("draining", "closing", "stopping")


class GatewaySession(Noun, frozen=True, kw_only=True):
    """What the controller knows of a gateway: what it applied, what is open there, until when its lease runs
    (seconds on the controller's monotonic clock). After a start every known gateway has a whole lease, applied 0.
    `caught_up_at`: the revision that it must work by to be in touch, after it was out of touch."""

    gateway: str
    place: str = ""
    applied: int
    lease_until: float
    in_flight: dict[str, int] = {}
    streams: dict[str, int] = {}
    cut: dict[str, int] = {}
    ejected: tuple[str, ...] = ()
    caught_up_at: int = 0


def services(app: App) -> dict[str, int]:
    """The services an app has in the rotation with the index of the port behind each: one per port that routes name.
    None without a port: there would be nothing to send requests to."""
    name = app.service_name
    if name is None:
        return {}
    indices = sorted({route.port_index for route in app.routes}) or [0]
    named = {name if index == indices[0] else f"{name}.{index}": index for index in indices}
    return {name: index for name, index in named.items() if index < len(app.ports)}


def joined(own: App, wanted: App | None) -> dict[str, int]:
    """The services in which an instance made from `own` is listed while `wanted` is aimed at: its own, by its own
    ports; and where the service got a new name that one too, so that routes to it find those that still serve."""
    found = services(own)
    known = dict(found)
    for position, (name, index) in enumerate(services(wanted).items() if wanted and known else ()):
        if index in known.values():
            found.setdefault(name, index)
        elif position == 0:
            found.setdefault(name, next(iter(known.values())))
    return found


def endpoints(
    wanted: App | None,
    instances: Iterable[tuple[Instance, App]],
    unhealthy: Collection[str],
    marked: Collection[str] = (),
) -> dict[str, tuple[Endpoint, ...]]:
    """The endpoints of an app's services, in the order of instance ids; `since` is still 0. `instances`: each with the
    definition it was made from.

    Probes take no more than half of the instances out: when more fail, the fault is likely one that all share, and
    all serve. `marked`: those that are out of service by somebody's wish, which always counts.
    """
    listed = sorted(
        ((one, own) for one, own in instances if one.address is not None and one.phase in (*IN_ROTATION, *LEAVING)),
        key=lambda pair: pair[0].id,
    )
    able = [one for one, _ in listed if one.phase in IN_ROTATION and one.id not in marked]
    passing = [one for one in able if one.id not in unhealthy]
    chosen = {one.id for one in (passing if 2 * len(passing) >= len(able) else able)}
    found: dict[str, list[Endpoint]] = {name: [] for name in (services(wanted) if wanted else ())}
    # Few definitions, many instances of each.
    named = {id(own): joined(own, wanted) for own in {id(own): own for _, own in listed}.values()}
    for one, own in listed:
        for name, index in named[id(own)].items():
            if index < len(one.ports):
                weight = 1 if one.id in chosen else 0
                cut_streams = UNSET if one.streams_cut_at is None else True
                endpoint = Endpoint(
                    instance_id=one.id,
                    address=one.address or "",
                    port=one.ports[index],
                    weight=weight,
                    version=one.version_id,
                    cut_streams=cut_streams,
                )
                found.setdefault(name, []).append(endpoint)
    return {name: tuple(given) for name, given in found.items()}


def renew(
    current: Rotation,
    wanted_services: Mapping[str, tuple[Endpoint, ...] | None],
    wanted_routes: Mapping[str, tuple[RouteRule, ...] | None],
    wanted_resources: Mapping[str, Resource | None] | None = None,
) -> RotationUpdate | None:
    """What must change in `current` so that it has these services, domains and resources (None: not any more; others
    stay as they are). None when nothing must.

    An endpoint that is as it was keeps its `since`; one that changed gets the new revision.
    """
    revision = current.revision + 1
    changed_services: dict[str, ServiceRotation | None] = {}
    for name, wanted in wanted_services.items():
        before = current.services.get(name)
        if wanted is None:
            if before is not None:
                changed_services[name] = None
            continue
        known = {one.instance_id: one for one in before.endpoints} if before else {}
        merged = tuple(_since(one, known.get(one.instance_id), revision) for one in wanted)
        if before is None or merged != before.endpoints:
            changed_services[name] = ServiceRotation(endpoints=merged)
    changed_routes = {domain: rules for domain, rules in wanted_routes.items() if current.routes.get(domain) != rules}
    resources = wanted_resources or {}
    changed_resources = {key: one for key, one in resources.items() if current.resources.get(key) != one}
    if not changed_services and not changed_routes and not changed_resources:
        return None
    return RotationUpdate(
        base=current.revision,
        revision=revision,
        services=changed_services,
        routes=changed_routes,
        resources=changed_resources,
    )


def _since(wanted: Endpoint, known: Endpoint | None, revision: int) -> Endpoint:
    if known is not None and msgspec.structs.replace(known, since=0) == wanted:
        return known
    return msgspec.structs.replace(wanted, since=revision)


def apply(current: Rotation, update: RotationUpdate) -> Rotation:
    """The rotation after the update."""
    known = Rotation() if update.base == 0 else current
    return Rotation(
        revision=update.revision,
        services=_changed(known.services, update.services),
        routes=_changed(known.routes, update.routes),
        resources=_changed(known.resources, update.resources),
    )


def _changed(known: Mapping[str, T], changes: Mapping[str, T | None]) -> dict[str, T]:
    """None removes an entry."""
    found = dict(known)
    for name, one in changes.items():
        if one is None:
            found.pop(name, None)
        else:
            found[name] = one
    return found


def renumbered(current: Rotation, revision: int) -> Rotation:
    """The same rotation as if all of it had changed at `revision`."""
    return Rotation(
        revision=revision,
        services={
            name: ServiceRotation(
                endpoints=tuple(msgspec.structs.replace(one, since=revision) for one in service.endpoints)
            )
            for name, service in current.services.items()
        },
        routes=current.routes,
        resources=current.resources,
    )


def live(sessions: Iterable[GatewaySession], monotonic: float) -> list[GatewaySession]:
    """The gateways whose lease still runs: the only ones that can have traffic, and the only ones to wait for."""
    return [one for one in sessions if one.lease_until > monotonic]


def out_of_touch(sessions: Iterable[GatewaySession], monotonic: float, seconds: float) -> list[str]:
    """The gateways that may still send requests to what has left the rotation, since a rollout did not wait for them:
    their lease is over, or was and they have not caught up since. One that is not heard of for `seconds` after its
    lease is taken for gone."""
    return [
        one.gateway
        for one in sessions
        if monotonic < one.lease_until + seconds and (one.lease_until <= monotonic or one.applied < one.caught_up_at)
    ]


def another(known: GatewaySession | None, report: GatewayReport, monotonic: float) -> bool:
    """Whether a report is of another gateway than the one that has its name and whose lease still runs."""
    return known is not None and known.place not in ("", report.place) and known.lease_until > monotonic


def acknowledged(endpoint: Endpoint, weight: int, sessions: Iterable[GatewaySession]) -> bool:
    """True when every one of these (live) gateways works by the endpoint with this weight.

    The weight is asked for beside the revision so that a mark which has not reached the rotation yet is never taken
    for an acknowledged one.
    """
    return endpoint.weight == weight and all(one.applied >= endpoint.since for one in sessions)


def in_flight(instance_id: str, sessions: Iterable[GatewaySession]) -> int | None:
    """Open requests over all these gateways; None when one of them has not said."""
    total = 0
    for one in sessions:
        if instance_id not in one.in_flight:
            return None
        total += one.in_flight[instance_id]
    return total


def streams(instance_id: str, sessions: Iterable[GatewaySession]) -> int:
    """How many of those are streams, as far as these gateways have said."""
    return sum(one.streams.get(instance_id, 0) for one in sessions)


def cut(instance_id: str, sessions: Iterable[GatewaySession]) -> int:
    """How many streams these gateways have ended there."""
    return sum(one.cut.get(instance_id, 0) for one in sessions)
