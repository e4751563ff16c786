"""A real Consul as the registry: it is killed, stays away, comes back with and without what it had; nobody who is
healthy misses a request, neither through the gateway nor of those who ask Consul. And a move to it."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from coldchain.testing.consul_agent import ConsulAgent, consul_agent
from coldchain.testing.stage import Stage

Shop = Callable[..., dict[str, Any]]
Outcomes = Counter[int | str]
PAUSE_SECONDS = 0.02
REFRESH_SECONDS = 0.5
"""How often the consumer looks into Consul: within the three seconds of settle time."""
SHORT_SECONDS, LONG_SECONDS = 2.0, 60.0
CONSUL = "through Consul "


# Asked for before `stage`, it is there until that is down: what shall leave Consul waits for it.
@pytest.fixture
def consul() -> Iterator[ConsulAgent]:
    with consul_agent(keeps=True) as agent:
        yield agent


@pytest.fixture
async def legacy() -> AsyncIterator[list[TestServer]]:
    """A service that others run, at two places."""

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="from a machine of old")

    application = web.Application()
    application.router.add_get("/", hello)
    async with TestServer(application) as one, TestServer(application) as two:
        yield [one, two]


LEGACY = {"id": "/legacy", "service": "legacy", "instances": 0, "routes": [{"domains": ["old.localhost"]}]}


def registered(legacy: list[TestServer]) -> list[dict[str, Any]]:
    """As they register themselves."""
    return [{"Name": "legacy", "ID": f"old-{one.port}", "Address": "127.0.0.1", "Port": one.port} for one in legacy]


def register_legacy(consul: ConsulAgent, legacy: list[TestServer]) -> None:
    for own in registered(legacy):
        consul.ask("PUT", "/v1/agent/service/register", own)


async def passing(consul: ConsulAgent, service: str = "shop") -> set[str]:
    """Address and port of those in service; raises OSError while it does not answer."""
    found = await asyncio.to_thread(consul.ask, "GET", f"/v1/health/service/{service}?passing")
    return {f"{one['Service']['Address']}:{one['Service']['Port']}" for one in found}


async def until_passing(consul: ConsulAgent, count: int, service: str = "shop") -> None:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(OSError):
                if len(await passing(consul, service)) == count:
                    return
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def load(stage: Stage, consul: ConsulAgent) -> AsyncIterator[Outcomes]:
    """Consumers of both services through the gateway, and one that asks Consul who serves and goes there; he goes on
    with the last answer while there is none, or an empty one. What became of the requests."""
    outcomes: Outcomes = Counter()
    gateway = f"http://127.0.0.1:{stage.gateway_port}/"
    connector = aiohttp.TCPConnector(force_close=True)
    known = await passing(consul)  # before a fault can come

    async def ask(url: str, what: str, host: str) -> None:
        try:
            async with session.get(url, headers={"Host": host}) as answer:
                await answer.read()
                outcomes[what if answer.status == 200 else f"{what}{answer.status}"] += 1
        except aiohttp.ClientError as error:
            outcomes[f"{what}{type(error).__name__}"] += 1
        await asyncio.sleep(PAUSE_SECONDS)

    async def through_gateway(host: str) -> None:
        while True:
            await ask(gateway, f"{host} ", host)

    async def through_consul(places: set[str]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            limit = loop.time() + REFRESH_SECONDS
            for place in itertools.cycle(sorted(places)):
                await ask(f"http://{place}/", CONSUL, "shop.localhost")
                if loop.time() > limit:
                    break
            with contextlib.suppress(OSError):
                places = await passing(consul) or places

    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        programs = [through_gateway("shop.localhost"), through_gateway("old.localhost"), through_consul(known)]
        tasks = [group.create_task(one) for one in programs]
        try:
            yield outcomes
        finally:
            for task in tasks:
                task.cancel()


def none_failed(outcomes: Outcomes) -> None:
    assert outcomes.keys() == {"shop.localhost ", "old.localhost ", CONSUL}, outcomes


async def served(stage: Stage, host: str) -> None:
    """Once the gateway leads there."""
    url = f"http://127.0.0.1:{stage.gateway_port}/"
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while True:
            async with session.get(url, headers={"Host": host}) as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.05)


async def registry_says(stage: Stage, *, trouble: bool) -> None:
    async with asyncio.timeout(60):
        while bool((await stage.call("GET", "/v1/status"))["registry"]["trouble"]) is not trouble:
            await asyncio.sleep(0.05)


async def begin(stage: Stage, shop: Shop, consul: ConsulAgent, legacy: list[TestServer]) -> None:
    stage.options["--registry"] = f"consul://{consul.address}"
    register_legacy(consul, legacy)
    await stage.start()
    await stage.create(shop(instances=2, service="shop"))
    await stage.create(LEGACY)
    await served(stage, "old.localhost")
    await until_passing(consul, 2)


async def through_faults(stage: Stage, consul: ConsulAgent, legacy: list[TestServer], seconds: float) -> None:
    """Away for so long with all it had; then started again without."""
    before = await passing(consul)
    await asyncio.to_thread(consul.kill)
    await registry_says(stage, trouble=True)
    await asyncio.sleep(seconds)
    consul.start()
    await registry_says(stage, trouble=False)
    await until_passing(consul, 2)  # it answers before its agent has told its server what it had
    await until_passing(consul, 2, "legacy")
    assert await passing(consul) == before
    await asyncio.to_thread(consul.forget)
    await until_passing(consul, 2)
    assert await passing(consul) == before
    assert await passing(consul, "legacy") == set()


async def test_consul_restarted_away_and_empty_costs_no_request(
    consul: ConsulAgent, stage: Stage, shop: Shop, legacy: list[TestServer]
) -> None:
    await begin(stage, shop, consul, legacy)
    async with load(stage, consul) as outcomes:
        await through_faults(stage, consul, legacy, SHORT_SECONDS)
        # The others have not come back yet, and serve all the same; a release goes on.
        await stage.deploy("POST", "/v2/apps/shop/restart")
        register_legacy(consul, legacy)
        await until_passing(consul, 2)
    none_failed(outcomes)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_consul_away_for_a_minute_and_empty_for_longer_than_the_doubts(
    consul: ConsulAgent, stage: Stage, shop: Shop, legacy: list[TestServer]
) -> None:
    await begin(stage, shop, consul, legacy)
    async with load(stage, consul) as outcomes:
        await through_faults(stage, consul, legacy, LONG_SECONDS)
        register_legacy(consul, legacy)
        await asyncio.sleep(130)
    none_failed(outcomes)


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_a_move_from_the_embedded_registry_to_consul_costs_no_request(
    consul: ConsulAgent, stage: Stage, shop: Shop, legacy: list[TestServer]
) -> None:
    embedded, address = stage.options.pop("--registry"), f"consul://{consul.address}"
    register_legacy(consul, legacy)

    async def start(*registries: str) -> None:
        if stage.runs:
            await stage.terminate()
        stage.up_options = ["--cpu-factor=4", *(f"--registry={one}" for one in registries)]
        await stage.start()

    await start(embedded)
    await stage.create(shop(instances=2, service="shop"))
    url = f"http://{embedded}/v1/agent/service/register"
    async with aiohttp.ClientSession() as session:
        for own in registered(legacy):
            async with session.put(url, json=own) as answer:
                assert answer.status == 200
    await stage.create(LEGACY)
    await served(stage, "old.localhost")
    await start(embedded, address)
    await until_passing(consul, 2)
    async with load(stage, consul) as outcomes:
        await stage.deploy("POST", "/v2/apps/shop/restart")
        await start(address, embedded)
        await start(address)
        await stage.deploy("POST", "/v2/apps/shop/restart")
    none_failed(outcomes)
    stage.options["--registry"] = address  # for `down`
    stage.up_options = []
