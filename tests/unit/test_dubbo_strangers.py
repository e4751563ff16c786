"""Client and server of Dubbo over a network of virtual time: peers that are silent, slow, or speak something else."""

import asyncio
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldchain.clients.dubbo import Call, Client, ConnectionLost, DubboError, Server, ServerSettings
from coldchain.clients.dubbo.frame import EVENT, REQUEST, TWO_WAY, encode_frame, request_frame, response_frame
from coldchain.clients.dubbo.message import encode_call
from coldchain.clients.dubbo.pace import Beat, Pace, Pause
from coldchain.clients.hessian2 import encode
from coldchain.testing.dubbo_scene import HOST, SMALL, STOCK, World, simulated


def test_heartbeats_keep_a_quiet_connection_and_find_one_that_was_cut() -> None:
    async def program(world: World) -> None:
        await world.call("echo", 1)
        await asyncio.sleep(300)
        assert await world.call("echo", 2) == 2
        assert len(world.loop.connections) == 1
        waiting = asyncio.create_task(world.call("wait", 500, timeout_seconds=900))
        await asyncio.sleep(1)
        began = world.loop.time()
        world.loop.connections[0].sever()
        with pytest.raises(ConnectionLost, match="has been silent for 60 s"):
            await waiting
        assert 40 <= world.loop.time() - began <= 61
        await asyncio.sleep(61)
        assert not world.server.links  # the server's side found out as well

    simulated(program)


def test_a_heartbeat_is_answered() -> None:
    """Who only asks hears from us too, whatever our own pace is."""

    async def program(world: World) -> None:
        await world.call("echo", 1)
        end = world.loop.connections[0]
        answers: list[bytes] = []
        end.protocol.data_received = answers.append  # type: ignore[method-assign]
        end.write(encode_frame(REQUEST | TWO_WAY | EVENT, 0, 77, encode(None)))
        end.write(encode_frame(REQUEST | EVENT, 0, 78, encode(None)))
        await asyncio.sleep(0.1)
        assert b"".join(answers) == bytes.fromhex("dabb 22 14 000000000000004d 00000001 4e")
        end.abort()

    simulated(program)


def test_who_does_not_take_his_answers_is_not_asked_for_more_calls() -> None:
    async def program(world: World) -> None:
        await world.call("echo", 1)
        end = world.loop.connections[0]
        end.pause_reading()
        call = Call(interface=STOCK, method="echo", arguments=["x" * 1500], version="1.0.0")
        frame = request_frame(9, encode_call(call))
        for _ in range(1000):
            end.write(frame)
            await asyncio.sleep(0.01)
        assert len(world.carried_out) < 200
        end.abort()
        await asyncio.sleep(0.1)

    simulated(program)


def test_what_a_provider_asks_of_its_consumer_is_refused() -> None:
    async def program(world: World) -> None:
        await world.call("echo", 1)
        link = next(iter(world.server.links))
        link.send(request_frame(5, encode_call(Call(interface="callback", method="on"))))
        await asyncio.sleep(0.1)
        assert await world.call("echo", 2) == 2

    simulated(program)


def test_another_serialization_is_refused_and_a_large_call_of_a_stranger_goes_by() -> None:
    async def program(world: World) -> None:
        await world.call("echo", 1)
        end = world.loop.connections[0]
        answers: list[bytes] = []
        end.protocol.data_received = answers.append  # type: ignore[method-assign]
        frame = bytearray(request_frame(5, b"{}"))
        frame[2] = REQUEST | TWO_WAY | 6
        end.write(bytes(frame) + request_frame(6, b"x" * (SMALL + 1)) + request_frame(7, encode("only", "this")))
        await asyncio.sleep(0.2)
        told = b"".join(answers)
        for words in (b"serialization 6 is not spoken here", b"larger than the 2000", b"this is no call"):
            assert words in told
        assert told.count(bytes.fromhex("dabb0228")) == 3
        end.abort()

    simulated(program)


def test_begun_calls_of_all_connections_have_a_limit_together() -> None:
    async def program(world: World) -> None:
        services = world.server.handler
        server = Server(services, settings=ServerSettings(body_bytes_max=SMALL, kept_bytes_max=SMALL * 3 // 2))
        await server.start(HOST, 1)
        clients = [Client(HOST, 1), Client(HOST, 1)]
        call = Call(interface=STOCK, method="echo", arguments=[1], version="1.0.0")
        begun = request_frame(9, b"x" * SMALL)[:-1]
        for client in clients:
            await client.call(call, 1)
            world.loop.connections[-1].write(begun)
            await asyncio.sleep(0.1)
        assert len(server.links) == 1
        assert server.kept_bytes == len(begun)
        world.loop.connections[0].write(b"x")
        await asyncio.sleep(0.1)
        assert server.kept_bytes == 0
        for client in clients:
            assert (await client.call(call, 1)).value == 1
            world.loop.connections[-1].write(begun)
            await client.close()
        await asyncio.sleep(0.1)
        assert server.kept_bytes == 0
        await server.close()

    simulated(program)


class Stranger(asyncio.Protocol):
    """Says what it wants, whatever comes."""

    def __init__(self, words: bytes) -> None:
        self.words = words

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.words)  # type: ignore[attr-defined]


def test_a_provider_that_speaks_something_else_is_named() -> None:
    async def program(world: World) -> None:
        await world.loop.create_server(lambda: Stranger(b"HTTP/1.1 400 Bad Request"), HOST, 80)
        client = Client(HOST, 80)
        with pytest.raises(ConnectionLost, match=r"10\.1\.0\.1:80 does not speak Dubbo: a frame begins with 0xdabb"):
            await client.call(Call(interface=STOCK, method="echo"), 1)
        await client.close()

    simulated(program)


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans(), st.booleans()), max_size=50))
def test_no_side_is_silent_for_longer_than_its_heartbeat(steps: list[tuple[float, bool, bool]]) -> None:
    pace = Pace(heartbeat_seconds=20, silence_seconds_max=60)
    now = heard_at = sent_at = 0.0
    next_at = 0.0
    for seconds, hears, sends in steps:
        while next_at <= now + seconds:
            now, seconds = next_at, now + seconds - next_at
            what, next_at = pace.beat(now, heard_at, sent_at)
            assert what is Beat.LOST or next_at > now
            assert (what is Beat.LOST) == (now >= heard_at + 60)
            if what is Beat.LOST:
                return
            if what is Beat.SEND:
                sent_at = now
            assert now < sent_at + 20
        now += seconds
        heard_at = now if hears else heard_at
        sent_at = now if sends else sent_at


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_and_end_growing(failures: int, chance: float) -> None:
    pause = Pause(0.1, 5)
    assert 0.05 <= pause.after(failures, chance) <= 5
    assert pause.after(failures, chance) <= pause.after(failures + 1, chance)
    assert pause.after(0, chance) == 0


@given(st.integers(0, 2**32), st.binary(max_size=60), st.booleans())
@settings(max_examples=50)
def test_whatever_a_provider_answers_is_a_result_or_an_error_in_time(seed: int, words: bytes, framed: bool) -> None:
    async def program(world: World) -> None:
        answer = response_frame(1, words) if framed else words
        await world.loop.create_server(lambda: Stranger(answer), HOST, 80)
        client = Client(HOST, 80)
        began = world.loop.time()
        with contextlib.suppress(DubboError):
            await client.call(Call(interface=STOCK, method="echo"), 1)
        assert world.loop.time() <= began + 1.01
        await client.close()

    simulated(program, seed)
