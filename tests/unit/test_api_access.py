"""Who may ask for what: every address of the API by every role; an address without a case here fails."""

import base64
import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from aiohttp import ClientSession, WSMsgType, web
from msgspec.structs import replace
from yarl import URL

from coldchain.api import access, routes
from coldchain.api.server import ApiServer
from coldchain.api.settings import ApiSettings
from coldchain.control.clock import SystemClock
from coldchain.control.controller import Controller
from coldchain.control.credentials import Credentials
from coldchain.model.caller import Role
from coldchain.model.registration import ServiceEndpoint
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_engine import FakeEngine
from coldchain.testing.fake_prober import FakeProber
from coldchain.testing.served_platform import ServedPlatform, served_platform

CALLERS: dict[str, tuple[Role, str]] = {
    "viewer": ("viewer", "/"),
    "viewer-shop": ("viewer", "/shop"),
    "viewer-other": ("viewer", "/shop-2"),
    "owner": ("owner", "/shop"),
    "owner-other": ("owner", "/shop-2"),
    "operator": ("operator", "/"),
    "admin": ("admin", "/"),
}
"""By name: role and group. The app of all cases is /shop/web, whose group another one's name begins with."""
CHALLENGES = 'Basic realm="coldchain", charset="UTF-8", Bearer realm="coldchain"'
NOBODY = ("nobody", "stranger", "expired", "revoked")

EVERYBODY = frozenset(CALLERS)
READ_APP = frozenset({"viewer", "viewer-shop", "owner", "operator", "admin"})
CHANGE_APP = frozenset({"owner", "operator", "admin"})
READ_ALL = frozenset({"viewer", "operator", "admin"})
CHANGE_ALL = frozenset({"operator", "admin"})
BY_BODY = frozenset({"owner", "owner-other", "operator", "admin"})
"""Whose role is enough; the handler looks at the body."""
ADMIN = frozenset({"admin"})

