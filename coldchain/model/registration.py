"""registration: what the registry shall say of an endpoint of ours, and what it says of endpoints that are not."""

from coldchain.model.base import Noun


class Registration(Noun, frozen=True, kw_only=True):
    """One endpoint of ours in the registry. `out_of_service`: why it must get no traffic, empty when it may."""

    id: str
    service: str
    address: str
    port: int
    tags: tuple[str, ...] = ()
    meta: dict[str, str] = {}
    out_of_service: str = ""


class ServiceEndpoint(Noun, frozen=True, kw_only=True):
    """One endpoint of a service that registered itself. `passing`: none of its checks is critical."""

    id: str
    address: str
    port: int
    passing: bool
    in_maintenance: bool = False
