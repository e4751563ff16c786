"""Dubbo with other people's programs: Node's sofa-rpc-node over dubbo-remoting as provider and as consumer, and PyPI's
dubbo-ssl-python as consumer, all unmodified."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from coldchain.clients.dubbo import (
    Call,
    Client,
    Refused,
    RemoteException,
    Result,
    Server,
    Services,
    Timeout,
    TooLarge,
    generic_call,
)
from coldchain.clients.dubbo.frame import EVENT, HEADER_BYTES, REQUEST, TWO_WAY, encode_frame
from coldchain.clients.hessian2 import JavaObject, Long, TypedList, encode
from coldchain.testing.dubbo_peer import GROUP, INTERFACE, VERSION, DubboPeer
from coldchain.testing.server_process import DIES_WITH_ITS_PARENT

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATIENCE_SECONDS = 20.0


class Provider:
    """Ours. `seen`: the arguments of the last call."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        services = Services()
        services.add(
            INTERFACE,
            {
                "echo": self.echo,
                "add": self.add,
                "item": self.item,
                "told": self.told,
                "fail": self.fail,
                "broken": self.broken,
            },
            version=VERSION,
            group=GROUP,
        )
        self.server = Server(services)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    async def echo(self, value: object) -> object:
        self.seen = [value]
        return value

    async def add(self, one: int, two: int) -> int:
        self.seen = [one, two]
        return one + two

    async def item(self) -> object:
        return JavaObject("com.shop.Item", {"id": Long(7), "names": TypedList("[string", ["kohlrabi", "🥦"])})

    async def told(self) -> object:
        return Result("value", {"with": "attachments"})

    async def fail(self, words: str) -> None:
        raise RemoteException("java.lang.IllegalStateException", words)

    async def broken(self) -> None:
        raise KeyError("broken")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def peer() -> AsyncIterator[DubboPeer]:
    async with DubboPeer() as peer:
        yield peer


@pytest_asyncio.fixture(loop_scope="module")
async def client(peer: DubboPeer) -> AsyncIterator[Client]:
    client = Client("127.0.0.1", peer.port)
    yield client
    await client.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    await provider.server.start()
    yield provider
    await provider.server.close()


def call_of(method: str, *arguments: object) -> Call:
    return Call(interface=INTERFACE, method=method, arguments=arguments, version=VERSION, group=GROUP)


VALUES = [
    "🥦 salad",
    "",
    "x" * 100_000,
    "🥦" * 40_000,
    0,
    12,
    -(2**31),
    2**40,
    1.5,
    0.0,
    True,
    False,
    None,
    [1, "two", None, {"x": 1.5}, [[]]],
    {"a": {"b": [1]}, "🥦": "c"},
    {},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: ascii(value)[:12])
async def test_values_go_to_nodes_provider_and_come_back(client: Client, peer: DubboPeer, value: object) -> None:
    assert (await client.call(call_of("echo", value), PATIENCE_SECONDS)).value == value
    assert await peer.seen() == [value]


async def test_objects_and_binary_data_of_nodes_provider(client: Client, peer: DubboPeer) -> None:
    result = await client.call(call_of("object"), PATIENCE_SECONDS)
    assert result.value == JavaObject("com.shop.Item", {"id": 7, "name": "kohlrabi", "fresh": True})
    await client.call(call_of("echo", JavaObject("com.shop.Item", {"id": Long(5), "name": "🥦"})), PATIENCE_SECONDS)
    assert await peer.seen() == [{"id": 5, "name": "🥦"}]
    assert (await client.call(call_of("echo", b"\x00\xff" * 40_000), PATIENCE_SECONDS)).value == b"\x00\xff" * 40_000


async def test_what_nodes_provider_raises_and_refuses(client: Client) -> None:
    with pytest.raises(RemoteException, match=r"^java\.lang\.Exception: Error: no 🥦 left$") as raised:
        await client.call(call_of("raise", "no 🥦 left"), PATIENCE_SECONDS)
    assert raised.value.stack
    with pytest.raises(Refused, match="SERVER_ERROR: sold out"):
        await client.call(call_of("fail", "sold out"), PATIENCE_SECONDS)
    with pytest.raises(Refused, match="not found service") as refused:
        await client.call(Call(interface="com.shop.None", method="echo", version=VERSION), PATIENCE_SECONDS)
    assert not refused.value.heard
    with pytest.raises(Timeout):
        await client.call(call_of("wait", 60_000), 0.2)


async def test_a_generic_call_of_nodes_provider(client: Client, peer: DubboPeer) -> None:
    call = generic_call(INTERFACE, "add", ["int", "int"], [3, 4], version=VERSION, group=GROUP)
    assert (await client.call(call, PATIENCE_SECONDS)).value == 7


