"""routes: every address of the API and what answers it."""

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
from coldchain.api.apps import RESERVED

# A line break is no part of an id, and is said to be none like everything else that is none.
_ANYTHING = "(?s:.)"
_APP = f"{{app_id:{_ANYTHING}+}}"
_WORDS = "|".join(RESERVED)
# Ids contain slashes, so addresses are read from the right: what ends in a reserved word is not part of the id.
_APP_ALONE = rf"{{app_id:(?!{_ANYTHING}*[^/]/+(?:{_WORDS}|(?:tasks|versions)/[^/]+)/*$){_ANYTHING}+}}"
_GROUP = f"{{group_id:{_ANYTHING}+}}"
_GROUP_ALONE = (
    rf"{{group_id:(?!(?:{_ANYTHING}*/)?(?:apps|versions)/*$)(?!(?:{_ANYTHING}*/)?versions/[^/]+/*$){_ANYTHING}+}}"
)
_END = "{end:/?}"
_BELOW = "{below:(?:[:/].*)?}"

Route = tuple[str, str, Handler]

MARATHON: tuple[Route, ...] = (
    ("GET", f"/v2/apps{_END}", apps.list_apps),
    ("POST", f"/v2/apps{_END}", apps.create_app),
    ("PUT", f"/v2/apps{_END}", groups.put_apps),
    ("PATCH", f"/v2/apps{_END}", groups.patch_apps),
    ("POST", f"/v2/apps/{_APP}/restart", apps.restart_app),
    ("GET", f"/v2/apps/{_APP}/tasks", tasks.list_app_tasks),
    ("DELETE", f"/v2/apps/{_APP}/tasks", tasks.delete_app_tasks),
    ("DELETE", f"/v2/apps/{_APP}/tasks/{{task_id}}", tasks.delete_app_task),
    ("GET", f"/v2/apps/{_APP}/versions", apps.list_versions),
    ("GET", f"/v2/apps/{_APP}/versions/{{version}}", apps.show_version),
    ("GET", f"/v2/apps/{_APP_ALONE}", apps.show_app),
    ("PUT", f"/v2/apps/{_APP_ALONE}", apps.put_app),
    ("PATCH", f"/v2/apps/{_APP_ALONE}", apps.patch_app),
    ("DELETE", f"/v2/apps/{_APP_ALONE}", apps.delete_app),
    ("GET", f"/v2/groups{_END}", groups.show_group),
    ("POST", f"/v2/groups{_END}", groups.create_group),
    ("PUT", f"/v2/groups{_END}", groups.put_group),
    ("DELETE", f"/v2/groups{_END}", groups.delete_group),
    ("GET", "/v2/groups/apps", groups.list_apps),
    ("GET", f"/v2/groups/{_GROUP}/apps", groups.list_apps),
    ("GET", "/v2/groups/versions", groups.list_versions),
    ("GET", "/v2/groups/versions/{version}", groups.show_version),
    ("GET", f"/v2/groups/{_GROUP}/versions", groups.list_versions),
    ("GET", f"/v2/groups/{_GROUP}/versions/{{version}}", groups.show_version),
    ("PUT", f"/v2/groups/{_GROUP}/versions/{{version}}", groups.put_group),
    ("GET", f"/v2/groups/{_GROUP_ALONE}", groups.show_group),
    ("POST", f"/v2/groups/{_GROUP_ALONE}", groups.create_group),
    ("PUT", f"/v2/groups/{_GROUP_ALONE}", groups.put_group),
    ("DELETE", f"/v2/groups/{_GROUP_ALONE}", groups.delete_group),
    ("GET", f"/v2/deployments{_END}", deployments.list_deployments),
    ("DELETE", "/v2/deployments/{deployment_id}", deployments.cancel_deployment),
    ("GET", f"/v2/tasks{_END}", tasks.list_tasks),
    ("POST", "/v2/tasks/delete", tasks.delete_tasks),
    ("GET", f"/v2/queue{_END}", launch_queue.list_queue),
    ("DELETE", f"/v2/queue/{_APP}/delay", launch_queue.reset_delay),
    ("GET", "/v2/info", platform.show_info),
    ("GET", "/v2/leader", leader.show_leader),
    ("DELETE", "/v2/leader", leader.abdicate),
    ("GET", "/v2/plugins", platform.list_plugins),
    *((method, f"/v2/pods{_BELOW}", absent.pods) for method in ("GET", "POST", "PUT", "DELETE")),
    *((method, "/v2/eventSubscriptions", absent.event_subscriptions) for method in ("GET", "POST", "DELETE")),
    ("GET", "/ping", platform.ping),
    ("GET", "/metrics", metrics.show_metrics),
    ("GET", "/metrics/prometheus", metrics.show_prometheus),
    ("GET", "/logging", platform.show_logging),
)
OURS: tuple[Route, ...] = (
    ("GET", "/v1/status", status.show_platform),
    ("GET", f"/v1/apps/{_APP}/status", status.show_app),
    ("GET", f"/v1/apps/{_APP}/history", history.show_history),
    ("POST", f"/v1/apps/{_APP}/rollback", status.roll_back),
    ("POST", f"/v1/apps/{_APP}/preview", preview.show_preview),
    ("GET", f"/v1/apps/{_APP}/bundle", bundle.show_bundle),
    ("GET", "/v1/deployments/{deployment_id}", status.show_deployment),
    ("GET", "/v1/instances/{instance_id}/story", status.show_story),
    ("POST", "/v1/deployments/{deployment_id}/pause", holds.pause),
    ("POST", "/v1/deployments/{deployment_id}/resume", holds.resume),
    ("POST", "/v1/deployments/{deployment_id}/promote", holds.promote),
    ("GET", "/v1/gray", gray.list_rollouts),
    ("GET", f"/v1/gray/{_APP}", gray.show_rollout),
    ("PATCH", f"/v1/gray/{_APP}", gray.change_rollout),
    ("POST", f"/v1/gray/{_APP}/pause", gray.pause),
    ("POST", f"/v1/gray/{_APP}/resume", gray.resume),
    ("POST", f"/v1/gray/{_APP}/promote", gray.promote),
    ("POST", f"/v1/gray/{_APP}/abort", gray.abort),
    ("GET", "/v1/nodes", nodes.list_nodes),
    ("GET", "/v1/nodes/{node}", nodes.show_node),
    ("PATCH", "/v1/nodes/{node}", nodes.change_node),
    ("DELETE", "/v1/nodes/{node}", nodes.remove_node),
    ("GET", "/v1/routing", nodes.show_routing),
    ("PATCH", "/v1/routing", nodes.change_routing),
    ("PUT", "/v1/routing/peers/{peer}", nodes.put_peer),
    ("DELETE", "/v1/routing/peers/{peer}", nodes.remove_peer),
    ("GET", "/v1/routes", gateway_routes.list_routes),
    ("GET", "/v1/services", services.list_services),
    ("POST", "/v1/brake/release", holds.release_brake),
    ("GET", "/v1/agents", agents.list_agents),
    ("POST", "/v1/agents/{agent}/drain", agents.drain_agent),
    ("DELETE", "/v1/agents/{agent}/drain", agents.use_agent),
    ("GET", "/v1/secrets", secrets.list_secrets),
    ("PUT", "/v1/secrets/{secret}", secrets.set_secret),
    ("DELETE", "/v1/secrets/{secret}", secrets.delete_secret),
    ("POST", "/v1/secrets/rotate", secrets.rotate_secrets),
    ("GET", "/v1/certificates", certificates.list_certificates),
    ("PUT", "/v1/certificates/{certificate}", certificates.set_certificate),
    ("DELETE", "/v1/certificates/{certificate}", certificates.delete_certificate),
    ("GET", "/v1/consumers", consumers.list_consumers),
    ("GET", "/v1/consumers/{consumer}", consumers.show_consumer),
    ("PUT", "/v1/consumers/{consumer}", consumers.put_consumer),
    ("DELETE", "/v1/consumers/{consumer}", consumers.delete_consumer),
    ("POST", "/v1/consumers/{consumer}/keys", consumers.add_key),
    ("DELETE", "/v1/consumers/{consumer}/keys/{key}", consumers.revoke_key),
    ("GET", "/v1/key-sets", key_sets.list_key_sets),
    ("GET", "/v1/pools", pools.list_pools),
    ("POST", "/v1/pools", pools.add_pool),
    ("GET", "/v1/pools/{pool}", pools.show_pool),
    ("PATCH", "/v1/pools/{pool}", pools.change_pool),
    ("DELETE", "/v1/pools/{pool}", pools.remove_pool),
    ("GET", "/v1/networks", networks.list_networks),
    ("POST", "/v1/networks", networks.create_network),
    ("GET", "/v1/networks/{network}", networks.show_network),
    ("DELETE", "/v1/networks/{network}", networks.remove_network),
    ("GET", "/v1/network/check", networks.check_network),
    ("POST", "/v1/network/check", networks.repair_network),
    ("GET", "/v1/policy", policy.show_policy),
    ("PUT", "/v1/policy", policy.put_policy),
    ("POST", "/v1/policy/test", policy.test_policy),
    ("GET", "/v1/caller", callers.show_caller),
    ("GET", "/v1/tokens", callers.list_tokens),
    ("POST", "/v1/tokens", callers.create_token),
    ("DELETE", "/v1/tokens/{name}", callers.revoke_token),
    ("GET", "/v1/audit", audit.list_entries),
    ("POST", "/v1/gateways/{gateway}/exchange", gateways.exchange),
    ("POST", "/v1/down", platform.go_down),
    ("GET", "/openapi.json", openapi.show_document),
    ("GET", "/docs", openapi.show_page),
)
STREAMS: tuple[Route, ...] = (
    ("GET", "/v2/events", events.follow_events),
    ("GET", f"/v1/apps/{_APP}/logs", logs.follow_logs),
    ("GET", f"/v1/apps/{_APP}/exec", session.run_command),
)


def add_routes(router: web.UrlDispatcher) -> None:
    """HEAD is answered where GET is, except where the answer never ends."""
    for method, path, handler in MARATHON + OURS:
        if method == "GET":
            router.add_get(path, handler)
        else:
            router.add_route(method, path, handler)
    for method, path, handler in STREAMS:
        router.add_route(method, path, handler)
