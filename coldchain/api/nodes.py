"""nodes: `/v1/nodes`: the machines of the container network; `/v1/routing`: how routes are spread among them."""

from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from coldchain.api.context import context_of
from coldchain.api.exchange import HEADERS, answer, body_of, flag, optional_body
from coldchain.documents.node_request import NodeChange, PeerRequest, RoutingChange, decode
from coldchain.model.errors import InvalidDocument, NotFound, Problem
from coldchain.model.node import Node, Routing


async def list_nodes(request: web.Request) -> web.Response:
    """With how many containers each has."""
    nodes = context_of(request).controller.nodes
    containers = await nodes.containers()
    return answer({"nodes": [_node(one, containers.get(one.name, 0)) for one in await nodes.list()]})


async def show_node(request: web.Request) -> web.Response:
    """One of them."""
    nodes = context_of(request).controller.nodes
    return await _answered(request, await nodes.get(request.match_info["node"]))


async def change_node(request: web.Request) -> web.Response:
    """What its operator may say of it."""
    change = decode(NodeChange, await optional_body(request))
    nodes = context_of(request).controller.nodes
    return await _answered(request, await nodes.change(request.match_info["node"], change.applied))


async def remove_node(request: web.Request) -> web.Response:
    """409 while it has containers, unless it is lost. What was removed may be told that it may return."""
    lost, may_return = flag(request, "lost"), flag(request, "mayReturn")
    await context_of(request).controller.nodes.remove(request.match_info["node"], lost=lost, may_return=may_return)
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=HEADERS)


async def show_routing(request: web.Request) -> web.Response:
    """With the routers of the data centre."""
    return answer(await context_of(request).controller.nodes.routing())


async def change_routing(request: web.Request) -> web.Response:
    """All but the routers."""
    change = decode(RoutingChange, await optional_body(request))
    return answer(await context_of(request).controller.nodes.change_routing(change.applied))


async def put_peer(request: web.Request) -> web.Response:
    """201 for a new one."""
    peer = decode(PeerRequest, await body_of(request)).named(request.match_info["peer"])
    known = True

    def changed(before: Routing) -> Routing:
        nonlocal known
        known = any(one.name == peer.name for one in before.peers)
        others = [one for one in before.peers if one.name != peer.name]
        return msgspec.structs.replace(before, peers=(*others, peer))

    try:
        routing = await context_of(request).controller.nodes.change_routing(changed)
    except InvalidDocument as error:
        raise InvalidDocument([_of_peer(one) for one in error.problems]) from error
    return answer(routing, HTTPStatus.OK if known else HTTPStatus.CREATED)


async def remove_peer(request: web.Request) -> web.Response:
    """No node speaks with it any more."""
    name = request.match_info["peer"]

    def changed(before: Routing) -> Routing:
        left = tuple(one for one in before.peers if one.name != name)
        if len(left) == len(before.peers):
            raise NotFound(f"Peer '{name}' does not exist", todo="`coldchain routing show` has all.")
        return msgspec.structs.replace(before, peers=left)

    await context_of(request).controller.nodes.change_routing(changed)
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=HEADERS)


async def _answered(request: web.Request, node: Node) -> web.Response:
    containers = await context_of(request).controller.nodes.containers()
    return answer(_node(node, containers.get(node.name, 0)))


def _node(node: Node, attachments: int) -> dict[str, Any]:
    return {**msgspec.to_builtins(node), "attachments": attachments}


def _of_peer(problem: Problem) -> Problem:
    """Of the peer that was sent, which stands last: seen from itself."""
    parts = problem.path.split("/", 3)
    return msgspec.structs.replace(problem, path=f"/{parts[3]}" if len(parts) == 4 else problem.path)
