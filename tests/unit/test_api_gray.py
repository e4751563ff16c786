"""Gray rollouts over the API: what is shown of one, what can be changed, and how it ends."""

import asyncio
from typing import Any

from aiohttp import ClientSession

from coldchain.testing.openapi import differences
from coldchain.testing.served_platform import ServedPlatform, served_platform

SHOP: dict[str, Any] = {
    "id": "/a/shop",
    "instances": 1,
    "container": {"docker": {"image": "shop:v1"}, "portMappings": [{"containerPort": 8080}]},
    "routes": [{"domains": ["shop.test"]}],
    "settleSeconds": 0,
    "rollout": {
        "steps": [{"share": 0}, {"share": 0.5}],
        "gray": {"mark": "spring", "rules": [{"by": "header", "name": "X-Tester"}, {"by": "weight"}]},
    },
}
V2 = {"docker": {"image": "shop:v2"}, "portMappings": [{"containerPort": 8080}]}


class Grays:
    """The API, with every answer held to its description."""

    def __init__(self, platform: ServedPlatform, session: ClientSession) -> None:
        self.platform, self.session = platform, session

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        async with self.session.request(method, path, json=body) as answer:
            said = await answer.json()
            assert await differences(self.platform.server.application, method, path, answer, said) == [], said
            return answer.status, said

    async def until_paused(self, steps: int) -> dict[str, Any]:
        while True:
            status, found = await self.call("GET", "/v1/gray/a/shop")
            if status == 200 and (found["pausedBy"], found["stepsDone"]) == ("plan", steps):
                return found
            await asyncio.sleep(0.01)

    async def deploy(self, tag: str) -> str:
        container = {**V2, "docker": {"image": f"shop:{tag}"}}
        _, begun = await self.call("PATCH", "/v2/apps/a/shop", {"container": container})
        return str(begun["deploymentId"])


async def test_a_gray_rollout_is_shown_changed_aborted_and_the_next_promoted() -> None:
    async with served_platform() as platform, ClientSession(platform.url) as session:
        api = Grays(platform, session)
        await platform.deployed(session, SHOP)
        first = await api.deploy("v2")
        found = await api.until_paused(1)
        assert (found["deploymentId"], found["state"], found["mark"], found["share"]) == (first, "open", "spring", 0)
        assert found["inForce"]
        assert [one["by"] for one in found["rules"]] == ["header", "weight"]
        assert found["formerVersion"] < found["version"]
        assert (await api.call("GET", "/v1/gray"))[1] == {"gray": [found]}
        for body, path in (
            ({"share": 2}, "/share"),
            ({}, "/"),
            ({"rules": [{"by": "hash"}]}, "/rules/0"),
            ({"rules": [{"by": "weight"}, {"by": "weight"}]}, "/rules/1"),
        ):
            status, refused = await api.call("PATCH", "/v1/gray/a/shop", body)
            assert (status, refused["details"][0]["path"]) == (422, path)
        _, held = await api.call("PATCH", "/v1/gray/a/shop", {"share": 0.2, "rules": [{"by": "weight"}]})
        assert (held["pausedBy"], held["share"], [one["by"] for one in held["rules"]]) == ("operator", 0.2, ["weight"])
        assert (await api.call("POST", "/v1/gray/a/shop/resume"))[1]["pausedBy"] is None
        assert (await api.until_paused(2))["share"] == 0.5
        assert (await api.call("POST", "/v1/gray/a/shop/pause"))[1]["pausedBy"] == "operator"
        status, stopped = await api.call("DELETE", f"/v2/deployments/{first}?force=true")
        assert (status, "is gray" in stopped["message"]) == (409, True)
        _, back = await api.call("POST", "/v1/gray/a/shop/abort")
        assert (back["state"], back["version"]) == ("aborted", found["version"])
        status, again = await api.call("POST", "/v1/gray/a/shop/abort")
        assert (status, "shares no requests" in again["message"]) in ((409, True), (404, False))
        assert (await platform.ended(session, back["deploymentId"]))["state"] == "succeeded"
        second = await api.deploy("v3")
        await api.until_paused(1)
        _, going = await api.call("POST", "/v1/gray/a/shop/promote")
        assert going["stepsDone"] == 2
        assert (await platform.ended(session, second))["state"] == "succeeded"
        assert (await api.call("GET", "/v1/gray"))[1] == {"gray": []}
