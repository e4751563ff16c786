"""gateway_resource: what gateways know beside services and routes, one by one, under `kind/name`."""

from coldchain.model.base import Noun
from coldchain.model.gray import GrayRule, Side

SHARES = 10_000
"""The shares of a gray release are whole numbers of this many."""


class Consumer(Noun, frozen=True, kw_only=True, tag_field="kind", tag="consumer"):
    """Somebody who calls through the gateway and is known by name. `groups`: whose rights he has."""

    name: str
    groups: tuple[str, ...] = ()


class GrayRelease(Noun, frozen=True, kw_only=True, tag_field="kind", tag="gray"):
    """Which requests of a service go to its endpoints of one version: those that come with its mark, and those that the
    rules say. `normal`: the version that gets the others; None: every other one. `share`: of `SHARES`. `only`: all go
    there, whatever the rules say."""

    service: str
    mark: str
    version: str
    normal: str | None = None
    share: int = 0
    rules: tuple[GrayRule, ...] = ()
    only: Side | None = None


Resource = Consumer | GrayRelease
"""All kinds; a gateway that does not know one leaves it alone."""


def resource_key(resource: Resource) -> str:
    """The place of a resource in the rotation."""
    match resource:
        case Consumer():
            return f"consumer/{resource.name}"
        case GrayRelease():
            return gray_key(resource.service)


def gray_key(service: str) -> str:
    return f"gray/{service}"