KEYS, WHOLE = "consumers/{consumer}/keys", ("certificate", "consumer", "secret")
CASES: dict[tuple[str, str], frozenset[str]] = {
    ("GET", "/v2/apps"): EVERYBODY,
    ("POST", "/v2/apps"): BY_BODY,
    ("POST", "/v2/apps/{app_id}/restart"): CHANGE_APP,
    ("GET", "/v2/apps/{app_id}/tasks"): READ_APP,
    ("DELETE", "/v2/apps/{app_id}/tasks"): CHANGE_APP,
    ("DELETE", "/v2/apps/{app_id}/tasks/{task_id}"): CHANGE_APP,
    ("GET", "/v2/apps/{app_id}/versions"): READ_APP,
    ("GET", "/v2/apps/{app_id}/versions/{version}"): READ_APP,
    ("GET", "/v2/apps/{app_id}"): READ_APP,
    ("PUT", "/v2/apps/{app_id}"): CHANGE_APP,
    ("PATCH", "/v2/apps/{app_id}"): CHANGE_APP,
    ("DELETE", "/v2/apps/{app_id}"): CHANGE_APP,
    ("PUT", "/v2/apps"): BY_BODY,
    ("PATCH", "/v2/apps"): BY_BODY,
    ("GET", "/v2/groups"): READ_ALL,
    ("POST", "/v2/groups"): CHANGE_ALL,
    ("PUT", "/v2/groups"): CHANGE_ALL,
    ("DELETE", "/v2/groups"): CHANGE_ALL,
    ("GET", "/v2/groups/apps"): READ_ALL,
    ("GET", "/v2/groups/versions"): READ_ALL,
    ("GET", "/v2/groups/versions/{version}"): READ_ALL,
    ("GET", "/v2/groups/{group_id}"): READ_APP,
    ("POST", "/v2/groups/{group_id}"): CHANGE_APP,
    ("PUT", "/v2/groups/{group_id}"): CHANGE_APP,
    ("DELETE", "/v2/groups/{group_id}"): CHANGE_APP,
    ("GET", "/v2/groups/{group_id}/apps"): READ_APP,
    ("GET", "/v2/groups/{group_id}/versions"): READ_APP,
    ("GET", "/v2/groups/{group_id}/versions/{version}"): READ_APP,
    ("PUT", "/v2/groups/{group_id}/versions/{version}"): CHANGE_APP,
    ("GET", "/v2/deployments"): EVERYBODY,
    ("DELETE", "/v2/deployments/{deployment_id}"): CHANGE_APP,
    ("GET", "/v2/tasks"): EVERYBODY,
    ("POST", "/v2/tasks/delete"): BY_BODY,
    ("GET", "/v2/queue"): EVERYBODY,
    ("DELETE", "/v2/queue/{app_id}/delay"): CHANGE_APP,
    ("GET", "/openapi.json"): EVERYBODY,
    ("GET", "/docs"): EVERYBODY,
    ("GET", "/v2/info"): EVERYBODY,
    ("GET", "/v2/leader"): EVERYBODY,
    ("GET", "/ping"): EVERYBODY,
    ("DELETE", "/v2/leader"): ADMIN,
    ("GET", "/v2/plugins"): EVERYBODY,
    ("GET", "/v2/pods{below}"): EVERYBODY,
    ("POST", "/v2/pods{below}"): EVERYBODY,
    ("PUT", "/v2/pods{below}"): EVERYBODY,
    ("DELETE", "/v2/pods{below}"): EVERYBODY,
    ("GET", "/v2/eventSubscriptions"): EVERYBODY,
    ("POST", "/v2/eventSubscriptions"): EVERYBODY,
    ("DELETE", "/v2/eventSubscriptions"): EVERYBODY,
    ("GET", "/logging"): READ_ALL,
    ("GET", "/metrics"): READ_ALL,
    ("GET", "/metrics/prometheus"): READ_ALL,
    ("GET", "/v1/status"): EVERYBODY,
    ("GET", "/v1/apps/{app_id}/status"): READ_APP,
    ("GET", "/v1/apps/{app_id}/history"): READ_APP,
    ("POST", "/v1/apps/{app_id}/rollback"): CHANGE_APP,
    ("POST", "/v1/apps/{app_id}/preview"): READ_APP,
    ("GET", "/v1/apps/{app_id}/bundle"): READ_APP,
    **{("GET", f"/v1/{one}"): READ_APP for one in ("deployments/{deployment_id}", "gray/{app_id}")},
    ("GET", "/v1/instances/{instance_id}/story"): READ_APP,
    **{("POST", f"/v1/deployments/{{deployment_id}}/{one}"): CHANGE_APP for one in ("pause", "resume", "promote")},
    ("PATCH", "/v1/gray/{app_id}"): CHANGE_APP,
    **{("POST", f"/v1/gray/{{app_id}}/{one}"): CHANGE_APP for one in ("pause", "resume", "promote", "abort")},
    ("POST", "/v1/brake/release"): CHANGE_ALL,
    ("POST", "/v1/agents/{agent}/drain"): CHANGE_ALL,
    ("DELETE", "/v1/agents/{agent}/drain"): CHANGE_ALL,
    **{("GET", f"/v1/{one}"): EVERYBODY for one in ("pools", "networks", "services", "agents", "gray", "routes")},
    **{("GET", f"/v1/{one}"): READ_ALL for one in ("pools/{pool}", "networks/{network}", "network/check", "policy")},
    **{("GET", f"/v1/{one}"): READ_ALL for one in ("nodes", "nodes/{node}", "routing")},
    **{("POST", f"/v1/{one}"): CHANGE_ALL for one in ("pools", "networks", "network/check", KEYS)},
    **{("PUT", f"/v1/{one}"): CHANGE_ALL for one in ("policy", "routing/peers/{peer}")},
    **{("PATCH", f"/v1/{one}"): CHANGE_ALL for one in ("pools/{pool}", "nodes/{node}", "routing")},
    **{("DELETE", f"/v1/{one}"): CHANGE_ALL for one in ("routing/peers/{peer}", "consumers/{consumer}/keys/{key}")},
    ("POST", "/v1/policy/test"): READ_ALL,
    **{("GET", f"/v1/{one}"): READ_ALL for one in ("certificates", "consumers", "consumers/{consumer}", "key-sets")},
    ("GET", "/v1/secrets"): CHANGE_ALL,
    **{("PUT", f"/v1/{one}s/{{{one}}}"): CHANGE_ALL for one in WHOLE},
    **{("DELETE", f"/v1/{one}s/{{{one}}}"): CHANGE_ALL for one in (*WHOLE, "pool", "network", "node")},
    ("POST", "/v1/secrets/rotate"): ADMIN,
    ("GET", "/v1/caller"): EVERYBODY,
    ("GET", "/v1/tokens"): ADMIN,
    ("POST", "/v1/tokens"): ADMIN,
    ("DELETE", "/v1/tokens/{name}"): ADMIN,
    ("GET", "/v1/audit"): ADMIN,
    ("POST", "/v1/gateways/{gateway}/exchange"): CHANGE_ALL,
    ("POST", "/v1/down"): ADMIN,
    ("GET", "/v2/events"): EVERYBODY,
    ("GET", "/v1/apps/{app_id}/logs"): READ_APP,
    ("GET", "/v1/apps/{app_id}/exec"): CHANGE_APP,
}
"""By method and address: who gets to the handler. An address that ends with a slash is the same one."""

