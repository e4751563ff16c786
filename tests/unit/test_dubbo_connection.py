"""Client and server of Dubbo over a network of virtual time: connections that are shared, lost or leaving."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldchain.clients.dubbo import (
    Call,
    Client,
    ConnectionLost,
    Refused,
    RemoteException,
    Server,
    ServerSettings,
    Status,
    Timeout,
    TooLarge,
    Unreachable,
    Unreadable,
    generic_call,
)
from coldchain.clients.dubbo.frame import request_frame
from coldchain.clients.hessian2 import JavaObject
from coldchain.testing.dubbo_scene import HOST, SMALL, STOCK, World, simulated


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


def test_what_is_sent_in_one_turn_goes_out_together_and_before_the_connection_closes() -> None:
    async def program(world: World) -> None:
        await world.call("echo", 0)
        [connection] = world.loop.connections
        before = connection.writes
        for number in range(1, 5):
            await world.client.send(Call(interface=STOCK, method="echo", arguments=[number], version="1.0.0"), 1)
        assert connection.writes == before
        await world.client.close(drain_seconds=1.0)
        assert connection.writes == before + 1
        await asyncio.sleep(0.1)
        assert set(world.carried_out) == {0, 1, 2, 3, 4}

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


def test_a_provider_that_has_answered_is_as_good_as_new() -> None:
    async def program(world: World) -> None:
        client = Client(HOST, 1, chance=lambda: 0.5)
        call = Call(interface=STOCK, method="echo", arguments=[1], version="1.0.0")
        for _ in range(8):
            with pytest.raises(Unreachable, match=r"nobody listens at 10\.1\.0\.1:1$"):
                await client.call(call, 1)
            await asyncio.sleep(5)
        provider = Server(world.server.handler)
        await provider.start(HOST, 1)
        assert (await client.call(call, 1)).value == 1
        await provider.close()
        await asyncio.sleep(2.1)  # it said that it stops
        for _ in range(2):
            with pytest.raises(Unreachable, match=r"nobody listens at 10\.1\.0\.1:1$"):
                await client.call(call, 1)
            await asyncio.sleep(0.2)  # not the seconds of before
        await client.close()

    simulated(program)


def test_more_connections_than_may_be_are_closed_at_once() -> None:
    async def program(world: World) -> None:
        full = Server(world.server.handler, settings=ServerSettings(connections_max=1))
        await full.start(HOST, 1)
        first, second = Client(HOST, 1), Client(HOST, 1)
        call = Call(interface=STOCK, method="echo", arguments=[1], version="1.0.0")
        assert (await first.call(call, 1)).value == 1
        with pytest.raises(ConnectionLost):
            await second.call(call, 1)
        assert (await first.call(call, 1)).value == 1
        await first.close()
        await second.close()
        await full.close()

    simulated(program)


def test_calls_to_a_provider_that_reads_nothing_wait_here_and_are_unheard() -> None:
    async def program(world: World) -> None:
        await world.call("echo", 1)
        there = world.loop.connections[0].other
        there.pause_reading()
        ends: list[object] = []
        for _ in range(100):
            ends += await asyncio.gather(world.call("echo", "x" * 1500, timeout_seconds=0.1), return_exceptions=True)
        assert {type(one) for one in ends[:10]} == {Timeout}
        assert {type(one) for one in ends[60:]} == {Unreachable}
        assert "it was not sent" in str(ends[-1])
        there.resume_reading()
        await asyncio.sleep(1)
        assert len(world.carried_out) < 60
        assert await world.call("echo", 2) == 2

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


@given(st.integers(0, 2**32), st.lists(st.binary(max_size=40), max_size=8))
@settings(max_examples=50)
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
