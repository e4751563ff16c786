"""Servers of Consul's API: the embedded registry, and a real Consul."""

import uuid
from collections.abc import AsyncIterator

import aiohttp
import pytest

from coldchain.testing.consul import SERVERS, Asker, Places, consul_places


@pytest.fixture(params=SERVERS)
async def places(request: pytest.FixtureRequest) -> AsyncIterator[Places]:
    async with consul_places(request) as found:
        yield found


@pytest.fixture
async def ask(places: Places) -> AsyncIterator[Asker]:
    async with aiohttp.ClientSession() as session:
        yield Asker(session, places.address)


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
