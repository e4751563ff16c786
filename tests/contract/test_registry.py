"""The contract of `ports.registry.Registry`: the fake, and the client on every server of Consul's API."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import aiohttp
import msgspec
import pytest

from coldchain.clients.consul import ConsulClient
from coldchain.control.clock import SystemClock
from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.registration import KnownEndpoint, Registration, ServiceEndpoint
from coldchain.ports.registry import Registry
from coldchain.registry.consul import ConsulRegistry
from coldchain.testing.consul import SERVERS, Asker, consul_places, embedded_registry
from coldchain.testing.fake_registry import FakeRegistry

Others = Callable[..., Awaitable[None]]


class Lab:
    """A registry, and somebody else who registers there: `others(service, id → port)`, none: no more. He says of which
    version they are, which is called as their port."""

    def __init__(self, registry: Registry, others: Others) -> None:
        self.registry = registry
        self.others = others
        self.service = f"t{uuid.uuid4().hex[:10]}"

    def registration(self, number: int = 1, **fields: Any) -> Registration:
        given = {
            "id": f"{self.service}-{number}",
            "service": self.service,
            "address": f"10.0.0.{number}",
            "port": 8080,
            "tags": ("public",),
            "meta": {"app": "/shop"},
        }
        return Registration(**(given | fields))


@pytest.fixture(params=["fake", *SERVERS])
async def lab(request: pytest.FixtureRequest) -> AsyncIterator[Lab]:
    if request.param == "fake":
        fake = FakeRegistry(SystemClock())

        async def told(service: str, **ports: int) -> None:
            fake.set_others(
                service,
                *(
                    ServiceEndpoint(id=name, address="10.9.9.9", port=port, status="passing", version=f"v{port}")
                    for name, port in ports.items()
                ),
            )

        yield Lab(fake, told)
        return
    async with consul_places(request) as places, aiohttp.ClientSession() as session:
        ask = Asker(session, places.address)
        known: set[str] = set()

        async def asked(service: str, **ports: int) -> None:
            for name in known - ports.keys():
                await ask("PUT", f"/v1/agent/service/deregister/{name}")
            for name, port in ports.items():
                said = {"Meta": {"version": f"v{port}"}} if port == 1 else {"Tags": ["old", f"version=v{port}"]}
                body = {"Name": service, "ID": name, "Address": "10.9.9.9", "Port": port, **said}
                await ask("PUT", "/v1/agent/service/register", body)
            known.clear()
            known.update(ports)

        registry = ConsulRegistry(ConsulClient(places.address), uuid.uuid4().hex)
        lab = Lab(registry, asked)
        try:
            yield lab
        finally:
            for one in await registry.registrations():
                await registry.deregister(one)
            await asked(lab.service)
            await registry.close()


async def test_what_was_registered_is_listed_as_it_was_given(lab: Lab) -> None:
    one, two = lab.registration(1), lab.registration(2, tags=(), out_of_service="draining")
    await lab.registry.register(one)
    await lab.registry.register(two)
    assert sorted(await lab.registry.registrations(), key=lambda each: each.id) == [one, two]
    await lab.registry.deregister(one)
    assert list(await lab.registry.registrations()) == [two]
    await lab.registry.deregister(one)


async def test_registered_again_it_is_as_it_was_given_last(lab: Lab) -> None:
    for fields in ({}, {"out_of_service": "draining"}, {}, {"port": 81}, {"tags": ("blue",), "out_of_service": "gone"}):
        one = lab.registration(1, **fields)
        await lab.registry.register(one)
        assert list(await lab.registry.registrations()) == [one]
    await lab.registry.register(lab.registration(1, out_of_service="another reason"))
    [found] = await lab.registry.registrations()
    assert found.out_of_service == "gone"


async def test_others_are_watched_and_never_listed(lab: Lab) -> None:
    await lab.registry.register(lab.registration())
    await lab.others(lab.service, other=1)
    assert len(await lab.registry.registrations()) == 1
    watching = lab.registry.watch(lab.service, lambda trouble: None)

    async def until(wanted: list[tuple[str, int]]) -> None:
        async for sighting in watching:
            assert [one.version for one in sighting.endpoints] == [f"v{one.port}" for one in sighting.endpoints]
            if _places(sighting.endpoints) == wanted:
                return

    async with asyncio.timeout(20):
        await until([("other", 1)])
        await lab.others(lab.service, other=1, third=3)
        await until([("other", 1), ("third", 3)])
        await lab.others(lab.service)
        await until([])


async def test_what_others_registered_is_put_out_of_service_and_stays(lab: Lab) -> None:
    await lab.others(lab.service, other=1)
    await lab.registry.maintain("other", "draining")
    watching = lab.registry.watch(lab.service, lambda trouble: None)
    async with asyncio.timeout(20):
        async for found in watching:
            if [(one.id, one.status) for one in found.endpoints] == [("other", "maintenance")]:
                break
    assert list(await lab.registry.registrations()) == []
    with pytest.raises(Rejected, match="nobody"):
        await lab.registry.maintain("nobody", "draining")


async def test_all_services_are_listed_with_who_registered_them(lab: Lab) -> None:
    await lab.registry.register(lab.registration(1))
    await lab.registry.register(lab.registration(2, out_of_service="draining"))
    await lab.others(lab.service, other=1)
    while True:  # a real agent brings it to its server a moment later
        found = {one.name: one.endpoints for one in await lab.registry.services()}
        if len(found.get(lab.service, ())) == 3 and "maintenance" in [one.status for one in found[lab.service]]:
            break
    assert sorted((one.id, one.status, one.app_id) for one in found[lab.service]) == sorted(
        [
            ("other", "passing", None),
            (f"{lab.service}-1", "passing", "/shop"),
            (f"{lab.service}-2", "maintenance", "/shop"),
        ],
        key=str,
    )


async def test_what_an_endpoint_says_of_itself_is_told_with_since_when() -> None:
    # Only of ours: a Consul does not say since when.
    async with embedded_registry() as server, aiohttp.ClientSession() as session:
        address = server.server.address
        ask, registry = Asker(session, address), ConsulRegistry(ConsulClient(address), "mine")
        began = SystemClock().now()
        check = {"TTL": "60s", "Name": "alive", "Status": "passing"}
        body = {"Name": "web", "ID": "w", "Address": "10.9.9.9", "Port": 80, "Check": check}
        await ask("PUT", "/v1/agent/service/register", body)
        one = Registration(id="m", service="web", address="10.9.9.8", port=80, out_of_service="draining")
        await registry.register(one)
        theirs = ConsulRegistry(ConsulClient(address), "theirs")
        await theirs.register(msgspec.structs.replace(one, id="t"))
        await theirs.close()

        async def listed() -> dict[str, KnownEndpoint]:
            [service] = await registry.services()
            assert all(began <= (each.since or 0.0) <= SystemClock().now() for each in service.endpoints)
            return {each.id: each for each in service.endpoints}

        first = await listed()
        assert {name: (each.status, each.why, each.registered_by) for name, each in first.items()} == {
            "w": ("passing", "", "others"),
            "m": ("maintenance", "draining", "this controller"),
            "t": ("maintenance", "draining", "another controller"),
        }
        await ask("PUT", "/v1/agent/check/fail/service:w?note=no%20disk")
        second = await listed()
        assert (second["w"].status, second["w"].why) == ("critical", "alive: no disk")
        assert (second["w"].since or 0.0) > (first["w"].since or 0.0)
        assert second["m"] == first["m"]
        await registry.close()


def _places(found: Sequence[ServiceEndpoint]) -> list[tuple[str, int]]:
    return [(one.id, one.port) for one in found]


async def test_a_registry_that_is_not_there_is_unknown_not_empty() -> None:
    registry = ConsulRegistry(ConsulClient("127.0.0.1:1"), "c")
    one = Registration(id="a", service="b", address="10.0.0.1", port=1)
    for call in (registry.registrations(), registry.register(one), registry.deregister(one)):
        with pytest.raises(Unavailable):
            await call
    await registry.close()


async def test_what_the_registry_cannot_take_is_refused_with_its_words() -> None:
    async with embedded_registry() as embedded:
        registry = ConsulRegistry(ConsulClient(embedded.server.address), "c")
        with pytest.raises(Rejected, match="Invalid service address"):
            await registry.register(Registration(id="a", service="b", address="0.0.0.0", port=1))
        await registry.close()
