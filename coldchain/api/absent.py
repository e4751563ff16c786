"""absent: addresses of Marathon's behind which there is nothing here, and what to do instead."""

from http import HTTPStatus
from typing import NoReturn

from aiohttp import web

from coldchain.api.exchange import answer
from coldchain.model.errors import NotFound


async def pods(request: web.Request) -> NoReturn:
    """404 as from a Marathon without pods: by that its clients know that there are none."""
    raise NotFound("There are no pods yet", todo="Run each of their containers as an app.")


async def event_subscriptions(request: web.Request) -> web.Response:
    """As a Marathon whose callbacks by HTTP are off, which the last ones did not have any more."""
    words = "Events are not sent to addresses. Follow the stream of /v2/events."
    return answer({"message": words}, HTTPStatus.BAD_REQUEST)
