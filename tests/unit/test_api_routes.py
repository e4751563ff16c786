"""Every address of the API answers as it should; an address without a case here fails."""

from collections.abc import AsyncIterator, Callable
from io import BytesIO
from typing import Any, NamedTuple

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import make_mocked_request

from coldchain.api.server import ApiServer
from coldchain.api.settings import ApiSettings
from coldchain.control.clock import SystemClock
from coldchain.control.controller import Controller
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_engine import FakeEngine
from coldchain.testing.fake_prober import FakeProber
from coldchain.testing.openapi import differences
from coldchain.testing.served_platform import ServedPlatform, served_platform

SHOP = {"id": "/a/shop", "container": {"docker": {"image": "shop:v1"}, "portMappings": [{"containerPort": 80}]}}


class Case(NamedTuple):
    """`path` and `body` may name `{version}`, `{deployment}`, `{instance}` and `{task}` of the app that is there."""

    method: str
    path: str
    status: int
    says: Callable[[Any], bool] = lambda said: True
    body: Any = None
    headers: dict[str, str] = {}


def begun(said: Any) -> bool:
    return said.keys() == {"deploymentId", "version"}


CASES = (
    Case("GET", "/v2/apps", 200, lambda said: [app["id"] for app in said["apps"]] == ["/a/shop"]),
    Case("GET", "/v2/apps/", 200, lambda said: len(said["apps"]) == 1),
    Case("GET", "/v2/apps?id=nothing", 200, lambda said: said == {"apps": []}),
    Case("GET", "/v2/apps?embed=apps.tasks", 200, lambda said: len(said["apps"][0]["tasks"]) == 1),
    Case("POST", "/v2/apps", 201, lambda said: said["id"] == "/b", body={**SHOP, "id": "/b"}),
    Case("POST", "/v2/apps", 409, lambda said: "already exists" in said["message"], body=SHOP),
    Case("POST", "/v2/apps", 422, lambda said: said["details"][0]["path"] == "/id", body={**SHOP, "id": "/a/tasks"}),
    Case("GET", "/v2/apps/a/shop", 200, lambda said: said["app"]["tasksRunning"] == 1),
    Case("GET", "/v2/apps//a/shop", 200, lambda said: len(said["app"]["tasks"]) == 1),
    Case("GET", "/v2/apps/a/shop?embed=coldchain", 200, lambda said: said["app"]["tasks"][0]["phase"] == "serving"),
    Case(
        "GET",
        "/v2/apps/a/shop?embed=app.taskStats",
        200,
        lambda said: said["app"]["taskStats"]["totalSummary"]["stats"]["counts"]["running"] == 1,
    ),
    Case("GET", "/v2/apps/%2Fa%2Fshop", 200, lambda said: said["app"]["id"] == "/a/shop"),
    Case("GET", "/v2/apps/none", 404, lambda said: "'/none' does not exist" in said["message"]),
    Case("PUT", "/v2/apps/a/shop", 200, begun, body={"instances": 2}),
    Case("PUT", "/v2/apps/a/shop", 200, begun, body={"version": "{version}"}),
    Case("PUT", "/v2/apps/a/shop", 200, begun, body={"id": "a/shop", "version": "{version}"}),
    Case("PUT", "/v2/apps/a/shop", 404, body={"version": "2020-01-01T00:00:00.000Z"}),
    Case("PUT", "/v2/apps/a/shop?partialUpdate=false", 422, body={"instances": 2}),
    Case("PUT", "/v2/apps/a/shop?force=perhaps", 400, body={"instances": 2}),
    Case("PUT", "/v2/apps/b", 201, begun, body={**SHOP, "id": "/b"}),
    Case("PUT", "/v2/apps/b", 422, body=SHOP),
    Case("PATCH", "/v2/apps/a/shop", 200, begun, body={"instances": 2}),
    Case("PATCH", "/v2/apps/a/shop", 422, lambda said: "no group /b" in str(said), body={"dependencies": ["/a", "/b"]}),
    Case("PATCH", "/v2/apps/a/shop", 422, lambda said: "in a circle" in str(said), body={"dependencies": ["/a"]}),
    Case("PATCH", "/v2/apps/a/shop", 422, lambda said: "is the app itself" in str(said), body={"dependencies": ["."]}),
    Case("PATCH", "/v2/apps/none", 404, body={"instances": 2}),
    Case("DELETE", "/v2/apps/a/shop", 200, begun),
    Case("DELETE", "/v2/apps/none", 404),
    Case("POST", "/v2/apps/a/shop/restart", 200, begun),
    Case("GET", "/v2/apps/a/shop/restart", 405),
    Case("GET", "/v2/apps/a/shop/tasks", 200, lambda said: said["tasks"][0]["state"] == "TASK_RUNNING"),
    Case("GET", "/v2/apps/none/tasks", 404),
    Case("DELETE", "/v2/apps/a/shop/tasks", 200, lambda said: len(said["tasks"]) == 1),
    Case("DELETE", "/v2/apps/a/shop/tasks?host=elsewhere", 200, lambda said: said == {"tasks": []}),
    Case("DELETE", "/v2/apps/a/shop/tasks?scale=true", 200, begun),
    Case("DELETE", "/v2/apps/a/shop/tasks?scale=true&wipe=true", 400),
    Case("DELETE", "/v2/apps/none/tasks", 404),
    Case("DELETE", "/v2/apps/a/shop/tasks/{task}", 200, lambda said: said["task"]["appId"] == "/a/shop"),
    Case("DELETE", "/v2/apps/a/shop/tasks/{task}?scale=true", 200, begun),
    Case("DELETE", "/v2/apps/a/shop/tasks/none", 404, lambda said: "Task 'none' does not exist" in said["message"]),
    Case("POST", "/v2/tasks/delete", 200, lambda said: len(said["tasks"]) == 1, body={"ids": ["{task}", "none"]}),
    Case("POST", "/v2/tasks/delete?scale=true", 200, begun, body={"ids": ["{task}"]}),
    Case("POST", "/v2/tasks/delete?scale=true", 404, body={"ids": ["none"]}),
    Case("POST", "/v2/tasks/delete?force=perhaps", 400, body={"ids": []}),
    Case("POST", "/v2/tasks/delete", 422, lambda said: said["details"][0]["path"] == "/ids", body={}),
    Case("POST", "/v2/tasks/delete", 422, lambda said: said["details"][0]["path"] == "/ids/0", body={"ids": [1]}),
    Case("GET", "/v2/queue", 200, lambda said: said == {"queue": []}),
    Case("DELETE", "/v2/queue/a/shop/delay", 404, lambda said: "not found in tasks queue" in said["message"]),
    Case("DELETE", "/v2/queue/none/delay", 404, lambda said: "does not exist" in said["message"]),
    Case("GET", "/v2/apps/a/shop/versions", 200, lambda said: len(said["versions"]) == 1),
    Case("GET", "/v2/apps/none/versions", 404),
    Case("GET", "/v2/apps/a/shop/versions/{version}", 200, lambda said: said["id"] == "/a/shop"),
    Case("GET", "/v2/apps/a/shop/versions/none", 404),
    Case("PUT", "/v2/apps", 200, begun, body=[{"id": "/a/shop", "instances": 2}, {**SHOP, "id": "/b"}]),
    Case("PUT", "/v2/apps", 200, begun, body=[]),
    Case("PUT", "/v2/apps", 422, lambda said: said["details"][0]["path"] == "/", body={"id": "/a/shop"}),
    Case("PUT", "/v2/apps", 422, lambda said: said["details"][0]["path"] == "/1/id", body=[SHOP, SHOP]),
    Case("PUT", "/v2/apps", 422, lambda said: said["details"][0]["path"] == "/0", body=[1]),
    Case(
        "PUT",
        "/v2/apps",
        422,
        lambda said: said["details"][0]["path"] == "/1/cpus",
        body=[SHOP, {"id": "b", "cpus": 0}],
    ),
    Case("PUT", "/v2/apps?partialUpdate=false", 422, body=[{"id": "/a/shop", "instances": 2}]),
    Case("PATCH", "/v2/apps", 200, begun, body=[{"id": "/a/shop", "instances": 2}]),
    Case("PATCH", "/v2/apps", 404, body=[{"id": "/a/shop", "instances": 2}, {**SHOP, "id": "/b"}]),
    Case("GET", "/v2/groups", 200, lambda said: said["groups"][0]["apps"][0]["id"] == "/a/shop"),
    Case("GET", "/v2/groups?embed=group.groups", 200, lambda said: "apps" not in said["groups"][0]),
    Case("GET", "/v2/groups?embed=group.apps", 200, lambda said: said["apps"] == [] and "groups" not in said),
    Case("GET", "/v2/groups/a", 200, lambda said: said["version"] == said["apps"][0]["version"]),
    Case("GET", "/v2/groups/a", 200, lambda said: "tasks" not in said["apps"][0]),
    Case("GET", "/v2/groups//a/?embed=group.apps.tasks", 200, lambda said: len(said["apps"][0]["tasks"]) == 1),
    Case("GET", "/v2/groups/none", 404, lambda said: "'/none' does not exist" in said["message"]),
    Case("GET", "/v2/groups/apps", 200, lambda said: said[0]["tasksRunning"] == 1),
    Case("GET", "/v2/groups/a/apps", 200, lambda said: said[0]["id"] == "/a/shop"),
    Case("GET", "/v2/groups/none/apps", 404),
    Case("GET", "/v2/groups/versions", 200, lambda said: len(said) == 1),
    Case("GET", "/v2/groups/versions/{version}", 200, lambda said: said["groups"][0]["apps"][0]["id"] == "/a/shop"),
    Case("GET", "/v2/groups/a/versions", 200, lambda said: len(said) == 1),
    Case("GET", "/v2/groups/none/versions", 404),
    Case("GET", "/v2/groups/a/versions/{version}", 200, lambda said: said["apps"][0]["id"] == "/a/shop"),
    Case("GET", "/v2/groups/a/versions/none", 404, lambda said: "does not have the version" in said["message"]),
    Case("POST", "/v2/groups", 201, begun, body={"id": "/g", "apps": [{**SHOP, "id": "x"}]}),
    Case("POST", "/v2/groups", 409, lambda said: "already created" in said["message"], body={"id": "/a"}),
    Case("POST", "/v2/groups", 409, lambda said: "already created" in said["message"], body={}),
    Case("POST", "/v2/groups", 409, lambda said: "An app" in said["message"], body={"id": "/a/shop"}),
    Case("POST", "/v2/groups", 422, lambda said: said["details"][0]["path"] == "/id", body={"id": "/g", "scaleBy": 2}),
    Case("POST", "/v2/groups/g/h", 201, begun, body={}),
    Case("POST", "/v2/groups/a", 409, body={}),
    Case("PUT", "/v2/groups", 200, begun, body={"groups": []}),
    Case("PUT", "/v2/groups", 200, begun, body={"id": "/a", "apps": []}),
    Case("PUT", "/v2/groups/g", 200, begun, body={"groups": [{"id": "h", "apps": [{**SHOP, "id": "x"}]}]}),
    Case("PUT", "/v2/groups/a", 200, begun, body={"scaleBy": 2}),
    Case("PUT", "/v2/groups/a", 200, begun, body={"version": "{version}"}),
    Case("PUT", "/v2/groups/a/versions/{version}", 200, begun),
    Case("PUT", "/v2/groups/a/versions/2020-01-01T00:00:00.000Z", 404),
    Case("PUT", "/v2/groups/a", 404, body={"version": "2020-01-01T00:00:00.000Z"}),
    Case("PUT", "/v2/groups/none", 404, body={"scaleBy": 2}),
    Case(
        "PUT", "/v2/groups/a", 422, lambda said: said["details"][0]["path"] == "/apps", body={"apps": [], "scaleBy": 2}
    ),
    Case(
        "PUT",
        "/v2/groups/a?dryRun=true",
        200,
        lambda said: said == {"steps": [{"actions": [{"action": "StopApplication", "app": "/a/shop"}]}]},
        body={"apps": []},
    ),
    Case("PUT", "/v2/groups/a?dryRun=perhaps", 400, body={}),
    Case(
        "PUT",
        "/v2/groups/a",
        422,
        lambda said: [one["path"] for one in said["details"]] == ["/groups/0/apps/1/cpus"],
        body={"groups": [{"id": "g", "apps": [{**SHOP, "id": "x"}, {**SHOP, "id": "y", "cpus": 0}]}]},
    ),
    Case("DELETE", "/v2/groups", 200, begun),
    Case("DELETE", "/v2/groups/a", 200, begun),
    Case("DELETE", "/v2/groups/none", 404),
    Case("GET", "/v2/deployments", 200, lambda said: said == []),
    Case("DELETE", "/v2/deployments/{deployment}", 404, lambda said: "does not exist" in said["message"]),
    Case("GET", "/v2/tasks", 200, lambda said: said["tasks"][0]["appId"] == "/a/shop"),
    Case("GET", "/v2/tasks?status=staging", 200, lambda said: said["tasks"] == []),
    Case("GET", "/v2/tasks?status[]=running", 200, lambda said: len(said["tasks"]) == 1),
    Case("GET", "/v2/tasks?status=lost", 400),
    Case(
        "GET", "/v2/tasks", 200, lambda said: said == "a_shop\t10000\t10.201.0.2:80\n", headers={"Accept": "text/plain"}
    ),
    Case("GET", "/v2/events", 405, lambda said: "text/event-stream" in said["message"]),
    Case("GET", "/v2/info", 200, lambda said: said["name"] == "coldchain" and said["marathon_config"]["ha"] is False),
    Case("GET", "/v2/leader", 200, lambda said: said["leader"].startswith("127.0.0.1:")),
    Case("DELETE", "/v2/leader", 409, lambda said: "is the only one" in said["message"]),
    Case("GET", "/v2/plugins", 200, lambda said: said == {"plugins": []}),
    *(
        Case(method, f"/v2/pods{below}", 404, lambda said: "no pods yet" in said["message"])
        for method in ("GET", "POST", "PUT", "DELETE")
        for below in ("", "/", "::status", "/a/b", "//a::status")
    ),
    Case("GET", "/v2/podsy", 404, lambda said: "There is nothing" in said["message"]),
    *(
        Case(method, "/v2/eventSubscriptions?callbackUrl=http://h", 400, lambda said: "/v2/events" in said["message"])
        for method in ("GET", "POST", "DELETE")
    ),
    Case("GET", "/ping", 200, lambda said: said == "pong"),
    Case("GET", "/logging", 200, lambda said: said == {"ROOT": "DEBUG"}),
    Case("GET", "/metrics", 200, lambda said: said["gauges"]["marathon.apps.active.gauge"] == {"value": 1}),
    Case("GET", "/metrics", 200, lambda said: said["counters"]["marathon.tasks.failed.counter"] == {"count": 0}),
    *(
        Case("GET", "/metrics", 200, lambda said: "\ncoldchain_apps 1\n" in said, headers={"Accept": accepted})
        for accepted in (
            "text/plain",
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
        )
    ),
    Case("GET", "/metrics/prometheus", 200, lambda said: "\ncoldchain_apps 1\n" in said),
    Case("GET", "/v1/status", 200, lambda said: said["gateways"][0]["live"]),
    Case("GET", "/v1/apps/a/shop/status", 200, lambda said: said["instances"][0]["story"]),
    Case("GET", "/v1/apps/none/status", 404),
    Case("GET", "/v1/apps/a/shop/logs?tail=1&format=text", 200, lambda said: said == "listening on 8080\n"),
    Case("GET", "/v1/apps/a/shop/logs?tail=many", 400),
    Case("GET", "/v1/apps/a/shop/logs?format=xml", 400, lambda said: "json or text" in said["details"]),
    Case("GET", "/v1/apps/a/shop/logs?previous&format=text", 200, lambda said: said == ""),
    Case("GET", "/v1/apps/none/logs", 404),
    Case("GET", "/v1/apps/a/shop/exec?argument=sh", 400, lambda said: "WebSocket" in said["details"]),
    Case("GET", "/v1/apps/a/shop/history", 200, lambda said: said["deployments"][0]["instances"] == 1),
    Case("GET", "/v1/apps/none/history", 404),
    Case("POST", "/v1/apps/a/shop/rollback", 200, begun, body={"version": "{version}"}),
    Case("POST", "/v1/apps/a/shop/rollback", 404, lambda said: "no earlier version" in said["message"]),
    Case("POST", "/v1/apps/a/shop/rollback", 422, body={"verzion": "1"}),
    Case("POST", "/v1/apps/a/shop/rollback", 422, body=[]),
    Case("POST", "/v1/apps/a/shop/preview", 200, lambda said: said["outcome"] == "reached", body=SHOP),
    Case("POST", "/v1/apps/new/preview", 200, lambda said: said["kind"] == "start", body={**SHOP, "id": "/new"}),
    Case("POST", "/v1/apps/a/shop/preview", 422, body={"instances": 2}),
    Case("POST", "/v1/apps/b/preview", 422, body=SHOP),
    Case("POST", "/v1/apps/a%0Ab/preview", 422, lambda said: said["details"][0]["path"] == "/", body={"cmd": "run"}),
    Case("PUT", "/v2/apps/a%0Ab", 422, body={"cmd": "run"}),
    Case("GET", "/v2/apps/a%0Ab/versions", 404, lambda said: "does not exist" in said["message"]),
    Case("GET", "/v1/apps/a/shop/bundle", 200, lambda said: said["decisions"][0]["actions"][0]["cause"]),
    Case("GET", "/v1/apps/none/bundle", 404),
    Case("GET", "/v1/deployments/{deployment}", 200, lambda said: said["state"] == "succeeded"),
    Case("GET", "/v1/deployments/none", 404),
    Case("GET", "/v1/instances/{instance}/story", 200, lambda said: "serving" in said["story"]),
    Case("GET", "/v1/instances/none/story", 404),
    Case("POST", "/v1/deployments/none/pause", 404),
    Case("POST", "/v1/deployments/none/resume", 404),
    Case("POST", "/v1/deployments/none/promote", 404),
    Case("GET", "/v1/gray", 200, lambda said: said == {"gray": []}),
    Case("GET", "/v1/gray/a/shop", 404, lambda said: "no gray rollout of /a/shop runs" in said["message"]),
    Case("PATCH", "/v1/gray/a/shop", 404, body={"share": 0.5}),
    *(Case("POST", f"/v1/gray/a/shop/{verb}", 404) for verb in ("pause", "resume", "promote", "abort")),
    Case("GET", "/v1/routes", 200, lambda said: said == {"apps": {}, "domains": {}}),
    Case("GET", "/v1/services", 200, lambda said: said == {"services": []}),
    Case("GET", "/v1/agents", 200, lambda said: said["agents"][0]["resources"]["mem"]["used"] > 0),
    Case("POST", "/v1/agents/agent-1/drain", 200, lambda said: said["draining"]["waits"][0]["app"] == "/a/shop"),
    Case("POST", "/v1/agents/none/drain", 404),
    Case("DELETE", "/v1/agents/agent-1/drain", 404, lambda said: "is not drained" in said["message"]),
    Case("POST", "/v1/brake/release", 409, lambda said: "does not hold" in said["message"]),
    Case("GET", "/v1/nodes", 200, lambda said: said == {"nodes": []}),
    Case("GET", "/v1/nodes/none", 404, lambda said: "does not exist" in said["message"]),
    Case("PATCH", "/v1/nodes/none", 404, body={"reflector": True}),
    Case("DELETE", "/v1/nodes/none", 404),
    Case("GET", "/v1/routing", 200, lambda said: (said["autonomousSystem"], said["peers"]) == (64512, [])),
    Case("PATCH", "/v1/routing", 200, lambda said: said["holdSeconds"] == 30, body={"holdSeconds": 30}),
    Case(
        "PUT",
        "/v1/routing/peers/tor",
        201,
        lambda said: said["peers"][0]["name"] == "tor",
        body={"address": "10.10.3.254", "autonomousSystem": 64600},
    ),
    Case("DELETE", "/v1/routing/peers/tor", 404, lambda said: "does not exist" in said["message"]),
    Case("GET", "/v1/certificates", 200, lambda said: said == {"certificates": []}),
    Case("PUT", "/v1/certificates/-", 422, lambda said: said["details"][0]["path"] == "/name", body="value"),
    Case("PUT", "/v1/certificates/shop", 422, lambda said: said["details"][1]["path"] == "/key", body="value"),
    Case("DELETE", "/v1/certificates/none", 404, lambda said: "does not exist" in said["message"]),
    Case("GET", "/v1/consumers", 200, lambda said: said == {"consumers": []}),
    Case("GET", "/v1/key-sets", 200, lambda said: said == {"keySets": []}),
    Case("GET", "/v1/consumers/none", 404, lambda said: "does not exist" in said["message"]),
    Case("PUT", "/v1/consumers/anna", 201, lambda said: said["groups"] == ["vip"], body={"groups": ["vip", "vip"]}),
    Case("PUT", "/v1/consumers/anna", 201, lambda said: (said["groups"], said["keys"]) == ([], [])),
    Case("PUT", "/v1/consumers/-", 422, lambda said: said["details"][0]["path"] == "/name"),
    Case("DELETE", "/v1/consumers/none", 404),
    Case("POST", "/v1/consumers/none/keys", 404),
    Case("POST", "/v1/consumers/none/keys", 422, body={"use": "none"}),
    Case("DELETE", "/v1/consumers/none/keys/x", 404),
    Case("GET", "/v1/secrets", 200, lambda said: said == {"secrets": []}),
    Case("PUT", "/v1/secrets/database", 201, lambda said: said["usedBy"] == [], body="value"),
    Case("PUT", "/v1/secrets/-", 422, lambda said: said["details"][0]["path"] == "/name", body="value"),
    Case("PUT", "/v1/secrets/database", 422, lambda said: said["details"][0]["path"] == "/value"),
    Case("DELETE", "/v1/secrets/database", 404, lambda said: "does not exist" in said["message"]),
    Case("POST", "/v1/secrets/rotate", 200, lambda said: said == {"secrets": 0}),
    Case("GET", "/v1/pools", 200, lambda said: said == {"pools": []}),
    Case(
        "POST",
        "/v1/pools",
        201,
        lambda said: (said["blockLength"], said["addresses"], said["blocks"]["whole"]) == (26, 65536, 1024),
        body={"name": "online", "cidr": "10.200.0.0/16"},
    ),
    Case("POST", "/v1/pools", 422, body={"name": "online", "cidr": "127.0.0.0/16"}),
    Case("GET", "/v1/pools/none", 404, lambda said: "does not exist" in said["message"]),
    Case("PATCH", "/v1/pools/none", 404, body={"disabled": True}),
    Case("DELETE", "/v1/pools/none", 404),
    Case("GET", "/v1/networks", 200, lambda said: said == {"networks": []}),
    Case("POST", "/v1/networks", 422, body={"name": "online_net", "pool": "none"}),
    Case("GET", "/v1/networks/none", 404, lambda said: "does not exist" in said["message"]),
    Case("DELETE", "/v1/networks/none", 404),
    Case("GET", "/v1/network/check", 200, lambda said: said == {"findings": []}),
    Case("POST", "/v1/network/check", 200, lambda said: said == {"repaired": []}),
    Case("GET", "/v1/policy", 200, lambda said: said == {"rules": [], "cut": False, "revision": 0, "nobody": {}}),
    Case(
        "PUT",
        "/v1/policy",
        200,
        lambda said: (said["rules"][0]["verdict"], said["nobody"]) == ("allow", {"web": "source"}),
        body={"rules": [{"name": "web", "source": {"app": "/shop/web"}, "ports": ["80"]}]},
    ),
    Case("PUT", "/v1/policy", 422, body={"rules": [{"name": "web", "ports": ["80000"]}]}),
    Case(
        "POST",
        "/v1/policy/test",
        200,
        lambda said: said["decisions"][0]["words"] == "no container takes part",
        body={"source": "10.0.0.1", "destination": "10.0.0.2", "port": 80},
    ),
    Case("GET", "/v1/caller", 200, lambda said: said == {"name": "local", "role": "admin", "group": "/"}),
    Case("GET", "/v1/tokens", 200, lambda said: said == {"tokens": []}),
    Case("POST", "/v1/tokens", 201, lambda said: said["token"][:4] == "cct_", body={"name": "ops", "role": "admin"}),
    Case("POST", "/v1/tokens", 409, body={"name": "ops", "role": "viewer"}),
    Case("POST", "/v1/tokens", 422, lambda said: len(said["details"]) == 3, body={"role": "king", "x": 1}),
    Case("POST", "/v1/tokens", 422, body={"name": "ops", "role": "admin", "expiresAfterSeconds": -1}),
    Case("DELETE", "/v1/tokens/none", 404, lambda said: "no token 'none'" in said["message"]),
    Case("GET", "/v1/audit", 200, lambda said: said["entries"][0]["apps"] == ["/a/shop"]),
    Case("GET", "/v1/audit?count=0", 200, lambda said: said == {"entries": []}),
    Case("GET", "/v1/audit?app=a/shop&caller=local", 200, lambda said: len(said["entries"]) == 1),
    Case("GET", "/v1/audit?app=a/sho", 200, lambda said: said == {"entries": []}),
    Case(
        "POST",
        "/v1/gateways/gateway-9/exchange?wait=5",
        200,
        lambda said: said["update"]["base"] == 0 and said["leaseSeconds"] == 5.0,
        body={"gateway": "gateway-9", "applied": 0},
    ),
    Case("POST", "/v1/gateways/gateway-9/exchange", 422, body={"gateway": "gateway-8", "applied": 0}),
    Case("POST", "/v1/gateways/gateway-9/exchange?wait=x", 400, body={"gateway": "gateway-9", "applied": 0}),
    Case("POST", "/v1/down", 202),
    Case("GET", "/openapi.json", 200, lambda said: said["openapi"] == "3.1.0"),
    Case("GET", "/docs", 200, lambda said: "/v2/apps/{app_id}" in said),
    Case("GET", "/nothing", 404, lambda said: "/nothing" in said["message"]),
)


