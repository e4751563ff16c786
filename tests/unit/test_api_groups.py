"""Groups and arrays of apps over HTTP: one deployment, seen at once, shown once, told once."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from coldchain.testing.served_platform import ServedPlatform, served_platform

IMAGE = {"container": {"docker": {"image": "shop:v1"}}}
NEVER = {**IMAGE, "healthChecks": [{"protocol": "COMMAND", "command": {"value": "x"}}], "env": {"HEALTH": "never"}}


def group(**fields: Any) -> dict[str, Any]:
    """Two layers."""
    apps = [{"id": "db", **IMAGE}, {"id": "web", **IMAGE, "dependencies": ["db"]}]
    return {"id": "/shop", "apps": apps, **fields}


@pytest.fixture
async def platform() -> AsyncIterator[ServedPlatform]:
    async with served_platform() as platform:
        yield platform


async def called(session: ClientSession, method: str, path: str, body: object = None) -> tuple[int, Any]:
    async with session.request(method, path, json=body) as answer:
        return answer.status, await answer.json() if answer.content_type == "application/json" else await answer.text()


async def test_a_group_is_created_and_shown_as_marathon_does(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        status, begun = await called(session, "POST", "/v2/groups", group(dependencies=["../base"]) | {"id": "/shop"})
        assert (status, begun["details"][0]["path"]) == (422, "/dependencies/0")
        assert (await called(session, "GET", "/v2/groups/shop"))[0] == 404, "a refused request changes nothing"
        status, begun = await called(session, "POST", "/v2/groups", group(groups=[{"id": "empty"}]))
        assert status == 201
        _, shown = await called(session, "GET", "/v2/groups/shop")
        apps = shown.pop("apps")
        assert [one["id"] for one in apps] == ["/shop/db", "/shop/web"]
        assert apps[1]["dependencies"] == ["/shop/db"]
        assert shown == {
            "id": "/shop",
            "version": begun["version"],
            "dependencies": [],
            "pods": [],
            "groups": [
                {
                    "id": "/shop/empty",
                    "version": "1970-01-01T00:00:00.000Z",
                    "dependencies": [],
                    "apps": [],
                    "pods": [],
                    "groups": [],
                }
            ],
        }


async def test_its_deployment_is_shown_once_with_all_its_apps(platform: ServedPlatform) -> None:
    slow = group(apps=[{"id": "db", **NEVER}, {"id": "web", **IMAGE, "dependencies": ["db"]}])
    async with ClientSession(platform.url) as session:
        _, begun = await called(session, "PUT", "/v2/groups/shop", {"apps": slow["apps"]})
        name = begun["deploymentId"]
        _, [shown] = await called(session, "GET", "/v2/deployments")
        assert shown["id"] == name
        assert (shown["version"], shown["currentStep"], shown["totalSteps"]) == (begun["version"], 2, 3)
        assert shown["affectedApps"] == ["/shop/db", "/shop/web"]
        assert shown["steps"] == [
            {
                "actions": [
                    {"action": "StartApplication", "app": "/shop/db"},
                    {"action": "StartApplication", "app": "/shop/web"},
                ]
            },
            {"actions": [{"action": "ScaleApplication", "app": "/shop/db"}]},
            {"actions": [{"action": "ScaleApplication", "app": "/shop/web"}]},
        ]
        assert shown["currentActions"] == [
            {"action": "ScaleApplication", "app": "/shop/db", "readinessCheckResults": []}
        ]
        for app_id in ("/shop/db", "/shop/web"):
            _, app = await called(session, "GET", f"/v2/apps{app_id}")
            assert app["app"]["deployments"] == [{"id": name}]
            status, said = await called(session, "PUT", f"/v2/apps{app_id}", {"instances": 3})
            assert (status, said["deployments"]) == (409, [{"id": name}])
        status, said = await called(session, "PUT", "/v2/groups/shop", {"scaleBy": 2})
        assert (status, said["deployments"]) == (409, [{"id": name}])
        _, followed = await called(session, "GET", f"/v1/deployments/{name}")
        assert (followed["app"], followed["kind"], followed["progress"]["desired"]) == ("/shop", "change", 2)
        assert [(one["app"], one["pausedBy"]) for one in followed["members"]] == [
            ("/shop/db", None),
            ("/shop/web", "dependency"),
        ]
        _, member = await called(session, "GET", f"/v1/deployments/{followed['members'][1]['id']}")
        assert (member["partOf"], "waits for the apps that it depends on" in member["explain"]) == (name, True)
        _, status_of_app = await called(session, "GET", "/v1/apps/shop/web/status")
        assert (status_of_app["condition"], status_of_app["deployment"]["id"]) == ("deploying", name)
        _, history = await called(session, "GET", "/v1/apps/shop/web/history")
        assert history["deployments"][0]["partOf"] == name


async def test_whatever_names_a_part_holds_the_whole(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        apps = [{"id": "db", **NEVER}, {"id": "web", **IMAGE, "dependencies": ["db"]}]
        _, begun = await called(session, "PUT", "/v2/groups/shop", {"apps": apps})
        name = begun["deploymentId"]
        for who in (name, "%2Fshop%2Fweb"):
            _, paused = await called(session, "POST", f"/v1/deployments/{who}/pause")
            assert (paused["id"], paused["pausedBy"], paused["stepsDone"]) == (name, "operator", 0)
            _, resumed = await called(session, "POST", f"/v1/deployments/{who}/resume")
            assert (resumed["id"], resumed["pausedBy"]) == (name, None)
        status, said = await called(session, "POST", f"/v1/deployments/{name}/promote")
        assert (status, "nothing to promote" in said["message"]) == (409, True)
        _, followed = await called(session, "GET", f"/v1/deployments/{name}")
        _, back = await called(session, "DELETE", f"/v2/deployments/{followed['members'][0]['id']}")
        assert (await platform.ended(session, name))["state"] == "cancelled"
        assert (await platform.ended(session, back["deploymentId"]))["kind"] == "rollback"
        _, shown = await called(session, "GET", "/v2/groups")
        assert (shown["apps"], shown["groups"]) == ([], [])


async def test_a_group_deployment_cancelled_by_force_has_no_answer(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        _, begun = await called(session, "PUT", "/v2/groups/shop", {"apps": [{"id": "db", **NEVER}]})
        assert await called(session, "DELETE", f"/v2/deployments/{begun['deploymentId']}?force=true") == (202, "")
        assert await called(session, "GET", "/v2/deployments") == (200, [])


async def test_a_group_goes_back_to_a_version(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        _, first = await called(session, "POST", "/v2/groups", group())
        await platform.ended(session, first["deploymentId"])
        _, second = await called(session, "PUT", "/v2/groups/shop", {"apps": [{"id": "db", **IMAGE, "cpus": 0.5}]})
        await platform.ended(session, second["deploymentId"])
        assert await called(session, "GET", "/v2/groups/shop/versions") == (200, [second["version"], first["version"]])
        _, was = await called(session, "GET", f"/v2/groups/shop/versions/{first['version']}")
        assert [one["id"] for one in was["apps"]] == ["/shop/db", "/shop/web"]
        assert was["version"] == first["version"]
        _, plan = await called(session, "PUT", "/v2/groups/shop?dryRun=true", {"version": first["version"]})
        assert [[one["action"] for one in step["actions"]] for step in plan["steps"]] == [
            ["StartApplication"],
            ["RestartApplication"],
            ["ScaleApplication"],
        ]
        _, back = await called(session, "PUT", "/v2/groups/shop", {"version": first["version"]})
        assert (await platform.ended(session, back["deploymentId"]))["state"] == "succeeded"
        _, shown = await called(session, "GET", "/v2/groups/shop")
        assert [(one["id"], one["cpus"]) for one in shown["apps"]] == [("/shop/db", 1.0), ("/shop/web", 1.0)]


async def test_an_array_of_apps_is_one_deployment(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        apps = [{"id": "/a", **IMAGE}, {"id": "/b/c", **IMAGE, "dependencies": ["/a"]}]
        _, begun = await called(session, "PUT", "/v2/apps", apps)
        _, [shown] = await called(session, "GET", "/v2/deployments")
        assert (shown["id"], shown["affectedApps"], shown["totalSteps"]) == (begun["deploymentId"], ["/a", "/b/c"], 3)
        assert (await platform.ended(session, begun["deploymentId"]))["state"] == "succeeded"
        _, begun = await called(session, "PATCH", "/v2/apps", [{"id": "a", "instances": 2}, {"id": "/b/c", "mem": 64}])
        assert (await platform.ended(session, begun["deploymentId"]))["state"] == "succeeded"
        _, shown = await called(session, "GET", "/v2/apps")
        assert [(one["instances"], one["mem"]) for one in shown["apps"]] == [(2, 128.0), (1, 64.0)]


async def test_service_ports_are_given_to_all_apps_together_and_kept(platform: ServedPlatform) -> None:
    ports = {"container": {"docker": {"image": "shop:v1"}, "portMappings": [{"containerPort": 80}]}}
    apps = [{"id": name, **ports} for name in ("a", "b", "c")]
    async with ClientSession(platform.url) as session:
        for _ in range(2):
            _, begun = await called(session, "PUT", "/v2/groups/shop", {"apps": apps})
            ended = await platform.ended(session, begun["deploymentId"])
        assert ended["steps"] == [], "the second time nothing changes"
        _, shown = await called(session, "GET", "/v2/groups/shop")
        given = [one["container"]["portMappings"][0]["servicePort"] for one in shown["apps"]]
        assert len({*given}) == 3
        assert min(given) >= 10_000


async def test_a_file_that_changes_nothing_is_a_deployment_that_has_ended(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        _, first = await called(session, "POST", "/v2/groups", group())
        await platform.ended(session, first["deploymentId"])
        _, again = await called(session, "PUT", "/v2/groups", group())
        ended = await platform.ended(session, again["deploymentId"])
        assert (ended["state"], ended["steps"]) == ("succeeded", [])


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"id": "/shop/tasks"}, "/apps/0/id"),
        ({"id": "x", "dependencies": ["none"]}, "/apps/0/dependencies/0"),
        ({"id": "x", "dependencies": ["y"]}, "/apps/0/dependencies"),
        ({"id": "x", "env": {"A": {"secret": "a"}}, "secrets": {"a": {"source": "none"}}}, "/apps/0/secrets/a/source"),
        ({"id": "x", "routes": [{"domains": ["y.test"]}]}, "/apps/0/routes/0/domains/0"),
        ({"id": "g"}, "/groups/0/id"),
    ],
)
async def test_what_holds_for_one_app_holds_for_each(platform: ServedPlatform, more: Any, path: str) -> None:
    ports = {"portMappings": [{"containerPort": 80}], "docker": {"image": "shop:v1"}}
    second = {"id": "y", "container": ports, "routes": [{"domains": ["y.test"]}], "dependencies": ["x"]}
    apps = [{"container": ports} | more, second if "x" in more.values() else {"id": "y", **IMAGE}]
    async with ClientSession(platform.url) as session:
        status, said = await called(session, "PUT", "/v2/groups/shop", {"apps": apps, "groups": [{"id": "g"}]})
        assert status == 422, said
        assert path in [one["path"] for one in said["details"]]
        assert (await called(session, "GET", "/v2/apps"))[1] == {"apps": []}


async def test_a_switch_that_says_nothing_here_is_looked_at_all_the_same(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        _, first = await called(session, "POST", "/v2/groups", group())
        await platform.ended(session, first["deploymentId"])
        app_id = (await called(session, "GET", "/v2/apps"))[1]["apps"][0]["id"]
        [version] = (await called(session, "GET", f"/v2/apps{app_id}/versions"))[1]["versions"]
        for path, body in (
            ("/v2/groups?dryRun=true&force=null", {}),
            (f"/v2/apps{app_id}?partialUpdate=null", {"version": version}),
        ):
            status, said = await called(session, "PUT", path, body)
            assert status == 400, said
            assert "is neither true nor false" in str(said)


async def test_admission_looks_at_each_app(platform: ServedPlatform) -> None:
    refused = {"container": {"docker": {"image": "x", "privileged": True}}}
    apps = [{"id": "a", **IMAGE}, {"id": "b", **refused}, {"id": "c", **refused}]
    async with ClientSession(platform.url) as session:
        status, said = await called(session, "PUT", "/v2/groups/shop", {"apps": apps})
        assert status == 422
        assert [one["path"] for one in said["details"]] == [
            f"/apps/{number}/container/docker/privileged" for number in (1, 2)
        ]
        path = "/v2/groups/shop?override=privileged&because=it+must"
        assert (await called(session, "PUT", path, {"apps": apps}))[0] == 200
        _, status_of_app = await called(session, "GET", "/v1/apps/shop/b/status")
        assert [one["rule"] for one in status_of_app["overrides"]] == ["privileged"]
        _, other = await called(session, "GET", "/v1/apps/shop/a/status")
        assert other["overrides"] == []


async def test_clients_are_told_of_the_steps(platform: ServedPlatform) -> None:
    seen: list[dict[str, Any]] = []

    async def follow(session: ClientSession, started: asyncio.Event) -> None:
        kinds = "&".join(
            f"event_type={name}"
            for name in (
                "group_change_success",
                "group_change_failed",
                "deployment_info",
                "deployment_step_success",
                "deployment_success",
            )
        )
        async with session.get(f"/v2/events?{kinds}", headers={"Accept": "text/event-stream"}) as stream:
            async for line in stream.content:
                started.set()
                if line.startswith(b"data: "):
                    seen.append(json.loads(line[6:]))
                    if seen[-1]["eventType"] == "deployment_success":
                        return

    async with ClientSession(platform.url) as session:
        started = asyncio.Event()
        following = asyncio.create_task(follow(session, started))
        await started.wait()
        await called(session, "PUT", "/v2/groups/shop", {"scaleBy": 2, "version": "v"})
        await called(session, "PUT", "/v2/groups/shop", {"apps": [{"id": "x", **IMAGE, "dependencies": ["none"]}]})
        _, begun = await called(session, "POST", "/v2/groups", group())
        await following
    assert [one["eventType"] for one in seen] == [
        "group_change_failed",
        "group_change_success",
        "deployment_info",
        "deployment_step_success",
        "deployment_step_success",
        "deployment_step_success",
        "deployment_success",
    ]
    assert (seen[0]["groupId"], "no app and no group /shop/none" in seen[0]["reason"]) == ("/shop", True)
    assert (seen[1]["groupId"], seen[1]["version"]) == ("/shop", begun["version"])
    plan = seen[2]["plan"]
    assert (plan["id"], plan["version"]) == (begun["deploymentId"], begun["version"])
    assert [one["currentStep"] for one in seen[3:6]] == plan["steps"]
    assert all(one["plan"] == plan for one in seen[3:])