async def test_many_calls_of_nodes_provider_share_a_connection(client: Client) -> None:
    numbers = range(200)
    results = await asyncio.gather(*(client.call(call_of("add", one, 1), PATIENCE_SECONDS) for one in numbers))
    assert [one.value for one in results] == [one + 1 for one in numbers]


async def test_an_answer_larger_than_a_frame_may_be_fails_its_own_call_alone(client: Client) -> None:
    small = asyncio.create_task(client.call(call_of("wait", 500), PATIENCE_SECONDS))
    with pytest.raises(TooLarge, match=f"larger than the {8 * 1024 * 1024}"):
        await client.call(call_of("large", 2_000_000), PATIENCE_SECONDS)
    assert (await small).value == 500


async def test_a_heartbeat_is_answered_by_nodes_provider(peer: DubboPeer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
    writer.write(encode_frame(REQUEST | TWO_WAY | EVENT, 0, 77, encode(None)))
    async with asyncio.timeout(PATIENCE_SECONDS):
        header = await reader.readexactly(HEADER_BYTES)
    assert header[2] & EVENT
    assert not header[2] & REQUEST
    assert int.from_bytes(header[4:12]) == 77
    writer.close()


@pytest.mark.parametrize("value", VALUES, ids=lambda value: ascii(value)[:12])
async def test_values_come_from_nodes_consumer_and_go_back(provider: Provider, peer: DubboPeer, value: object) -> None:
    assert await peer.call(provider.address, "echo", value) == value
    assert provider.seen == [value]


async def test_what_nodes_consumer_makes_of_our_results(provider: Provider, peer: DubboPeer) -> None:
    assert await peer.call(provider.address, "item") == {"id": 7, "names": ["kohlrabi", "🥦"]}
    assert await peer.call(provider.address, "told") == "value"
    assert await peer.call(provider.address, "echo", {"$class": "com.shop.Item", "$": {"id": 5}}) == {"id": 5}
    assert provider.seen == [JavaObject("com.shop.Item", {"id": 5})]
    for method, words in {
        "fail": r"java\.lang\.IllegalStateException: sold out",
        "broken": "KeyError: 'broken'",
        "none": "no such method here",
    }.items():
        with pytest.raises(AssertionError, match=words):
            await peer.call(provider.address, method, *(["sold out"] if method == "fail" else []))


async def test_a_generic_call_and_a_heartbeat_of_nodes_consumer(provider: Provider, peer: DubboPeer) -> None:
    types = {"$class": "[java.lang.String", "$": ["int", "int"]}
    values = {"$class": "[java.lang.Object", "$": [3, 4]}
    assert await peer.call(provider.address, "$invoke", "add", types, values) == 7
    await peer.beat(provider.address)


async def test_a_server_that_stops_answers_nodes_consumer_to_the_end(peer: DubboPeer) -> None:
    """Node knows no read-only event: it goes on calling until it closes the connection, or we do."""
    provider = Provider()
    await provider.server.start()
    _, took = await peer.time(provider.address, 20, 4, "x")
    assert len(took) == 20
    calling = asyncio.create_task(peer.time(provider.address, 500, 4, "x"))
    await asyncio.sleep(0)
    await provider.server.close(settle_seconds=0.3, drain_seconds=PATIENCE_SECONDS)
    _, took = await calling
    assert len(took) == 500


async def test_dubbo_ssl_python_calls_our_provider(provider: Provider) -> None:
    values: list[Any] = ["salad", 12, 2**40, 1.5, 2.0, True, [1, 2], ["a", "b"], "x" * 30_000]
    calls: list[Any] = [["echo", [one]] for one in values]
    calls += [["echo", [{"class": "com.shop.Item", "id": 5, "name": "kohlrabi"}]], ["item", []], ["told", []]]
    calls += [["fail", ["sold out"]], ["none", []], ["broken", []]]
    outcomes = await consumed(provider.address, calls)
    assert [one[1] for one in outcomes[: len(values)]] == values
    objects = [{"id": 5, "name": "kohlrabi"}, {"id": 7, "names": ["kohlrabi", "🥦"]}, "value"]
    assert outcomes[len(values) : len(values) + 3] == [["value", one] for one in objects]
    (_, failed), (_, none), (_, broken) = outcomes[-3:]
    assert "java.lang.IllegalStateException: sold out" in failed
    assert "no such method here" in none
    assert "KeyError: 'broken'" in broken
    assert provider.seen == [JavaObject("com.shop.Item", {"id": 5, "name": "kohlrabi"})]


async def consumed(address: str, calls: list[Any]) -> list[Any]:
    process = await asyncio.create_subprocess_exec(
        *DIES_WITH_ITS_PARENT,
        sys.executable,
        "-W",
        "ignore",
        "-m",
        *("coldchain.testing.dubbo_consumer", address, INTERFACE, GROUP, VERSION),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(json.dumps(calls).encode())
    assert process.returncode == 0, errors.decode()
    return list(json.loads(output))
