"""Who leads, as ZooKeeper tells it, when things change between two questions."""

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator, Callable

from kazoo.client import KazooClient  # type: ignore[import-untyped]

from coldchain.clients.mesos.leader import MASTER_PREFIX, LeadingMaster
from coldchain.clients.zookeeper_address import ZooKeeperAddress
from coldchain.testing.mesos.lab import MesosLab

NO_NODE = struct.pack(">i", -101)
"""The answer's error code."""


@contextlib.asynccontextmanager
async def between(address: str, marker: bytes, happens: Callable[[], None]) -> AsyncIterator[str]:
    """The address of a way to ZooKeeper on which something happens before the first answer with that marker arrives."""
    happened = False

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        nonlocal happened
        while data := await reader.read(65536):
            if answers and marker in data and not happened:
                happened = True
                await asyncio.to_thread(happens)
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*address.split(":"))
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(pass_on(reader, back, answers=False), pass_on(there, writer, answers=True))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"{host}:{port}"
    assert happened


async def test_a_path_made_while_it_was_asked_for_is_looked_at() -> None:
    async with MesosLab(zookeeper=True) as lab:
        assert lab.zookeeper is not None
        master = KazooClient(lab.zookeeper.address)
        await asyncio.to_thread(master.start)

        def becomes_a_candidate() -> None:
            said = {"address": {"ip": "127.0.0.1", "port": 5050}, "hostname": "one"}
            master.create(f"/mesos/{MASTER_PREFIX}0000000000", json.dumps(said).encode(), makepath=True)

        async with between(lab.zookeeper.address, NO_NODE, becomes_a_candidate) as address:
            leading = LeadingMaster(ZooKeeperAddress.parse(f"zk://{address}/mesos"))
            try:
                assert await leading.leader() == "127.0.0.1:5050"
            finally:
                await leading.close()
                await asyncio.to_thread(master.stop)
                await asyncio.to_thread(master.close)