WEB = {"id": "/shop/web", "container": {"docker": {"image": "web:v1"}}}


class Door(NamedTuple):
    """A platform with tokens for all callers."""

    platform: ServedPlatform
    headers: dict[str, dict[str, str]]

    def session(self, name: str) -> ClientSession:
        return ClientSession(self.platform.url, headers=self.headers[name])


async def opened(platform: ServedPlatform) -> Door:
    """Tokens for every caller, and headers of those whom nobody knows."""
    headers: dict[str, dict[str, str]] = {"nobody": {}, "stranger": bearer("cct_000000000000_" + "x" * 43)}
    callers = platform.controller.callers
    for name, (role, group) in reversed(CALLERS.items()):
        _token, text = await callers.create(name, role, group, None, "test")
        headers[name] = bearer(text)
    headers["expired"] = await expired(platform)
    _token, text = await callers.create("gone", "admin", "/", None, "test")
    await callers.revoke("gone", keep_admin=False)
    headers["revoked"] = bearer(text)
    return Door(platform, headers)


async def expired(platform: ServedPlatform) -> dict[str, str]:
    """A token whose time is over already."""
    token, text = await platform.controller.callers.create("late", "admin", "/", 50, "test")
    await platform.controller.state.commit([replace(token, expires_at=token.created_at - 1)])
    return bearer(text)


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
async def platform() -> AsyncIterator[ServedPlatform]:
    async with served_platform(ApiSettings(down=lambda: None, keep_alive_seconds=0.05)) as platform:
        yield platform


def addresses() -> list[tuple[str, str]]:
    """Method and address of every route, from the router itself, without the one that only answers HEAD."""
    controller = Controller(MemoryStore(), FakeEngine(SystemClock()), FakeProber(SystemClock()), SystemClock())
    router = ApiServer(controller, "127.0.0.1", 0).application.router
    found = {
        (route.method, route.resource.canonical.replace("{end}", ""))
        for route in router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    return sorted(found)


def test_every_address_has_a_case() -> None:
    found = addresses()
    assert len(found) >= len(routes.MARATHON + routes.OURS + routes.STREAMS) - 5
    assert [one for one in found if one not in CASES] == []
    assert [one for one in CASES if one not in found] == []


def test_an_address_without_a_line_in_the_table_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    async def new(request: web.Request) -> web.Response:
        return web.Response()

    monkeypatch.setattr(routes, "OURS", (*routes.OURS, ("GET", "/v1/new", new)))
    controller = Controller(MemoryStore(), FakeEngine(SystemClock()), FakeProber(SystemClock()), SystemClock())
    with pytest.raises(LookupError, match="/v1/new has no line"):
        ApiServer(controller, "127.0.0.1", 0)


@pytest.mark.parametrize(("method", "address"), sorted(CASES), ids=lambda value: str(value))
async def test_who_gets_to_a_handler(platform: ServedPlatform, method: str, address: str) -> None:
    async with ClientSession(platform.url) as session:
        created = await platform.deployed(session, WEB)
    door = await opened(platform)
    names = {"app_id": "shop/web", "group_id": "shop/web-group", "secret": "-", "certificate": "-", "below": "/shop"}
    names["deployment_id"] = created["deployments"][0]["id"]
    names["instance_id"] = next(iter(platform.controller.state.instances))
    path = re.sub(r"\{(\w+)\}", lambda found: names.get(found[1], "none"), address)
    passed = set()
    for name in (*NOBODY, *CALLERS):
        # What cannot be read is refused by every handler that reads it, so that no case changes what the next one sees.
        async with door.session(name) as session, session.request(method, path, data=b"{") as answer:
            if name in NOBODY:
                assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, CHALLENGES), name
            elif answer.status == 403:
                assert "Not authorized" in (await answer.json())["message"]
            else:
                assert answer.status != 401
                passed.add(name)
        if method == "GET":
            async with door.session(name) as session, session.head(path) as answer:
                # A stream has no HEAD.
                assert answer.status == 405 or (answer.status in (401, 403)) == (name not in passed), name
    assert passed == CASES[method, address]


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/v2/apps/shop-2/web/%2e%2e/%2e%2e/shop/web",
        "/v2//apps",
        "/v2/apps/%2F%2Fshop",
        "/V2/apps",
        "//v2/apps",
        "/v2/apps;x=1",
        "/v1/tokens/",
    ],
)
async def test_no_way_of_writing_an_address_leads_past_the_door(platform: ServedPlatform, path: str) -> None:
    door = await opened(platform)
    address = URL(platform.url + path, encoded=True)
    for name in NOBODY:
        async with door.session(name) as session, session.get(address) as answer:
            assert answer.status == 401
    async with door.session("owner-other") as session, session.get(address) as answer:
        assert answer.status in (403, 404)


