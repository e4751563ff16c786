"""Who may ask for what: every address of the API by every role; an address without a case here fails."""

import base64
import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web
from yarl import URL

from coldchain.api import access, routes
from coldchain.api.server import ApiServer
from coldchain.api.settings import ApiSettings
from coldchain.control.clock import SystemClock
from coldchain.control.controller import Controller
from coldchain.control.credentials import Credentials
from coldchain.store.memory import MemoryStore
from coldchain.testing.door import CALLERS, WEB, bearer, opened
from coldchain.testing.fake_engine import FakeEngine
from coldchain.testing.fake_prober import FakeProber
from coldchain.testing.served_platform import ServedPlatform, served_platform

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

LINES = {
    EVERYBODY: """
        GET /docs /openapi.json /ping /v1/agents /v1/caller /v1/gray /v1/networks /v1/pools /v1/routes /v1/services
        GET /v1/status /v2/apps /v2/deployments /v2/eventSubscriptions /v2/events /v2/info /v2/leader /v2/plugins
        GET /v2/pods{below} /v2/queue /v2/tasks
        POST /v2/eventSubscriptions /v2/pods{below}
        PUT /v2/pods{below}
        DELETE /v2/eventSubscriptions /v2/pods{below}
    """,
    READ_APP: """
        GET /v1/apps/{app_id}/bundle /v1/apps/{app_id}/history /v1/apps/{app_id}/logs /v1/apps/{app_id}/status
        GET /v1/deployments/{deployment_id} /v1/gray/{app_id} /v1/instances/{instance_id}/story /v2/apps/{app_id}
        GET /v2/apps/{app_id}/tasks /v2/apps/{app_id}/versions /v2/apps/{app_id}/versions/{version}
        GET /v2/groups/{group_id} /v2/groups/{group_id}/apps /v2/groups/{group_id}/versions
        GET /v2/groups/{group_id}/versions/{version}
        POST /v1/apps/{app_id}/preview
    """,
    CHANGE_APP: """
        GET /v1/apps/{app_id}/exec
        POST /v1/apps/{app_id}/rollback /v1/deployments/{deployment_id}/pause /v1/deployments/{deployment_id}/promote
        POST /v1/deployments/{deployment_id}/resume /v1/gray/{app_id}/abort /v1/gray/{app_id}/pause
        POST /v1/gray/{app_id}/promote /v1/gray/{app_id}/resume /v2/apps/{app_id}/restart /v2/groups/{group_id}
        PUT /v2/apps/{app_id} /v2/groups/{group_id} /v2/groups/{group_id}/versions/{version}
        PATCH /v1/gray/{app_id} /v2/apps/{app_id}
        DELETE /v2/apps/{app_id} /v2/apps/{app_id}/tasks /v2/apps/{app_id}/tasks/{task_id}
        DELETE /v2/deployments/{deployment_id} /v2/groups/{group_id} /v2/queue/{app_id}/delay
    """,
    READ_ALL: """
        GET /logging /metrics /metrics/prometheus /v1/certificates /v1/consumers /v1/consumers/{consumer} /v1/key-sets
        GET /v1/network/check /v1/networks/{network} /v1/nodes /v1/nodes/{node} /v1/policy /v1/pools/{pool} /v1/routing
        GET /v2/groups /v2/groups/apps /v2/groups/versions /v2/groups/versions/{version}
        POST /v1/policy/test
    """,
    CHANGE_ALL: """
        GET /v1/secrets
        POST /v1/agents/{agent}/drain /v1/brake/release /v1/consumers/{consumer}/keys /v1/gateways/{gateway}/exchange
        POST /v1/network/check /v1/networks /v1/pools /v2/groups
        PUT /v1/certificates/{certificate} /v1/consumers/{consumer} /v1/policy /v1/routing/peers/{peer}
        PUT /v1/secrets/{secret} /v2/groups
        PATCH /v1/nodes/{node} /v1/pools/{pool} /v1/routing
        DELETE /v1/agents/{agent}/drain /v1/certificates/{certificate} /v1/consumers/{consumer}
        DELETE /v1/consumers/{consumer}/keys/{key} /v1/networks/{network} /v1/nodes/{node} /v1/pools/{pool}
        DELETE /v1/routing/peers/{peer} /v1/secrets/{secret} /v2/groups
    """,
    BY_BODY: """
        POST /v2/apps /v2/tasks/delete
        PUT /v2/apps
        PATCH /v2/apps
    """,
    ADMIN: """
        GET /v1/audit /v1/tokens
        POST /v1/down /v1/secrets/rotate /v1/tokens
        DELETE /v1/tokens/{name} /v2/leader
    """,
}
"""What they get to: of each line a method, and addresses."""
CASES = {
    (method, address): who
    for who, lines in LINES.items()
    for method, *addresses in map(str.split, lines.strip().splitlines())
    for address in addresses
}
"""By method and address: who gets to the handler. An address that ends with a slash is the same one."""


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
    assert sum(len(line.split()) - 1 for lines in LINES.values() for line in lines.strip().splitlines()) == len(CASES)


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


async def test_who_says_twice_who_he_is_is_nobody(platform: ServedPlatform) -> None:
    door = await opened(platform)
    twice = [*door.headers["admin"].items(), *door.headers["viewer"].items()]
    async with ClientSession(platform.url) as session, session.get("/ping", headers=twice) as answer:
        assert answer.status == 401


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
