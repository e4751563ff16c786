"""pools: `/v1/pools`: the addresses that containers get."""

from http import HTTPStatus

from aiohttp import web

from coldchain.api.context import context_of
from coldchain.api.exchange import HEADERS, answer, body_of, optional_body
from coldchain.documents.network_answers import pool_answer, pool_detail
from coldchain.documents.network_request import decode_pool, decode_pool_change
from coldchain.model.pool import Pool


async def list_pools(request: web.Request) -> web.Response:
    """With how much of each is taken."""
    controller = context_of(request).controller
    pools, blocks = await controller.pools.list(), await controller.pools.blocks()
    networks = await controller.container_networks.list()
    return answer({"pools": [pool_answer(one, blocks, networks) for one in pools]})


async def add_pool(request: web.Request) -> web.Response:
    """201; 422 with all that is wrong with it, 409 for a name that there is already."""
    pool = decode_pool(await body_of(request))
    return await _answered(request, await context_of(request).controller.pools.add(pool), HTTPStatus.CREATED)


async def show_pool(request: web.Request) -> web.Response:
    """With who has which block of it."""
    controller = context_of(request).controller
    pool = await controller.pools.get(request.match_info["pool"])
    return answer(pool_detail(pool, await controller.pools.blocks(), await controller.container_networks.list()))


async def change_pool(request: web.Request) -> web.Response:
    """Whether it is disabled, and whether what leaves the network leaves with the machine's address."""
    change = decode_pool_change(await optional_body(request))
    pool = await context_of(request).controller.pools.change(
        request.match_info["pool"], disabled=change.disabled, nat_outgoing=change.nat_outgoing
    )
    return await _answered(request, pool, HTTPStatus.OK)


async def remove_pool(request: web.Request) -> web.Response:
    """409 while a network uses it or a node holds an address of it."""
    await context_of(request).controller.pools.remove(request.match_info["pool"])
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=HEADERS)


async def _answered(request: web.Request, pool: Pool, status: int) -> web.Response:
    controller = context_of(request).controller
    blocks, networks = await controller.pools.blocks(), await controller.container_networks.list()
    return answer(pool_answer(pool, blocks, networks), status)
