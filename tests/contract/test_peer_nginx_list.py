"""The list in nginx that benches run beside us does what its users would have it do."""

import asyncio

import aiohttp
import pytest

from coldchain.testing.application.process import running_application
from coldchain.testing.gateway_lab import PATIENCE_SECONDS, reachable_directory
from coldchain.testing.peers.nginx_list import NginxList
from coldchain.testing.ports import free_ports


async def answered(port: int) -> tuple[int, str]:
    """Status and version that a consumer gets over a connection of its own."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as consumer,
        consumer.get(f"http://127.0.0.1:{port}/") as answer,
    ):
        return answer.status, answer.headers.get("X-Version", "")


async def until(port: int, wanted: tuple[int, str]) -> None:
    """A reload has no acknowledgement."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await answered(port) != wanted:
            await asyncio.sleep(0.01)


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


async def test_requests_go_to_those_in_the_list(port: int) -> None:
    with reachable_directory() as directory:
        nginx = NginxList(directory / "nginx", port)
        nginx.start()
        try:
            assert await answered(port) == (503, "")
            async with running_application(VERSION="one") as one, running_application(VERSION="two") as two:
                nginx.set_servers([f"127.0.0.1:{one.port}"])
                await until(port, (200, "one"))
                nginx.set_servers([f"127.0.0.1:{two.port}"])
                await until(port, (200, "two"))
                nginx.set_servers([])
                await until(port, (503, ""))
        finally:
            nginx.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await answered(port)
