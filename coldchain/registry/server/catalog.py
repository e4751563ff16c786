"""catalog: `/v1/catalog`, `/v1/health` and `/v1/status`: who asks where services are and how they are."""

from collections.abc import Sequence

from aiohttp import web

from coldchain.documents import catalog_answers as answers
from coldchain.documents.filter import Test
from coldchain.model.catalog import CatalogCheck, CatalogService
from coldchain.model.errors import MalformedDocument
from coldchain.registry.server import indices
from coldchain.registry.server.content import Content
from coldchain.registry.server.exchange import (
    answer,
    check_consistency,
    chosen_by,
    content_of,
    flag,
    fresh_index,
    no_node_meta,
    port_of,
)
from coldchain.registry.server.records import sorted_by_id


async def list_datacenters(request: web.Request) -> web.Response:
    return answer(request, [content_of(request).node.datacenter])


async def show_leader(request: web.Request) -> web.Response:
    return answer(request, _leader(request))


async def list_peers(request: web.Request) -> web.Response:
    return answer(request, [_leader(request)])


def _leader(request: web.Request) -> str:
    check_consistency(request)
    return f"{content_of(request).node.address}:{port_of(request)}"


async def list_nodes(request: web.Request) -> web.Response:
    content, chosen = content_of(request), chosen_by(request)
    index = await fresh_index(request, [indices.NODE], lambda: content.indices.start)
    shown = [] if no_node_meta(request) else [answers.node_answer(content.node)]
    return answer(request, [one for one in shown if chosen(one)], index=index)


async def list_services(request: web.Request) -> web.Response:
    """Names with their tags."""
    content = content_of(request)
    index = await fresh_index(request, [indices.SERVICES], lambda: content.indices.of(indices.SERVICES))
    named = {} if no_node_meta(request) else content.named
    shown = {name: sorted({tag for service in named[name].values() for tag in service.tags}) for name in sorted(named)}
    return answer(request, shown, index=index)


async def list_service(request: web.Request) -> web.Response:
    content, name, chosen = content_of(request), _name(request, "service name"), chosen_by(request)
    topic = indices.service(name)
    index = await fresh_index(request, [topic], lambda: content.indices.of(topic))
    shown = [answers.catalog_service_answer(content.node, service) for service in _tagged(request, content, name)]
    return answer(request, [one for one in shown if chosen(one)], index=index)


async def show_node(request: web.Request) -> web.Response:
    content, name, chosen = content_of(request), _name(request, "node name"), chosen_by(request)
    index = await fresh_index(request, [indices.SERVICES], lambda: content.indices.of(indices.SERVICES))
    if name.lower() != content.node.name.lower():
        return answer(request, None, index=index)
    shown = {one.id: answers.node_service_answer(one) for one in sorted_by_id(content.services)}
    services = {service_id: one for service_id, one in shown.items() if chosen(one)}
    return answer(request, {"Node": answers.node_answer(content.node), "Services": services}, index=index)


async def list_health(request: web.Request) -> web.Response:
    """The instances of a service with their checks; `passing`: only those whose checks all pass."""
    content, name, chosen = content_of(request), _name(request, "service name"), chosen_by(request)
    passing = flag(request, "passing")
    topics = [indices.service(name), indices.NODE]
    index = await fresh_index(request, topics, lambda: content.indices.of(*topics))
    shown = []
    for service in _tagged(request, content, name):
        checks = content.checks_for(service)
        if not passing or all(check.status == "passing" for check in checks):
            shown.append(answers.health_service_answer(content.node, service, checks))
    return answer(request, [one for one in shown if chosen(one)], index=index)


async def list_checks(request: web.Request) -> web.Response:
    """The checks of a service."""
    content, name, chosen = content_of(request), _name(request, "service name"), chosen_by(request)
    topic = indices.service(name)
    index = await fresh_index(request, [topic], lambda: content.indices.of(topic))
    checks = [
        check
        for service in sorted_by_id(content.named.get(name, {}))
        for check in sorted_by_id(content.checks_of.get(service.id, {}))
    ]
    return _checks_answer(request, content, checks, chosen, index)


async def list_state(request: web.Request) -> web.Response:
    """The checks in a state, or in `any`."""
    content, state, chosen = content_of(request), _name(request, "check state"), chosen_by(request)
    index = await fresh_index(request, [indices.CHECKS], lambda: content.indices.of(indices.CHECKS))
    checks = [check for check in _all_checks(content) if state in ("any", check.status)]
    return _checks_answer(request, content, checks, chosen, index)


async def list_node_checks(request: web.Request) -> web.Response:
    content, name, chosen = content_of(request), _name(request, "node name"), chosen_by(request)
    index = await fresh_index(request, [indices.CHECKS], lambda: content.indices.of(indices.CHECKS))
    checks = _all_checks(content) if name.lower() == content.node.name.lower() else []
    return _checks_answer(request, content, checks, chosen, index)


def _all_checks(content: Content) -> list[CatalogCheck]:
    return [*content.node_checks(), *(one for one in sorted_by_id(content.checks) if one.service_id)]


def _checks_answer(
    request: web.Request, content: Content, checks: Sequence[CatalogCheck], chosen: Test, index: int
) -> web.Response:
    found = [] if no_node_meta(request) else checks
    shown = [answers.check_answer(content.node, one, content.services.get(one.service_id)) for one in found]
    return answer(request, [one for one in shown if chosen(one)], index=index)


def _tagged(request: web.Request, content: Content, name: str) -> list[CatalogService]:
    """The instances of a service that have all the tags asked for."""
    if no_node_meta(request):
        return []
    wanted = {tag.lower() for tag in request.query.getall("tag", ()) if tag}
    found = sorted_by_id(content.named.get(name, {}))
    return [one for one in found if wanted <= {tag.lower() for tag in one.tags}]


def _name(request: web.Request, what: str) -> str:
    name = request.match_info["name"]
    if not name:
        raise MalformedDocument(f"Missing {what}")
    return name
