"""How long the gateway needs to work by a change: from the call until every worker has acknowledged it."""

import asyncio
import subprocess
import time
from pathlib import Path

from coldchain.gateway.process import NginxProcess
from coldchain.gateway.push import NginxGateway
from coldchain.gateway.settings import GatewaySettings
from coldchain.model.rotation import Endpoint, RotationUpdate, RouteRule, ServiceRotation
from coldchain.testing.ports import free_ports

SERVICES, INSTANCES, WORKERS = 1000, 10, 2
BULKS = 10
PAUSE_SECONDS = 0.013  # no multiple of the workers' tick


def _service(name: str, turn: int, ports: list[int]) -> ServiceRotation:
    return ServiceRotation(
        endpoints=tuple(
            Endpoint(
                instance_id=f"{name}-{number + turn % 2}",
                address="127.0.0.1",
                port=ports[number % len(ports)],
                weight=1,
            )
            for number in range(INSTANCES)
        )
    )


class PushBench:
    """One gateway with 1,000 routes to services of ten instances."""

    def __init__(self, directory: Path, ports: list[int]) -> None:
        port, status_port = free_ports(2)
        self._settings = GatewaySettings(
            prefix=directory / "pushed",
            listen=(f"127.0.0.1:{port}",),
            status_listen=f"127.0.0.1:{status_port}",
            worker_processes=WORKERS,
            access_log=False,
        )
        self._url = f"http://127.0.0.1:{port}/"
        self._ports = ports
        self._gateway = NginxGateway("pushed", self._settings)
        self._revision = 0

    async def run(self, changes: int) -> dict[str, list[float]]:
        """Milliseconds of each push: of the whole, of one service at rest, of one service under load."""
        process = NginxProcess(self._settings)
        try:
            await process.start_or_adopt()
            bulk = [await self._bulk() for _ in range(BULKS)]
            idle = [await self._change(number) for number in range(changes)]
            seconds = changes * (PAUSE_SECONDS + 0.1) + 2
            command = ["wrk", "-t1", "-c32", f"-d{seconds:.0f}s", "-H", "Host: s0.test", self._url]
            load = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            try:
                await asyncio.sleep(1)
                loaded = [await self._change(number) for number in range(changes)]
            finally:
                load.terminate()
                load.wait()
        finally:
            await self._gateway.close()
            await process.stop(5)
        return {"bulk_push": bulk, "push": idle, "push_loaded": loaded}

    async def _apply(self, update: RotationUpdate) -> float:
        started = time.perf_counter()
        await self._gateway.apply(update)
        self._revision = update.revision
        return (time.perf_counter() - started) * 1000

    async def _bulk(self) -> float:
        turn = self._revision
        names = [f"s{number}" for number in range(SERVICES)]
        return await self._apply(
            RotationUpdate(
                base=0,
                revision=self._revision + 1,
                services={name: _service(name, turn, self._ports) for name in names},
                routes={f"{name}.test": (RouteRule(path="/", service=name),) for name in names},
            )
        )

    async def _change(self, number: int) -> float:
        await asyncio.sleep(PAUSE_SECONDS)
        name = f"s{number % SERVICES}"
        services: dict[str, ServiceRotation | None] = {name: _service(name, self._revision, self._ports)}
        return await self._apply(RotationUpdate(base=self._revision, revision=self._revision + 1, services=services))
