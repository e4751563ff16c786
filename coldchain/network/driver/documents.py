"""documents: what Docker sends to a remote driver, and what it takes as an answer; names are Docker's.

Fields that are not here are not read: newer versions of Docker send more.
"""

from typing import Any, TypeVar

import msgspec

from coldchain.model.errors import MalformedDocument
from coldchain.ports.docker_networks import DRIVER
from coldchain.ports.network import GATEWAY, GATEWAY6
from coldchain.ports.network_driver import Joined, WantedAttachment, WantedNetwork, WantedPool

ADDRESS_SPACE = f"{DRIVER}-local"
GLOBAL_ADDRESS_SPACE = f"{DRIVER}-global"
GATEWAY_LABEL = "com.docker.network.gateway"
GENERIC = "com.docker.network.generic"
INTERNAL = "com.docker.network.internal"
ADDRESS_KIND = "RequestAddressType"
INTERFACE_NAME = "eth"
CONNECTED = 1
"""Of a static route: what it leads to is on the link itself."""

Answer = dict[str, Any]


class _Call(msgspec.Struct, frozen=True, rename="pascal"):
    pass


class RequestPool(_Call, frozen=True):
    address_space: str = ""
    pool: str = ""
    sub_pool: str = ""
    v6: bool = False

    def wanted(self) -> WantedPool:
        return WantedPool(cidr=self.pool, sub_pool=self.sub_pool, ipv6=self.v6)


class RequestAddress(_Call, frozen=True):
    pool_id: str = msgspec.field(name="PoolID", default="")
    address: str = ""
    options: dict[str, str] | None = None

    @property
    def for_gateway(self) -> bool:
        return (self.options or {}).get(ADDRESS_KIND) == GATEWAY_LABEL


class ReleaseAddress(_Call, frozen=True):
    pool_id: str = msgspec.field(name="PoolID", default="")
    address: str = ""


class AddressData(_Call, frozen=True):
    """The addresses of a network, as its address management gave them."""

    address_space: str = ""
    pool: str = ""
    gateway: str = ""
    aux_addresses: dict[str, Any] | None = None


class CreateNetwork(_Call, frozen=True):
    network_id: str = msgspec.field(name="NetworkID")
    options: dict[str, Any] | None = None
    ipv4: list[AddressData] | None = msgspec.field(name="IPv4Data", default=None)
    ipv6: list[AddressData] | None = msgspec.field(name="IPv6Data", default=None)

    def wanted(self) -> WantedNetwork:
        data = [*(self.ipv4 or ()), *(self.ipv6 or ())]
        options = self.options or {}
        generic = options.get(GENERIC)
        return WantedNetwork(
            id=self.network_id,
            options=generic if isinstance(generic, dict) else {},
            pools=tuple(one.pool for one in self.ipv4 or ()),
            pools6=tuple(one.pool for one in self.ipv6 or ()),
            foreign=any(one.address_space != ADDRESS_SPACE for one in data),
            internal=bool(options.get(INTERNAL)),
            reserved=tuple(sorted(name for one in data for name in one.aux_addresses or ())),
        )


class DeleteNetwork(_Call, frozen=True):
    network_id: str = msgspec.field(name="NetworkID")


class Interface(_Call, frozen=True):
    address: str = ""
    address6: str = msgspec.field(name="AddressIPv6", default="")
    mac_address: str = ""


class CreateEndpoint(_Call, frozen=True):
    network_id: str = msgspec.field(name="NetworkID")
    endpoint_id: str = msgspec.field(name="EndpointID")
    interface: Interface | None = None
    options: dict[str, Any] | None = None

    def wanted(self) -> WantedAttachment:
        interface = self.interface or Interface()
        return WantedAttachment(
            id=self.endpoint_id,
            docker_network=self.network_id,
            address=interface.address,
            address6=interface.address6,
            mac=interface.mac_address,
            options=self.options or {},
        )


class Endpoint(_Call, frozen=True):
    """Of Join, Leave, DeleteEndpoint."""

    endpoint_id: str = msgspec.field(name="EndpointID")
    sandbox_key: str = ""


C = TypeVar("C", bound=_Call)


def decoded(body: bytes, kind: type[C]) -> C:
    """Raises MalformedDocument."""
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.MsgspecError as error:
        raise MalformedDocument(f"Docker sends a {kind.__name__} that is not understood: {error}") from error


# What is answered whatever is asked

ACTIVATED: Answer = {"Implements": ["NetworkDriver", "IpamDriver"]}
DRIVER_CAPABILITIES: Answer = {"Scope": "local", "ConnectivityScope": "global"}
IPAM_CAPABILITIES: Answer = {"RequiresMACAddress": False, "RequiresRequestReplay": False}
ADDRESS_SPACES: Answer = {
    "LocalDefaultAddressSpace": ADDRESS_SPACE,
    "GlobalDefaultAddressSpace": GLOBAL_ADDRESS_SPACE,
}


def pool_answer(cidr: str, *, ipv6: bool) -> Answer:
    gateway = f"{GATEWAY6}/128" if ipv6 else f"{GATEWAY}/32"
    return {"PoolID": f"{ADDRESS_SPACE}/{cidr}", "Pool": cidr, "Data": {GATEWAY_LABEL: gateway}}


def cidr_of(pool_id: str) -> str:
    """Nothing of a pool is kept for Docker: its id says all."""
    return pool_id.partition("/")[2]


def address_answer(address: str) -> Answer:
    return {"Address": f"{address}/{128 if ':' in address else 32}", "Data": {}}


def endpoint_answer(wanted: WantedAttachment, mac: str) -> Answer:
    """Docker takes only what it did not say itself."""
    return {"Interface": {} if wanted.mac else {"MacAddress": mac}}


def join_answer(joined: Joined) -> Answer:
    answer: Answer = {
        "InterfaceName": {"SrcName": joined.peer, "DstPrefix": INTERFACE_NAME},
        "Gateway": GATEWAY,
        "StaticRoutes": [_connected(f"{GATEWAY}/32")],
        "DisableGatewayService": True,
    }
    if joined.with_ipv6:
        answer["GatewayIPv6"] = GATEWAY6
        answer["StaticRoutes"].append(_connected(f"{GATEWAY6}/128"))
    return answer


def _connected(destination: str) -> Answer:
    return {"Destination": destination, "RouteType": CONNECTED, "NextHop": ""}
