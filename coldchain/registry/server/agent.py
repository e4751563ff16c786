"""agent: `/v1/agent`: who registers and reports here."""

import hashlib
from typing import Any

import msgspec
from aiohttp import web

from coldchain._version import __version__
from coldchain.decisions.catalog import aggregate
from coldchain.documents import catalog_answers as answers
from coldchain.documents import catalog_definitions as definitions
from coldchain.model.catalog import NODE_ALIVE, CatalogService
from coldchain.model.errors import MalformedDocument
from coldchain.registry.server import indices
from coldchain.registry.server.exchange import answer, chosen_by, content_of, flag, port_of, wait_seconds
from coldchain.registry.server.records import sorted_by_id

SPOKEN_VERSION = "1.8.7"
"""The version of Consul whose API is spoken; clients look at it to choose what they may ask."""
OUTPUT_CHARACTERS_MAX = 4096
HEALTH_STATUS = {"passing": 200, "warning": 429, "critical": 503, "maintenance": 503}
REPORTS = {"pass": "passing", "warn": "warning", "fail": "critical"}


def _done() -> web.Response:
    return web.Response(status=200)


async def show_self(request: web.Request) -> web.Response:
    port = port_of(request)
    shown = answers.agent_answer(content_of(request).node, port, SPOKEN_VERSION)
    shown["Stats"] = {"coldchain": {"version": __version__}}
    return answer(request, shown)


async def list_members(request: web.Request) -> web.Response:
    return answer(request, [answers.member_answer(content_of(request).node, port_of(request))])


async def list_services(request: web.Request) -> web.Response:
    content, chosen = content_of(request), chosen_by(request)
    shown = [answers.agent_service_answer(content.node, one) for one in sorted_by_id(content.services)]
    return answer(request, {one["ID"]: one for one in shown if chosen(one)})


async def show_service(request: web.Request) -> web.Response:
    """With `hash`: once it is another than that, or the wait is over."""
    content, name = content_of(request), request.match_info["id"]
    known = request.query.get("hash", "")
    shown = _hashed(content.services.get(name), request)
    if known and shown is not None and shown["ContentHash"] == known:
        await content.indices.wait([indices.service(content.services[name].name)], wait_seconds(request))
        shown = _hashed(content.services.get(name), request)
    if shown is None:
        return web.Response(status=404, text=f"unknown service ID: {name}")
    made = answer(request, shown)
    made.headers["X-Consul-ContentHash"] = shown["ContentHash"]
    return made


def _hashed(service: CatalogService | None, request: web.Request) -> dict[str, Any] | None:
    if service is None:
        return None
    shown = answers.agent_service_answer(content_of(request).node, service)
    shown["ContentHash"] = hashlib.sha256(msgspec.json.encode(shown)).hexdigest()[:16]
    return shown


async def list_checks(request: web.Request) -> web.Response:
    content, chosen = content_of(request), chosen_by(request)
    shown = [
        answers.check_answer(content.node, one, content.services.get(one.service_id))
        for one in sorted_by_id(content.checks)
    ]
    return answer(request, {one["CheckID"]: one for one in shown if chosen(one)})


async def register_service(request: web.Request) -> web.Response:
    service, checks = definitions.service_definition(definitions.parse_body(await request.read()))
    await content_of(request).register(service, checks, replace=flag(request, "replace-existing-checks"))
    return _done()


async def deregister_service(request: web.Request) -> web.Response:
    await content_of(request).deregister(request.match_info["id"])
    return _done()


async def maintain_service(request: web.Request) -> web.Response:
    reason = _reason(request)
    await content_of(request).maintain(request.match_info["id"], reason)
    return _done()


async def maintain_node(request: web.Request) -> web.Response:
    await content_of(request).maintain(None, _reason(request))
    return _done()


def _reason(request: web.Request) -> str | None:
    enable = request.query.get("enable", "")
    if not enable:
        raise MalformedDocument("Missing value for enable")
    if enable.lower() not in ("true", "false", "1", "0", "t", "f"):
        raise MalformedDocument(f'Invalid value for enable: "{enable[:40]}"')
    return request.query.get("reason", "")[:OUTPUT_CHARACTERS_MAX] if enable.lower() in ("true", "1", "t") else None


async def register_check(request: web.Request) -> web.Response:
    check = definitions.check_definition(definitions.parse_body(await request.read()))
    await content_of(request).register_check(check)
    return _done()


async def deregister_check(request: web.Request) -> web.Response:
    await content_of(request).deregister_check(request.match_info["id"])
    return _done()


async def report(request: web.Request) -> web.Response:
    """`pass`, `warn` and `fail`."""
    status = definitions.check_status(REPORTS[request.match_info["verb"]])
    note = request.query.get("note", "")[:OUTPUT_CHARACTERS_MAX]
    await content_of(request).report(request.match_info["id"], status, note)
    return _done()


async def update_check(request: web.Request) -> web.Response:
    given = definitions.parse_body(await request.read())
    status, output = (given.get("Status"), given.get("Output", "")) if isinstance(given, dict) else (None, "")
    if not isinstance(status, str) or not isinstance(output, str):
        raise MalformedDocument("Request decode failed: an object with Status and Output is expected")
    await content_of(request).report(
        request.match_info["id"], definitions.check_status(status), output[:OUTPUT_CHARACTERS_MAX]
    )
    return _done()


async def show_health(request: web.Request) -> web.Response:
    """Of all instances of a service by its name, or of one by its id; the status of the answer says it too."""
    content = content_of(request)
    by_name, name = request.match_info["by"] == "name", request.match_info["name"]
    if by_name:
        services = sorted_by_id(content.named.get(name, {}))
    else:
        services = [content.services[name]] if name in content.services else []
    if not services:
        words = f"{'ServiceName' if by_name else 'ServiceId'} {name} Not Found"
        return web.Response(status=404, text=words, headers={"X-Consul-Reason": _header(words)})
    shown = []
    for service in services:
        checks = [one for one in content.checks_for(service) if one.id != NODE_ALIVE]
        shown.append(
            {
                "AggregatedStatus": aggregate(checks),
                "Service": answers.agent_service_answer(content.node, service),
                "Checks": [answers.check_answer(content.node, one, service) for one in checks],
            }
        )
    order = ("maintenance", "critical", "warning", "passing")
    worst = min((str(one["AggregatedStatus"]) for one in shown), key=order.index)
    headers = {"X-Consul-Reason": worst}
    if request.query.get("format") == "text":
        return web.Response(status=HEALTH_STATUS[worst], text=worst, headers=headers)
    made = answer(request, shown if by_name else shown[0], status=HEALTH_STATUS[worst])
    made.headers.update(headers)
    return made


def _header(words: str) -> str:
    return words.encode("ascii", "replace").decode()
