"""events: what a master tells its schedulers, as far as schedulers need it, in Mesos's own names.

Read with the types at once: unknown fields are passed over, and what is missing has Mesos's default.
"""

from typing import Any

import msgspec

Document = dict[str, Any]


class Struct(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message of Mesos."""


class Identity(Struct, frozen=True, kw_only=True):
    """Ids are wrapped."""

    value: str


class Scalar(Struct, frozen=True, kw_only=True):
    value: float


class Range(Struct, frozen=True, kw_only=True):
    begin: int
    end: int


class Ranges(Struct, frozen=True, kw_only=True):
    range: tuple[Range, ...] = ()


class Text(Struct, frozen=True, kw_only=True):
    value: str


class Item(Struct, frozen=True, kw_only=True):
    item: tuple[str, ...] = ()


class Named(Struct, frozen=True, kw_only=True):
    name: str


class FaultDomain(Struct, frozen=True, kw_only=True):
    region: Named
    zone: Named


class Domain(Struct, frozen=True, kw_only=True):
    fault_domain: FaultDomain | None = None


class Allocation(Struct, frozen=True, kw_only=True):  # their word
    """For which role of the framework something is."""

    role: str = "*"


class Resource(Struct, frozen=True, kw_only=True):
    """So much of something, and whose it is."""

    name: str
    type: str
    scalar: Scalar | None = None
    ranges: Ranges | None = None
    set: Item | None = None
    role: str | None = None
    reservations: tuple[Document, ...] = ()
    allocation_info: Allocation | None = None  # their word
    disk: Document | None = None
    revocable: Document | None = None
    shared: Document | None = None
    provider_id: Identity | None = None


class Attribute(Struct, frozen=True, kw_only=True):
    name: str
    type: str
    scalar: Scalar | None = None
    ranges: Ranges | None = None
    set: Item | None = None
    text: Text | None = None


class Nanoseconds(Struct, frozen=True, kw_only=True):
    nanoseconds: int

    @property
    def seconds(self) -> float:
        return self.nanoseconds / 1e9


class Unavailability(Struct, frozen=True, kw_only=True):
    """A planned absence of an agent. No duration: for ever."""

    start: Nanoseconds
    duration: Nanoseconds | None = None


class Address(Struct, frozen=True, kw_only=True):
    ip: str = ""
    hostname: str = ""
    port: int


class Url(Struct, frozen=True, kw_only=True):
    """`path`: that of the process there, such as `/slave(1)`."""  # their word

    scheme: str
    address: Address
    path: str = ""


class Offer(Struct, frozen=True, kw_only=True):
    """What an agent has free for one role."""

    id: Identity
    agent_id: Identity
    hostname: str
    resources: tuple[Resource, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    domain: Domain | None = None
    executor_ids: tuple[Identity, ...] = ()
    url: Url | None = None
    unavailability: Unavailability | None = None
    allocation_info: Allocation | None = None  # their word


class InverseOffer(Struct, frozen=True, kw_only=True):
    """What is wanted back."""

    id: Identity
    unavailability: Unavailability
    agent_id: Identity | None = None


class Offers(Struct, frozen=True, kw_only=True):
    offers: tuple[Offer, ...] = ()


class InverseOffers(Struct, frozen=True, kw_only=True):
    inverse_offers: tuple[InverseOffer, ...] = ()


class Rescind(Struct, frozen=True, kw_only=True):
    offer_id: Identity


class RescindInverse(Struct, frozen=True, kw_only=True):
    inverse_offer_id: Identity


class AddressOfTask(Struct, frozen=True, kw_only=True):
    ip_address: str = ""


class NetworkInfo(Struct, frozen=True, kw_only=True):
    ip_addresses: tuple[AddressOfTask, ...] = ()


class ContainerStatus(Struct, frozen=True, kw_only=True):
    network_infos: tuple[NetworkInfo, ...] = ()


class Status(Struct, frozen=True, kw_only=True):
    """TaskStatus. `uuid`: there is one on what must be acknowledged."""

    task_id: Identity
    state: str
    message: str = ""
    source: str = ""
    reason: str = ""
    data: str = ""
    agent_id: Identity | None = None
    executor_id: Identity | None = None
    timestamp: float | None = None
    uuid: str = ""
    container_status: ContainerStatus | None = None
    unreachable_time: Nanoseconds | None = None


class Update(Struct, frozen=True, kw_only=True):
    status: Status


class Message(Struct, frozen=True, kw_only=True):
    agent_id: Identity
    executor_id: Identity
    data: str = ""


class Failure(Struct, frozen=True, kw_only=True):
    """Of an executor, or with none named of an agent."""

    agent_id: Identity | None = None
    executor_id: Identity | None = None
    status: int | None = None


class Error(Struct, frozen=True, kw_only=True):
    message: str


class Subscribed(Struct, frozen=True, kw_only=True):
    framework_id: Identity
    heartbeat_interval_seconds: float | None = None


class Event(Struct, frozen=True, kw_only=True):
    """One of them, by its type."""

    type: str
    subscribed: Subscribed | None = None
    offers: Offers | None = None
    inverse_offers: InverseOffers | None = None
    rescind: Rescind | None = None
    rescind_inverse_offer: RescindInverse | None = None
    update: Update | None = None
    message: Message | None = None
    failure: Failure | None = None
    error: Error | None = None


_decoder = msgspec.json.Decoder(Event)


def read_event(record: bytes) -> Event:
    """Raises msgspec.MsgspecError."""
    return _decoder.decode(record)
