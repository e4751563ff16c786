"""platform: what the controller says of itself: `/ping`, `/v2/info` …; and the order to stop it all."""

from http import HTTPStatus

from aiohttp import web

from coldchain._version import __version__
from coldchain.api.context import context_of
from coldchain.api.exchange import answer, text
from coldchain.api.leader import leader_address
from coldchain.decisions.service_port import FIRST, LAST
from coldchain.model.errors import Conflict


async def ping(request: web.Request) -> web.Response:
    return text("pong")


async def show_info(request: web.Request) -> web.Response:
    """In Marathon's form, with the fields its clients look at; of its options those that mean something here."""
    context = context_of(request)
    host, _, port = context.address.rpartition(":")
    return answer(
        {
            "name": "coldchain",
            "version": __version__,
            "buildref": __version__,
            "elected": not context.stands_by,
            "leader": leader_address(context),
            "frameworkId": None,
            "marathon_config": {
                "features": [],
                "ha": context.candidate is not None,
                "hostname": host,
                "local_port_min": FIRST,
                "local_port_max": LAST,
                "maintenance_mode": False,
                "mesos_role": "*",
            },
            "http_config": {"http_port": int(port), "https_port": None},
            "zookeeper_config": {},
            "event_subscriber": None,
        }
    )


async def list_plugins(request: web.Request) -> web.Response:
    """There are none, here and ever: what Marathon's plugins do is built in."""
    return answer({"plugins": []})


async def show_logging(request: web.Request) -> web.Response:
    """The level of the log, which has everything."""
    return answer({"ROOT": "DEBUG"})


async def go_down(request: web.Request) -> web.Response:
    """Begin to stop every instance, in order, and then the platform; the definitions stay."""
    down = context_of(request).settings.down
    if down is None:
        raise Conflict("This controller cannot be asked to go down", todo="End its process; the apps go on.")
    down()
    return answer({"message": "Every instance is drained and stopped, then the platform ends."}, HTTPStatus.ACCEPTED)