async def test_methods_that_are_not_there_are_told_to_callers_only(platform: ServedPlatform) -> None:
    door = await opened(platform)
    for name, status in (("nobody", 401), ("viewer", 405)):
        async with door.session(name) as session:
            async with session.request("TRACE", "/v2/apps") as answer:
                assert answer.status == status
            async with session.options("/v2/apps") as answer:
                assert answer.status == status


SHOP_2 = {"id": "/shop-2/web", "container": {"docker": {"image": "web:v1"}}}


async def both(platform: ServedPlatform) -> Door:
    """Two apps in groups of which one's name begins with the other's, and tokens."""
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, WEB)
        await platform.deployed(session, SHOP_2)
    return await opened(platform)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v2/apps", {}),
        ("/v2/apps?embed=apps.tasks&embed=coldchain", {}),
        ("/v2/tasks", {}),
        ("/v2/tasks", {"Accept": "text/plain"}),
        ("/v1/status", {}),
        ("/v1/agents", {}),
    ],
)
async def test_lists_have_what_is_in_the_callers_group(
    platform: ServedPlatform, path: str, headers: dict[str, str]
) -> None:
    door = await both(platform)
    seen = {}
    for name in ("viewer", "viewer-shop", "viewer-other", "owner"):
        async with door.session(name) as session, session.get(path, headers=headers) as answer:
            said = await answer.text()
            seen[name] = ("/shop/web" in said or "shop_web" in said, "shop-2" in said)
    assert seen == {
        "viewer": (True, True),
        "viewer-shop": (True, False),
        "viewer-other": (False, True),
        "owner": (True, False),
    }


async def test_deployments_and_the_queue_are_those_of_the_group(platform: ServedPlatform) -> None:
    huge = {"cpus": 1000, "deadlineSeconds": 60}
    async with ClientSession(platform.url) as session:
        for app in (WEB, SHOP_2):
            async with session.post("/v2/apps", json=app | huge) as answer:
                assert answer.status == 201
    door = await opened(platform)
    for name, expected in (("viewer", ["/shop-2/web", "/shop/web"]), ("owner-other", ["/shop-2/web"])):
        async with door.session(name) as session:
            async with session.get("/v2/deployments") as answer:
                assert sorted(one["affectedApps"][0] for one in await answer.json()) == expected
            async with session.get("/v2/queue") as answer:
                assert sorted(one["app"]["id"] for one in (await answer.json())["queue"]) == expected


async def test_services_are_those_of_the_group(platform: ServedPlatform) -> None:
    door = await both(platform)
    mine = ServiceEndpoint(id="1", address="10.0.0.1", port=80, status="passing", app_id="/shop/web")
    other = ServiceEndpoint(id="2", address="10.0.0.2", port=80, status="passing", app_id="/shop-2/web")
    stranger = ServiceEndpoint(id="3", address="10.0.0.3", port=80, status="passing")
    platform.registry.set_others("shared", mine, other, stranger)
    platform.registry.set_others("legacy", stranger)
    seen = {}
    for name in ("viewer", "owner"):
        async with door.session(name) as session, session.get("/v1/services") as answer:
            services = (await answer.json())["services"]
            seen[name] = {one["name"]: [each["id"] for each in one["endpoints"]] for one in services}
    assert seen == {"viewer": {"shared": ["1", "2", "3"], "legacy": ["3"]}, "owner": {"shared": ["1"]}}