@pytest.fixture
async def platform() -> AsyncIterator[ServedPlatform]:
    async with served_platform(ApiSettings(down=lambda: None)) as platform:
        yield platform


def filled(value: Any, names: dict[str, str]) -> Any:
    """`value` with the names in braces replaced."""
    if isinstance(value, dict):
        return {name: filled(member, names) for name, member in value.items()}
    if isinstance(value, list):
        return [filled(member, names) for member in value]
    if isinstance(value, str):
        for name, known in names.items():
            value = value.replace(f"{{{name}}}", known)
    return value


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.path} {case.status}")
async def test_an_address_answers(platform: ServedPlatform, case: Case) -> None:
    async with ClientSession(platform.url) as session:
        app = await platform.deployed(session, SHOP)
        names = {
            "version": app["version"],
            "deployment": app["deployments"][0]["id"],
            "instance": next(iter(platform.controller.state.instances))[:8],
            "task": next(iter(platform.engine.held)),
        }
        path = filled(case.path, names)
        body = filled(case.body, names)
        async with session.request(case.method, path, json=body, headers=case.headers) as answer:
            said = await (answer.json() if answer.content_type == "application/json" else answer.text())
            assert answer.status == case.status, said
            assert case.says(said), said
            assert await differences(platform.server.application, case.method, path, answer, said) == []
            if isinstance(said, dict) and "deploymentId" in said:
                assert answer.headers["Marathon-Deployment-Id"] == said["deploymentId"]
            if answer.status == 405:
                assert answer.headers["Allow"]


