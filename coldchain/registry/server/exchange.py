"""exchange: what all handlers do with a question and an answer; blocking questions."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from aiohttp import web

from coldchain.decisions.catalog import answers_at_once
from coldchain.documents.catalog_definitions import seconds_of
from coldchain.documents.filter import Test, parse_filter
from coldchain.model.errors import ColdchainError, MalformedDocument
from coldchain.registry.server.content import Content

WAIT_SECONDS, WAIT_SECONDS_MAX = 300.0, 600.0
LOOK_SECONDS = 10.0
"""How long at most nobody notices that a waiting client has gone."""

CONTENT = web.AppKey("content", Content)
Document = dict[str, Any]


class NoSuchDatacenter(ColdchainError):  # noqa: N818 -- Consul's word
    """Consul answers a server error, which its clients know."""


def content_of(request: web.Request) -> Content:
    return request.app[CONTENT]


def port_of(request: web.Request) -> int:
    """Where the question came in."""
    place = request.get_extra_info("sockname")
    return int(place[1]) if place else 0


def answer(request: web.Request, document: object, *, index: int | None = None, status: int = 200) -> web.Response:
    """A document as JSON; with the headers of a question if it has an index."""
    body = msgspec.json.encode(document)
    if "pretty" in request.query:
        body = msgspec.json.format(body, indent=4)
    return web.Response(
        body=body, status=status, content_type="application/json", headers=index_headers(request, index)
    )


def index_headers(request: web.Request, index: int | None) -> dict[str, str]:
    """What tells how fresh an answer is. `index` None: the answer has none."""
    if index is None:
        return {}
    return {
        "X-Consul-Index": str(max(1, index)),
        "X-Consul-KnownLeader": "false" if content_of(request).in_doubt else "true",
        "X-Consul-LastContact": "0",
        "X-Consul-Effective-Consistency": "leader",
    }


async def fresh_index(request: web.Request, topics: Iterable[str], index: Callable[[], int]) -> int:
    """The index of the answer, after having waited for one that is newer than the index asked for."""
    check_consistency(request)
    asked, seconds = _number(request, "index", "Invalid index"), wait_seconds(request)
    content = content_of(request)
    topics = tuple(topics)
    loop = asyncio.get_running_loop()
    limit = loop.time() + seconds
    while not answers_at_once(asked, index(), content.indices.newest) and not content.indices.closed:
        left = limit - loop.time()
        if left <= 0 or request.transport is None or request.transport.is_closing():
            break
        await content.indices.wait(topics, min(left, LOOK_SECONDS))
    return index()


def _number(request: web.Request, name: str, words: str) -> int:
    given = request.query.get(name, "0")
    if not (given.isascii() and given.isdigit() and len(given) <= 19):
        raise MalformedDocument(words)
    return int(given)


def whole_number(request: web.Request, name: str) -> int:
    """A number of the query, 0 if it is not there. Raises MalformedDocument."""
    return _number(request, name, f"{name} in the query is no whole number")


def wait_seconds(request: web.Request) -> float:
    """How long a blocking question may take. Raises MalformedDocument."""
    given = request.query.get("wait", "")
    if not given:
        return WAIT_SECONDS
    try:
        return min(WAIT_SECONDS_MAX, seconds_of(given) or WAIT_SECONDS)
    except MalformedDocument:
        raise MalformedDocument("Invalid wait time") from None


def check_consistency(request: web.Request) -> None:
    """Refuse what contradicts itself, and questions about another place."""
    if "stale" in request.query and "consistent" in request.query:
        raise MalformedDocument("Cannot specify ?stale with ?consistent, conflicting semantics.")
    if request.query.get("dc", "") not in ("", content_of(request).node.datacenter):
        raise NoSuchDatacenter("No path to datacenter")


def chosen_by(request: web.Request) -> Test:
    """The filter of the query; without one everything is chosen."""
    expression = request.query.get("filter", "").strip()
    return parse_filter(expression) if expression else lambda document: True


def flag(request: web.Request, name: str) -> bool:
    """A switch: there without a value, or true."""
    given = request.query.get(name)
    if given is None or given.lower() in ("false", "0"):
        return False
    if given.lower() in ("", "1", "true"):
        return True
    raise MalformedDocument(f"Invalid value for ?{name}")


def no_node_meta(request: web.Request) -> bool:
    """True when nodes with some metadata are asked for: the one that there is has none."""
    return any(request.query.getall("node-meta", ()))
