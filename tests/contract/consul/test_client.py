"""The client's blocking queries, against a server that answers by a script."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from aiohttp import web
from aiohttp.test_utils import TestServer

from coldchain.clients.back_off import LAST_SECONDS
from coldchain.clients.consul import ConsulClient

Step = tuple[int, int, object]
"""Status, index, document."""


@contextlib.asynccontextmanager
async def scripted(*steps: Step) -> AsyncIterator[tuple[ConsulClient, list[str]]]:
    """A client of a server that answers so, one step a question; the index each question had."""
    left, asked = list(steps), []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.query.get("index", ""))
        status, index, document = left.pop(0) if len(left) > 1 else left[0]
        if status != 200:
            return web.Response(status=status, text=str(document))
        return web.json_response(document, headers={"X-Consul-Index": str(index)})

    application = web.Application()
    application.router.add_get("/v1/x", answer)
    application.router.add_get("/v1/catalog/nodes", answer)
    server = TestServer(application)
    await server.start_server()
    client = ConsulClient(str(server.make_url("")))
    try:
        yield client, asked
    finally:
        await client.close()
        await server.close()


class Slept:
    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def take(
    client: ConsulClient,
    count: int,
    on_trouble: Callable[[Exception], None] = lambda error: None,
    *,
    certain: bool = False,
) -> tuple[list[object], list[float]]:
    slept = Slept()
    watching = client.watch("/v1/x", sleep=slept, on_trouble=on_trouble)
    found = [await anext(watching) for _ in range(count)]
    await watching.aclose()  # type: ignore[attr-defined]
    return [(one.document if not certain else (one.document, one.certain)) for one in found], slept.seconds


async def test_each_change_is_given_once() -> None:
    async with scripted((200, 5, "a"), (200, 6, "a"), (200, 7, "b")) as (client, asked):
        found, slept = await take(client, 2)
        assert (found, asked, slept) == (["a", "b"], ["", "5", "6"], [])


async def test_an_index_that_went_back_begins_anew() -> None:
    async with scripted((200, 50, "a"), (200, 3, "a"), (200, 3, "b")) as (client, asked):
        found, _ = await take(client, 2)
        assert (found, asked) == (["a", "b"], ["", "50", ""])


async def test_faults_are_told_and_tried_again_ever_more_slowly() -> None:
    troubles: list[Exception] = []
    faults = [(500, 0, "No cluster leader")] * 12
    async with scripted((200, 5, "a"), *faults, (200, 6, "b")) as (client, asked):
        found, slept = await take(client, 2, troubles.append)
    assert found == ["a", "b"]
    assert asked == ["", "5", *[""] * 12]
    assert len(troubles) == len(slept) == 12
    assert "No cluster leader" in str(troubles[0])
    assert all(0.25 * 2**number <= seconds <= 0.5 * 2**number for number, seconds in enumerate(slept[:5]))
    assert LAST_SECONDS / 2 <= slept[-1] <= LAST_SECONDS


async def test_a_server_that_does_not_block_is_not_asked_in_a_tight_loop() -> None:
    async with scripted((200, 0, "a"), (200, 0, "b"), (200, 0, "c")) as (client, _):
        found, slept = await take(client, 3)
        assert found == ["a", "b", "c"]
        assert len(slept) == 2
    async with scripted((200, 5, "a"), (200, 5, "a"), (200, 5, "a"), (200, 6, "b")) as (client, _):
        found, slept = await take(client, 2)
        assert (found, len(slept)) == (["a", "b"], 2)


async def test_what_is_missing_was_taken_away_only_in_one_history() -> None:
    steps = [(200, 5, "a"), (200, 6, "b"), (200, 6, "c"), (200, 2, "d"), (200, 3, "e"), (500, 0, ""), (200, 9, "f")]
    async with scripted(*steps, (200, 0, "g"), (200, 0, "h")) as (client, _):
        found, _ = await take(client, 8, certain=True)
    # The first; one that grew; one let see something else; an index that went back; grown again; after a fault; and of
    # who has no index at all.
    assert found == [
        ("a", False),
        ("b", True),
        ("c", False),
        ("d", False),
        ("e", True),
        ("f", False),
        ("g", False),
        ("h", False),
    ]


async def test_who_follows_a_server_is_told_at_once_when_it_is_gone_and_when_it_may_have_lost_what_it_had() -> None:
    notes: list[str] = []
    enough = asyncio.Event()

    def note(words: str) -> None:
        notes.append(words)
        if len(notes) == 3:
            enough.set()

    steps = [(200, 5, []), (200, 6, []), (200, 6, []), (200, 2, []), (200, 3, []), (500, 0, "No cluster leader")]
    async with scripted(*steps, (200, 4, []), (200, 5, [])) as (client, _):
        following = asyncio.create_task(client.follow(note))
        await enough.wait()
        following.cancel()
    assert [bool(words) for words in notes] == [False, True, False]
    assert "No cluster leader" in notes[1]