async def application() -> web.Application:
    clock = SystemClock()
    engine = FakeEngine(clock)
    return ApiServer(Controller(MemoryStore(), engine, FakeProber(clock), clock), "127.0.0.1", 0).application


async def test_every_address_has_a_case() -> None:
    app = await application()
    covered = set()
    for case in CASES:
        found = await app.router.resolve(
            make_mocked_request(case.method, case.path.replace("{", "").replace("}", ""), app=app)
        )
        if found.http_exception is None:
            covered.add(found.route)
    missing = [route for route in app.router.routes() if route.method != "HEAD" and route not in covered]
    assert missing == []


READ = {case.path for case in CASES if (case.method, case.status) == ("GET", 200) and "{" not in case.path}


@pytest.mark.parametrize("path", sorted(path for path in READ if "/logs" not in path))
async def test_head_is_get_without_a_body(platform: ServedPlatform, path: str) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, SHOP)
        async with session.head(path) as answer:
            assert answer.status == 200
            assert await answer.read() == b""


async def test_what_was_answered_is_seen_at_once(platform: ServedPlatform) -> None:
    never_ends = SHOP | {"healthChecks": [{"path": "/"}], "env": {"HEALTH": "never"}}
    async with ClientSession(platform.url) as session:
        async with session.post("/v2/apps", json=never_ends) as answer:
            created = await answer.json()
            assert answer.headers["Location"] == "/v2/apps/a/shop"
        async with session.get("/v2/apps/a/shop") as answer:
            assert (await answer.json())["app"]["version"] == created["version"]
        async with session.get("/v2/deployments") as answer:
            [running] = await answer.json()
            assert running["id"] == created["deployments"][0]["id"]
        for force, status in (("false", 409), ("true", 200)):
            async with session.put(f"/v2/apps/a/shop?force={force}", json={"cpus": 0.5}) as answer:
                said = await answer.json()
                assert answer.status == status
                if status == 409:
                    assert said["deployments"] == [{"id": running["id"]}]
        async with session.get("/v2/apps/a/shop") as answer:
            assert (await answer.json())["app"]["cpus"] == 0.5


