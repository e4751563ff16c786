"""gateway_routes: `/v1/routes`: the routes of apps, and what that makes of each domain."""

from typing import Any

import msgspec
from aiohttp import web

from coldchain.api.context import context_of
from coldchain.api.exchange import answer, seen
from coldchain.decisions.rotation import services
from coldchain.decisions.route import rules
from coldchain.documents.application import encode_app
from coldchain.model.app import App


async def list_routes(request: web.Request) -> web.Response:
    """Of all apps that the caller may see. Of a domain's rules the first that fits a request decides."""
    state = context_of(request).controller.state
    wanted = {app.id: app for app in state.wanted_apps()}
    shown = seen(request, sorted(wanted))
    return answer(
        {
            "apps": {
                app_id: encode_app(wanted[app_id]).get("routes", []) for app_id in shown if _routed(wanted[app_id])
            },
            "domains": _domains(wanted, frozenset(shown)),
        }
    )


def _routed(app: App) -> bool:
    return bool(app.routes) or app.service_name is not None


def _domains(wanted: dict[str, App], shown: frozenset[str]) -> dict[str, list[dict[str, Any]]]:
    app_of = {name: app.id for app in wanted.values() for name in services(app)}
    found: dict[str, list[dict[str, Any]]] = {}
    for domain, asked in rules(wanted.values()).items():
        for rule in asked:
            app_id = app_of[rule.service]
            if app_id in shown:
                found.setdefault(domain, []).append({"app": app_id, **msgspec.to_builtins(rule)})
    return found
