"""What Docker is answered, word for word as Docker Engine 20.10 asks and takes it."""

import asyncio
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coldchain.control.clock import SystemClock
from coldchain.network.driver import DriverServer
from coldchain.testing.netd_machine import NetdMachine

NETWORK, ENDPOINT = "6" * 64, "e7" * 32
USUAL = {"com.docker.network.endpoint.exposedports": [], "com.docker.network.portmap": []}
Ask = Callable[[str, Any], Awaitable[tuple[int, dict[str, Any]]]]


@pytest.fixture
async def machine() -> NetdMachine:
    machine = NetdMachine(SystemClock())
    await machine.fill()
    return machine


@pytest.fixture
async def server(machine: NetdMachine, tmp_path: Path) -> AsyncIterator[DriverServer]:
    server = DriverServer(machine.attachments, tmp_path / "plugins" / "coldchain.sock")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def ask(server: DriverServer, tmp_path: Path) -> AsyncIterator[Ask]:
    connector = aiohttp.UnixConnector(str(tmp_path / "plugins" / "coldchain.sock"))
    async with aiohttp.ClientSession(connector=connector) as session:

        async def call(name: str, document: Any) -> tuple[int, dict[str, Any]]:
            body = {"data": document} if isinstance(document, bytes) else {"json": document}
            async with session.post(f"http://driver/{name}", **body) as answer:
                assert answer.content_type == "application/vnd.docker.plugins.v1.2+json"
                return answer.status, await answer.json(content_type=None)

        yield call


def network(pools6: list[dict[str, Any]], **options: str) -> dict[str, Any]:
    gateway = {"AddressSpace": "coldchain-local", "Gateway": "169.254.1.1/32", "Pool": "10.200.0.0/24"}
    return {
        "NetworkID": NETWORK,
        "Options": {"com.docker.network.enable_ipv6": bool(pools6), "com.docker.network.generic": options},
        "IPv4Data": [gateway],
        "IPv6Data": pools6,
    }


async def test_the_life_of_a_container(ask: Ask, machine: NetdMachine) -> None:
    named = {"NetworkID": NETWORK, "EndpointID": ENDPOINT}
    pool = {"AddressSpace": "coldchain-local", "Pool": "10.200.0.0/24", "SubPool": "", "Options": {}, "V6": False}
    interface = {"Address": "10.200.0.9/32", "AddressIPv6": "", "MacAddress": ""}
    options = {**USUAL, "coldchain.app": "/shop/web"}
    joined = {
        "InterfaceName": {"SrcName": "cte7e7e7e7e7e", "DstPrefix": "eth"},
        "Gateway": "169.254.1.1",
        "StaticRoutes": [{"Destination": "169.254.1.1/32", "RouteType": 1, "NextHop": ""}],
        "DisableGatewayService": True,
    }
    for name, asked, answered in (
        ("Plugin.Activate", b"", {"Implements": ["NetworkDriver", "IpamDriver"]}),
        ("NetworkDriver.GetCapabilities", b"", {"Scope": "local", "ConnectivityScope": "global"}),
        ("IpamDriver.GetCapabilities", b"", {"RequiresMACAddress": False, "RequiresRequestReplay": False}),
        (
            "IpamDriver.GetDefaultAddressSpaces",
            b"",
            {"LocalDefaultAddressSpace": "coldchain-local", "GlobalDefaultAddressSpace": "coldchain-global"},
        ),
        (
            "IpamDriver.RequestPool",
            pool,
            {
                "PoolID": "coldchain-local/10.200.0.0/24",
                "Pool": "10.200.0.0/24",
                "Data": {"com.docker.network.gateway": "169.254.1.1/32"},
            },
        ),
        ("NetworkDriver.CreateNetwork", network([], **{"coldchain.network": "online_net"}), {}),
        (
            "IpamDriver.RequestAddress",
            {"PoolID": "coldchain-local/10.200.0.0/24", "Address": "10.200.0.9", "Options": None},
            {"Address": "10.200.0.9/32", "Data": {}},
        ),
        (
            "NetworkDriver.CreateEndpoint",
            {**named, "Interface": interface, "Options": options},
            {"Interface": {"MacAddress": "02:42:0a:c8:00:09"}},
        ),
        ("NetworkDriver.Join", {**named, "SandboxKey": "/netns/98bf", "Options": USUAL}, joined),
        ("NetworkDriver.ProgramExternalConnectivity", {**named, "Options": USUAL}, {}),
        ("NetworkDriver.EndpointOperInfo", named, {"Value": {}}),
        ("NetworkDriver.RevokeExternalConnectivity", named, {}),
        ("NetworkDriver.Leave", named, {}),
        ("NetworkDriver.DeleteEndpoint", named, {}),
        (
            "IpamDriver.ReleaseAddress",
            {"PoolID": "coldchain-local/10.200.0.0/24", "Address": "10.200.0.9"},
            {},
        ),
        (
            "IpamDriver.ReleaseAddress",
            {"PoolID": "coldchain-local/10.200.0.0/24", "Address": "169.254.1.1"},
            {},
        ),
        ("IpamDriver.ReleasePool", {"PoolID": "coldchain-local/10.200.0.0/24"}, {}),
        ("NetworkDriver.DeleteNetwork", {"NetworkID": NETWORK}, {}),
    ):
        assert await ask(name, asked) == (200, answered), name
    assert (await machine.attachments.kept(), await machine.book.known(), machine.links.made) == ({}, {}, {})


