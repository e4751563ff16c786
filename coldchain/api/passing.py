"""passing: what a controller does with requests while another one leads: it answers what the records alone tell, sends
streams to the leader, and passes everything else on to it.

The leader is told who asks. Whoever showed a token or a password shows it there too; for those whom the standby knows
otherwise (by its socket, by a certificate, or because nobody is asked) the standby says who it is, and proves by the
secret under the leader's key that it is a controller of the same store.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler

from coldchain.api import (
    absent,
    apps,
    audit,
    callers,
    deployments,
    events,
    groups,
    history,
    leader,
    metrics,
    openapi,
    platform,
    secrets,
    session,
    status,
)
from coldchain.api.authentication import by_socket
from coldchain.api.context import Context, context_of
from coldchain.api.exchange import ASKED, CALLER, answer
from coldchain.api.passed import Passed, controller_headers
from coldchain.control.candidate import Candidate
from coldchain.model.errors import ColdchainError, Unavailable
from coldchain.model.leader import Leader
from coldchain.ports.clock import Clock

OF_ITSELF = frozenset(
    {
        leader.show_leader,
        platform.ping,
        platform.show_info,
        platform.list_plugins,
        platform.show_logging,
        metrics.show_metrics,
        metrics.show_prometheus,
        openapi.show_document,
        openapi.show_page,
        absent.pods,
        absent.event_subscriptions,
    }
)
"""What each controller answers by itself."""
BY_RECORDS = frozenset(
    {
        apps.list_versions,
        apps.show_version,
        groups.list_versions,
        groups.show_version,
        deployments.list_deployments,
        history.show_history,
        status.show_story,
        secrets.list_secrets,
        callers.show_caller,
        callers.list_tokens,
        audit.list_entries,
    }
)
"""What a standby answers by the records that it follows. How tasks and health checks stand only the leader knows."""
BY_RECORDS_AS_ASKED: Mapping[Handler, Callable[[web.Request], bool]] = {groups.show_group: groups.by_records}
"""Likewise where the query asks for nothing else."""
REDIRECTED = frozenset({events.follow_events, session.run_command})
"""Streams, which would only be held up by a controller between."""

LEADER, VIA = "X-Marathon-Leader", "X-Marathon-Via"
NOT_PASSED = frozenset(
    {
        "connection",
        "keep-alive",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "host",
        "content-length",
        "origin",
        "expect",
    }
)
NOT_PASSED_BEGINNINGS = ("proxy-", "sec-fetch-", "coldchain-c")
LOOK_SECONDS = 0.02
"""While nobody leads: how soon a request that waits is passed on once somebody does."""
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 55.0
READ_WHOLE_BYTES = 2**20


PASSING = web.AppKey("passing", aiohttp.ClientSession)


async def passing(application: web.Application) -> AsyncIterator[None]:
    """The connections to the leader, while the server runs."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as connections:
        application[PASSING] = connections
        yield


async def name_leader(request: web.Request, response: web.StreamResponse) -> None:
    """Every answer says who leads, as Marathon's do."""
    candidate = context_of(request).candidate
    known = candidate.leadership.leader if candidate is not None else None
    if known is not None:
        response.headers[LEADER] = known.url


