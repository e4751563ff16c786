"""The contract of `ports.dubbo_qos.DubboQos`, of the fake and by HTTP of a server as Dubbo's documentation has it."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from coldchain.clients.dubbo.qos import ANSWER_BYTES_MAX
from coldchain.control.clock import SystemClock
from coldchain.dubbo import qos as adapter
from coldchain.model.errors import Rejected, Unavailable
from coldchain.ports.dubbo_qos import DubboQos
from coldchain.testing.dubbo_qos_server import PROMPT, DubboQosServer, qos_server
from coldchain.testing.fake_dubbo_qos import FakeDubboQos


class Lab:
    """A QoS server, and the provider's hands behind it."""

    def __init__(
        self,
        qos: DubboQos,
        port: int,
        offline: Callable[[], bool],
        make_foreign: Callable[[], None],
        make_silent: Callable[[], None],
    ) -> None:
        self.qos = qos
        self.port = port
        self.offline = offline
        self.make_foreign = make_foreign
        self.make_silent = make_silent


@pytest_asyncio.fixture(params=["fake", "http"])
async def lab(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    if request.param == "fake":
        fake = FakeDubboQos(SystemClock())
        fake.providers.add(("127.0.0.1", 22222))
        monkeypatch.setattr("coldchain.testing.fake_dubbo_qos.NO_ANSWER_SECONDS", 0.2)
        yield Lab(
            fake,
            22222,
            lambda: bool(fake.offline_at),
            lambda: setattr(fake, "foreign", True),
            lambda: setattr(fake, "silent", True),
        )
        return
    monkeypatch.setattr(adapter, "ANSWER_SECONDS", 0.2)
    server = DubboQosServer("shop.Basket", "green/shop.Prices:1.0.0")

    def make_foreign() -> None:
        server.foreign, server.permits = True, False

    async with qos_server(server):
        yield Lab(
            adapter.HttpDubboQos(),
            server.port,
            lambda: not any(server.services.values()),
            make_foreign,
            lambda: setattr(server, "silent", True),
        )


async def test_a_provider_goes_offline_and_online_however_often_it_is_told(lab: Lab) -> None:
    for _ in range(2):
        await lab.qos.offline("127.0.0.1", lab.port)
        assert lab.offline()
    for _ in range(2):
        await lab.qos.online("127.0.0.1", lab.port)
        assert not lab.offline()


async def test_who_is_not_there_is_unavailable(lab: Lab) -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1\b"):
        await lab.qos.offline("127.0.0.1", 1)
    assert not lab.offline()


async def test_who_gives_no_answer_is_unavailable(lab: Lab) -> None:
    lab.make_silent()
    with pytest.raises(Unavailable, match=r"gave no answer in 0\.2 s"):
        await lab.qos.offline("127.0.0.1", lab.port)


async def test_who_takes_no_foreign_address_refuses_and_it_is_said_what_to_do(lab: Lab) -> None:
    lab.make_foreign()
    for word in (lab.qos.offline, lab.qos.online):
        with pytest.raises(Rejected, match="foreign addresses are not permitted") as refused:
            await word("127.0.0.1", lab.port)
        assert refused.value.todo
    assert not lab.offline()


# What only a server in the network can say


async def told(server: DubboQosServer) -> None:
    await adapter.HttpDubboQos().offline("127.0.0.1", server.port)


async def test_a_command_that_needs_a_permission_is_refused() -> None:
    async with qos_server(DubboQosServer("shop.Basket")) as server:
        server.foreign, server.denied = True, frozenset({"offline"})
        with pytest.raises(Rejected, match=r"permission denied\. .*qos\.anonymous\.access"):
            await told(server)
        assert server.services == {"shop.Basket": True}


async def test_a_provider_that_knows_no_service_refuses() -> None:
    async with qos_server(DubboQosServer()) as server:
        with pytest.raises(Rejected, match="to 'offline': service not found"):
            await told(server)


@pytest.mark.parametrize(
    ("says", "kind", "words"),
    [
        (b"", Unavailable, "the connection was closed without an answer"),
        (b"SSH-2.0-something\r\n", Rejected, "'SSH-2.0-something' is no answer of a QoS server"),
        (b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n", Rejected, "it does not know this command"),
        (b"HTTP/1.1 500 X\r\ncontent-length: 4\r\n\r\nnull", Rejected, "500 null"),
        (b"HTTP/1.1\r\n\r\n", Rejected, "is no answer of a QoS server"),
        (b"x" * (2 * ANSWER_BYTES_MAX), Rejected, "is no answer of a QoS server"),
    ],
)
async def test_what_is_no_answer_of_a_qos_server_is_said(says: bytes, kind: type[Exception], words: str) -> None:
    async with qos_server(DubboQosServer("shop.Basket")) as server:
        server.says = says
        with pytest.raises(kind, match=words):
            await told(server)


async def test_an_answer_is_taken_when_its_length_has_come_though_the_connection_stays() -> None:
    async with qos_server(DubboQosServer("shop.Basket")) as server:
        server.says = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nOK"
        server.stays = True
        await told(server)


async def test_the_test_server_speaks_with_people_too() -> None:
    """As its documentation shows it, so that what it answers in HTTP is of the same commands."""
    async with qos_server(DubboQosServer("shop.Basket", "shop.Prices")) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        said = []
        for line in ("ls", "offline shop.Basket", "ls", "offline none", "nonsense", "quit"):
            writer.write(f"{line}\r\n".encode())
            said.append((await reader.readuntil(PROMPT.encode())).decode() if line != "quit" else "")
        writer.close()
        assert "|shop.Basket|Y|\n|shop.Prices|Y|" in said[0]
        assert said[1] == f"OK\r\n{PROMPT}"
        assert "|shop.Basket|N|\n|shop.Prices|Y|" in said[2]
        assert said[3] == f"service not found\r\n{PROMPT}"
        assert said[4] == f"nonsense :no such command\r\n{PROMPT}"
