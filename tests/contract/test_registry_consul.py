"""What only a real Consul has: access control lists, TLS, an agent on each machine; and two registries at once."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from coldchain.clients.consul import ConsulClient
from coldchain.control.clock import SystemClock
from coldchain.main.doctor import findings
from coldchain.main.machine import look
from coldchain.main.registries import open_registries
from coldchain.main.registry_access import registry_access
from coldchain.main.settings import PlatformSettings
from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.registration import Registration, Sighting
from coldchain.ports.registry import Registry
from coldchain.registry.consul import ConsulRegistry
from coldchain.registry.several import Registries
from coldchain.store.memory import MemoryStore
from coldchain.testing.consul import embedded_registry
from coldchain.testing.consul_agent import ConsulAgent, consul_agent, consul_agents
from coldchain.testing.fake_prober import FakeProber

MANAGEMENT = "7d1e2f3a-0000-4000-8000-00000000c001"
RULES = 'agent_prefix "" { policy = "read" } node_prefix "" { policy = "read" } service_prefix "" { policy = "write" }'


@contextlib.asynccontextmanager
async def opened(*given: str, controller: str = "") -> AsyncIterator[Registry]:
    """As `coldchain up` opens it."""
    clock = SystemClock()
    settings = PlatformSettings(registry=given)
    name = controller or uuid.uuid4().hex
    registry = open_registries(settings, MemoryStore(), FakeProber(clock), clock, name).registry
    try:
        yield registry
    finally:
        await registry.close()


def registration(number: int = 1, **fields: Any) -> Registration:
    given = {"id": f"shop-{number}", "service": "shop", "address": f"10.0.0.{number}", "port": 80}
    return Registration(**(given | fields))


def ids(agent: ConsulAgent) -> set[str]:
    return set(agent.ask("GET", "/v1/agent/services"))


# Tokens and TLS


@pytest.fixture(scope="module")
def guarded() -> Iterator[ConsulAgent]:
    """Asks everybody for a token, over TLS and for a certificate."""
    with consul_agent(management_token=MANAGEMENT, tls=True) as agent:
        yield agent


def address(agent: ConsulAgent, token: str = "", *, certificate: bool = True) -> str:
    assert agent.authority is not None
    files = {"authority": agent.authority.file}
    if certificate:
        files["certificate"] = agent.authority.made("client", "client")
    if token:
        files["token"] = agent.folder / f"token-{token[:8]}"
        files["token"].write_text(token)
    options = "&".join(f"{name}={path}" for name, path in files.items())
    return f"consul+https://localhost:{agent.http_port}?{options}"


async def test_a_token_and_certificates_open_what_they_may(guarded: ConsulAgent) -> None:
    async with opened(address(guarded, guarded.token(RULES))) as registry:
        one = registration(out_of_service="draining")
        await registry.register(one)
        assert list(await registry.registrations()) == [one]
        await registry.deregister(one)
        assert list(await registry.registrations()) == []


async def test_without_rights_it_is_refused_in_words(guarded: ConsulAgent) -> None:
    for token in ("", guarded.token('node_prefix "" { policy = "read" }'), str(uuid.uuid4())):
        async with opened(address(guarded, token)) as registry:
            with pytest.raises(Rejected, match=r"Permission denied|ACL not found"):
                await registry.register(registration())
    # One that may see nothing is shown nothing, and no error.
    client = ConsulClient(f"https://localhost:{guarded.http_port}", tls=_context(guarded))
    assert await client.agent_services() == {}
    await client.close()


async def test_a_rollover_of_the_token_keeps_marks_in_the_catalog(guarded: ConsulAgent) -> None:
    """Consul's agent brings a registration to the catalog with the token that it was made with."""
    old, new = guarded.token(RULES), guarded.token(RULES)
    one = registration(7)
    async with opened(address(guarded, old), controller="c") as registry:
        await registry.register(one)
    guarded.revoke(old)
    async with opened(address(guarded, new), controller="c") as registry:
        await registry.register(registration(7, out_of_service="draining"))
        async with asyncio.timeout(20):
            while await asyncio.to_thread(guarded.ask, "GET", "/v1/health/service/shop?passing"):
                await asyncio.sleep(0.05)
        await registry.deregister(one)


async def test_a_consul_whose_certificate_nobody_vouches_for_is_not_believed(guarded: ConsulAgent) -> None:
    async with opened(f"consul+https://localhost:{guarded.http_port}") as registry:
        with pytest.raises(Unavailable, match="certificate"):
            await registry.registrations()
    async with opened(address(guarded, MANAGEMENT, certificate=False)) as registry:
        with pytest.raises(Unavailable):
            await registry.registrations()


async def test_doctor_says_what_is_missing(guarded: ConsulAgent) -> None:
    async def found(*given: str) -> dict[str, str]:
        machine = await look(PlatformSettings(registry=given))
        return {one.name.partition("?")[0]: one.state for one in findings(machine) if one.name.startswith("registry")}

    name = f"registry consul+https://localhost:{guarded.http_port}"
    assert await found(address(guarded, guarded.token(RULES))) == {name: "ok"}
    assert await found(address(guarded)) == {name: "missing"}
    assert await found("127.0.0.1:8500", "consul://127.0.0.1:1") == {"registry consul://127.0.0.1:1": "warning"}


def _context(agent: ConsulAgent) -> Any:
    return registry_access([address(agent)]).consuls[0].context()


# The agents of the machines


@pytest.fixture(scope="module")
def fleet() -> Iterator[list[ConsulAgent]]:
    """A server and the agents of two machines."""
    with consul_agents(2) as agents:
        yield agents


