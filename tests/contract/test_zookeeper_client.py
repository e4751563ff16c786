"""The client of ZooKeeper, against a real one: what it does, and what is left of it when sessions end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from coldchain.clients.zookeeper import (
    NodeChanged,
    NodeExists,
    NoNode,
    ZooKeeper,
    ZooKeeperRefused,
    ZooKeeperUnavailable,
)
from coldchain.testing.zookeeper import ZooKeeper as Server
from coldchain.testing.zookeeper import expire, served, zookeeper

pytestmark = pytest.mark.asyncio(loop_scope="module")
SESSION_SECONDS = 4.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Server]:
    async with zookeeper() as one:
        yield one


@contextlib.asynccontextmanager
async def session(server: Server, credential: str = "", *, guarded: bool = False) -> AsyncIterator[ZooKeeper]:
    client = ZooKeeper(server.address, credential=credential, guarded=guarded, session_seconds=SESSION_SECONDS)
    try:
        yield client
    finally:
        await client.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_nodes_are_written_and_read(server: Server) -> None:
    async with session(server) as client:
        assert await client.create("/plain/one", b"1", parents=True) == "/plain/one"
        assert await client.children("/plain") == ("one",)
        node = await client.get("/plain/one")
        assert node.data == b"1"
        assert await client.set("/plain/one", b"2", node.version) == node.version + 1
        with pytest.raises(NodeChanged, match="/plain/one"):
            await client.set("/plain/one", b"3", node.version)
        with pytest.raises(NodeExists, match="has node /plain/one already"):
            await client.create("/plain/one")
        with pytest.raises(NodeChanged):
            await client.delete("/plain/one", node.version)
        await client.delete("/plain/one")
        assert not await client.exists("/plain/one")
        for missing in (client.get("/plain/one"), client.children("/plain/one"), client.delete("/plain/one")):
            with pytest.raises(NoNode, match=f"{server.address} has no node /plain/one"):
                await missing
        with pytest.raises(NoNode):
            await client.create("/plain/two/three")
        with pytest.raises(ZooKeeperRefused, match="NotEmpty"):
            await client.create("/full/one", parents=True)
            await client.delete("/full")


async def test_ephemerals_end_with_their_session_and_numbers_tell_who_came_first(server: Server) -> None:
    async with session(server) as watcher:
        async with session(server) as client:
            await client.create("/line/me", b"x", ephemeral=True, parents=True)
            numbered = [await client.create("/line/n_", ephemeral=True, sequence=True) for _ in range(2)]
            assert numbered == sorted(numbered)
            assert await watcher.children("/line") == ("me", *(one.removeprefix("/line/") for one in numbered))
        assert await watcher.children("/line") == ()


async def test_a_watch_begins_before_its_node_is_there_and_outlives_it(server: Server) -> None:
    async with session(server) as client, contextlib.aclosing(client.watch_children("/later")) as changes:
        assert await anext(changes) is None
        await client.create("/later")
        assert await anext(changes) == ()
        await client.create("/later/b")
        assert await anext(changes) == ("b",)
        await client.create("/later/a")
        assert await anext(changes) == ("a", "b")
        for name in ("a", "b"):
            await client.delete(f"/later/{name}")
        await client.delete("/later")
        async with asyncio.timeout(10):
            while await anext(changes) is not None:
                pass
        await client.create("/later")
        assert await anext(changes) == ()


async def test_what_a_node_says_is_followed(server: Server) -> None:
    async with session(server) as client, contextlib.aclosing(client.watch_data("/said")) as changes:
        assert await anext(changes) is None
        await client.create("/said", b"one")
        assert await anext(changes) == b"one"
        await client.set("/said", b"two")
        assert await anext(changes) == b"two"


async def test_after_its_session_expired_ephemerals_are_there_again_and_watches_go_on(server: Server) -> None:
    async with session(server) as other, session(server) as client:
        await client.create("/kept/me", b"mine", ephemeral=True, parents=True)
        await client.create("/kept/gone", ephemeral=True)
        await client.delete("/kept/gone")
        before = client.credentials
        async with contextlib.aclosing(client.watch_children("/kept")) as changes:
            assert await anext(changes) == ("me",)
            await expire(client)

            async def back() -> bool:
                return client.credentials != before and await other.exists("/kept/me")

            await until(back)
            assert await other.children("/kept") == ("me",)
            assert (await other.get("/kept/me")).data == b"mine"
            await other.create("/kept/new")
            async with asyncio.timeout(10):
                while await anext(changes) != ("me", "new"):
                    pass


async def test_a_server_that_was_away_is_asked_again_for_all_that_is_watched(server: Server) -> None:
    async with session(server) as client:
        await client.create("/away/one", parents=True)
        told: list[str] = []
        async with contextlib.aclosing(client.watch_children("/away", told.append)) as changes:
            assert await anext(changes) == ("one",)
            following = asyncio.ensure_future(anext(changes))
            await server.kill()

            async def troubled() -> bool:
                return bool(client.trouble)

            await until(troubled)
            server.start()
            await served(server)
            async with session(server) as other:
                await other.create("/away/two")
            async with asyncio.timeout(20):
                assert await following == ("one", "two")
            assert client.trouble == ""


async def test_only_who_shows_the_password_changes_what_is_guarded(server: Server) -> None:
    async with session(server, "me:p@ss", guarded=True) as mine, session(server, "me:wrong") as other:
        await mine.create("/guarded", b"1")
        assert (await other.get("/guarded")).data == b"1"
        with pytest.raises(ZooKeeperRefused, match="refuses /guarded: NoAuth"):
            await other.set("/guarded", b"2")
        await mine.set("/guarded", b"2")


async def test_a_server_that_is_not_there_is_named(free_port: Callable[[], int]) -> None:
    port = free_port()
    client = ZooKeeper(f"127.0.0.1:{port}", call_seconds=0.3)
    words = rf"127\.0\.0\.1:{port} gave no answer on /one: it was never reached"
    with pytest.raises(ZooKeeperUnavailable, match=words):
        await client.get("/one")
    await client.close()
