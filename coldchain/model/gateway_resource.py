"""gateway_resource: what gateways know beside services and routes, one by one, under `kind/name`."""

from coldchain.model.base import Noun


class Consumer(Noun, frozen=True, kw_only=True, tag_field="kind", tag="consumer"):
    """Somebody who calls through the gateway and is known by name. `groups`: whose rights he has."""

    name: str
    groups: tuple[str, ...] = ()


class Certificate(Noun, frozen=True, kw_only=True, tag_field="kind", tag="certificate"):
    """What the gateway shows consumers that ask for one of `domains` over TLS, and where `default` is true those that
    ask for none that it knows. `chain` and `key` in PEM, the key as it is: a rotation is nothing for logs."""

    name: str
    domains: tuple[str, ...]
    chain: str
    key: str
    default: bool = False

    def __repr__(self) -> str:
        return f"Certificate({self.name!r}, {self.domains!r})"


Resource = Consumer | Certificate
"""All kinds; a gateway that does not know one leaves it alone."""


def resource_key(resource: Resource) -> str:
    """The place of a resource in the rotation."""
    match resource:
        case Consumer():
            return f"consumer/{resource.name}"
        case Certificate():
            return f"certificate/{resource.name}"