async def test_who_says_twice_who_he_is_is_nobody(platform: ServedPlatform) -> None:
    door = await opened(platform)
    twice = [*door.headers["admin"].items(), *door.headers["viewer"].items()]
    async with ClientSession(platform.url) as session, session.get("/ping", headers=twice) as answer:
        assert answer.status == 401


async def test_who_shares_a_service_port_in_another_group_stays_unnamed(platform: ServedPlatform) -> None:
    door = await both(platform)
    port = {"container": WEB["container"] | {"portMappings": [{"containerPort": 80, "servicePort": 10050}]}}
    async with door.session("admin") as session:
        for app_id in ("/shop/web", "/shop-2/web"):
            async with session.put(f"/v2/apps{app_id}?force=true", json=port) as answer:
                assert answer.status == 200
    for name, other in (("viewer-shop", "an app of another group"), ("viewer", "/shop-2/web")):
        async with door.session(name) as session, session.get("/v1/apps/shop/web/status") as answer:
            assert f"service port 10050 is also that of {other}" in (await answer.json())["warnings"]


async def test_bodies_are_held_to_the_group(platform: ServedPlatform) -> None:
    door = await both(platform)
    tasks = {one.app_id: one.task_id for one in platform.controller.state.instances.values()}
    async with door.session("owner") as session:
        for app_id, status in (("/shop/new", 201), ("/shop", 201), ("/shop-2/new", 403), ("/new", 403)):
            async with session.post("/v2/apps", json=WEB | {"id": app_id}) as answer:
                assert answer.status == status, app_id
        async with session.put("/v2/apps/shop/web", json=WEB | {"id": "/shop-2/web"}) as answer:
            assert answer.status in (403, 422)
        for app_id, status in (("/shop/web", 200), ("/shop-2/web", 403), ("/shop-2/none", 403)):
            async with session.patch("/v2/apps?force=true", json=[{"id": app_id, "cpus": 0.5}]) as answer:
                assert answer.status == status, app_id
        async with session.patch("/v2/apps", json=[{"id": "/shop-2/web", "cpus": -1}]) as answer:
            assert answer.status == 403, "and nothing of what is wrong with it"
        both_tasks = {"ids": list(tasks.values())}
        async with session.post("/v2/tasks/delete", json=both_tasks) as answer:
            assert answer.status == 403
        async with session.post("/v2/tasks/delete", json={"ids": [tasks["/shop/web"]]}) as answer:
            assert answer.status == 200
        async with session.put("/v2/apps/shop/web?override=devices&because=x", json={"instances": 2}) as answer:
            assert answer.status == 403
    assert {"/shop/new", "/shop"} <= platform.controller.state.apps.keys()
    assert "/shop-2/new" not in platform.controller.state.apps


async def test_an_owner_uses_the_secrets_that_his_group_has(platform: ServedPlatform) -> None:
    door = await both(platform)
    asking: dict[str, Any] = {"secrets": {"db": {"source": "database"}}, "env": {"PASSWORD": {"secret": "db"}}}
    async with door.session("operator") as operator, door.session("owner") as owner:
        async with operator.put("/v1/secrets/database", data=b"value") as answer:
            assert answer.status == 201
        async with owner.post("/v2/apps", json=WEB | asking | {"id": "/shop/new"}) as answer:
            assert answer.status == 403
        async with operator.post("/v2/apps", json=WEB | asking | {"id": "/shop/first"}) as answer:
            assert answer.status == 201, await answer.text()
        async with owner.post("/v2/apps", json=WEB | asking | {"id": "/shop/new"}) as answer:
            assert answer.status == 201, await answer.text()


async def test_routes_to_what_others_registered_are_an_operators_to_give(platform: ServedPlatform) -> None:
    door = await both(platform)
    legacy = {"id": "/shop/legacy", "service": "legacy", "instances": 0, "routes": [{"domains": ["old.test"]}]}
    async with door.session("operator") as operator, door.session("owner") as owner:
        async with owner.post("/v2/apps", json=legacy) as answer:
            assert answer.status == 403
        async with operator.post("/v2/apps", json=legacy) as answer:
            assert answer.status == 201, await answer.text()
        async with owner.put("/v2/apps/shop/legacy?force=true", json={"labels": {"a": "b"}}) as answer:
            assert answer.status == 200, await answer.text()
        async with owner.put("/v2/apps/shop/legacy?force=true", json={"service": "payments"}) as answer:
            assert answer.status == 403


