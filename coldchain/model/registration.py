"""registration: what the registry shall say of an endpoint of ours, and what it says of endpoints that are not."""

from typing import Literal

from coldchain.model.base import Noun

EndpointStatus = Literal["passing", "warning", "critical", "maintenance"]
Registrant = Literal["this controller", "another controller", "others"]


class Registration(Noun, frozen=True, kw_only=True):
    """One endpoint of ours in the registry. `out_of_service`: why it must get no traffic, empty when it may. `place`:
    at which of several registries, or at which agent of one; empty at the only or first one."""

    id: str
    service: str
    address: str
    port: int
    tags: tuple[str, ...] = ()
    meta: dict[str, str] = {}
    out_of_service: str = ""
    place: str = ""

    @property
    def key(self) -> str:
        """Unique among the registrations of all places."""
        return f"{self.id}@{self.place}" if self.place else self.id


class ServiceEndpoint(Noun, frozen=True, kw_only=True):
    """One endpoint of a service as the registry knows it; `status` is the worst of its checks. `app_id`: whose instance
    it is, None for what somebody else registered. `version`: of what it runs, empty where nobody says that."""

    id: str
    address: str
    port: int
    status: EndpointStatus
    app_id: str | None = None
    version: str = ""


class KnownEndpoint(ServiceEndpoint, frozen=True, kw_only=True):
    """One endpoint with all that the registry says of it. `since`: when it got its status, None where that is not
    known; `why`: what its checks say when it is not passing; `registered_by`: who keeps it there."""

    since: float | None = None
    why: str = ""
    registered_by: Registrant = "others"


class Sighting(Noun, frozen=True, kw_only=True):
    """What the registry says of a service. `certain`: who is missing since the sighting before was taken away by
    somebody; else the registry may have lost its content, or not show it."""

    endpoints: tuple[ServiceEndpoint, ...] = ()
    certain: bool = True


class ExternalService(Noun, frozen=True, kw_only=True):
    """What the registry last said of a service to which an app without instances of its own leads. On record, so that a
    controller that starts while the registry is silent goes on with it."""

    app_id: str
    target: str
    service: str
    endpoints: tuple[ServiceEndpoint, ...] = ()


class KnownService(Noun, frozen=True, kw_only=True):
    """A service with all its endpoints, whoever registered them."""

    name: str
    endpoints: tuple[KnownEndpoint, ...] = ()
