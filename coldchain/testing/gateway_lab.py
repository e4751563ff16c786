"""A real nginx gateway of a test's own, below a directory of its own, on loopback."""

import asyncio
import contextlib
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from coldchain.gateway.control_socket import GatewayState
from coldchain.gateway.process import NginxProcess
from coldchain.gateway.push import NginxGateway
from coldchain.gateway.settings import GatewaySettings
from coldchain.model.gateway_resource import Resource, resource_key
from coldchain.model.rotation import Endpoint, RotationUpdate, RouteRule, ServiceRotation
from coldchain.testing.ports import free_ports

PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Answer:
    """What a consumer got."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class GatewayLab:
    """The gateway with a consumer. The consumer opens a new connection for each request."""

    settings: GatewaySettings
    process: NginxProcess
    gateway: NginxGateway
    consumer: aiohttp.ClientSession
    revision: int = 0

    @property
    def port(self) -> int:
        return int(self.settings.listen[0].rpartition(":")[2])

    @property
    def url(self) -> str:
        return f"http://{self.settings.listen[0]}"

    async def route(self, *endpoints: Endpoint, balance: Any = "round_robin") -> None:
        """Everything goes to these endpoints."""
        await self.push(
            {"shop": ServiceRotation(endpoints=endpoints)},
            {"*": (RouteRule(path="/", service="shop", balance=balance),)},
        )

    async def push(
        self,
        services: Mapping[str, ServiceRotation],
        routes: Mapping[str, tuple[RouteRule, ...]],
        resources: Iterable[Resource] = (),
    ) -> None:
        """The whole rotation, as the next revision."""
        self.revision += 1
        known = {resource_key(one): one for one in resources}
        await self.gateway.apply(
            RotationUpdate(
                base=0, revision=self.revision, services=dict(services), routes=dict(routes), resources=dict(known)
            )
        )

    async def know(self, *resources: Resource) -> None:
        """These beside what it knows."""
        base, self.revision = self.revision, self.revision + 1
        await self.gateway.apply(
            RotationUpdate(base=base, revision=self.revision, resources={resource_key(one): one for one in resources})
        )

    async def forget(self, *resources: Resource) -> None:
        base, self.revision = self.revision, self.revision + 1
        gone = dict.fromkeys(map(resource_key, resources))
        await self.gateway.apply(RotationUpdate(base=base, revision=self.revision, resources=gone))

    async def change(self, *endpoints: Endpoint) -> None:
        """Only the endpoints that `route` named."""
        base, self.revision = self.revision, self.revision + 1
        services: dict[str, ServiceRotation | None] = {"shop": ServiceRotation(endpoints=endpoints)}
        await self.gateway.apply(RotationUpdate(base=base, revision=self.revision, services=services))

    async def ask(self, method: str = "GET", path: str = "/", **options: Any) -> Answer:
        async with self.consumer.request(method, f"{self.url}{path}", **options) as response:
            return Answer(response.status, dict(response.headers), await response.read())

    async def ready(self) -> int:
        """The status that the balancer before the gateway gets."""
        url = f"http://{self.settings.status_listen}/.coldchain/ready"
        async with self.consumer.get(url) as response:
            return response.status

    async def state(self) -> GatewayState:
        state = await self.process.state()
        assert state is not None
        return state

    async def in_flight(self, wanted: Mapping[str, int]) -> None:
        """Waits until these are the open requests; fails with what they are."""
        found: Mapping[str, int] = {}
        for _ in range(int(PATIENCE_SECONDS / 0.01)):
            found = (await self.gateway.report()).in_flight
            if found == wanted:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"in flight: {found}, not {wanted}")

    async def logged(self, request_id: str) -> dict[str, Any]:
        """The access log's line about a request; it comes at most a second late."""
        for _ in range(int(PATIENCE_SECONDS / 0.05)):
            for line in self.settings.access_log_file.read_text().splitlines():
                entry: dict[str, Any] = json.loads(line)
                if entry["requestId"] == request_id:
                    return entry
            await asyncio.sleep(0.05)
        raise AssertionError(f"no line about {request_id}")


async def until(condition: Callable[[], bool], what: str) -> None:
    """Polls what nobody announces; fails naming it after PATIENCE_SECONDS."""
    for _ in range(int(PATIENCE_SECONDS / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"in vain waited for: {what}")


def endpoint(instance_id: str, port: int, weight: int = 1, address: str = "127.0.0.1", version: str = "") -> Endpoint:
    return Endpoint(instance_id=instance_id, address=address, port=port, weight=weight, version=version)


@contextlib.contextmanager
def reachable_directory() -> Iterator[Path]:
    """A directory that nginx's workers can reach, unlike pytest's."""
    directory = Path(tempfile.mkdtemp(prefix="coldchain-gateway-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def lab_settings(directory: Path, **options: Any) -> GatewaySettings:
    port, status_port = free_ports(2)
    defaults: dict[str, Any] = {
        "prefix": directory / "gateway",
        "listen": (f"127.0.0.1:{port}",),
        "status_listen": f"127.0.0.1:{status_port}",
        "worker_processes": 2,
    }
    return GatewaySettings(**defaults | options)


@contextlib.asynccontextmanager
async def running_gateway(**options: Any) -> AsyncIterator[GatewayLab]:
    """`options` are fields of GatewaySettings."""
    with reachable_directory() as directory:
        settings = lab_settings(directory, **options)
        process, gateway = NginxProcess(settings), NginxGateway("lab", settings)
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        try:
            await process.start_or_adopt()
            async with aiohttp.ClientSession(connector=connector) as consumer:
                yield GatewayLab(settings, process, gateway, consumer)
        finally:
            await gateway.close()
            await process.stop(0.2)
