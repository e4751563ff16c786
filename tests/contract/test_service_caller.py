"""The contract of `ports.service_caller.ServiceCaller`, for the fake and for Dubbo's with providers on loopback."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from coldchain.clients.dubbo import Call, Refused, RemoteException, Result, Server, Services, Status
from coldchain.clients.hessian2 import JavaObject
from coldchain.control.clock import SystemClock
from coldchain.dubbo.caller import DubboCaller
from coldchain.model.dubbo import Provider
from coldchain.model.errors import InvalidDocument, NotFound, Rejected, Unavailable
from coldchain.model.service_call import InDoubt, RaisedByService, ServiceCall
from coldchain.ports.service_caller import ServiceCaller
from coldchain.testing.fake_service_caller import FakeServiceCaller

SERVICE, VERSION, GROUP = "com.shop.Stock", "1.0.0", "shop"
SHORT_SECONDS = 0.3


class World:
    """Services, and who calls them. `carried_out`: the arguments of calls that reached a method."""

    caller: ServiceCaller

    def __init__(self) -> None:
        self.carried_out: list[object] = []
        self.methods = {"echo": self.echo, "fail": self.fail}

    async def start(self) -> None: ...

    async def close(self) -> None:
        await self.caller.close()

    async def echo(self, value: object) -> object:
        self.carried_out.append(value)
        return value

    async def fail(self, words: str) -> object:
        raise NotImplementedError

    def lose_answers(self, count: int) -> None:
        """So many of the next calls are carried out, and not answered."""
        raise NotImplementedError


class FakeWorld(World):
    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeServiceCaller(SystemClock())
        self.fake.services[SERVICE, VERSION, GROUP] = dict(self.methods)
        self.caller = self.fake

    async def fail(self, words: str) -> object:
        raise RaisedByService(words, kind="com.shop.SoldOut", words=words)

    def lose_answers(self, count: int) -> None:
        self.fake.loses_answers = count


class FixedDirectory:
    """Implements dubbo.caller.Directory."""

    def __init__(self) -> None:
        self.found: list[Provider] = []
        self.trouble = ""
        self.change = asyncio.Event()
        self.told = asyncio.Event()
        self.told.set()

    def providers(self, interface: str, group: str = "", version: str = "", *, method: str = "") -> Sequence[Provider]:
        return [one for one in self.found if (one.interface, one.group, one.version) == (interface, group, version)]

    async def known(self, interface: str) -> None:
        await self.told.wait()

    async def changed(self) -> None:
        await self.change.wait()
        self.change.clear()


class DubboWorld(World):
    """Two providers of the service."""

    def __init__(self) -> None:
        super().__init__()
        self.losing = 0
        self.directory = FixedDirectory()
        self.servers: list[Server] = []
        self.caller = self.dubbo = DubboCaller(self.directory, SystemClock())

    async def start(self) -> None:
        services = Services()
        methods = {"echo": self.echo, "fail": self.fail, "item": self.item, "refuse": self.refuse}
        services.add(SERVICE, methods, version=VERSION, group=GROUP)

        async def handle(call: Call) -> Result:
            result = await services(call)
            if self.losing:
                self.losing -= 1
                await asyncio.sleep(3600)
            return result

        for _ in range(2):
            self.servers.append(Server(handle))
            await self.servers[-1].start()
        self.directory.found = [self.provider(one) for one in self.servers]

    def provider(self, server: Server, **parameters: str) -> Provider:
        said = {"version": VERSION, "group": GROUP, **parameters}
        return Provider(interface=SERVICE, host="127.0.0.1", port=server.port, parameters=said)

    async def close(self) -> None:
        await super().close()
        for server in self.servers:
            await server.close()

    async def fail(self, words: str) -> object:
        raise RemoteException("com.shop.SoldOut", words)

    async def refuse(self, value: object) -> None:
        self.carried_out.append(value)
        raise Refused(Status.BAD_REQUEST, "these are no words", heard=False)

    async def item(self) -> object:
        return JavaObject("com.shop.Item", {"id": 7, "colour": JavaObject("com.shop.Colour", {"name": "GREEN"})})

    def lose_answers(self, count: int) -> None:
        self.losing = count


@pytest.fixture(params=[FakeWorld, DubboWorld], ids=["fake", "dubbo"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    world: World = request.param()
    await world.start()
    yield world
    await world.close()


@pytest.fixture
async def dubbo() -> AsyncIterator[DubboWorld]:
    world = DubboWorld()
    await world.start()
    yield world
    await world.close()


def call_of(method: str, *arguments: object, **more: object) -> ServiceCall:
    fields = {"service": SERVICE, "version": VERSION, "group": GROUP, "method": method, "arguments": arguments}
    return ServiceCall(**(fields | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", ["🥦", 3, 2**40, 1.5, True, None, [1, {"a": None}], {"class": "com.shop.Item", "id": 7}]
)
async def test_a_value_goes_and_comes_back(world: World, value: object) -> None:
    assert (await world.caller.call(call_of("echo", value))).value == value
    assert world.carried_out == [value]


async def test_what_the_method_raises_is_told_with_its_class(world: World) -> None:
    with pytest.raises(RaisedByService) as raised:
        await world.caller.call(call_of("fail", "no more", idempotent=True))
    assert (raised.value.kind, raised.value.words, raised.value.status) == ("com.shop.SoldOut", "no more", 502)


async def test_nobody_provides_it(world: World) -> None:
    for more in ({"service": "com.shop.None"}, {"version": "2.0.0"}, {"group": ""}):
        with pytest.raises(Unavailable, match="nobody provides"):
            await world.caller.call(call_of("echo", 1, **more))
    assert not world.carried_out


async def test_a_method_that_nobody_has_is_not_found(world: World) -> None:
    with pytest.raises(NotFound, match="no such method"):
        await world.caller.call(call_of("none"))


async def test_a_call_without_an_answer_is_in_doubt_and_not_made_twice(world: World) -> None:
    world.lose_answers(1)
    with pytest.raises(InDoubt, match=r"no answer in 0\.3 s") as doubt:
        await world.caller.call(call_of("echo", 1, timeout_seconds=SHORT_SECONDS))
    assert (doubt.value.status, doubt.value.retry_seconds) == (504, None)
    assert world.carried_out == [1]


async def test_a_call_that_may_be_carried_out_twice_is_tried_again(world: World) -> None:
    world.lose_answers(1)
    answer = await world.caller.call(call_of("echo", 1, idempotent=True, timeout_seconds=3 * SHORT_SECONDS))
    assert answer.value == 1
    assert world.carried_out == [1, 1]


# Dubbo's alone


async def test_a_provider_that_is_gone_is_not_waited_for(dubbo: DubboWorld) -> None:
    gone = dubbo.servers.pop()
    await gone.close()
    for number in range(20):
        assert (await dubbo.caller.call(call_of("echo", number))).value == number
    assert dubbo.carried_out == list(range(20))


async def test_while_nobody_takes_calls_it_is_unavailable_and_nothing_was_carried_out(dubbo: DubboWorld) -> None:
    for server in dubbo.servers:
        await server.close()
    with pytest.raises(Unavailable, match=r"the last of 2 tries"):
        await dubbo.caller.call(call_of("echo", 1))


async def test_providers_that_stop_one_after_the_other_lose_no_call(dubbo: DubboWorld) -> None:
    """They are told to leave while calls go on, and come back elsewhere, as a rollout does it."""
    ended = asyncio.Event()
    done = 0

    async def calls() -> None:
        nonlocal done
        while not ended.is_set():
            assert (await dubbo.caller.call(call_of("echo", done))).value is not None
            done += 1

    callers = [asyncio.create_task(calls()) for _ in range(4)]
    for _ in range(4):
        leaving = dubbo.servers.pop(0)
        dubbo.servers.append(Server(leaving.handler))
        await dubbo.servers[-1].start()
        dubbo.directory.found = [dubbo.provider(one) for one in dubbo.servers]
        dubbo.directory.change.set()
        await leaving.close(settle_seconds=0.05, drain_seconds=10)
    ended.set()
    await asyncio.gather(*callers)
    assert len(dubbo.carried_out) == done


async def test_clients_of_providers_that_are_known_no_more_are_closed(dubbo: DubboWorld) -> None:
    for _ in range(20):
        await dubbo.caller.call(call_of("echo", 1))
    assert [len(one.links) for one in dubbo.servers] == [1, 1]
    dubbo.directory.found = dubbo.directory.found[:1]
    dubbo.directory.change.set()
    async with asyncio.timeout(10):
        while dubbo.servers[1].links:
            await asyncio.sleep(0.01)
    assert dubbo.servers[0].links


async def test_objects_come_as_dicts_with_and_without_a_generic_call(dubbo: DubboWorld) -> None:
    for generic in (True, False):
        answer = await dubbo.caller.call(call_of("item", generic=generic))
        assert answer.value == {"class": "com.shop.Item", "id": 7, "colour": "GREEN"}


async def test_what_one_provider_cannot_read_no_other_is_asked(dubbo: DubboWorld) -> None:
    with pytest.raises(Rejected, match="BAD_REQUEST: these are no words"):
        await dubbo.caller.call(call_of("refuse", "x", idempotent=True))
    assert dubbo.carried_out == ["x"]


async def test_retries_are_as_many_as_a_provider_says(dubbo: DubboWorld) -> None:
    dubbo.directory.found = [dubbo.provider(one, retries="0") for one in dubbo.servers]
    dubbo.lose_answers(1)
    with pytest.raises(InDoubt):
        await dubbo.caller.call(call_of("echo", 1, idempotent=True, timeout_seconds=SHORT_SECONDS))
    assert dubbo.carried_out == [1]


async def test_providers_that_speak_something_else_are_nobody(dubbo: DubboWorld) -> None:
    dubbo.directory.found = [msgspec.structs.replace(one, protocol="tri") for one in dubbo.directory.found]
    with pytest.raises(Unavailable, match="nobody provides"):
        await dubbo.caller.call(call_of("echo", 1))


async def test_a_directory_that_has_not_been_told_yet_is_waited_for(dubbo: DubboWorld) -> None:
    late, dubbo.directory.found = dubbo.directory.found, []
    dubbo.directory.told = asyncio.Event()
    calling = asyncio.create_task(dubbo.caller.call(call_of("echo", 1)))
    await asyncio.sleep(0.05)
    dubbo.directory.found = late
    dubbo.directory.told.set()
    assert (await calling).value == 1


async def test_arguments_that_cannot_be_sent_are_the_callers_fault(dubbo: DubboWorld) -> None:
    with pytest.raises(InvalidDocument, match="cannot be sent"):
        await dubbo.caller.call(call_of("echo", object()))
    with pytest.raises(InvalidDocument, match="larger than"):
        await dubbo.caller.call(call_of("echo", "x" * (9 * 1024 * 1024)))


@pytest.mark.parametrize("balance", ["random", "roundrobin", "leastactive", "consistenthash", "unknown"])
async def test_calls_are_shared_as_the_provider_says(dubbo: DubboWorld, balance: str) -> None:
    dubbo.directory.found = [dubbo.provider(one, loadbalance=balance) for one in dubbo.servers]
    for _ in range(20):
        await dubbo.caller.call(call_of("echo", "the same"))
    assert len(dubbo.carried_out) == 20
    assert [len(one.links) for one in dubbo.servers].count(1) == (1 if balance == "consistenthash" else 2)