async def listed(registry: Registry) -> list[tuple[str, str]]:
    return sorted((one.place, one.id) for one in await registry.registrations())


async def place(registry: Registry, said: str) -> str:
    registry.places("machine", said)
    await registry.registrations()
    [found] = registry.places("machine", said)
    return found


async def test_an_instance_is_registered_at_the_agent_of_its_machine(fleet: list[ConsulAgent]) -> None:
    root, one, two = fleet
    async with opened(f"consul://{root.address}", controller="c") as registry:
        registry.places("machine", one.address)
        assert registry.stale  # nobody knows yet whose agent that is
        assert await place(registry, one.address) == one.address
        assert not registry.stale
        await registry.register(registration(1, place=one.address))
        await registry.register(registration(2))
        one.ask("PUT", "/v1/agent/service/register", {"Name": "other", "ID": "other-1"})
        assert (ids(root), ids(one), ids(two)) == ({"shop-2"}, {"shop-1", "other-1"}, set())
        assert await listed(registry) == [("", "shop-2"), (one.address, "shop-1")]
        # By another address it is the same one, as is the root.
        assert await place(registry, f"localhost:{one.http_port}") == one.address
        assert await place(registry, f"localhost:{root.http_port}") == ""
        assert await listed(registry) == [("", "shop-2"), (one.address, "shop-1")]
    # Another controller, whose machines are others, finds what is of no use any more by the catalog.
    async with opened(f"consul://{root.address}?agents={one.http_port}", controller="c") as registry:
        async with asyncio.timeout(20):
            while len(await registry.registrations()) < 2:
                registry._sweep_in = 0  # type: ignore[attr-defined]
        for each in await registry.registrations():
            await registry.deregister(each)
    assert (ids(root), ids(one)) == (set(), {"other-1"})
    one.ask("PUT", "/v1/agent/service/deregister/other-1")


async def test_the_root_stands_in_for_an_agent_that_does_not_answer(fleet: list[ConsulAgent]) -> None:
    root, _, two = fleet
    async with opened(f"consul://{root.address}", controller="d") as registry:
        assert await place(registry, two.address) == two.address
        await registry.register(registration(1, place=two.address))
        async with asyncio.timeout(20):
            while not await asyncio.to_thread(root.ask, "GET", "/v1/catalog/service/shop"):
                await asyncio.sleep(0.05)
        two.kill()
        # What the catalog knows of it is known, and can be taken from there.
        assert await listed(registry) == [(two.address, "shop-1")]
        assert list(registry.unreachable) == [two.address]
        assert list(registry.places("machine", two.address)) == [""]
        await registry.register(registration(1))
        await registry.deregister(registration(1, place=two.address))
        assert [one["Node"] for one in root.ask("GET", "/v1/catalog/service/shop")] == [root.name]
        await asyncio.to_thread(two.restart)
        assert (await listed(registry))[0] == ("", "shop-1")
        assert registry.unreachable == {}
        assert list(registry.places("machine", two.address)) == [two.address]
        for each in await registry.registrations():
            await registry.deregister(each)
        # One that is away and of no use any more is no trouble to anybody.
        two.kill()
        await registry.registrations()
        registry.places("machine", two.address)
        await registry.registrations()
        assert list(registry.unreachable) == [two.address]
        await registry.registrations()
        assert registry.unreachable == {}
        await asyncio.to_thread(two.restart)


# Two at once


async def test_two_registries_are_told_everything_and_the_first_is_followed(shared_consul: ConsulAgent) -> None:
    async with embedded_registry() as embedded:
        name = uuid.uuid4().hex
        first = ConsulRegistry(ConsulClient(embedded.server.address), name)
        second = ConsulRegistry(ConsulClient(shared_consul.address), name, "second")
        registry = Registries([first, second])
        assert list(registry.places("machine", "")) == ["", "second"]
        for each in ("", "second"):
            await registry.register(registration(1, place=each))
        assert await listed(registry) == [("", "shop-1"), ("second", "shop-1")]
        assert [one.id for one in (await registry.services())[0].endpoints] == ["shop-1"]
        sighting: Sighting = await anext(registry.watch("shop", lambda words: None))
        assert sighting.endpoints == ()  # its own are no others'
        await registry.deregister(registration(1, place="second"))
        assert "shop-1" not in ids(shared_consul)
        assert await listed(registry) == [("", "shop-1")]
        await registry.close()


async def test_what_one_of_two_has_is_unknown_while_it_does_not_answer() -> None:
    async with embedded_registry() as embedded:
        first = ConsulRegistry(ConsulClient(embedded.server.address), "c")
        registry = Registries([first, ConsulRegistry(ConsulClient("127.0.0.1:1"), "c", "second")])
        with pytest.raises(Unavailable):
            await registry.registrations()
        await registry.close()


async def test_a_registry_that_is_left_is_emptied_of_ours_and_waited_for_by_nobody(shared_consul: ConsulAgent) -> None:
    name = uuid.uuid4().hex
    old, new = f"consul://{shared_consul.address}", "consul://127.0.0.1:1"
    async with opened(old, controller=name) as registry:
        await registry.register(registration(1))
    async with embedded_registry() as embedded:
        address = embedded.server.address
        async with opened(f"consul://{address}", f"{old}?leave=yes", f"{new}?leave=yes", controller=name) as registry:
            assert list(registry.places("machine", "")) == [""]
            assert await listed(registry) == [(old, "shop-1")]
            assert list(registry.unreachable) == [new]
            await registry.deregister(registration(1, place=old))
    assert "shop-1" not in ids(shared_consul)
