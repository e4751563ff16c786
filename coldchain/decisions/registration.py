"""registration: what the registry shall know of our endpoints, and what brings it there from what it knows.

The registry follows the rotation: what has weight there is in service here, what has none is marked before it goes.
"""

from collections.abc import Mapping

import msgspec

from coldchain.model.app import App
from coldchain.model.base import Noun
from coldchain.model.instance import Instance
from coldchain.model.registration import Registration
from coldchain.model.rotation import Endpoint

DRAINING = "draining"
FAILING = "its probes fail"
TAG = "tag"
"""A label with this value is a tag in the registry, by its name."""


class Steps(Noun, frozen=True, kw_only=True):
    """What must be told to the registry, in this order."""

    register: tuple[Registration, ...] = ()
    deregister: tuple[str, ...] = ()


def registration_id(service: str, instance_id: str) -> str:
    """The id of an instance's endpoint in a service."""
    return f"{service}-{instance_id}"


def registration(service: str, endpoint: Endpoint, instance: Instance, app: App) -> Registration:
    """An endpoint of the rotation as the registry shall have it."""
    reason = "" if endpoint.weight else FAILING if instance.wanted else DRAINING
    return Registration(
        id=registration_id(service, instance.id),
        service=service,
        address=endpoint.address,
        port=endpoint.port,
        tags=tuple(sorted(name for name, value in app.labels.items() if value == TAG and name.isprintable())),
        meta={"app": instance.app_id, "version": instance.version_id, "instance": instance.id},
        out_of_service=reason,
    )


def settled(wanted: Registration | None, held: Registration | None) -> bool:
    """True when the registry has what it shall. Who is not known there needs no mark: he gets nothing anyway."""
    if wanted is None or held is None:
        return held is None and (wanted is None or bool(wanted.out_of_service))
    return _marked(held) == _marked(wanted)


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
