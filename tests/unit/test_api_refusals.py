"""What is refused changes nothing, whatever was asked for; every address that changes something has a case here."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import make_mocked_request

from coldchain.testing.served_platform import ServedPlatform, served_platform

SHOP: dict[str, Any] = {
    "id": "/a/shop",
    "container": {"docker": {"image": "shop:v1"}, "portMappings": [{"containerPort": 80}]},
    "routes": [{"domains": ["shop.test"]}],
}
OTHER = {"id": "/other", "container": {"docker": {"image": "other:v1"}, "portMappings": [{"containerPort": 80}]}}
ROUTED = OTHER | {"routes": SHOP["routes"]}
PRIVILEGED = {"docker": {"image": "shop:v1", "privileged": True}}


class Refused(NamedTuple):
    """`paths`: where `details` must say that something is wrong. Bytes are sent as they are."""

    method: str
    path: str
    status: int
    body: Any = None
    paths: tuple[str, ...] = ()


CASES = (
    Refused("POST", "/v2/apps", 400, b"{"),
    Refused("POST", "/v2/apps", 400, b'{"id": "/x", "id": "/y"}'),
    Refused("POST", "/v2/apps", 422, [], ("/",)),
    Refused("POST", "/v2/apps", 409, SHOP),
    Refused("POST", "/v2/apps", 409, SHOP | {"cpus": 2, "ports": [0]}),
    Refused("POST", "/v2/apps", 422, {"id": "/X", "cpus": -1, "instancs": 2}, ("/instancs", "/id", "/cpus")),
    Refused("POST", "/v2/apps", 422, OTHER | {"uris": 5, "ports": ["a"], "gpus": -1}, ("/uris", "/ports", "/gpus")),
    Refused("POST", "/v2/apps", 422, ROUTED, ("/routes/0/domains/0",)),
    Refused("POST", "/v2/apps", 422, OTHER | {"container": PRIVILEGED}, ("/container/docker/privileged",)),
    Refused("POST", "/v2/apps?override=privileged", 422, OTHER | {"container": PRIVILEGED}),
    Refused("POST", "/v2/apps?because=x", 400, OTHER),
    Refused("POST", "/v2/apps", 422, OTHER | {"secrets": {"s": {"source": "none"}}, "env": {"A": {"secret": "s"}}}),
    Refused("PUT", "/v2/apps/a/shop", 400, b"\xff"),
    Refused("PUT", "/v2/apps/a/shop", 422, {"cmd": "x", "args": ["y"], "mem": 1}, ("/args", "/mem")),
    Refused("PUT", "/v2/apps/a/shop", 422, {"id": "/other"}, ("/id",)),
    Refused("PUT", "/v2/apps/a/shop", 422, {"container": PRIVILEGED, "routes": []}),
    Refused("PUT", "/v2/apps/a/shop", 404, {"version": "2020-01-01T00:00:00.000Z"}),
    Refused("PUT", "/v2/apps/a/shop?partialUpdate=false", 422, {"instances": 3}),
    Refused("PUT", "/v2/apps/a/shop?force=maybe", 400, {"instances": 3}),
    Refused("PUT", "/v2/apps/other", 422, ROUTED, ("/routes/0/domains/0",)),
    Refused("PATCH", "/v2/apps/a/shop", 422, {"instances": "many"}, ("/instances",)),
    Refused("PATCH", "/v2/apps/other", 404, OTHER),
    Refused("DELETE", "/v2/apps/other", 404),
    Refused("DELETE", "/v2/apps/a/shop?force=maybe", 400),
    Refused("POST", "/v2/apps/other/restart", 404),
    Refused("POST", "/v2/apps/a/shop/restart?override=privileged", 422),
    Refused("DELETE", "/v2/apps/other/tasks", 404),
    Refused("DELETE", "/v2/apps/a/shop/tasks?scale=true&wipe=true", 400),
    Refused("DELETE", "/v2/apps/a/shop/tasks?scale=true&host=none", 404),
    Refused("DELETE", "/v2/apps/a/shop/tasks/none", 404),
    Refused("POST", "/v2/tasks/delete", 422, {"ids": [5]}, ("/ids/0",)),
    Refused("POST", "/v2/tasks/delete", 422, {"ids": [], "wipe": True, "id": "x"}, ("/id", "/wipe")),
    Refused("POST", "/v2/tasks/delete", 400, b"x"),
    Refused("POST", "/v2/tasks/delete?scale=true", 404, {"ids": ["none"]}),
    Refused("PUT", "/v2/apps", 422, [SHOP | {"cpus": 2}, ROUTED], ("/1/routes/0/domains/0",)),
    Refused("PUT", "/v2/apps", 400, b"["),
    Refused("PATCH", "/v2/apps", 404, [{"id": "/a/shop", "cpus": 2}, OTHER]),
    Refused(
        "POST",
        "/v2/groups",
        422,
        {"id": "/g", "apps": [OTHER | {"id": "x"}, ROUTED | {"id": "y", "cpus": 0}]},
        ("/apps/1/cpus",),
    ),
    Refused("POST", "/v2/groups", 409, {"id": "/a", "apps": []}),
    Refused("POST", "/v2/groups/a", 409, {"apps": []}),
    Refused("PUT", "/v2/groups", 422, {"apps": [ROUTED]}, ("/apps/0/routes/0/domains/0",)),
    Refused(
        "PUT",
        "/v2/groups",
        422,
        {"apps": [], "groups": [{"id": "a", "dependencies": ["b"]}]},
        ("/groups/0/dependencies/0",),
    ),
    Refused("PUT", "/v2/groups/a?override=none&because=x", 422, {"scaleBy": 1}, ("/override",)),
    Refused("PUT", "/v2/groups/a", 404, {"version": "x"}),
    Refused("PUT", "/v2/groups/a/versions/x", 404),
    Refused("DELETE", "/v2/groups/none", 404),
    Refused("DELETE", "/v2/groups?force=maybe", 400),
    Refused("DELETE", "/v2/deployments/none", 404),
    Refused("DELETE", "/v2/queue/a/shop/delay", 404),
    Refused("DELETE", "/v2/leader", 409),
    Refused("POST", "/v2/pods", 404, OTHER),
    Refused("PUT", "/v2/pods/a", 404, OTHER),
    Refused("DELETE", "/v2/pods/a", 404),
    Refused("POST", "/v2/eventSubscriptions", 400),
    Refused("DELETE", "/v2/eventSubscriptions", 400),
    Refused("POST", "/v1/apps/a/shop/rollback", 422, {"versoin": "x"}, ("/versoin",)),
    Refused("POST", "/v1/apps/a/shop/rollback", 404, {"version": "x"}),
    Refused("POST", "/v1/apps/a/shop/preview", 422, {"instances": 3}),
    Refused("POST", "/v1/deployments/none/pause", 404),
    Refused("POST", "/v1/deployments/none/resume", 404),
    Refused("POST", "/v1/deployments/none/promote", 404),
    *(Refused("POST", f"/v1/gray/a/shop/{verb}", 404) for verb in ("pause", "resume", "promote", "abort")),
    Refused("PATCH", "/v1/gray/a/shop", 404, {"share": 0.5}),
    Refused("POST", "/v1/brake/release", 409),
    Refused("POST", "/v1/agents/none/drain", 404),
    Refused("DELETE", "/v1/agents/none/drain", 404),
    Refused("DELETE", "/v1/agents/agent-1/drain", 404),
    Refused("PATCH", "/v1/nodes/none", 404, {"reflector": True}),
    Refused("PATCH", "/v1/nodes/none", 422, {"reflector": "yes", "adress": "x"}, ("/reflector", "/adress")),
    Refused("DELETE", "/v1/nodes/none", 404),
    Refused("DELETE", "/v1/nodes/none?lost=perhaps", 400),
    Refused("PATCH", "/v1/routing", 422, {"holdSeconds": 1, "meshNodesMax": 1}, ("/holdSeconds", "/meshNodesMax")),
    Refused("PATCH", "/v1/routing", 422, {"encapsulation": "always", "bdf": True}, ("/encapsulation", "/bdf")),
    Refused("PUT", "/v1/routing/peers/r", 422, {"address": "10.0.0.1"}, ("/autonomousSystem",)),
    Refused("PUT", "/v1/routing/peers/-", 422, {"address": "x", "autonomousSystem": 0}, ("/name", "/address")),
    Refused("DELETE", "/v1/routing/peers/none", 404),
    Refused("PUT", "/v1/certificates/-", 422, "value", ("/name",)),
    Refused("PUT", "/v1/certificates/shop", 422, "value", ("/certificate", "/key")),
    Refused("DELETE", "/v1/certificates/none", 404),
    Refused("PUT", "/v1/consumers/-", 422, {"groups": ["vip", "a b"]}, ("/name", "/groups/1")),
    Refused("PUT", "/v1/consumers/anna", 422, {"groups": "vip", "key": "x"}, ("/key", "/groups")),
    Refused("DELETE", "/v1/consumers/none", 404),
    Refused("POST", "/v1/consumers/none/keys", 404),
    Refused(
        "POST",
        "/v1/consumers/none/keys",
        422,
        {"use": "x", "expiresAfterSeconds": "x"},
        ("/use", "/expiresAfterSeconds"),
    ),
    Refused("POST", "/v1/consumers/none/keys", 422, {"expiresAfterSeconds": -1}, ("/expiresAfterSeconds",)),
    Refused("DELETE", "/v1/consumers/none/keys/x", 404),
    Refused("PUT", "/v1/secrets/-", 422, "value", ("/name",)),
    Refused("PUT", "/v1/secrets/database", 422, b"", ("/value",)),
    Refused("DELETE", "/v1/secrets/none", 404),
    Refused("POST", "/v1/tokens", 422, {"name": "-", "role": "king"}, ("/role",)),
    Refused("POST", "/v1/tokens", 422, {"name": "-", "role": "admin", "group": "/a"}, ("/name", "/group")),
    Refused("POST", "/v1/tokens", 409, {"name": "x", "role": "viewer"}),
    Refused("DELETE", "/v1/tokens/none", 404),
    Refused("POST", "/v1/gateways/a/exchange", 422, {"gateway": "b", "applied": 0}, ("/gateway",)),
    Refused("POST", "/v1/gateways/a/exchange", 422, {"gateway": "a"}, ("/",)),
    Refused("POST", "/v1/gateways/a/exchange", 400, b"{"),
    Refused("POST", "/v1/pools", 422, {"name": "-", "cidr": "10.0.0.1/8", "blockLenght": 3}, ("/name", "/blockLenght")),
    Refused("POST", "/v1/pools", 422, {"name": "x", "cidr": "10.0.0.1/8"}, ("/cidr",)),
    Refused("POST", "/v1/pools", 422, {"name": "x", "cidr": "10.9.0.0/16", "blockLength": 40}, ("/blockLength",)),
    Refused("POST", "/v1/pools", 422, [], ("/",)),
    Refused("PATCH", "/v1/pools/none", 404, {"disabled": True}),
    Refused("PATCH", "/v1/pools/none", 422, {"disabled": "yes", "cidr": "x"}, ("/disabled", "/cidr")),
    Refused("DELETE", "/v1/pools/none", 404),
    Refused("POST", "/v1/networks", 422, {"name": "host", "poll": 1}, ("/name", "/poll", "/pool")),
    Refused("POST", "/v1/networks", 422, {"name": "x", "pool": "none", "pool6": "no"}, ("/pool", "/pool6")),
    Refused("DELETE", "/v1/networks/none", 404),
    Refused("PUT", "/v1/policy", 422, {"rules": [{"name": "X", "verdikt": 1}]}, ("/rules/0/verdikt", "/rules/0/name")),
    Refused(
        "PUT", "/v1/policy", 422, {"rules": [{"name": "x", "source": {"network": "no"}}]}, ("/rules/0/source/network",)
    ),
    Refused("PUT", "/v1/policy", 409, {"rules": [], "revision": 7}),
    Refused("PUT", "/v1/policy", 422, [], ("/",)),
    Refused("POST", "/v1/policy/test", 422, {"source": "x"}, ("/destination",)),
    Refused(
        "POST", "/v1/policy/test", 422, {"source": "/a", "destination": "b", "port": 1}, ("/source", "/destination")
    ),
    Refused("POST", "/v1/down", 409),
)
NEVER_REFUSED = {"/v1/secrets/rotate", "/v1/network/check"}
"""What can always be done, whatever is sent."""


@pytest.fixture
async def platform() -> AsyncIterator[ServedPlatform]:
    async with served_platform() as platform:
        yield platform


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.path} {case.status}")
async def test_what_is_refused_changes_nothing(platform: ServedPlatform, case: Refused) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, SHOP)
        before = await platform.store.list("")
        created = dict(platform.engine.created)
        sent = {"data": case.body} if isinstance(case.body, bytes) else {"json": case.body}
        async with session.request(case.method, case.path, **sent) as answer:  # type: ignore[arg-type]
            said = await answer.json()
        assert answer.status == case.status, said
        assert said["message"]
        if answer.status == 400 and "eventSubscriptions" not in case.path:
            assert (said.keys(), said["message"]) == ({"message", "details"}, "Invalid JSON")
        if answer.status == 422:
            assert (said.keys(), said["message"]) == ({"message", "details"}, "Object is not valid")
            assert all(one.keys() == {"path", "errors"} and one["errors"] for one in said["details"])
            assert not set(case.paths) - {one["path"] for one in said["details"]}, said
        after = await platform.store.list("")
        assert {one.key: one for one in after.entries} == {one.key: one for one in before.entries}
        assert platform.engine.created == created


async def test_a_running_deployment_is_not_touched_without_force(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, SHOP)
        [task] = platform.engine.held
        platform.engine.available = False
        async with session.put("/v2/apps/a/shop", json={"cpus": 0.5}) as answer:
            begun = await answer.json()
        before = await platform.store.list("")
        for method, path, body in (
            ("PUT", "/v2/apps/a/shop", {"cpus": 1}),
            ("PATCH", "/v2/apps/a/shop", {"cpus": 1}),
            ("PUT", "/v2/apps/a/shop", {"version": begun["version"]}),
            ("DELETE", "/v2/apps/a/shop", None),
            ("POST", "/v2/apps/a/shop/restart", None),
            ("DELETE", "/v2/apps/a/shop/tasks?scale=true", None),
            ("DELETE", f"/v2/apps/a/shop/tasks/{task}?scale=true", None),
            ("POST", "/v2/tasks/delete?scale=true", {"ids": [task]}),
            ("POST", "/v1/apps/a/shop/rollback", None),
            ("PATCH", "/v2/apps", [{"id": "/a/shop", "cpus": 1}]),
            ("PUT", "/v2/groups/a", {"scaleBy": 2}),
            ("DELETE", "/v2/groups/a", None),
        ):
            async with session.request(method, path, json=body) as answer:
                said = await answer.json()
            assert (answer.status, said["deployments"]) == (409, [{"id": begun["deploymentId"]}]), (method, path)
            assert "App is locked by one or more deployments" in said["message"]
            assert (await platform.store.list("")).entries == before.entries


async def test_every_address_that_changes_something_has_a_case(platform: ServedPlatform) -> None:
    router = platform.server.application.router
    covered = set()
    for case in CASES:
        request = make_mocked_request(case.method, case.path, app=platform.server.application)
        covered.add((await router.resolve(request)).route)
    missing = [
        f"{route.method} {route.resource.canonical}"
        for route in router.routes()
        if route.method not in ("GET", "HEAD") and route not in covered and route.resource is not None
        if route.resource.canonical not in NEVER_REFUSED
    ]
    assert missing == []
