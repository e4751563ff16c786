"""Consumers that find the app in the registry, and not through the gateway, lose nothing either."""

import asyncio
import itertools
import socket
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from coldchain.testing.driven import StepFailed
from coldchain.testing.stage import Stage

Shop = Callable[..., dict[str, Any]]
REFRESH_SECONDS = 1.0
"""How often the consumer looks into the registry: well within the three seconds of settle time."""


async def passing(stage: Stage, service: str = "shop") -> dict[str, str]:
    """Address and port by instance of those in service."""
    url = f"http://127.0.0.1:{stage.registry_port}/v1/health/service/{service}?passing"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        found = [one["Service"] for one in await answer.json()]
    return {one["Meta"]["instance"]: f"{one['Address']}:{one['Port']}" for one in found}


async def dig(stage: Stage, *question: str) -> list[str]:
    command = ["dig", "+short", "@127.0.0.1", "-p", str(stage.dns_port), *question]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return sorted(output.decode().split())


class Consumer:
    """Asks one instance after the other, by a list that is up to a second old."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.statuses: list[int] = []

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        async with aiohttp.ClientSession() as session:
            while True:
                places = list((await passing(self._stage)).values())
                limit = loop.time() + REFRESH_SECONDS
                for place in itertools.cycle(places):
                    async with session.post(f"http://{place}/") as answer:
                        self.statuses.append(answer.status)
                    if loop.time() > limit:
                        break


async def test_a_rollout_loses_no_request_of_those_who_ask_the_registry(stage: Stage, shop: Shop) -> None:
    await stage.start()
    created = await stage.create(shop(instances=2, service="shop", labels={"public": "tag"}))
    assert created["id"] == "/shop"
    before = await passing(stage)
    assert len(before) == 2
    assert await dig(stage, "public.shop.service.consul") == sorted(one.split(":")[0] for one in before.values())
    consumer = Consumer(stage)
    asking = asyncio.create_task(consumer.run())
    await stage.deploy("POST", "/v2/apps/shop/restart")
    assert not asking.done(), asking.exception()
    asking.cancel()
    after = await passing(stage)
    assert len(after) == 2
    assert before.keys().isdisjoint(after)
    assert len(consumer.statuses) > 10
    assert set(consumer.statuses) == {200}


async def test_what_is_registered_outlives_the_controller(stage: Stage, shop: Shop) -> None:
    await stage.start()
    await stage.create(shop(instances=1, service="shop"))
    own = {"Name": "legacy", "ID": "old-1", "Address": "10.9.9.9", "Port": 81, "Meta": {"instance": "old-1"}}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{stage.registry_port}") as session:
        async with session.put("/v1/agent/service/register", json=own) as answer:
            assert answer.status == 200
        async with session.put("/v1/kv/key", data=b"value") as answer:
            assert answer.status == 200
    before = await passing(stage)
    stage.kill()
    await stage.start()
    assert await passing(stage) == before
    assert await passing(stage, "legacy") == {"old-1": "10.9.9.9:81"}
    listed = (await stage.call("GET", "/v1/services"))["services"]
    assert {one["name"]: [each["app"] for each in one["endpoints"]] for one in listed} == {
        "legacy": [None],
        "shop": ["/shop"],
    }
    assert (await stage.call("GET", "/v1/status"))["registry"]["trouble"] == ""


async def test_a_port_that_is_taken_is_said(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        stage.options["--registry"] = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StepFailed, match="registry cannot listen on"):
            await stage.start()


async def test_the_gateway_leads_to_a_service_that_others_run(stage: Stage) -> None:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="from a machine of old")

    application = web.Application()
    application.router.add_get("/", hello)
    await stage.start()
    async with TestServer(application) as server, aiohttp.ClientSession() as session:
        own = {"Name": "legacy", "ID": "old-1", "Address": "127.0.0.1", "Port": server.port}
        registry = f"http://127.0.0.1:{stage.registry_port}/v1/agent/service"
        async with session.put(f"{registry}/register", json=own) as answer:
            assert answer.status == 200
        routes = [{"domains": ["old.localhost"]}]
        await stage.create({"id": "/legacy", "service": "legacy", "instances": 0, "routes": routes})

        async def ask() -> tuple[int, str]:
            url = f"http://127.0.0.1:{stage.gateway_port}/"
            async with session.get(url, headers={"Host": "old.localhost"}) as answer:
                return answer.status, await answer.text()

        async with asyncio.timeout(20):
            while await ask() != (200, "from a machine of old"):
                await asyncio.sleep(0.05)
            async with session.put(f"{registry}/deregister/old-1") as answer:
                assert answer.status == 200
            while (await ask())[0] != 503:
                await asyncio.sleep(0.05)
