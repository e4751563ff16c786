"""PyPI's `py-consul`, a client that others use, against the embedded registry."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import consul  # type: ignore[import-untyped]
import pytest

from coldchain.testing.consul import embedded_registry

T = TypeVar("T")


@pytest.fixture
async def client() -> AsyncIterator[Any]:
    async with embedded_registry() as registry:
        client = consul.Consul(host="127.0.0.1", port=registry.server.port)
        yield client
        client.http.session.close()


async def do(call: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """It blocks, and the registry is in this process."""
    return await asyncio.to_thread(call, *arguments, **named)


async def test_services_are_registered_found_and_removed(client: Any) -> None:
    agent, health, catalog = client.agent, client.health, client.catalog
    check = consul.Check.ttl("30s")
    assert await do(
        agent.service.register,
        "web",
        service_id="web-1",
        address="10.0.0.1",
        port=8080,
        tags=["blue"],
        meta={"version": "2"},
        check=check,
        weights={"Passing": 10, "Warning": 1},
    )
    services = await do(agent.services)
    assert services["web-1"]["Weights"] == {"Passing": 10, "Warning": 1}
    assert (await do(agent.service_definition, "web-1"))["Port"] == 8080
    _, found = await do(health.service, "web", passing=True)
    assert found == []
    assert await do(agent.check.ttl_pass, "service:web-1", notes="well")
    _, found = await do(health.service, "web", passing=True, tag="blue")
    assert found[0]["Service"]["Address"] == "10.0.0.1"
    assert await do(agent.check.ttl_warn, "service:web-1")
    assert await do(agent.check.ttl_fail, "service:web-1")
    _, critical = await do(health.state, "critical")
    assert [one["CheckID"] for one in critical] == ["service:web-1"]
    _, checks = await do(health.checks, "web")
    assert checks[0]["ServiceName"] == "web"
    _, services = await do(catalog.services)
    assert services == {"web": ["blue"]}
    _, entries = await do(catalog.service, "web")
    assert entries[0]["ServicePort"] == 8080
    _, nodes = await do(catalog.nodes)
    _, node = await do(catalog.node, nodes[0]["Node"])
    assert list(node["Services"]) == ["web-1"]
    _, node_checks = await do(health.node, nodes[0]["Node"])
    assert {one["CheckID"] for one in node_checks} == {"serfHealth", "service:web-1"}
    assert await do(agent.service.maintenance, "web-1", True, "moving")
    assert "_service_maintenance:web-1" in await do(agent.checks)
    assert await do(agent.service.maintenance, "web-1", False)
    assert await do(agent.maintenance, True, "all of it")
    assert await do(agent.maintenance, False)
    assert await do(agent.service.deregister, "web-1")
    assert await do(agent.services) == {}


async def test_a_check_of_the_node(client: Any) -> None:
    assert await do(client.agent.check.register, "disk", check=consul.Check.ttl("30s"), check_id="disk")
    assert await do(client.agent.check.ttl_pass, "disk")
    assert (await do(client.agent.checks))["disk"]["Status"] == "passing"
    assert await do(client.agent.check.deregister, "disk")


async def test_a_blocking_query_returns_with_the_change(client: Any) -> None:
    index, _ = await do(client.health.service, "web")
    waiting = asyncio.create_task(do(client.health.service, "web", index=index, wait="30s"))
    await do(client.agent.service.register, "web", port=1)
    after, found = await waiting
    assert int(after) > int(index)
    assert [one["Service"]["ID"] for one in found] == ["web"]


async def test_who_answers(client: Any) -> None:
    assert (await do(client.agent.self))["Config"]["Datacenter"] == "dc1"
    assert len(await do(client.agent.members)) == 1
    assert await do(client.catalog.datacenters) == ["dc1"]
    assert await do(client.status.leader) in await do(client.status.peers)


async def test_keys(client: Any) -> None:
    kv = client.kv
    assert await do(kv.put, "a/b", "one", flags=7)
    _, found = await do(kv.get, "a/b")
    assert (found["Value"], found["Flags"]) == (b"one", 7)
    assert not await do(kv.put, "a/b", "two", cas=0)
    assert await do(kv.put, "a/b", "two", cas=found["ModifyIndex"])
    assert await do(kv.put, "a/ü ?#%", b"\0\xff")
    _, found = await do(kv.get, "a/", recurse=True)
    assert [(one["Key"], one["Value"]) for one in found] == [("a/b", b"two"), ("a/ü ?#%", b"\0\xff")]
    _, keys = await do(kv.get, "", keys=True, separator="/")
    assert keys == ["a/"]
    assert await do(kv.delete, "a/", recurse=True)
    assert (await do(kv.get, "a/b"))[1] is None


async def test_locks(client: Any) -> None:
    kv, session = client.kv, client.session
    mine = await do(session.create, "mine", lock_delay=0, ttl=10)
    other = await do(session.create, "other", behavior="delete", lock_delay=0)
    assert await do(kv.put, "lock", "me", acquire=mine)
    assert not await do(kv.put, "lock", "him", acquire=other)
    assert (await do(session.renew, mine))["Name"] == "mine"
    assert len((await do(session.list))[1]) == 2
    assert (await do(session.info, mine))[1]["TTL"] == "10s"
    assert await do(kv.put, "lock", "", release=mine)
    assert await do(kv.put, "lock", "him", acquire=other)
    assert await do(session.destroy, other)
    assert (await do(kv.get, "lock"))[1] is None


async def test_transactions(client: Any) -> None:
    done = await do(client.txn.put, [{"KV": {"Verb": "set", "Key": "a", "Value": "MQ=="}}])
    assert done["Results"][0]["KV"]["Key"] == "a"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda client: client.agent.service.register(""), consul.exceptions.BadRequest),
        (lambda client: client.catalog.services(dc="elsewhere"), consul.ConsulException),
        (lambda client: client.acl.tokens.list(), consul.exceptions.ACLDisabled),
    ],
)
async def test_errors_are_its_own(client: Any, call: Callable[[Any], Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        await do(call, client)