@web.middleware
async def catch_up(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Before anybody is known: tokens are records too. What was written before the question is seen by the answer;
    where the store does not answer, `Age` says by how many seconds it may be too old."""
    context = context_of(request)
    if context.candidate is None or not context.stands_by:
        return await handler(request)
    follower = context.candidate.follower
    if _by_records(request):
        age = await follower.catch_up()
        response = await handler(request)
        if age and not response.prepared:
            response.headers["Age"] = str(round(age))
        return response
    if not follower.knows:
        raise Unavailable("This controller has not read the store yet", todo="Ask again in a moment.")
    return await handler(request)


@web.middleware
async def pass_on(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Raises Unavailable while nobody leads, and when the leader does not answer."""
    context, found = context_of(request), request.match_info
    if context.candidate is None or not context.stands_by or found.http_exception is not None:
        return await handler(request)
    if found.handler in OF_ITSELF or _by_records(request):
        return await handler(request)
    if found.handler in REDIRECTED and not (by_socket(request) and found.handler == events.follow_events):
        known = await _leader(context.candidate, context.settings.clock, context.settings.clock.monotonic())
        if known is None:
            return await handler(request)
        place = known.url + request.path_qs
        return answer(
            {"message": f"The leader has this stream: {place}"}, HTTPStatus.TEMPORARY_REDIRECT, {"Location": place}
        )
    via = [*request.headers.getall(VIA, ()), context.candidate.me.url]
    if context.candidate.me.url in via[:-1]:
        raise Loop(f"This request goes round: it came by {', '.join(via)}", todo="Ask again in a moment.")
    until = context.settings.clock.monotonic() + context.settings.leader_wait_seconds
    while True:
        known = await _leader(context.candidate, context.settings.clock, until)
        if known is None:
            return await handler(request)  # it leads itself by now
        try:
            return await _answer_of(known, request, context, via)
        except Untouched:
            if context.settings.clock.monotonic() >= until:
                raise
            await context.settings.clock.sleep(LOOK_SECONDS)


def _by_records(request: web.Request) -> bool:
    found = request.match_info
    if found.http_exception is not None:
        return False
    asked = BY_RECORDS_AS_ASKED.get(found.handler)
    return found.handler in BY_RECORDS or (asked is not None and asked(request))


async def _leader(candidate: Candidate, clock: Clock, until: float) -> Leader | None:
    """Who leads; None when it is this one. A change of leaders is waited for. Raises Unavailable when it lasts."""
    while not candidate.leads:
        known = candidate.leadership.leader
        # One at its own address is the process before this one: it is gone, and only its lease is still there.
        if known is not None and known.url != candidate.me.url:
            return known
        if clock.monotonic() >= until:
            raise leader.nobody_leads()
        await clock.sleep(LOOK_SECONDS)
    return None


class Untouched(Unavailable):
    """The leader does not answer, and nothing was done: it can be asked again."""


class Loop(ColdchainError):  # noqa: N818
    """Controllers pass a request on to each other: each believes that the other leads."""

    status = 502
    retry_seconds = 1.0


async def _answer_of(known: Leader, request: web.Request, context: Context, via: list[str]) -> web.StreamResponse:
    headers = [(name, value) for name, value in request.headers.items() if _passes(name) and name != VIA]
    headers += [(VIA, one) for one in via]
    if "Authorization" not in request.headers or not request[ASKED]:
        who = Passed(caller=request[CALLER], asked=request[ASKED])
        headers += controller_headers(known, who).items()
    asked = await _asked(known, request, context, headers)
    try:
        return await _relayed(request, asked)
    finally:
        asked.close()


async def _asked(
    known: Leader, request: web.Request, context: Context, headers: list[tuple[str, str]]
) -> aiohttp.ClientResponse:
    """The leader's answer, as far as its head. One who stops to lead before that answers no more."""
    candidate, trust = context.candidate, context.settings.leader_trust
    assert candidate is not None
    body = await request.read()

    async def ask() -> aiohttp.ClientResponse:
        return await request.app[PASSING].request(
            request.method,
            known.url + request.path_qs,
            headers=headers,
            data=body or None,
            allow_redirects=False,
            ssl=trust if trust is not None else True,
        )

    asking = asyncio.create_task(ask())
    try:
        while not asking.done() and candidate.leadership.leader == known:
            await asyncio.wait({asking}, timeout=LOOK_SECONDS)
        if asking.done():
            return await asking
    except aiohttp.ClientConnectorError as error:
        raise Untouched(f"The leader at {known.address} does not answer: {error}") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _lost(known, request) from error
    finally:
        asking.cancel()
    raise _lost(known, request)


def _lost(known: Leader, request: web.Request) -> Unavailable:
    words = f"The leader at {known.address} did not answer to the end"
    if request.method in ("GET", "HEAD"):
        return Untouched(words, todo="Ask again in a moment; if it is gone another one takes over.")
    return Unavailable(words, todo="Whether it was done nobody knows: look, and ask again in a moment.")


async def _relayed(request: web.Request, answered: aiohttp.ClientResponse) -> web.StreamResponse:
    headers = {name: value for name, value in answered.headers.items() if _passes(name)}
    length = answered.content_length
    if request.method == "HEAD" or (length is not None and length <= READ_WHOLE_BYTES):
        whole = web.Response(body=await answered.read(), status=answered.status)
        whole.headers.update(headers)
        return whole
    response = web.StreamResponse(status=answered.status, headers=headers)
    await response.prepare(request)
    async for chunk in answered.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


def _passes(name: str) -> bool:
    return name.lower() not in NOT_PASSED and not name.lower().startswith(NOT_PASSED_BEGINNINGS)
