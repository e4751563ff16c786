"""platform: what the controller says of itself: `/ping`, `/v2/info`, `/v2/leader`; and the order to stop it all."""

from http import HTTPStatus

from aiohttp import web

from coldchain._version import __version__
from coldchain.api.context import context_of
from coldchain.api.exchange import answer, text
from coldchain.model.errors import Conflict


async def ping(request: web.Request) -> web.Response:
    return text("pong")


async def show_info(request: web.Request) -> web.Response:
    """In Marathon's form, with the fields its clients look at."""
    context = context_of(request)
    return answer(
        {
            "name": "coldchain",
            "version": __version__,
            "elected": True,
            "leader": context.address,
            "frameworkId": None,
            "marathon_config": {},
            "http_config": {"http_port": int(context.address.rpartition(":")[2])},
            "target": context.controller.engine.target,
        }
    )


async def show_leader(request: web.Request) -> web.Response:
    return answer({"leader": context_of(request).address})


async def go_down(request: web.Request) -> web.Response:
    """Begin to stop every instance, in order, and then the platform; the definitions stay."""
    down = context_of(request).settings.down
    if down is None:
        raise Conflict("This controller cannot be asked to go down", todo="End its process; the apps go on.")
    down()
    return answer({"message": "Every instance is drained and stopped, then the platform ends."}, HTTPStatus.ACCEPTED)
