"""Network driver: what Docker asks of who gives its containers networks and addresses."""

from collections.abc import Mapping
from typing import Protocol

from coldchain.model.base import Noun


class WantedPool(Noun, frozen=True, kw_only=True):
    """The addresses that a network of Docker's shall have, as Docker's user names them."""

    cidr: str = ""
    sub_pool: str = ""
    ipv6: bool = False


class WantedNetwork(Noun, frozen=True, kw_only=True):
    """A network that Docker makes. `pools`: its addresses of IPv4, `pools6` of IPv6, each by its CIDR; `foreign`: some
    of them are from another address management than ours. `reserved`: addresses that it shall not give."""

    id: str
    options: Mapping[str, object]
    pools: tuple[str, ...]
    pools6: tuple[str, ...] = ()
    foreign: bool = False
    internal: bool = False
    reserved: tuple[str, ...] = ()


class WantedAttachment(Noun, frozen=True, kw_only=True):
    """A container that gets a place in a network. Addresses with their length, as address management gave them."""

    id: str
    docker_network: str
    address: str
    address6: str = ""
    mac: str = ""
    options: Mapping[str, object]


class Joined(Noun, frozen=True, kw_only=True):
    """What Docker moves into the container, and the names that it does not find out itself."""

    peer: str
    with_ipv6: bool


class NetworkDriver(Protocol):
    """Every call may come again, since Docker repeats those whose answer it did not hear. Raises ColdchainError, whose
    words are shown to who starts the container."""

    async def open_pool(self, wanted: WantedPool) -> str:
        """The CIDR of the pool."""
        ...

    async def take_address(self, cidr: str, wanted: str | None) -> str:
        """Without a length."""
        ...

    async def give_back(self, address: str) -> None: ...

    async def create_network(self, wanted: WantedNetwork) -> None: ...

    async def delete_network(self, docker_network: str) -> None: ...

    async def attach(self, wanted: WantedAttachment) -> str:
        """The container's MAC address."""
        ...

    async def join(self, attachment: str, sandbox: str) -> Joined: ...

    async def leave(self, attachment: str) -> None: ...

    async def detach(self, attachment: str) -> None: ...
