"""rotation: the endpoints that get traffic, and the routes to them, as one versioned object."""

from msgspec import UNSET, UnsetType

from coldchain.model.app import Balance, PathKind, RouteFilters
from coldchain.model.base import Noun
from coldchain.model.gateway_resource import Resource
from coldchain.model.limit import LimitUse
from coldchain.model.traffic import Traffic


class Endpoint(Noun, frozen=True, kw_only=True):
    """The address of an instance in a service. Weight 0 gets no new request but is still served and counted.

    `since` is the revision of the rotation in which this endpoint last changed: acknowledged means that a gateway
    applied that revision or a later one. `version`: of which its instance is, so that gateways can tell them apart.
    `cut_streams`: the streams that are open there are to end now; nothing is said of it elsewhere, where it would be
    told ten thousand times.
    """

    instance_id: str
    address: str
    port: int
    weight: int = 1
    version: str = ""
    since: int = 0
    cut_streams: bool | UnsetType = UNSET


class ServiceRotation(Noun, frozen=True, kw_only=True):
    """The endpoints of a service. With none of weight above 0 the gateway answers 503 on the service's own routes."""

    endpoints: tuple[Endpoint, ...] = ()


class RouteRule(Noun, frozen=True, kw_only=True):
    """Which requests for a domain go to which service. A prefix matches whole path segments, a regular expression the
    whole path; `methods` and `headers` as in `Route`. The first rule of a domain that matches decides. `name`: of the
    route that it is of, the same for each of its domains and for no other route."""

    path: str
    service: str
    balance: Balance = "round_robin"
    path_kind: PathKind = "prefix"
    methods: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    filters: RouteFilters | None = None
    name: str = ""


class Rotation(Noun, frozen=True, kw_only=True):
    """Everything a gateway must know. `revision` grows with each change, also over restarts of the controller.
    `resources`: by `kind/name`."""

    revision: int = 0
    services: dict[str, ServiceRotation] = {}
    routes: dict[str, tuple[RouteRule, ...]] = {}
    resources: dict[str, Resource] = {}


class RotationUpdate(Noun, frozen=True, kw_only=True):
    """What changes from `base` to `revision`; base 0 means: forget all, this is the whole. None removes an entry."""

    base: int
    revision: int
    services: dict[str, ServiceRotation | None] = {}
    routes: dict[str, tuple[RouteRule, ...] | None] = {}
    resources: dict[str, Resource | None] = {}


class GatewayReport(Noun, frozen=True, kw_only=True, omit_defaults=True):
    """What a gateway says of itself; only what there is to tell, so that a controller older than a field reads it.

    `place` tells it from another one that has the same name. `in_flight` has the open requests of each endpoint of
    weight 0, by instance, `streams` how many of them are streams; `cut`: so many streams it has ended, as long as their
    endpoints are listed; `traffic` what it counted of the instances whose counts changed since it last said so, at most
    about once a second; with it `limits`, what each of its limits was asked for by name. `ejected`: the instances that
    some of its workers leave alone because they fail. `leaving`: it has ended, and is not to be waited for.
    """

    gateway: str
    place: str = ""
    applied: int
    in_flight: dict[str, int] = {}
    streams: dict[str, int] = {}
    cut: dict[str, int] = {}
    traffic: dict[str, Traffic] = {}
    limits: dict[str, LimitUse] | None = None
    ejected: tuple[str, ...] = ()
    leaving: bool = False
