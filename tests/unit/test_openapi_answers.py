"""Answers that are as rich as they get are as the OpenAPI document says, and have everything that it says."""

import asyncio
from collections.abc import Iterator
from typing import Any

from aiohttp import ClientSession

from coldchain.decisions.brake import Brake
from coldchain.documents.answers import EMBEDS
from coldchain.testing.openapi import differences, whole
from coldchain.testing.served_platform import ServedPlatform, served_platform

ALL = "&".join(f"embed={name}" for name in (*EMBEDS, "coldchain"))
CHECK = {"path": "/", "intervalSeconds": 0.05, "timeoutSeconds": 0.02}
APP = {
    "instances": 1,
    "cpus": 0.1,
    "mem": 16,
    "container": {"docker": {"image": "shop:v1"}, "portMappings": [{"containerPort": 80, "name": "http-api"}]},
}
APPS: dict[str, dict[str, Any]] = {
    "/serving": {"healthChecks": [CHECK], "service": "serving", "routes": [{"domains": ["serving.test"]}]},
    "/waiting": {"healthChecks": [CHECK], "env": {"HEALTH": "never"}, "readinessChecks": [{}]},
    "/failing": {"env": {"EXIT": "3"}, "backoffSeconds": 300},
    "/large": {"cpus": 9000},
    "/elsewhere": {"constraints": [["hostname", "CLUSTER", "nowhere"]]},
    "/privileged": {"container": {"docker": {"image": "shop:v1", "privileged": True}}},
}
ADDRESSES = (
    *("/v2/apps", f"/v2/apps?{ALL}", "/v2/deployments", "/v2/tasks?embed=coldchain"),
    *(
        "/v2/queue?embed=lastUnusedOffers",
        "/v2/info",
        "/v2/leader",
        "/v1/status",
        "/v1/agents",
        "/v1/services",
        "/v1/routes",
        "/v1/secrets",
    ),
    *("/v1/deployments/{deployment}", "/v1/instances/{instance}/story"),
)
OF_APPS = (
    *("/v2/apps{}", f"/v2/apps{{}}?{ALL}", "/v2/apps{}/tasks?embed=coldchain", "/v2/apps{}/versions"),
    "/v2/apps{}/versions/{{version}}?embed=coldchain",
    *("/v1/apps{}/status", "/v1/apps{}/history", "/v1/apps{}/bundle"),
)
NOT_MET = {
    "lastResponse": "the prober of the tests gives none; tests/unit/test_documents_answers.py",
    "contentType": "of lastResponse",
    "body": "of lastResponse",
}


def names_in(value: Any) -> Iterator[str]:
    """The names of all members."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from names_in(member)
    elif isinstance(value, list):
        for member in value:
            yield from names_in(member)


async def furnished(platform: ServedPlatform, session: ClientSession) -> None:
    """Every app is where it stays: it serves, fails, waits or is refused."""
    for app_id, fields in APPS.items():
        query = "?override=privileged&because=tried" if app_id == "/privileged" else ""
        async with session.post(f"/v2/apps{query}", json={"id": app_id, **APP, **fields}) as answer:
            assert answer.status == 201, await answer.text()
    async with session.put("/v1/secrets/database", data="x") as answer:
        assert answer.status == 201
    controller = platform.controller
    while not (
        controller.state.failures.get("/failing")
        and {one.app_id for one in controller.reconciler.refused.values()} == {"/large", "/elsewhere"}
        and any(one.in_rotation for one in controller.state.instances_of["/serving"].values())
        and any(one.phase == "starting" for one in controller.state.instances_of["/waiting"].values())
        and platform.registry.held
    ):
        await asyncio.sleep(0.01)
    async with session.patch("/v2/apps/serving", json={"env": {"HEALTH": "never"}}) as answer:
        assert answer.status == 200, await answer.text()
    while sum(one.phase in ("starting", "serving") for one in controller.state.instances_of["/serving"].values()) < 2:
        await asyncio.sleep(0.01)
    queue: list[Any] = []
    while not any("lastUsedOfferAt" in one["processedOffersSummary"] for one in queue):
        async with session.get("/v2/queue") as answer:
            queue = (await answer.json())["queue"]


async def test_rich_answers_have_all_that_is_described_and_nothing_else() -> None:
    met: set[str] = set()
    async with served_platform() as platform, ClientSession(platform.url) as session:
        await furnished(platform, session)
        state = platform.controller.state
        for app_id, address in [("", one) for one in ADDRESSES] + [(app_id, one) for app_id in APPS for one in OF_APPS]:
            if address == "/v1/status":
                platform.controller.reconciler.brake = Brake(reason="many went bad", since=1.0)
            path = address.format(
                app_id,
                deployment=state.running["/waiting"].id,
                instance=next(iter(state.instances_of["/serving"])),
            ).format(version=state.apps[app_id].version_id if app_id else "")
            async with session.get(path) as answer:
                said = await answer.json()
                assert answer.status == 200, said
                assert await differences(platform.server.application, "GET", path, answer, said) == [], path
                if "/bundle" not in path:
                    met |= set(names_in(said))
    schemas = whole()["components"]["schemas"]
    # What a definition has is there where the definition has it; the rest must have been seen.
    of_definitions = {member for name in reached("StoredApp") for member in schemas[name].get("properties", {})}
    shown = reached("OneApp", "Queue", "PlatformStatus", "AppStatus", "Services", "Secrets", "Story", "VersionAnswer")
    described = {member for name in shown for member in schemas[name].get("properties", {})}
    assert described - met - of_definitions == NOT_MET.keys()


def reached(*names: str) -> set[str]:
    """The schemas of these names, and all that they are made of."""
    found: set[str] = set()
    left = [*names]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += [one.rpartition("/")[2] for one in refs(whole()["components"]["schemas"][name])]
    return found


def refs(value: Any) -> Iterator[str]:
    """Where schemas are referred to."""
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for member in value.values():
            yield from refs(member)
    elif isinstance(value, list):
        for member in value:
            yield from refs(member)
