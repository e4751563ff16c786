"""`dig` (Debian's bind9-dnsutils) asks the embedded registry's DNS."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from coldchain.decisions.catalog import maintenance
from coldchain.model.catalog import CatalogCheck, CatalogService
from coldchain.registry.server.embedded import EmbeddedRegistry
from coldchain.testing.consul import embedded_registry


@pytest.fixture
async def registry() -> AsyncIterator[EmbeddedRegistry]:
    async with embedded_registry() as registry:
        yield registry


async def dig(registry: EmbeddedRegistry, *arguments: str) -> str:
    command = ["dig", "@127.0.0.1", "-p", str(registry.dns.port), "+tries=1", "+time=5", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return output.decode()


async def short(registry: EmbeddedRegistry, *arguments: str) -> list[str]:
    return sorted((await dig(registry, "+short", *arguments)).split("\n")[:-1])


async def register(registry: EmbeddedRegistry, service_id: str, address: str = "", **fields: object) -> None:
    given: dict[str, object] = {"id": service_id, "name": "shop", "address": address, "port": 80}
    service = CatalogService(**(given | fields))  # type: ignore[arg-type]
    await registry.content.register(service, [], replace=False)


async def test_addresses_of_a_service(registry: EmbeddedRegistry) -> None:
    await register(registry, "a", "10.0.0.1", tags=("blue",))
    await register(registry, "b", "10.0.0.2")
    await register(registry, "c", "fd00::3")
    assert await short(registry, "shop.service.consul") == ["10.0.0.1", "10.0.0.2"]
    assert await short(registry, "SHOP.Service.DC1.Consul.") == ["10.0.0.1", "10.0.0.2"]
    assert await short(registry, "AAAA", "shop.service.consul") == ["fd00::3"]
    assert await short(registry, "ANY", "shop.service.consul") == ["10.0.0.1", "10.0.0.2", "fd00::3"]
    assert await short(registry, "blue.shop.service.consul") == ["10.0.0.1"]
    assert await short(registry, "+tcp", "shop.service.consul") == ["10.0.0.1", "10.0.0.2"]
    output = await dig(registry, "shop.service.consul")
    assert "status: NOERROR" in output
    assert " aa" in output
    assert "shop.service.consul.\t0\tIN\tA\t10.0.0." in output


async def test_servers_of_a_service_have_ports_weights_and_names_that_resolve(registry: EmbeddedRegistry) -> None:
    await register(registry, "a", "10.0.0.1", port=8001, weight_passing=5)
    await register(registry, "b", port=8002)
    await register(registry, "c", "web.example.org", port=8003)
    expected = [
        "1 1 8002 machine.node.dc1.consul.",
        "1 1 8003 web.example.org.",
        "1 5 8001 0a000001.addr.dc1.consul.",
    ]
    assert await short(registry, "SRV", "shop.service.consul") == expected
    assert await short(registry, "SRV", "_shop._tcp.service.consul") == expected
    assert await short(registry, "0a000001.addr.dc1.consul") == ["10.0.0.1"]
    assert await short(registry, "machine.node.consul") == ["127.0.0.1"]
    output = await dig(registry, "SRV", "shop.service.consul")
    assert "0a000001.addr.dc1.consul. 0\tIN\tA\t10.0.0.1" in output
    assert "machine.node.dc1.consul. 0\tIN\tA\t127.0.0.1" in output


async def test_a_service_behind_a_name_is_an_alias(registry: EmbeddedRegistry) -> None:
    await register(registry, "a", "web.example.org")
    assert await short(registry, "shop.service.consul") == ["web.example.org."]


async def test_who_is_critical_or_in_maintenance_is_not_named(registry: EmbeddedRegistry) -> None:
    content = registry.content
    for number in range(4):
        await register(registry, f"s{number}", f"10.0.0.{number}")
    for number, status in ((1, "critical"), (2, "warning")):
        check = CatalogCheck(
            id=f"c{number}",
            name="c",
            kind="ttl",
            ttl_seconds=60,
            service_id=f"s{number}",
            status=status,  # type: ignore[arg-type]
        )
        await content.register_check(check)
    await content.register_check(maintenance(content.services["s3"], ""))
    assert await short(registry, "shop.service.consul") == ["10.0.0.0", "10.0.0.2"]
    await content.maintain(None, "the machine goes")
    assert "status: NXDOMAIN" in await dig(registry, "shop.service.consul")


async def test_names_that_are_not_there(registry: EmbeddedRegistry) -> None:
    await register(registry, "a", "10.0.0.1")
    for name in ("none.service.consul", "red.shop.service.consul", "other.node.consul", "zz.addr.consul", "x.consul"):
        output = await dig(registry, name)
        assert "status: NXDOMAIN" in output, name
        assert "consul.\t\t\t0\tIN\tSOA\tns.consul. hostmaster.consul." in output
    output = await dig(registry, "AAAA", "shop.service.consul")
    assert "status: NOERROR" in output
    assert "ANSWER: 0, AUTHORITY: 1" in output
    assert "status: REFUSED" in await dig(registry, "example.org")
    assert await short(registry, "NS", "consul") == ["ns.consul."]


async def test_what_does_not_fit_is_cut_off_and_asked_for_again_over_tcp(registry: EmbeddedRegistry) -> None:
    addresses = [f"10.0.{number // 200}.{number % 200 + 1}" for number in range(300)]
    for number, address in enumerate(addresses):
        await register(registry, f"s{number:03}", address)
    output = await dig(registry, "+noedns", "+ignore", "shop.service.consul")
    assert " tc " in output.replace(";", " ")
    assert 0 < output.count("\tA\t10.0.") < 300
    output = await dig(registry, "+noedns", "shop.service.consul")
    assert "Truncated, retrying in TCP mode." in output
    assert await short(registry, "+noedns", "shop.service.consul") != []
    assert output.count("\tA\t10.0.") == 300


async def test_the_order_changes(registry: EmbeddedRegistry) -> None:
    for number in range(8):
        await register(registry, f"s{number}", f"10.0.0.{number}")
    orders = {await dig(registry, "+short", "shop.service.consul") for _ in range(10)}
    assert len(orders) > 1
