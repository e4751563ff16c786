"""Our provider of the service of `dubbo_peer`, as a process of its own; it prints its port and ends with its input."""

import asyncio
import sys

from coldchain.clients.dubbo import Server, Services
from coldchain.testing.dubbo_peer import GROUP, INTERFACE, VERSION


async def echo(value: object) -> object:
    return value


async def serve() -> None:
    services = Services()
    services.add(INTERFACE, {"echo": echo}, version=VERSION, group=GROUP)
    server = Server(services)
    await server.start()
    print(server.port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.close()


if __name__ == "__main__":
    asyncio.run(serve())
