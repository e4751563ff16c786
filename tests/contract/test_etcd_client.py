"""The client of etcd against members whose every answer is written down: what no real one does when it is asked to."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from coldchain.clients.etcd import EtcdClient, EtcdCompacted, EtcdRefused, EtcdUnavailable, Put
from coldchain.clients.etcd_watch import EtcdEvent, watch

Answer = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]
HEADER = {"header": {"revision": "10"}}


class Member:
    """Answers each question as the next of `answers` says, the last for ever, and notes what it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append((request.path, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request, body)


def says(document: dict[str, Any], status: int = 200) -> Answer:
    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(document, status=status)

    return answer


def fails(message: str, code: int = 14) -> Answer:
    return says({"error": message, "message": message, "code": code}, 503)


async def hangs_up(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def streams(*results: dict[str, Any], silent_seconds: float = 0.0) -> Answer:
    """A watch that tells this, says nothing more for a while, and ends."""

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for result in [{"created": True, **HEADER}, *results]:
            await response.write(json.dumps({"result": result}).encode() + b"\n")
        await asyncio.sleep(silent_seconds)
        return response

    return answer


def told(revision: int, *keys: str) -> dict[str, Any]:
    pairs = [{"key": base64.b64encode(key.encode()).decode(), "mod_revision": str(revision)} for key in keys]
    return {**HEADER, "events": [{"kv": pair} for pair in pairs]}


@asynccontextmanager
async def running(*members: Member) -> AsyncIterator[Sequence[str]]:
    runners = []
    for member in members:
        application = web.Application()
        application.router.add_post("/{path:.*}", member.handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        member.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        runners.append(runner)
    try:
        yield [member.url for member in members]
    finally:
        for runner in runners:
            await runner.cleanup()


@asynccontextmanager
async def client_of(*members: Member, **options: Any) -> AsyncIterator[EtcdClient]:
    async with running(*members) as urls:
        client = EtcdClient(urls, **{"timeout_seconds": 2.0, **options})
        try:
            yield client
        finally:
            await client.close()


WRITTEN = says({**HEADER, "succeeded": True})


@pytest.mark.parametrize("broken", [hangs_up, fails("etcdserver: request timed out"), fails("context canceled", 1)])
async def test_a_write_that_may_have_happened_is_not_repeated(broken: Answer) -> None:
    first, second = Member(broken), Member(WRITTEN)
    async with client_of(first, second) as client:
        with pytest.raises(EtcdUnavailable, match=f"^{first.url}: ") as caught:
            await client.transaction([], [Put(b"k", b"v")])
        assert caught.value.heard
        assert (len(first.asked), len(second.asked)) == (1, 0)
        # The next one begins with the other member.
        assert (await client.transaction([], [Put(b"k", b"v")])).succeeded
        assert (len(first.asked), len(second.asked)) == (1, 1)


async def test_a_write_that_nobody_heard_is_asked_of_the_next() -> None:
    first, second = Member(fails("etcdserver: no leader"), WRITTEN), Member(fails("etcdserver: no leader"), WRITTEN)
    async with client_of(first, second) as client:
        assert (await client.transaction([], [Put(b"k", b"v")])).succeeded
        assert (len(first.asked), len(second.asked)) == (2, 1)


@pytest.mark.parametrize(
    "broken", [hangs_up, fails("etcdserver: request timed out"), says({"no": "json gateway"}, 500)]
)
async def test_a_question_is_repeated_until_somebody_answers(broken: Answer) -> None:
    first, second = Member(broken), Member(broken, says({**HEADER, "kvs": []}))
    async with client_of(first, second) as client:
        assert await client.get(b"k") is None
        assert (len(first.asked), len(second.asked)) == (2, 2)


async def test_a_member_whose_packets_are_lost_leaves_time_for_another() -> None:
    """A full queue of connections: whoever comes hears nothing at all."""
    with ExitStack() as held:
        deaf = held.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(3):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        async with running(Member(WRITTEN)) as [url]:
            client = EtcdClient([f"http://127.0.0.1:{deaf.getsockname()[1]}", url], timeout_seconds=1.0)
            assert (await client.transaction([], [Put(b"k", b"v")])).succeeded
            await client.close()


async def test_what_is_refused_is_asked_of_nobody_else() -> None:
    first, second = Member(fails("etcdserver: permission denied", 7)), Member(WRITTEN)
    async with client_of(first, second) as client:
        with pytest.raises(EtcdRefused, match=f"{first.url}: etcdserver: permission denied"):
            await client.get(b"k")
        assert second.asked == []


async def test_a_token_that_has_ended_is_renewed_once_for_all() -> None:
    stale = fails("etcdserver: invalid auth token", 16)

    async def checks(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if request.path.endswith("/authenticate"):
            tokens.append(f"token-{len(tokens)}")
            return web.json_response({**HEADER, "token": tokens[-1]})
        if request.headers["Authorization"] != tokens[-1] or len(tokens) == 1:
            return await stale(request, body)
        return web.json_response(HEADER)

    tokens: list[str] = []
    async with client_of(Member(checks), user="shop", password="secret") as client:
        await asyncio.gather(*(client.get(b"k") for _ in range(10)))
    assert tokens == ["token-0", "token-1"]


async def taken(client: EtcdClient, after: int, count: int, silence_seconds: float = 5.0) -> list[tuple[str, int]]:
    changes = watch(client, b"", after, silence_seconds=silence_seconds)
    async with asyncio.timeout(10):
        events: list[EtcdEvent] = [await anext(changes) for _ in range(count)]
    await changes.aclose()
    return [(event.key.decode(), event.revision) for event in events]


async def test_a_watch_cut_within_a_revision_tells_each_key_once() -> None:
    """The member falls after two keys of three; the next one tells the whole revision, as it is asked to."""
    first = Member(streams(told(4, "x"), told(7, "a", "b")))
    second = Member(streams(told(7, "a", "b", "c"), told(9, "a"), silent_seconds=5))
    async with client_of(first, second) as client:
        wanted = [("x", 4), ("a", 7), ("b", 7), ("c", 7), ("a", 9)]
        assert await taken(client, 3, 5) == wanted
    assert [one.asked[0][1]["create_request"]["start_revision"] for one in (first, second)] == ["4", "7"]


async def test_a_watch_that_is_silent_is_opened_at_the_next_member() -> None:
    first = Member(streams(told(4, "x"), silent_seconds=5))
    second = Member(streams(told(5, "y"), silent_seconds=5))
    async with client_of(first, second) as client:
        assert await taken(client, 3, 2, silence_seconds=0.2) == [("x", 4), ("y", 5)]


async def test_a_watch_that_cannot_be_opened_says_so_in_time() -> None:
    async with client_of(Member(fails("etcdserver: no leader")), timeout_seconds=0.3) as client:
        with pytest.raises(EtcdUnavailable, match="no leader"):
            await taken(client, 3, 1, silence_seconds=0.2)


async def test_a_watcher_that_knows_more_than_the_cluster_is_told_so() -> None:
    """It was restored from an older state. A member that is only behind the others is no reason."""
    behind = Member(streams(silent_seconds=5), says({"header": {"revision": "20"}}))
    async with client_of(behind) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await taken(client, 15, 1)
    restored = Member(streams(silent_seconds=5), says(HEADER))
    async with client_of(restored) as client:
        with pytest.raises(EtcdCompacted, match="revision 10"):
            await taken(client, 15, 1)


async def test_a_listing_whose_revision_is_compacted_begins_anew() -> None:
    def page(key: str, revision: int, *, more: bool) -> Answer:
        pair = {"key": base64.b64encode(key.encode()).decode(), "mod_revision": "1"}
        return says({"header": {"revision": str(revision)}, "kvs": [pair], "more": more})

    compacted = fails("etcdserver: mvcc: required revision has been compacted", 11)
    member = Member(page("a", 5, more=True), compacted, page("a", 8, more=True), page("b", 9, more=False))
    async with client_of(member) as client:
        found, revision = await client.below(b"")
    assert ([pair.key for pair in found], revision) == ([b"a", b"b"], 8)
    asked = [(body["revision"], base64.b64decode(body["key"])) for _, body in member.asked]
    assert asked == [("0", b""), ("5", b"a\0"), ("0", b""), ("8", b"a\0")]
