"""Reading what was written: a deployment is in the answer that began it and in every later one; and writing what was
read, which changes nothing."""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from aiohttp import ClientSession

from coldchain.testing.served_platform import ServedPlatform, served_platform

PORTS = [{"containerPort": 80, "name": "http"}, {"containerPort": 81, "hostPort": 0}]
SHOP: dict[str, Any] = {
    "id": "/shop",
    "container": {"docker": {"image": "shop:v1"}, "portMappings": PORTS},
    "healthChecks": [{"path": "/", "portName": "http"}],
    "routes": [{"domains": ["shop.test"]}],
    "env": {"A": "1"},
    "drainSeconds": 0,
    "settleSeconds": 0,
}
TOOL = {"id": "/tool", "cmd": "serve", "portDefinitions": [{"name": "a"}, {"port": 8080}]}


@pytest.fixture
async def platform() -> AsyncIterator[ServedPlatform]:
    async with served_platform() as platform:
        yield platform


class Write(NamedTuple):
    """`path` and `body` may name `{task}`, `{version}`, the first, and `{deployment}`, one that runs."""

    method: str
    path: str
    body: Any = None


WRITES = (
    Write("POST", "/v2/apps", SHOP | {"id": "/new", "routes": []}),
    Write("PUT", "/v2/apps/new", SHOP | {"id": "/new", "routes": []}),
    Write("PUT", "/v2/apps/shop", {"instances": 3}),
    Write("PUT", "/v2/apps/shop", {"cpus": 2}),
    Write("PUT", "/v2/apps/shop", {}),
    Write("PUT", "/v2/apps/shop?partialUpdate=false", SHOP),
    Write("PUT", "/v2/apps/shop", {"version": "{version}"}),
    Write("PATCH", "/v2/apps/shop", {"env": {}}),
    Write("DELETE", "/v2/apps/shop"),
    Write("POST", "/v2/apps/shop/restart"),
    Write("DELETE", "/v2/apps/shop/tasks?scale=true"),
    Write("DELETE", "/v2/apps/shop/tasks/{task}?scale=true"),
    Write("POST", "/v2/tasks/delete?scale=true", {"ids": ["{task}"]}),
    Write("POST", "/v1/apps/shop/rollback", {"version": "{version}"}),
    Write("DELETE", "/v2/deployments/{deployment}"),
)


def filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value.strip("{}"), value) if value.startswith("{") else value
    if isinstance(value, dict):
        return {name: filled(member, names) for name, member in value.items()}
    return [filled(member, names) for member in value] if isinstance(value, list) else value


@pytest.mark.parametrize("write", WRITES, ids=lambda write: f"{write.method} {write.path} {write.body}"[:60])
async def test_a_deployment_is_there_from_the_answer_on(platform: ServedPlatform, write: Write) -> None:
    async with ClientSession(platform.url) as session:
        created = await platform.deployed(session, SHOP)
        [task] = platform.engine.held
        await platform.hold()  # so that nothing comes to its end meanwhile
        path = write.path.replace("{task}", task)
        if "{deployment}" in path:
            async with session.put("/v2/apps/shop", json={"cpus": 2}) as answer:
                path = path.replace("{deployment}", (await answer.json())["deploymentId"])
        body = filled(write.body, {"task": task, "version": created["version"]})
        async with session.request(write.method, path, json=body) as answer:
            said = await answer.json()
            assert answer.status in (200, 201), said
            name = answer.headers["Marathon-Deployment-Id"]
        if path == "/v2/apps":
            assert said["deployments"] == [{"id": name}]
        else:
            assert said["deploymentId"] == name
        app_id = "/new" if "new" in path or path == "/v2/apps" else "/shop"
        async with session.get("/v2/deployments") as answer:
            [running] = await answer.json()
            assert (running["id"], running["affectedApps"]) == (name, [app_id])
            assert running["version"] == said["version"]
        deleted = (write.method, path) == ("DELETE", "/v2/apps/shop")
        async with session.get(f"/v2/apps{app_id}") as answer:
            assert answer.status == (404 if deleted else 200)
            if not deleted:
                app = (await answer.json())["app"]
                assert (app["deployments"], app["version"]) == ([{"id": name}], said["version"])
        async with session.get("/v2/apps") as answer:
            listed = {app["id"]: app["deployments"] for app in (await answer.json())["apps"]}
            assert listed.get(app_id) == (None if deleted else [{"id": name}])


