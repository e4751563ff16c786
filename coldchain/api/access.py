"""access: who may ask for what: for each handler the role that it needs, and the apps or groups that are concerned.

A new address is a line in ACCESS and a case in tests/unit/test_api_access.py; without the line the API does not start.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler

from coldchain.api import (
    absent,
    agents,
    apps,
    audit,
    bundle,
    callers,
    certificates,
    consumers,
    deployments,
    events,
    gateway_routes,
    gateways,
    gray,
    groups,
    history,
    holds,
    key_sets,
    launch_queue,
    leader,
    logs,
    metrics,
    networks,
    nodes,
    openapi,
    platform,
    policy,
    pools,
    preview,
    secrets,
    services,
    session,
    status,
    tasks,
)
from coldchain.api.context import context_of
from coldchain.api.exchange import app_id_of, authorize
from coldchain.model.caller import EVERYTHING, Role
from coldchain.model.errors import ColdchainError

Concerned = Callable[[web.Request], Sequence[str]]
"""The ids of the apps and groups that a request is about, by its address. Who has a group must have all in it."""


class Access(NamedTuple):
    """`needed`: the lowest role that may. `audited`: whether it goes on record; None: when it needs more than a viewer
    and is not only read."""

    needed: Role
    concerned: Concerned
    audited: bool | None = None


def filtered(request: web.Request) -> Sequence[str]:
    """No app by the address: the handler leaves out what its caller may not see (`seen`), or holds what the body names
    to his group (`authorize`)."""
    return ()


def everything(request: web.Request) -> Sequence[str]:
    """The whole platform: not for who has a group."""
    return (EVERYTHING,)


def app(request: web.Request) -> Sequence[str]:
    """The app or group that stands as `app_id` in the address."""
    return (app_id_of(request),)


def group(request: web.Request) -> Sequence[str]:
    """The group in the address; without one the root, which only who may see everything is in."""
    return (groups.group_id_of(request),)


def deployment(request: web.Request) -> Sequence[str]:
    """What the deployment changes, or the whole that it is a part of; one that is not there could be anybody's."""
    name, state = request.match_info["deployment_id"], context_of(request).controller.state
    whole = state.group_of(name) or state.group_deployments.get(name)
    move = whole or state.running.get(name) or state.deployments.get(name)
    return deployments.apps_of(move) if move is not None else (EVERYTHING,)


def instance(request: web.Request) -> Sequence[str]:
    """The app of the instance; of one that is not there, or could be several, anybody's."""
    try:
        return (context_of(request).instance(request.match_info["instance_id"]).app_id,)
    except ColdchainError:
        return (EVERYTHING,)


