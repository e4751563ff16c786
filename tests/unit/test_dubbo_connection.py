"""Client and server of Dubbo over a network of virtual time: connections that are shared, slow, cut or leaving."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldchain.clients.dubbo import (
    Call,
    Client,
    ClientSettings,
    ConnectionLost,
    Refused,
    RemoteException,
    Result,
    Server,
    ServerSettings,
    Services,
    Status,
    Timeout,
    TooLarge,
    Unreachable,
    Unreadable,
    generic_call,
)
from coldchain.clients.dubbo.frame import EVENT, REQUEST, TWO_WAY, encode_frame, request_frame
from coldchain.clients.dubbo.message import encode_call
from coldchain.clients.dubbo.pace import Beat, Pace, Pause
from coldchain.clients.hessian2 import JavaObject, TypedList, encode
from coldchain.testing.simulated_loop import simulate
from coldchain.testing.simulated_network import SimulatedNetwork

STOCK = "com.shop.Stock"
SMALL = 2000
HOST = "10.1.0.1"


class World:
    """A server with one service, and a client of it. `carried_out`: the arguments of calls that reached a method."""

    def __init__(self, loop: SimulatedNetwork) -> None:
        self.loop = loop
        self.carried_out: list[object] = []
        services = Services()
        methods = {"echo": self.echo, "wait": self.wait, "fail": self.fail, "large": self.large, "odd": self.odd}
        methods |= {"item": self.item}
        services.add(STOCK, methods, version="1.0.0")
        self.server = Server(services, settings=ServerSettings(body_bytes_max=SMALL, calls_max=5))
        self.client = Client(HOST, 20880, ClientSettings(body_bytes_max=SMALL), chance=lambda: 0.5)

    async def echo(self, value: object) -> object:
        self.carried_out.append(value)
        return value

    async def wait(self, seconds: float) -> float:
        await asyncio.sleep(seconds)
        self.carried_out.append(seconds)
        return seconds

    async def fail(self) -> None:
        raise RemoteException("com.shop.SoldOut", "no more")

    async def large(self) -> object:
        return Result("x" * SMALL, {"a": "b"})

    async def item(self) -> object:
        return JavaObject("com.shop.Item", {"id": 1, "names": TypedList("[string", ["kohlrabi"])})

    async def odd(self, what: str) -> object:
        if what == "broken":
            raise KeyError(what)
        return object()

    async def call(self, method: str, *arguments: object, timeout_seconds: float = 5.0) -> object:
        call = Call(interface=STOCK, method=method, arguments=arguments, version="1.0.0")
        return (await self.client.call(call, timeout_seconds)).value

    async def serve(self) -> None:
        await self.server.start(HOST, 20880)


def simulated(program: Callable[[World], Awaitable[None]], seed: int = 1) -> None:
    loop = SimulatedNetwork(seed)

    async def run() -> None:
        world = World(loop)
        await world.serve()
        await program(world)
        await world.client.close()
        await world.server.close()
        await asyncio.sleep(1)
        assert not world.server.links
        assert world.client.in_flight == 0

    simulate(run(), loop)


@pytest.mark.parametrize("seed", range(5))
def test_many_calls_share_one_connection_and_each_gets_its_own_answer(seed: int) -> None:
    async def program(world: World) -> None:
        waits = [0.03, 0.01, 0.02]
        answers = await asyncio.gather(*(world.call("wait", one) for one in waits), world.call("echo", "🥦"))
        assert answers == [*waits, "🥦"]
        assert world.carried_out == ["🥦", 0.01, 0.02, 0.03]
        assert len(world.loop.connections) == 1

    simulated(program, seed)


def test_what_goes_wrong_is_told_by_its_kind_and_whether_it_was_heard() -> None:
    async def program(world: World) -> None:
        with pytest.raises(RemoteException, match=r"com\.shop\.SoldOut: no more"):
            await world.call("fail")
        with pytest.raises(Refused, match="SERVICE_NOT_FOUND: no such method here") as refused:
            await world.call("none")
        assert not refused.value.heard
        with pytest.raises(Refused, match=r"SERVICE_ERROR: .*KeyError: 'broken'") as refused:
            await world.call("odd", "broken")
        assert refused.value.heard
        with pytest.raises(Refused, match=r"BAD_RESPONSE: .*cannot be sent"):
            await world.call("odd", "object")
        with pytest.raises(Refused, match=r"BAD_RESPONSE: .*larger than the 2000"):
            await world.call("large")
        with pytest.raises(TooLarge, match="larger than the 2000") as large:
            await world.call("echo", "x" * SMALL)
        assert not large.value.heard
        with pytest.raises(Unreadable, match="cannot be sent"):
            await world.call("echo", object())
        with pytest.raises(Timeout, match=r"no answer in 0\.5 s"):
            await world.call("wait", 1, timeout_seconds=0.5)
        assert await world.call("echo", 1) == 1  # the late answer is nobody's
        await asyncio.sleep(2)
        assert await world.call("echo", 2) == 2

    simulated(program)


def test_generic_calls_and_echoes_are_understood() -> None:
    async def program(world: World) -> None:
        call = generic_call(STOCK, "echo", ["com.shop.Item"], [{"class": "com.shop.Item", "id": 1}], version="1.0.0")
        assert (await world.client.call(call, 1)).value == {"class": "com.shop.Item", "id": 1}
        call = generic_call(STOCK, "item", [], [], version="1.0.0")
        item = {"class": "com.shop.Item", "id": 1, "names": ["kohlrabi"]}
        assert (await world.client.call(call, 1)).value == item
        assert isinstance(await world.call("item"), JavaObject)
        assert await world.call("$echo", "here?") == "here?"
        wrong = Call(interface=STOCK, method="$invoke", arguments=("echo", ["a"], []), version="1.0.0")
        with pytest.raises(Refused, match=r"BAD_REQUEST: .*as many arguments"):
            await world.client.call(wrong, 1)

    simulated(program)


def test_one_way_calls_are_carried_out_and_never_answered() -> None:
    async def program(world: World) -> None:
        for method in ("echo", "none"):
            call = Call(interface=STOCK, method=method, arguments=[7], version="1.0.0")
            await world.client.send(call, 1)
        await asyncio.sleep(0.1)
        assert world.carried_out == [7]
        assert await world.call("echo", 8) == 8

    simulated(program)


def test_a_call_of_a_version_or_group_that_is_not_there_is_not_carried_out() -> None:
    async def program(world: World) -> None:
        for call in (
            Call(interface=STOCK, method="echo", arguments=[1]),
            Call(interface=STOCK, method="echo", arguments=[1], version="1.0.0", group="other"),
        ):
            with pytest.raises(Refused, match="no such service here"):
                await world.client.call(call, 1)
        assert not world.carried_out

    simulated(program)


def test_more_calls_than_may_be_are_refused_at_once_and_unheard() -> None:
    async def program(world: World) -> None:
        outcomes = await asyncio.gather(*(world.call("wait", 1) for _ in range(7)), return_exceptions=True)
        refused = [one for one in outcomes if isinstance(one, Refused)]
        assert [(one.status, one.heard) for one in refused] == [(Status.EXHAUSTED, False)] * 2
        assert world.carried_out == [1] * 5

    simulated(program)


def test_nobody_there_is_unreachable_and_not_asked_again_before_its_pause_is_over() -> None:
    async def program(world: World) -> None:
        nobody = Client(HOST, 1, chance=lambda: 0.5)
        for _ in range(3):
            with pytest.raises(Unreachable, match="nobody listens"):
                await nobody.call(Call(interface=STOCK, method="echo"), 1)
            with pytest.raises(Unreachable, match="it is tried again in"):
                await nobody.call(Call(interface=STOCK, method="echo"), 1)
            await asyncio.sleep(0.4)
        await nobody.close()
        with pytest.raises(Unreachable, match="was closed"):
            await nobody.call(Call(interface=STOCK, method="echo"), 1)

    simulated(program)


def test_a_provider_that_comes_back_is_connected_to_again() -> None:
    async def program(world: World) -> None:
        assert await world.call("echo", 1) == 1
        waiting = asyncio.create_task(world.call("wait", 3))
        await asyncio.sleep(0.1)
        world.loop.connections[0].other.abort()
        with pytest.raises(ConnectionLost, match="closed the connection") as lost:
            await waiting
        assert lost.value.heard
        assert await world.call("echo", 2) == 2
        assert len(world.loop.connections) == 2

    simulated(program)


def test_a_stopping_server_is_left_without_losing_a_call() -> None:
    async def program(world: World) -> None:
        waiting = asyncio.create_task(world.call("wait", 2))
        await asyncio.sleep(0.1)
        began = world.loop.time()
        closing = asyncio.create_task(world.server.close(settle_seconds=0.5, drain_seconds=10))
        await asyncio.sleep(0.1)
        with pytest.raises(Unreachable, match="takes no new calls"):
            await world.call("echo", 1)
        assert await waiting == 2
        await asyncio.sleep(0.1)
        assert not world.server.links  # the client has closed the connection with the last answer
        await closing
        assert world.loop.time() - began < 3

    simulated(program)


def test_a_stopping_server_serves_whom_it_could_not_tell_until_they_are_quiet() -> None:
    async def program(world: World) -> None:
        await world.call("echo", 0)
        link = next(iter(world.server.links))
        link.send_event = lambda body, two_way: None  # type: ignore[method-assign]  # a consumer that knows no event
        closing = asyncio.create_task(world.server.close(settle_seconds=0.5, drain_seconds=10))
        for number in range(5):
            await asyncio.sleep(0.3)
            assert await world.call("echo", number) == number
        await asyncio.sleep(1)
        assert closing.done()

    simulated(program)


def test_who_connects_to_a_stopping_server_is_served_and_told() -> None:
    """He may have asked who provides it just before."""

    async def program(world: World) -> None:
        closing = asyncio.create_task(world.server.close(settle_seconds=0.5, drain_seconds=10))
        await asyncio.sleep(0.4)
        assert await world.call("wait", 1) == 1
        with pytest.raises(Unreachable, match="takes no new calls"):
            await world.call("echo", 1)
        await closing
        assert world.carried_out == [1]

    simulated(program)


def test_a_stopping_server_waits_no_longer_than_it_may() -> None:
    async def program(world: World) -> None:
        waiting = asyncio.create_task(world.call("wait", 60, timeout_seconds=90))
        await asyncio.sleep(0.1)
        began = world.loop.time()
        await world.server.close(settle_seconds=0.5, drain_seconds=2)
        assert world.loop.time() - began < 3.5
        with pytest.raises(ConnectionLost):
            await waiting
        assert not world.server.tasks

    simulated(program)


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


@given(st.integers(0, 2**32), st.lists(st.binary(max_size=40), max_size=8))
@settings(max_examples=50, deadline=None)
def test_a_server_outlives_whatever_a_stranger_sends(seed: int, pieces: list[bytes]) -> None:
    async def program(world: World) -> None:
        await world.call("echo", 1)
        end = world.loop.connections[0]
        end.protocol.data_received = lambda data: None  # type: ignore[method-assign]
        for piece in pieces:
            end.write(request_frame(1, b"")[:2] + piece if seed % 2 else piece)
            await asyncio.sleep(0.01)
        end.abort()
        await asyncio.sleep(0.1)
        assert await world.call("echo", 2) == 2

    simulated(program, seed)


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