@pytest.mark.parametrize("force", [True, False])
async def test_a_deployment_is_cancelled(platform: ServedPlatform, force: bool) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, SHOP)
        check = {"healthChecks": [{"path": "/"}], "env": {"HEALTH": "never"}}
        async with session.put("/v2/apps/a/shop", json=check) as answer:
            begun = (await answer.json())["deploymentId"]
        async with session.delete(f"/v2/deployments/{begun}?force={str(force).lower()}") as answer:
            assert answer.status == (202 if force else 200)
            said = await answer.json() if answer.status == 200 else await answer.read()
        assert (await platform.ended(session, begun))["state"] == "cancelled"
        if force:
            assert said == b""
            assert platform.controller.state.running == {}
        else:
            back = await platform.ended(session, said["deploymentId"])
            assert (back["kind"], back["state"]) == ("rollback", "succeeded")


async def test_a_body_of_another_content_type_is_read_as_marathon_does(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        text = b'{"id": "/x", "container": {"docker": {"image": "x"}}}'
        async with session.post("/v2/apps", data=text, headers={"Content-Type": "text/plain"}) as answer:
            assert answer.status == 201
        async with session.post("/v2/apps", data=b'{"id": "/x",') as answer:
            assert answer.status == 400
            assert (await answer.json())["message"] == "Invalid JSON"


async def test_a_large_body_is_refused(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        async with session.post("/v2/apps", data=BytesIO(b" " * (2**20 + 1))) as answer:
            assert answer.status == 413
            assert "1 MiB" in (await answer.json())["message"]
        async with session.post("/v2/apps", data=BytesIO(b" " * 2**20)) as answer:
            assert answer.status == 400


async def test_a_store_that_does_not_answer_is_said_with_when_to_try_again(platform: ServedPlatform) -> None:
    await platform.store.close()
    async with ClientSession(platform.url) as session, session.post("/v2/apps", json=SHOP) as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
        assert (await answer.json())["message"]


async def test_an_internal_error_shows_its_id_only(
    platform: ServedPlatform, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform.controller.state, "wanted_apps", lambda: 1 / 0)
    async with ClientSession(platform.url) as session, session.get("/v2/apps") as answer:
        assert answer.status == 500
        message = (await answer.json())["message"]
    assert "division" not in message
    logged = capsys.readouterr().out
    assert message.split()[2].rstrip(".") in logged
    assert "division" in logged
