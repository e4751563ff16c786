"""Who may see and change what: lists, bodies and sessions are held to the caller's group."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType

from coldchain.api.settings import ApiSettings
from coldchain.model.registration import ServiceEndpoint
from coldchain.testing.door import WEB, Door, opened
from coldchain.testing.served_platform import served_platform

SHOP_2 = WEB | {"id": "/shop-2/web"}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "x" * 22,
}


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    """Two apps in groups of which one's name begins with the other's, and tokens."""
    async with served_platform(ApiSettings(keep_alive_seconds=0.05)) as platform:
        async with ClientSession(platform.url) as session:
            await platform.deployed(session, WEB)
            await platform.deployed(session, SHOP_2)
        yield await opened(platform)


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
async def test_lists_have_what_is_in_the_callers_group(door: Door, path: str, headers: dict[str, str]) -> None:
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


async def test_deployments_and_the_queue_are_those_of_the_group() -> None:
    async with served_platform() as platform:
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


async def test_services_are_those_of_the_group(door: Door) -> None:
    mine = ServiceEndpoint(id="1", address="10.0.0.1", port=80, status="passing", app_id="/shop/web")
    other = ServiceEndpoint(id="2", address="10.0.0.2", port=80, status="passing", app_id="/shop-2/web")
    stranger = ServiceEndpoint(id="3", address="10.0.0.3", port=80, status="passing")
    door.platform.registry.set_others("shared", mine, other, stranger)
    door.platform.registry.set_others("legacy", stranger)
    seen = {}
    for name in ("viewer", "owner"):
        async with door.session(name) as session, session.get("/v1/services") as answer:
            services = (await answer.json())["services"]
            seen[name] = {one["name"]: [each["id"] for each in one["endpoints"]] for one in services}
    assert seen == {"viewer": {"shared": ["1", "2", "3"], "legacy": ["3"]}, "owner": {"shared": ["1"]}}


async def test_who_shares_a_service_port_in_another_group_stays_unnamed(door: Door) -> None:
    port = {"container": WEB["container"] | {"portMappings": [{"containerPort": 80, "servicePort": 10050}]}}
    async with door.session("admin") as session:
        for app_id in ("/shop/web", "/shop-2/web"):
            async with session.put(f"/v2/apps{app_id}?force=true", json=port) as answer:
                assert answer.status == 200
    for name, other in (("viewer-shop", "an app of another group"), ("viewer", "/shop-2/web")):
        async with door.session(name) as session, session.get("/v1/apps/shop/web/status") as answer:
            assert f"service port 10050 is also that of {other}" in (await answer.json())["warnings"]


async def test_bodies_are_held_to_the_group(door: Door) -> None:
    tasks = {one.app_id: one.task_id for one in door.platform.controller.state.instances.values()}
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
    assert {"/shop/new", "/shop"} <= door.platform.controller.state.apps.keys()
    assert "/shop-2/new" not in door.platform.controller.state.apps


async def test_an_owner_uses_the_secrets_that_his_group_has(door: Door) -> None:
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


async def test_routes_to_what_others_registered_are_an_operators_to_give(door: Door) -> None:
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


async def test_a_session_is_for_who_may_change_and_ends_with_the_token(door: Door) -> None:
    path = "/v1/apps/shop/web/exec?argument=cat"
    for name, status in (("nobody", 401), ("viewer-shop", 403), ("owner-other", 403)):
        async with door.session(name) as session, session.get(path, headers=UPGRADE) as answer:
            assert answer.status == status
    async with door.session("owner") as session, session.ws_connect(path) as socket:
        await socket.send_bytes(b"words")
        await door.platform.controller.callers.revoke("owner", keep_admin=False)
        while (message := await socket.receive(5)).type is not WSMsgType.TEXT:
            assert message.type is WSMsgType.BINARY
        assert message.json()["status"] == 403
