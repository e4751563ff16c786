"""gateways: `/v1/gateways`: where gateways in other processes than the leader's report and get the rotation."""

import math

import msgspec
from aiohttp import web

from coldchain.api.context import Context, context_of
from coldchain.api.exchange import answer
from coldchain.api.leader import nobody_leads
from coldchain.documents.exchange import Given
from coldchain.model.errors import InvalidDocument, MalformedDocument, Problem
from coldchain.model.rotation import GatewayReport
from coldchain.ports.rotation_feed import RotationFeed

WAIT_SECONDS_MAX = 30.0
REPORT_BYTES_MAX = 16 * 2**20
"""With the counts of 100,000 instances; other documents are smaller."""


async def exchange(request: web.Request) -> web.Response:
    """The report renews the gateway's lease; the answer comes as soon as something is new, or after `wait` seconds."""
    wait_seconds = _wait_seconds(request)
    whole = request.clone(client_max_size=REPORT_BYTES_MAX)
    try:
        report = msgspec.json.decode(await whole.read(), type=GatewayReport)
    except msgspec.ValidationError as error:
        raise InvalidDocument([Problem(path="", reason=str(error))]) from error
    except msgspec.MsgspecError as error:
        raise MalformedDocument(f"This is no report: {error}") from error
    if report.gateway != request.match_info["gateway"]:
        reason = f"{report.gateway!r} is not the gateway of the address"
        raise InvalidDocument([Problem(path="/gateway", reason=reason)])
    feed = _feed(context_of(request))
    update = await feed.exchange(report, wait_seconds)
    return answer(Given(lease_seconds=feed.lease_seconds, update=update, shares=dict(feed.shares(report.gateway))))


def _feed(context: Context) -> RotationFeed:
    """Raises Unavailable where another one leads since the request came in."""
    if context.candidate is None:
        return context.controller.publisher
    if context.candidate.own_feed is None:
        raise nobody_leads()
    return context.candidate.own_feed


def _wait_seconds(request: web.Request) -> float:
    given = request.query.get("wait", "0")
    try:
        wait_seconds = float(given)
    except ValueError:
        wait_seconds = math.nan
    if not 0.0 <= wait_seconds <= WAIT_SECONDS_MAX:
        raise MalformedDocument(
            f"wait={given[:40]} in the query is no time", todo=f"Write seconds, from 0 to {WAIT_SECONDS_MAX:.0f}"
        )
    return wait_seconds