@pytest.mark.parametrize("embed", ["", "?embed=apps.readiness&embed=apps.taskStats&embed=coldchain"])
@pytest.mark.parametrize("method", ["PUT", "PUT whole", "PATCH"])
@pytest.mark.parametrize("app", [SHOP, TOOL], ids=["container", "process"])
async def test_what_is_read_and_sent_back_replaces_no_task(
    platform: ServedPlatform, app: dict[str, Any], method: str, embed: str
) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, app)
        created = dict(platform.engine.created)
        address = f"/v2/apps{app['id']}"
        async with session.get(address + embed) as answer:
            read = (await answer.json())["app"]
        assert read["tasks"]
        verb, _, whole = method.partition(" ")
        query = "?partialUpdate=false" if whole else ""
        async with session.request(verb, address + query, json=read) as answer:
            said = await answer.json()
            assert answer.status == 200, said
        assert (await platform.ended(session, said["deploymentId"]))["kind"] == "scale"
        async with session.get(address + embed) as answer:
            again = (await answer.json())["app"]
        changing = {"version", "versionInfo", "taskStats", "lastScalingAt"}
        assert {k: v for k, v in again.items() if k not in changing} == {
            k: v for k, v in read.items() if k not in changing
        }
        assert again["versionInfo"]["lastConfigChangeAt"] == read["versionInfo"]["lastConfigChangeAt"]
        assert platform.engine.created == created


async def service_ports(session: ClientSession, app_id: str) -> list[int]:
    async with session.get(f"/v2/apps{app_id}") as answer:
        app = (await answer.json())["app"]
    named = [port["port"] for port in app["portDefinitions"]]
    return named or [port["servicePort"] for port in app["container"]["portMappings"]]


async def test_each_port_has_a_service_port_for_as_long_as_its_app_lives(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        created = await platform.deployed(session, SHOP)
        assert [port["servicePort"] for port in created["container"]["portMappings"]] == [10000, 10001]
        await platform.deployed(session, TOOL)
        assert await service_ports(session, "/tool") == [10002, 8080]
        async with session.get("/v2/tasks") as answer:
            tasks = {task["appId"]: task for task in (await answer.json())["tasks"]}
        assert tasks["/shop"]["servicePorts"] == [10000, 10001]
        assert tasks["/tool"]["servicePorts"] == [10002, 8080]
        assert all(31000 <= port <= 32000 for port in tasks["/tool"]["ports"])
        # A new version of three ports, none of them named, keeps the two it had.
        three = {"container": {"docker": {"image": "shop:v2"}, "portMappings": [*PORTS, {"containerPort": 82}]}}
        async with session.put("/v2/apps/shop", json=three) as answer:
            await platform.ended(session, (await answer.json())["deploymentId"])
        assert await service_ports(session, "/shop") == [10000, 10001, 10003]
        # The definition as its writer has it, sent again, is no change.
        async with session.put("/v2/apps/shop?partialUpdate=false", json=SHOP | three) as answer:
            assert (await platform.ended(session, (await answer.json())["deploymentId"]))["kind"] == "scale"
        # What was given up can be given to another, once nobody has it any more.
        async with session.delete("/v2/apps/shop") as answer:
            await platform.ended(session, (await answer.json())["deploymentId"])
        await platform.deployed(session, SHOP | {"id": "/next", "routes": []})
        assert await service_ports(session, "/next") == [10000, 10001]


async def test_a_port_of_an_app_that_is_leaving_is_not_given_away(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, SHOP)
        await platform.hold()
        async with session.delete("/v2/apps/shop") as answer:
            assert answer.status == 200
        async with session.post("/v2/apps", json=TOOL) as answer:
            assert answer.status == 201
        assert await service_ports(session, "/tool") == [10002, 8080]


async def test_service_ports_that_two_apps_name_are_warned_of(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, TOOL)
        await platform.deployed(session, TOOL | {"id": "/other"})
        async with session.get("/v1/apps/other/status") as answer:
            assert "service port 8080 is also that of /tool" in (await answer.json())["warnings"]


async def test_a_preview_has_the_service_ports_that_a_deploy_would_give(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, SHOP)
        async with session.post("/v1/apps/shop/preview", json=SHOP | {"instances": 2}) as answer:
            assert (await answer.json())["kind"] == "scale"
