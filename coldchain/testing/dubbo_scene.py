"""Dubbo in virtual time: a server with one service, a client of it, and the network between them."""

import asyncio
from collections.abc import Awaitable, Callable

from coldchain.clients.dubbo import (
    Call,
    Client,
    ClientSettings,
    RemoteException,
    Result,
    Server,
    ServerSettings,
    Services,
)
from coldchain.clients.dubbo.services import Method
from coldchain.clients.hessian2 import JavaObject, TypedList
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
        methods: dict[str, Method] = {"echo": self.echo, "wait": self.wait, "fail": self.fail}
        methods |= {"large": self.large, "odd": self.odd, "item": self.item}
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
