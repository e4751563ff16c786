"""registration: what the registry shall know of our endpoints, and what brings it there from what it knows.

The registry follows the rotation: what has weight there is in service here, what has none is marked before it goes.
"""

import ipaddress
from collections.abc import Iterable, Mapping

import msgspec

from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.instance import Instance
from coldchain.model.registration import Registration, ServiceEndpoint
from coldchain.model.rotation import Endpoint

DRAINING = "draining"
FAILING = "its probes fail"
RANK = ("passing", "warning", "critical", "maintenance")
TAG = "tag"
"""A label with this value is a tag in the registry, by its name."""


class Steps(Noun, frozen=True, kw_only=True):
    """What must be told to the registry, in this order."""

    register: tuple[Registration, ...] = ()
    deregister: tuple[str, ...] = ()


def registration_id(service: str, instance_id: str) -> str:
    """The id of an instance's endpoint in a service."""
    return f"{service}-{instance_id}"


def tags(app: App) -> tuple[str, ...]:
    """The app's tags in the registry, in order."""
    return tuple(sorted(name for name, value in app.labels.items() if value == TAG and name.isprintable()))


def registration(service: str, endpoint: Endpoint, instance: Instance, app: App) -> Registration:
    """An endpoint of the rotation as the registry shall have it."""
    reason = "" if endpoint.weight else FAILING if instance.wanted else DRAINING
    return Registration(
        id=registration_id(service, instance.id),
        service=service,
        address=endpoint.address,
        port=endpoint.port,
        tags=tags(app),
        meta={"app": instance.app_id, "version": instance.version_id, "instance": instance.id},
        out_of_service=reason,
    )


def settled(wanted: Registration | None, held: Registration | None) -> bool:
    """True when the registry has what it shall. Who is not known there needs no mark: he gets nothing anyway."""
    if wanted is None or held is None:
        return held is None and (wanted is None or bool(wanted.out_of_service))
    return _marked(held) == _marked(wanted)


def endpoints(found: Iterable[ServiceEndpoint]) -> tuple[Endpoint, ...]:
    """The endpoints of a service that others registered, by their ids; two registrations of one place are one. Those
    that are not numeric addresses are left out: gateways ask no DNS.

    Checks take no more than half of them out: when more fail, the fault is likely one that all share, and all serve.
    Maintenance is somebody's wish, and always counts.
    """
    places: dict[tuple[str, int], ServiceEndpoint] = {}
    for one in sorted(found, key=lambda each: (RANK.index(each.status), each.id)):
        if _numeric(one.address) and one.port:
            places.setdefault((one.address, one.port), one)
    able = [one for one in places.values() if one.status != "maintenance"]
    passing = [one for one in able if one.status != "critical"]
    chosen = {one.id for one in (passing if 2 * len(passing) >= len(able) else able)}
    return tuple(
        Endpoint(instance_id=f"registry/{one.id}", address=one.address, port=one.port, weight=int(one.id in chosen))
        for one in sorted(places.values(), key=lambda each: each.id)
    )


def _numeric(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _marked(one: Registration) -> Registration:
    """Of several reasons for being out of service the registry keeps the first."""
    return msgspec.structs.replace(one, out_of_service="yes" if one.out_of_service else "")


def steps(wanted: Mapping[str, Registration], held: Mapping[str, Registration]) -> Steps:
    """From what the registry has to what it shall have. Marks come first: somebody waits for them, and an endpoint
    that goes is no longer served."""
    changed = [one for name, one in wanted.items() if not settled(one, held.get(name))]
    return Steps(
        register=tuple(sorted(changed, key=lambda one: (not one.out_of_service, one.id))),
        deregister=tuple(sorted(held.keys() - wanted.keys())),
    )
