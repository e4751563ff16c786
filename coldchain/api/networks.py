"""networks: `/v1/networks`: networks of containers; `/v1/network/check`: whether their addresses are in order."""

from http import HTTPStatus

from aiohttp import web

from coldchain.api.context import context_of
from coldchain.api.exchange import HEADERS, answer, body_of
from coldchain.documents.network_answers import finding_answer, network_answer, network_detail
from coldchain.documents.network_request import decode_container_network


async def list_networks(request: web.Request) -> web.Response:
    """With how many containers are in each."""
    networks = context_of(request).controller.container_networks
    inside = await networks.attachments()
    return answer({"networks": [network_answer(one, inside.get(one.name, ())) for one in await networks.list()]})


async def create_network(request: web.Request) -> web.Response:
    """201; 422 with all that is wrong with it, 409 for a name that there is already."""
    network = decode_container_network(await body_of(request))
    made = await context_of(request).controller.container_networks.create(network)
    return answer(network_answer(made, ()), HTTPStatus.CREATED)


async def show_network(request: web.Request) -> web.Response:
    """With each container that is in it."""
    networks = context_of(request).controller.container_networks
    network = await networks.get(request.match_info["network"])
    return answer(network_detail(network, (await networks.attachments()).get(network.name, ())))


async def remove_network(request: web.Request) -> web.Response:
    """409 while a container is in it or an app asks for it."""
    await context_of(request).controller.container_networks.remove(request.match_info["network"])
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=HEADERS)


async def check_network(request: web.Request) -> web.Response:
    """What passes by itself within some seconds is left out."""
    findings = await context_of(request).controller.network_check.look()
    return answer({"findings": [finding_answer(one) for one in findings]})


async def repair_network(request: web.Request) -> web.Response:
    """What removed nodes had is taken back."""
    repaired = await context_of(request).controller.network_check.repair()
    return answer({"repaired": [finding_answer(one) for one in repaired]})
