"""Dubbo by way of a real ZooKeeper, with Node's sofa-rpc-node on the other side: its provider found by our directory
and called by our caller, and ours found and called by its consumer."""

import asyncio
import urllib.parse
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import pytest_asyncio

from coldchain.clients.dubbo import Server, Services
from coldchain.clients.zookeeper import ZooKeeper
from coldchain.control.clock import SystemClock
from coldchain.dubbo.caller import DubboCaller
from coldchain.dubbo.discovery import Directory
from coldchain.model.dubbo import Consumer
from coldchain.model.service_call import ServiceCall
from coldchain.testing.dubbo_peer import GROUP, INTERFACE, VERSION, DubboPeer
from coldchain.testing.mesos.lab import MesosLab

pytestmark = pytest.mark.asyncio(loop_scope="module")
PROVIDERS = f"/dubbo/{INTERFACE}/providers"


class Place(NamedTuple):
    address: str
    zookeeper: ZooKeeper


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place() -> AsyncIterator[Place]:
    async with MesosLab(zookeeper=True) as lab:
        assert lab.zookeeper is not None
        zookeeper = ZooKeeper(lab.zookeeper.address)
        yield Place(lab.zookeeper.address, zookeeper)
        await zookeeper.close()


async def test_nodes_providers_are_found_and_called_while_they_come_and_go(place: Place) -> None:
    directory = Directory(place.zookeeper, Consumer(host="127.0.0.1", application="shop"))
    caller = DubboCaller(directory, SystemClock())

    async def add(one: int, two: int) -> object:
        call = ServiceCall(service=INTERFACE, method="add", arguments=(one, two), group=GROUP, version=VERSION)
        return (await caller.call(call)).value

    async with DubboPeer(f"{place.address}/dubbo") as first:
        assert await add(1, 2) == 3
        async with DubboPeer(f"{place.address}/dubbo") as second:
            async with asyncio.timeout(20):
                while len(directory.providers(INTERFACE, GROUP, VERSION)) < 2:
                    await directory.changed()
            for number in range(20):
                assert await add(number, 1) == number + 1
            assert await first.seen()
            assert await second.seen()
        for number in range(20):  # the second is gone, and ZooKeeper has not noticed yet
            assert await add(number, 1) == number + 1
    await caller.close()
    await directory.close()


async def test_our_provider_is_found_and_called_by_nodes_consumer(place: Place) -> None:
    called: list[int] = []

    async def add(one: int, two: int) -> int:
        called.append(one)
        return one + two

    services = Services()
    services.add(INTERFACE, {"add": add}, version=VERSION, group=GROUP)
    server = Server(services)
    await server.start()
    url = (
        f"dubbo://127.0.0.1:{server.port}/{INTERFACE}?interface={INTERFACE}&group={GROUP}&version={VERSION}"
        "&serialization=hessian2&side=provider&methods=add"
    )
    node = f"{PROVIDERS}/{urllib.parse.quote(url, safe='')}"
    await place.zookeeper.create(node, ephemeral=True, parents=True)
    async with DubboPeer(f"{place.address}/dubbo") as consumer:
        answers = [await consumer.call("", "add", number, 1) for number in range(10)]
        assert answers == [number + 1 for number in range(10)]
        assert called  # in turns with the provider of the same process
    await server.close()