async def test_a_session_is_for_who_may_change_and_ends_with_the_token(platform: ServedPlatform) -> None:
    door = await both(platform)
    path = "/v1/apps/shop/web/exec?argument=cat"
    for name, status in (("nobody", 401), ("viewer-shop", 403), ("owner-other", 403)):
        async with door.session(name) as session, session.get(path, headers=UPGRADE) as answer:
            assert answer.status == status
    async with door.session("owner") as session, session.ws_connect(path) as socket:
        await socket.send_bytes(b"words")
        await platform.controller.callers.revoke("owner", keep_admin=False)
        while (message := await socket.receive(5)).type is not WSMsgType.TEXT:
            assert message.type is WSMsgType.BINARY
        assert message.json()["status"] == 403


UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "x" * 22,
}


async def test_nobody_is_asked_without_tokens_and_everybody_from_the_first_one_on(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        async with session.get("/v1/caller") as answer:
            assert await answer.json() == {"name": "local", "role": "admin", "group": "/"}
        async with session.post("/v1/tokens", json={"name": "ops", "role": "admin"}) as answer:
            made = await answer.json()
        async with session.get("/v1/caller") as answer:
            assert answer.status == 401
        async with session.get("/v1/caller", headers=bearer(made["token"])) as answer:
            assert await answer.json() == {"name": "ops", "role": "admin", "group": "/"}
        basic = base64.b64encode(f"ops:{made['token']}".encode()).decode()
        async with session.get("/v1/caller", headers={"Authorization": f"Basic {basic}"}) as answer:
            assert answer.status == 200
        wrong = base64.b64encode(f"other:{made['token']}".encode()).decode()
        async with session.get("/v1/caller", headers={"Authorization": f"Basic {wrong}"}) as answer:
            assert answer.status == 401
        async with session.delete("/v1/tokens/ops", headers=bearer(made["token"])) as answer:
            assert answer.status == 204
        async with session.get("/ping") as answer:
            assert answer.status == 200


async def test_who_comes_with_a_name_and_its_password(platform: ServedPlatform) -> None:
    platform.controller.callers.credentials = Credentials("name:pass:word")
    async with ClientSession(platform.url) as session:
        known, others = ("name:pass:word", "name:pass:word"), ("name:pass", "n:pass:word")
        for given, status in ((one, 200 if one in known else 401) for one in (*known, *others)):
            basic = base64.b64encode(given.encode()).decode()
            async with session.get("/v1/caller", headers={"Authorization": f"Basic {basic}"}) as answer:
                assert answer.status == status, given


@pytest.mark.parametrize(
    "given", ["Basic", "Basic !", "Basic eA==", "Bearer", "Bearer x", "token=x", "Digest x", "", "é"]
)
async def test_what_says_nothing_is_nobody(platform: ServedPlatform, given: str) -> None:
    await opened(platform)
    async with ClientSession(platform.url) as session, session.get("/ping", headers={"Authorization": given}) as answer:
        assert answer.status == 401


async def test_who_fails_too_often_waits_and_who_is_known_does_not(platform: ServedPlatform) -> None:
    door = await opened(platform)
    statuses = []
    async with door.session("stranger") as session:
        for _ in range(22):
            async with session.get("/ping") as answer:
                statuses.append(answer.status)
        assert int(answer.headers["Retry-After"]) >= 1
    assert statuses == [401] * 20 + [429] * 2
    async with door.session("viewer") as session, session.get("/ping") as answer:
        assert answer.status == 200


def test_nobody_is_let_in_by_a_table_that_forgets_the_group() -> None:
    """What names an app in its address is about that app: a line that says otherwise would open it to all groups."""
    for method, path, handler in routes.MARATHON + routes.OURS + routes.STREAMS:
        concerned = access.ACCESS[handler].concerned
        expected = {"{app_id": access.app, "{deployment_id": access.deployment, "{instance_id": access.instance}
        expected["{group_id"] = access.group
        for name, by in expected.items():
            if name in path:
                assert concerned is by, f"{method} {path}"