async def test_ipv6_beside_ipv4(ask: Ask) -> None:
    pool = {"AddressSpace": "coldchain-local", "Pool": "fd00:200::/120", "SubPool": "", "Options": {}, "V6": True}
    _, answer = await ask("IpamDriver.RequestPool", pool)
    assert answer["Data"] == {"com.docker.network.gateway": "fe80::1/128"}
    data = {"AddressSpace": "coldchain-local", "Gateway": "fe80::1/128", "Pool": "fd00:200::/120"}
    created = await ask("NetworkDriver.CreateNetwork", network([data], **{"coldchain.network": "dual_net"}))
    assert created == (200, {})
    given = []
    for one in ("10.200.0.0/24", "fd00:200::/120"):
        _, answer = await ask("IpamDriver.RequestAddress", {"PoolID": f"coldchain-local/{one}", "Address": ""})
        given.append(answer["Address"])
    assert (given[0].endswith("/32"), given[1].endswith("/128")) == (True, True)
    named = {"NetworkID": NETWORK, "EndpointID": ENDPOINT}
    mac = {"Address": given[0], "AddressIPv6": given[1], "MacAddress": "02:00:00:00:00:01"}
    assert await ask("NetworkDriver.CreateEndpoint", {**named, "Interface": mac, "Options": {}}) == (
        200,
        {"Interface": {}},
    )
    _, joined = await ask("NetworkDriver.Join", {**named, "SandboxKey": "/netns/1", "Options": {}})
    assert joined["GatewayIPv6"] == "fe80::1"
    assert {"Destination": "fe80::1/128", "RouteType": 1, "NextHop": ""} in joined["StaticRoutes"]


@pytest.mark.parametrize(
    ("name", "asked", "status", "words"),
    [
        ("NetworkDriver.Nonsense", {}, 404, "knows no NetworkDriver.Nonsense"),
        ("NetworkDriver.Join", b"{", 400, "a Endpoint that is not understood"),
        ("NetworkDriver.Join", {"EndpointID": 1}, 400, "Expected `str`, got `int`"),
        ("NetworkDriver.Join", {"EndpointID": "x", "SandboxKey": "y"}, 404, "endpoint x is not known"),
        ("IpamDriver.RequestPool", {"Pool": "10.9.0.0/16"}, 404, "10.9.0.0/16 is no pool"),
        ("IpamDriver.RequestAddress", {"PoolID": "coldchain-local/10.9.0.0/16"}, 404, "is no pool .* any more"),
        (
            "IpamDriver.RequestAddress",
            {
                "PoolID": "coldchain-local/10.200.0.0/24",
                "Address": "10.200.0.1",
                "Options": {"RequestAddressType": "com.docker.network.gateway"},
            },
            502,
            "10.200.0.1 cannot be the gateway",
        ),
    ],
)
async def test_what_is_refused_has_words_for_the_user(
    ask: Ask, server: DriverServer, name: str, asked: Any, status: int, words: str
) -> None:
    answered, answer = await ask(name, asked)
    assert answered == status
    assert list(answer) == ["Err"]
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(answer["Err"])
    (calls,) = server.calls.values()
    assert (calls.answered, calls.refused) == (0, 1)


async def test_a_socket_that_was_left_behind_is_taken_over(server: DriverServer, tmp_path: Path) -> None:
    path = tmp_path / "plugins" / "coldchain.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await server.stop()
    assert path.exists(), "Docker asks again for a while, rather than not know the driver"
    await server.start()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.close()
    assert reader.at_eof() is False
