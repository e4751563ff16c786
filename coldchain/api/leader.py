"""leader: `/v2/leader`: which of several controllers leads, and the order to it to let another one."""

from aiohttp import web

from coldchain.api.context import Context, context_of
from coldchain.api.exchange import answer
from coldchain.model.errors import Conflict, Unavailable

NOBODY_SECONDS = 1.0
"""After so long whoever hears that nobody leads may ask again."""


def leader_address(context: Context) -> str | None:
    """Where the leader's API is, as HOST:PORT; None while nobody leads."""
    if context.candidate is None:
        return context.address
    leader = context.candidate.leadership.leader
    return leader.address if leader is not None else None


def nobody_leads() -> Unavailable:
    """The error for what needs a leader while there is none."""
    return Unavailable(
        "No controller leads at this moment: the apps go on, and nothing can be changed",
        todo="Ask again in a moment; another controller takes over by itself.",
        retry_seconds=NOBODY_SECONDS,
    )


async def show_leader(request: web.Request) -> web.Response:
    address = leader_address(context_of(request))
    if address is None:
        raise nobody_leads()
    return answer({"leader": address})


async def abdicate(request: web.Request) -> web.Response:
    """Where there is one controller, its abdication would be nothing but a time without any."""
    candidate = context_of(request).candidate
    if candidate is None:
        words = "This controller is the only one: there is none that could lead in its place"
        raise Conflict(words, todo="Start its process again where you want it to begin anew; the apps go on meanwhile.")
    candidate.leadership.abdicate()
    return answer({"message": "Leadership abdicated"})