ACCESS: Mapping[Handler, Access] = {
    apps.list_apps: Access("viewer", filtered),
    apps.create_app: Access("operator", filtered),
    apps.restart_app: Access("operator", app),
    tasks.list_app_tasks: Access("viewer", app),
    tasks.delete_app_tasks: Access("operator", app),
    tasks.delete_app_task: Access("operator", app),
    apps.list_versions: Access("viewer", app),
    apps.show_version: Access("viewer", app),
    apps.show_app: Access("viewer", app),
    apps.put_app: Access("operator", app),
    apps.patch_app: Access("operator", app),
    apps.delete_app: Access("operator", app),
    groups.put_apps: Access("operator", filtered),
    groups.patch_apps: Access("operator", filtered),
    groups.show_group: Access("viewer", group),
    groups.create_group: Access("operator", group),
    groups.put_group: Access("operator", group),
    groups.delete_group: Access("operator", group),
    groups.list_apps: Access("viewer", group),
    groups.list_versions: Access("viewer", group),
    groups.show_version: Access("viewer", group),
    deployments.list_deployments: Access("viewer", filtered),
    deployments.cancel_deployment: Access("operator", deployment),
    tasks.list_tasks: Access("viewer", filtered),
    tasks.delete_tasks: Access("operator", filtered),
    launch_queue.list_queue: Access("viewer", filtered),
    launch_queue.reset_delay: Access("operator", app),
    openapi.show_document: Access("viewer", filtered),
    openapi.show_page: Access("viewer", filtered),
    platform.show_info: Access("viewer", filtered),
    leader.show_leader: Access("viewer", filtered),
    platform.ping: Access("viewer", filtered),
    platform.list_plugins: Access("viewer", filtered),
    platform.show_logging: Access("viewer", everything),
    leader.abdicate: Access("admin", everything),
    absent.pods: Access("viewer", filtered),
    absent.event_subscriptions: Access("viewer", filtered),
    metrics.show_metrics: Access("viewer", everything),
    metrics.show_prometheus: Access("viewer", everything),
    status.show_platform: Access("viewer", filtered),
    status.show_app: Access("viewer", app),
    history.show_history: Access("viewer", app),
    status.roll_back: Access("operator", app),
    preview.show_preview: Access("viewer", app),
    bundle.show_bundle: Access("viewer", app),
    status.show_deployment: Access("viewer", deployment),
    status.show_story: Access("viewer", instance),
    holds.pause: Access("operator", deployment),
    holds.resume: Access("operator", deployment),
    holds.promote: Access("operator", deployment),
    holds.release_brake: Access("operator", everything),
    gray.list_rollouts: Access("viewer", filtered),
    gray.show_rollout: Access("viewer", app),
    gray.change_rollout: Access("operator", app),
    gray.pause: Access("operator", app),
    gray.resume: Access("operator", app),
    gray.promote: Access("operator", app),
    gray.abort: Access("operator", app),
    agents.list_agents: Access("viewer", filtered),
    agents.drain_agent: Access("operator", everything),
    agents.use_agent: Access("operator", everything),
    gateway_routes.list_routes: Access("viewer", filtered),
    services.list_services: Access("viewer", filtered),
    nodes.list_nodes: Access("viewer", everything),
    nodes.show_node: Access("viewer", everything),
    nodes.change_node: Access("operator", everything),
    nodes.remove_node: Access("operator", everything),
    nodes.show_routing: Access("viewer", everything),
    nodes.change_routing: Access("operator", everything),
    nodes.put_peer: Access("operator", everything),
    nodes.remove_peer: Access("operator", everything),
    secrets.list_secrets: Access("operator", everything),
    secrets.set_secret: Access("operator", everything),
    secrets.delete_secret: Access("operator", everything),
    secrets.rotate_secrets: Access("admin", everything),
    certificates.list_certificates: Access("viewer", everything),
    certificates.set_certificate: Access("operator", everything),
    certificates.delete_certificate: Access("operator", everything),
    consumers.list_consumers: Access("viewer", everything),
    consumers.show_consumer: Access("viewer", everything),
    key_sets.list_key_sets: Access("viewer", everything),
    consumers.put_consumer: Access("operator", everything),
    consumers.delete_consumer: Access("operator", everything),
    consumers.add_key: Access("operator", everything),
    consumers.revoke_key: Access("operator", everything),
    pools.list_pools: Access("viewer", filtered),
    pools.add_pool: Access("operator", everything),
    pools.show_pool: Access("viewer", everything),
    pools.change_pool: Access("operator", everything),
    pools.remove_pool: Access("operator", everything),
    networks.list_networks: Access("viewer", filtered),
    networks.create_network: Access("operator", everything),
    networks.show_network: Access("viewer", everything),
    networks.remove_network: Access("operator", everything),
    networks.check_network: Access("viewer", everything),
    networks.repair_network: Access("operator", everything),
    policy.show_policy: Access("viewer", everything),
    policy.put_policy: Access("operator", everything),
    policy.test_policy: Access("viewer", everything),
    callers.show_caller: Access("viewer", filtered),
    callers.list_tokens: Access("admin", everything),
    callers.create_token: Access("admin", everything),
    callers.revoke_token: Access("admin", everything),
    audit.list_entries: Access("admin", everything),
    gateways.exchange: Access("operator", everything, audited=False),
    platform.go_down: Access("admin", everything),
    events.follow_events: Access("viewer", filtered),
    logs.follow_logs: Access("viewer", app),
    session.run_command: Access("operator", app, audited=True),
}


def access_of(request: web.Request) -> Access | None:
    """None: there is nothing at this address, or not by this method."""
    found = request.match_info
    return ACCESS[found.handler] if found.http_exception is None else None


def check_table(router: web.UrlDispatcher) -> None:
    """Raises LookupError when nobody has said who may ask for some address: it must not be served."""
    for route in router.routes():
        if route.handler not in ACCESS:
            address = route.resource.canonical if route.resource is not None else "?"
            raise LookupError(f"{route.method} {address} has no line in coldchain/api/access.py")


@web.middleware
async def check_access(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Nobody reaches a handler without its line in the table. Raises Forbidden."""
    access = access_of(request)
    if access is not None:
        authorize(request, access.needed, access.concerned(request))
    return await handler(request)
