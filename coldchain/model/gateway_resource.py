"""gateway_resource: what gateways know beside services and routes, one by one, under `kind/name`."""

from coldchain.model.base import Noun


class Consumer(Noun, frozen=True, kw_only=True, tag_field="kind", tag="consumer"):
    """Somebody who calls through the gateway and is known by name. `groups`: whose rights he has."""

    name: str
    groups: tuple[str, ...] = ()


Resource = Consumer
"""All kinds; a gateway that does not know one leaves it alone."""


def resource_key(resource: Resource) -> str:
    """The place of a resource in the rotation."""
    return f"consumer/{resource.name}"
