"""`dig` (Debian's bind9-dnsutils) asks the DNS of every server of Consul's API."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import pytest

from coldchain.testing.consul import Asker, Places, seen

Dig = Callable[..., Awaitable[str]]


@pytest.fixture
def dig(places: Places) -> Dig:
    async def asked(*arguments: str) -> str:
        command = ["dig", "@127.0.0.1", "-p", str(places.dns_port), "+tries=1", "+time=5", *arguments]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await process.communicate()
        assert process.returncode == 0, output
        return output.decode()

    return asked


async def short(dig: Dig, *arguments: str) -> list[str]:
    return sorted((await dig("+short", *arguments)).split("\n")[:-1])


async def register(ask: Asker, name: str, **addresses: str | dict[str, Any]) -> None:
    """Endpoints of this service, each by its address or its fields, until the catalog has them."""
    for one, fields in addresses.items():
        given = {"Address": fields} if isinstance(fields, str) else fields
        body = {"Name": name, "ID": f"{name}-{one}", "Port": 80, **given}
        answer = await ask("PUT", "/v1/agent/service/register", body)
        assert answer.status == 200, answer.text
    await seen(ask, f"/v1/health/service/{name}", lambda found: len(found) >= len(addresses))


async def passing(ask: Asker, name: str, wanted: Collection[str]) -> None:
    """Once these alone are in service."""
    ids = {f"{name}-{one}" for one in wanted}
    path = f"/v1/health/service/{name}?passing"
    await seen(ask, path, lambda found: {one["Service"]["ID"] for one in found} == ids)


async def test_addresses_of_a_service(ask: Asker, name: str, dig: Dig) -> None:
    await register(ask, name, a={"Address": "10.0.0.1", "Tags": ["blue"]}, b="10.0.0.2", c="fd00::3")
    service = f"{name}.service.consul"
    assert await short(dig, service) == ["10.0.0.1", "10.0.0.2"]
    assert await short(dig, f"{name.upper()}.Service.DC1.Consul.") == ["10.0.0.1", "10.0.0.2"]
    assert await short(dig, "AAAA", service) == ["fd00::3"]
    assert await short(dig, "ANY", service) == ["10.0.0.1", "10.0.0.2", "fd00::3"]
    assert await short(dig, f"blue.{service}") == ["10.0.0.1"]
    assert await short(dig, "+tcp", service) == ["10.0.0.1", "10.0.0.2"]
    output = await dig(service)
    assert "status: NOERROR" in output
    assert " aa" in output
    assert f"{service}. 0 IN A 10.0.0." in " ".join(output.split())


async def test_servers_of_a_service_have_ports_weights_and_names_that_resolve(
    ask: Asker, name: str, dig: Dig, places: Places
) -> None:
    weighty = {"Address": "10.0.0.1", "Port": 8001, "Weights": {"Passing": 5, "Warning": 1}}
    await register(ask, name, a=weighty, b={"Port": 8002}, c={"Address": "web.example.org", "Port": 8003})
    node = f"{places.node}.node.dc1.consul."
    expected = [f"1 1 8002 {node}", "1 1 8003 web.example.org.", "1 5 8001 0a000001.addr.dc1.consul."]
    assert await short(dig, "SRV", f"{name}.service.consul") == expected
    assert await short(dig, "SRV", f"_{name}._tcp.service.consul") == expected
    assert await short(dig, "0a000001.addr.dc1.consul") == ["10.0.0.1"]
    assert await short(dig, f"{places.node}.node.consul") == ["127.0.0.1"]
    output = await dig("SRV", f"{name}.service.consul")
    assert "0a000001.addr.dc1.consul. 0\tIN\tA\t10.0.0.1" in output
    assert f"{node} 0\tIN\tA\t127.0.0.1" in output


async def test_a_service_behind_a_name_is_an_alias(ask: Asker, name: str, dig: Dig) -> None:
    await register(ask, name, a="web.example.org")
    assert await short(dig, f"{name}.service.consul") == ["web.example.org."]


async def test_who_is_critical_or_in_maintenance_is_not_named(ask: Asker, name: str, dig: Dig) -> None:
    service = f"{name}.service.consul"
    await register(ask, name, **{f"s{number}": f"10.0.0.{number}" for number in range(4)})
    for number, status in ((1, "critical"), (2, "warning")):
        check = {"Name": f"{name}-c{number}", "ServiceID": f"{name}-s{number}", "TTL": "60s", "Status": status}
        assert (await ask("PUT", "/v1/agent/check/register", check)).status == 200
    assert (await ask("PUT", f"/v1/agent/service/maintenance/{name}-s3?enable=true")).status == 200
    await passing(ask, name, ["s0"])
    assert await short(dig, service) == ["10.0.0.0", "10.0.0.2"]
    assert (await ask("PUT", "/v1/agent/maintenance?enable=true")).status == 200
    try:
        await passing(ask, name, [])
        assert "status: NXDOMAIN" in await dig(service)
    finally:
        assert (await ask("PUT", "/v1/agent/maintenance?enable=false")).status == 200
        await passing(ask, name, ["s0"])


async def test_names_that_are_not_there(ask: Asker, name: str, dig: Dig) -> None:
    await register(ask, name, a="10.0.0.1")
    service = f"{name}.service.consul"
    for other in ("none.service.consul", f"red.{service}", "other.node.consul", "x.consul"):
        output = await dig(other)
        assert "status: NXDOMAIN" in output, other
        assert "consul. 0 IN SOA ns.consul. hostmaster.consul." in " ".join(output.split())
    output = await dig("AAAA", service)
    assert "status: NOERROR" in output
    assert "ANSWER: 0, AUTHORITY: 1" in output
    assert "status: REFUSED" in await dig("example.org")
    assert await short(dig, "zz.addr.consul") == []


async def test_what_does_not_fit_is_cut_off_and_asked_for_again_over_tcp(ask: Asker, name: str, dig: Dig) -> None:
    addresses = {f"s{number:03}": f"10.0.{number // 200}.{number % 200 + 1}" for number in range(300)}
    await register(ask, name, **addresses)
    service = f"{name}.service.consul"
    output = await dig("+noedns", "+ignore", service)
    assert " tc " in output.replace(";", " ")
    assert 0 < output.count("\tA\t10.0.") < 300
    output = await dig("+noedns", service)
    assert "Truncated, retrying in TCP mode." in output
    assert await short(dig, "+noedns", service) != []
    assert output.count("\tA\t10.0.") == 300


async def test_the_order_changes(ask: Asker, name: str, dig: Dig) -> None:
    await register(ask, name, **{f"s{number}": f"10.0.0.{number}" for number in range(8)})
    orders = {await dig("+short", f"{name}.service.consul") for _ in range(10)}
    assert len(orders) > 1
