"""server: answers Docker's calls on a unix socket. Errors reach the person who made Docker ask, in our words."""

import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog
from aiohttp import web

from coldchain.model.errors import ColdchainError, NotFound, Rejected
from coldchain.network.driver import documents
from coldchain.network.driver.documents import Answer, cidr_of, decoded
from coldchain.ports.network import GATEWAY, GATEWAY6
from coldchain.ports.network_driver import NetworkDriver

CONTENT_TYPE = "application/vnd.docker.plugins.v1.2+json"
BODY_BYTES_MAX = 2**22
SOCKET_MODE = 0o600
"""Docker is root, and who else could talk here could take containers' addresses away."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Calls:
    """Of one kind, since the server was made."""

    answered: int = 0
    refused: int = 0
    seconds: float = 0.0


class DriverServer:
    """`calls`: how many of each kind there were, and how long they took."""

    def __init__(self, driver: NetworkDriver, socket: Path) -> None:
        self._driver = driver
        self._socket = socket
        self._runner: web.AppRunner | None = None
        self._known = self._handlers()
        self.calls: dict[str, Calls] = {}

    async def start(self) -> None:
        """A socket that a server left behind is taken over: Docker then asks this one."""
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        application.router.add_post("/{call}", self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        self._socket.parent.mkdir(parents=True, exist_ok=True)
        before = os.umask(0o777 & ~SOCKET_MODE)
        try:
            listening = socket.socket(socket.AF_UNIX)
            self._socket.unlink(missing_ok=True)
            listening.bind(str(self._socket))
        finally:
            os.umask(before)
        # Not a UnixSite: since Python 3.13 asyncio takes a socket's file away at the end, if it made it itself.
        await web.SockSite(self._runner, listening).start()

    async def stop(self) -> None:
        """The socket stays: Docker then asks again for a while, rather than not know the driver."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.Response:
        name = request.match_info["call"]
        began = time.monotonic()
        counted = self.calls.setdefault(name if name in self._known else "unknown", Calls())
        try:
            handler = self._known.get(name)
            if handler is None:
                raise NotFound(f"Coldchain's driver knows no {name[:80]}")
            status, answer = 200, await handler(await request.read())
            counted.answered += 1
        except ColdchainError as error:
            status, answer = error.status, {"Err": str(error)}
            counted.refused += 1
            log.warning("Docker is refused", call=name, reason=str(error))
        except Exception as error:  # Docker would wait and ask again, and its user never learn why
            log.exception("a call of Docker failed", call=name)
            status, answer = 500, {"Err": f"{type(error).__name__} in Coldchain's driver; its log says more"}
            counted.refused += 1
        finally:
            counted.seconds += time.monotonic() - began
        return web.Response(status=status, body=msgspec.json.encode(answer), content_type=CONTENT_TYPE)

    def _handlers(self) -> Mapping[str, Callable[[bytes], Awaitable[Answer]]]:
        nothing: Answer = {}
        return {
            "Plugin.Activate": _always(documents.ACTIVATED),
            "NetworkDriver.GetCapabilities": _always(documents.DRIVER_CAPABILITIES),
            "NetworkDriver.CreateNetwork": self._create_network,
            "NetworkDriver.DeleteNetwork": self._delete_network,
            "NetworkDriver.CreateEndpoint": self._create_endpoint,
            "NetworkDriver.DeleteEndpoint": self._delete_endpoint,
            "NetworkDriver.EndpointOperInfo": _always({"Value": nothing}),
            "NetworkDriver.Join": self._join,
            "NetworkDriver.Leave": self._leave,
            "NetworkDriver.ProgramExternalConnectivity": _always(nothing),
            "NetworkDriver.RevokeExternalConnectivity": _always(nothing),
            "NetworkDriver.DiscoverNew": _always(nothing),
            "NetworkDriver.DiscoverDelete": _always(nothing),
            "IpamDriver.GetCapabilities": _always(documents.IPAM_CAPABILITIES),
            "IpamDriver.GetDefaultAddressSpaces": _always(documents.ADDRESS_SPACES),
            "IpamDriver.RequestPool": self._request_pool,
            "IpamDriver.ReleasePool": _always(nothing),
            "IpamDriver.RequestAddress": self._request_address,
            "IpamDriver.ReleaseAddress": self._release_address,
        }

    async def _request_pool(self, body: bytes) -> Answer:
        call = decoded(body, documents.RequestPool)
        cidr = await self._driver.open_pool(call.wanted())
        return documents.pool_answer(cidr, ipv6=call.v6)

    async def _request_address(self, body: bytes) -> Answer:
        call = decoded(body, documents.RequestAddress)
        if call.for_gateway:
            if call.address not in ("", GATEWAY, GATEWAY6):
                raise Rejected(
                    f"{call.address} cannot be the gateway",
                    todo="Leave out --gateway: that of every container is its own",
                )
            return documents.address_answer(call.address or (GATEWAY6 if ":" in cidr_of(call.pool_id) else GATEWAY))
        address = await self._driver.take_address(cidr_of(call.pool_id), call.address or None)
        return documents.address_answer(address)

    async def _release_address(self, body: bytes) -> Answer:
        address = decoded(body, documents.ReleaseAddress).address.partition("/")[0]
        if address not in (GATEWAY, GATEWAY6):
            await self._driver.give_back(address)
        return {}

    async def _create_network(self, body: bytes) -> Answer:
        await self._driver.create_network(decoded(body, documents.CreateNetwork).wanted())
        return {}

    async def _delete_network(self, body: bytes) -> Answer:
        await self._driver.delete_network(decoded(body, documents.DeleteNetwork).network_id)
        return {}

    async def _create_endpoint(self, body: bytes) -> Answer:
        wanted = decoded(body, documents.CreateEndpoint).wanted()
        return documents.endpoint_answer(wanted, await self._driver.attach(wanted))

    async def _delete_endpoint(self, body: bytes) -> Answer:
        await self._driver.detach(decoded(body, documents.Endpoint).endpoint_id)
        return {}

    async def _join(self, body: bytes) -> Answer:
        call = decoded(body, documents.Endpoint)
        return documents.join_answer(await self._driver.join(call.endpoint_id, call.sandbox_key))

    async def _leave(self, body: bytes) -> Answer:
        await self._driver.leave(decoded(body, documents.Endpoint).endpoint_id)
        return {}


def _always(answer: Answer) -> Callable[[bytes], Awaitable[Answer]]:
    async def handler(body: bytes) -> Answer:
        return answer

    return handler
