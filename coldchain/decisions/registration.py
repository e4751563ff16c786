"""registration: what the registry shall know of our endpoints, and what brings it there from what it knows.

The registry follows the rotation: what has weight there is in service here, what has none is marked before it goes.
"""

import ipaddress
from collections.abc import Collection, Iterable, Mapping

import msgspec

from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.instance import Instance
from coldchain.model.registration import Registration, ServiceEndpoint, Sighting
from coldchain.model.rotation import Endpoint

DRAINING = "draining"
FAILING = "its probes fail"
RANK = ("passing", "warning", "critical", "maintenance")
OUTSIDE = "registry/"
"""Before the id of what others registered, in the place of an instance's."""
TAG = "tag"
"""A label with this value is a tag in the registry, by its name."""


class Steps(Noun, frozen=True, kw_only=True):
    """What must be told to the registry, in this order."""

    register: tuple[Registration, ...] = ()
    """Marks, and what is registered for the first time."""
    recover: tuple[Registration, ...] = ()
    """What the registry lost; nobody waits for it but consumers, and all of them at once would be a burst."""
    deregister: tuple[Registration, ...] = ()


class Belief(Noun, frozen=True, kw_only=True):
    """What is held to be the endpoints of a service that others run. `listed`: by the last sighting; `doubted`: missing
    in one that was not certain: they stay until they are seen again, or for so long that they are gone."""

    listed: tuple[ServiceEndpoint, ...] = ()
    doubted: tuple[ServiceEndpoint, ...] = ()

    @property
    def endpoints(self) -> tuple[ServiceEndpoint, ...]:
        return tuple(sorted((*self.listed, *self.doubted), key=lambda one: one.id))


def registration_id(service: str, instance_id: str) -> str:
    """The id of an instance's endpoint in a service."""
    return f"{service}-{instance_id}"


def tags(app: App) -> tuple[str, ...]:
    """The app's tags in the registry, in order."""
    return tuple(sorted(name for name, value in app.labels.items() if value == TAG and name.isprintable()))


def registration(service: str, endpoint: Endpoint, instance: Instance, app: App, place: str = "") -> Registration:
    """An endpoint of the rotation as the registry shall have it at one place."""
    reason = "" if endpoint.weight else FAILING if instance.wanted else DRAINING
    return Registration(
        id=registration_id(service, instance.id),
        service=service,
        address=endpoint.address,
        port=endpoint.port,
        tags=tags(app),
        meta={"app": instance.app_id, "version": instance.version_id, "instance": instance.id},
        out_of_service=reason,
        place=place,
    )


def settled(wanted: Registration | None, held: Registration | None, *, served: bool = False) -> bool:
    """True when the registry has what it shall. Who was never known there needs no mark: he gets nothing anyway. Of one
    who `served`, and so was, a listing without him is not enough: a registry may show less than it has. What it is told
    it knows."""
    if wanted is None or held is None:
        return held is None and (wanted is None or (bool(wanted.out_of_service) and not served))
    return _marked(held) == _marked(wanted)


def seen(belief: Belief, sighting: Sighting) -> Belief:
    """The belief after a sighting. Who is listed is believed as he is listed; who is missing is believed to be gone
    only when that is certain."""
    present = {one.id for one in sighting.endpoints}
    before = belief.doubted if sighting.certain else (*belief.listed, *belief.doubted)
    return Belief(listed=sighting.endpoints, doubted=tuple(one for one in before if one.id not in present))


def doubted_for_long(belief: Belief) -> Belief:
    """Who was not seen again by now is gone, but not as long as nobody is seen: what shows nothing at all is unknown,
    however long that lasts."""
    return Belief(listed=belief.listed) if belief.listed else belief


def endpoints(found: Iterable[ServiceEndpoint]) -> tuple[Endpoint, ...]:
    """The endpoints of a service that others registered, by their ids; two registrations of one place are one. Those
    that are not numeric addresses are left out: gateways ask no DNS.

    Checks take no more than half of them out: when more fail, the fault is likely one that all share, and all serve.
    Maintenance is somebody's wish, and always counts.
    """
    places: dict[tuple[str, int], ServiceEndpoint] = {}
    for one in sorted(found, key=lambda each: (RANK.index(each.status), each.id)):
        if is_numeric(one.address) and one.port:
            places.setdefault((one.address, one.port), one)
    able = [one for one in places.values() if one.status != "maintenance"]
    passing = [one for one in able if one.status != "critical"]
    chosen = {one.id for one in (passing if 2 * len(passing) >= len(able) else able)}
    return tuple(
        Endpoint(
            instance_id=OUTSIDE + one.id,
            address=one.address,
            port=one.port,
            weight=int(one.id in chosen),
            version=one.version,
        )
        for one in sorted(places.values(), key=lambda each: each.id)
    )


def is_numeric(address: str) -> bool:
    """Whether it is no name."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _marked(one: Registration) -> Registration:
    """Of several reasons for being out of service the registry keeps the first."""
    return msgspec.structs.replace(one, out_of_service="yes" if one.out_of_service else "")


def steps(wanted: Mapping[str, Registration], held: Mapping[str, Registration], served: Collection[str] = ()) -> Steps:
    """From what the registry has to what it shall have, by key. `served`: those whose instances did. Marks come first:
    somebody waits for them, and an endpoint that goes is no longer served."""
    changed = [one for key, one in wanted.items() if not settled(one, held.get(key), served=key in served)]
    lost = {key for key in served if key not in held}
    recover = [one for one in changed if one.key in lost and not one.out_of_service]
    return Steps(
        register=tuple(
            sorted(
                (one for one in changed if one.key not in lost or one.out_of_service),
                key=lambda one: (not one.out_of_service, one.key),
            )
        ),
        recover=tuple(sorted(recover, key=lambda one: one.key)),
        deregister=tuple(one for key, one in sorted(held.items()) if key not in wanted),
    )
