"""Servers of Consul's API: the embedded registry, and a real Consul where COLDCHAIN_TEST_CONSUL has its HOST:PORT."""

import uuid
from collections.abc import AsyncIterator

import aiohttp
import pytest

from coldchain.testing.consul import SERVERS, Asker, consul_address


@pytest.fixture(params=SERVERS)
async def ask(request: pytest.FixtureRequest) -> AsyncIterator[Asker]:
    async with consul_address(request.param) as address, aiohttp.ClientSession() as session:
        yield Asker(session, address)


@pytest.fixture
async def name(ask: Asker) -> AsyncIterator[str]:
    """A name that nobody else uses; what is registered under it or begins with it goes at the end."""
    name = f"t{uuid.uuid4().hex[:10]}"
    yield name
    for service_id in (await ask("GET", "/v1/agent/services")).json:
        if service_id.startswith(name):
            await ask("PUT", f"/v1/agent/service/deregister/{service_id}")
    for check_id in (await ask("GET", "/v1/agent/checks")).json:
        if check_id.startswith(name):
            await ask("PUT", f"/v1/agent/check/deregister/{check_id}")
    await ask("DELETE", f"/v1/kv/{name}?recurse")
