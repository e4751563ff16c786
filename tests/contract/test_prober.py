"""The contract of `ports.prober.Prober`, for the fake and for the network."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from coldchain.model.health import Probe
from coldchain.ports.prober import Prober
from coldchain.probes.prober import NetworkProber
from coldchain.testing.fake_prober import FakeProber, ProbeAnswer


class StandingClock:
    """Time passes only by being slept through, at once."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds

    def random(self) -> float:
        return 0.5

    def unique(self) -> str:
        return "0" * 32


class FakeWorld:
    """Scripted instances at made-up addresses."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, int], ProbeAnswer] = {}
        self.fake = FakeProber(StandingClock(), lambda probe: self.answers[probe.address, probe.port])
        self.prober: Prober = self.fake

    async def instance(self, answer: ProbeAnswer) -> tuple[str, int]:
        place = ("192.0.2.1", 8000 + len(self.answers))
        self.answers[place] = answer
        return place

    async def close(self) -> None:
        await self.prober.close()


class LoopbackWorld:
    """Servers on loopback that do what the script says."""

    def __init__(self) -> None:
        self.prober: Prober = NetworkProber()
        self._servers: list[asyncio.Server] = []
        self._connections: list[asyncio.Task[None]] = []

    async def instance(self, answer: ProbeAnswer) -> tuple[str, int]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = asyncio.current_task()
            assert connection is not None
            self._connections.append(connection)
            try:
                if await reader.read(65536) and answer.delay_seconds == 0:
                    writer.write(b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % answer.status)
                await reader.read()
            except ConnectionError:
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self._servers.append(server)
        place: tuple[str, int] = server.sockets[0].getsockname()[:2]
        if answer.refuses:
            server.close()
            await server.wait_closed()
        return place

    async def close(self) -> None:
        await self.prober.close()
        for server in self._servers:
            server.close()
        await asyncio.wait_for(asyncio.gather(*self._connections), 10)


@pytest.fixture(params=[FakeWorld, LoopbackWorld])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[FakeWorld | LoopbackWorld]:
    world = request.param()
    yield world
    await world.close()


async def ask(world: FakeWorld | LoopbackWorld, answer: ProbeAnswer, **fields: Any) -> tuple[str, str]:
    address, port = await world.instance(answer)
    probe = Probe(
        **{"instance_id": "i", "check": "health/0", "protocol": "HTTP", "address": address, "port": port} | fields
    )
    result = await world.prober.probe(probe)
    assert result.seconds >= 0
    return result.outcome, result.detail


@pytest.mark.parametrize("status", [200, 204, 302, 399])
async def test_two_and_three_hundreds_pass(world: FakeWorld | LoopbackWorld, status: int) -> None:
    assert await ask(world, ProbeAnswer(status=status)) == ("passed", f"status {status}")


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_four_and_five_hundreds_fail(world: FakeWorld | LoopbackWorld, status: int) -> None:
    assert await ask(world, ProbeAnswer(status=status)) == ("failed", f"status {status}")


async def test_wanted_statuses_take_the_place_of_the_range(world: FakeWorld | LoopbackWorld) -> None:
    assert await ask(world, ProbeAnswer(status=503), statuses=(200, 503)) == ("passed", "status 503")
    assert await ask(world, ProbeAnswer(status=204), statuses=(200, 503)) == ("failed", "status 204")


@pytest.mark.parametrize("protocol", ["HTTP", "TCP"])
async def test_nobody_listens(world: FakeWorld | LoopbackWorld, protocol: str) -> None:
    assert await ask(world, ProbeAnswer(refuses=True), protocol=protocol) == ("failed", "connection refused")


async def test_no_answer_in_time(world: FakeWorld | LoopbackWorld) -> None:
    silent = ProbeAnswer(delay_seconds=3600)
    assert await ask(world, silent, timeout_seconds=0.05) == ("failed", "no answer in 0.05 s")


async def test_tcp_asks_only_for_a_connection(world: FakeWorld | LoopbackWorld) -> None:
    assert await ask(world, ProbeAnswer(status=500), protocol="TCP") == ("passed", "connected")
    assert await ask(world, ProbeAnswer(delay_seconds=3600), protocol="TCP") == ("passed", "connected")


async def test_many_at_once(world: FakeWorld | LoopbackWorld) -> None:
    answers = [ProbeAnswer(status=200 if number % 2 else 500) for number in range(60)]
    outcomes = await asyncio.gather(*(ask(world, answer) for answer in answers))
    assert [outcome for outcome, _ in outcomes] == ["passed" if number % 2 else "failed" for number in range(60)]


async def test_a_fake_that_is_cut_off_knows_nothing() -> None:
    world = FakeWorld()
    world.fake.cut_off = True
    assert (await ask(world, ProbeAnswer()))[0] == "unknown"
