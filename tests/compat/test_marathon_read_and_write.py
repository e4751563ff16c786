"""Marathon's own client reads an app and writes it back, whole or without what is empty: no task is replaced."""

import asyncio
import collections
import collections.abc
from typing import Any

import pytest
from aiohttp import ClientSession

from coldchain.testing.served_platform import ServedPlatform, served_platform

PACKED: dict[str, Any] = {
    "id": "/packed",
    "container": {"docker": {"image": "shop:v1"}, "portMappings": [{"containerPort": 80, "name": "http"}]},
    "healthChecks": [{"path": "/"}],
    "readinessChecks": [{"portName": "http"}],
    "constraints": [["hostname", "LIKE", ".*"]],
    "upgradeStrategy": {"minimumHealthCapacity": 0.5},
    "acceptedResourceRoles": ["*"],
    "role": "shops",
}
PROCESS: dict[str, Any] = {
    "id": "/process",
    "cmd": "serve",
    "uris": ["http://h/a.tgz"],
    "ports": [0, 9000],
    "env": {"A": "1"},
    "unreachableStrategy": "disabled",
}


def read_and_written(url: str, app_id: str, *, minimal: bool) -> dict[str, str]:
    from marathon import MarathonClient

    client = MarathonClient(url)
    app = client.get_app(app_id, embed_tasks=True, embed_task_stats=True, embed_readiness=True)
    written: dict[str, str] = client.update_app(app_id, app, minimal=minimal)
    return written


async def last_change(session: ClientSession, app_id: str) -> str:
    async with session.get(f"/v2/apps{app_id}") as answer:
        return str((await answer.json())["app"]["versionInfo"]["lastConfigChangeAt"])


async def check(platform: ServedPlatform, session: ClientSession, app_id: str, *, minimal: bool) -> None:
    before, created = await last_change(session, app_id), dict(platform.engine.created)
    written = await asyncio.to_thread(read_and_written, platform.url, app_id, minimal=minimal)
    assert (await platform.ended(session, written["deploymentId"]))["kind"] == "scale"
    assert await last_change(session, app_id) == before
    assert platform.engine.created == created


@pytest.mark.parametrize("minimal", [True, False])
async def test_what_was_read_is_written_back(minimal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # The client was written for a Python in which this name stood there, too.
    monkeypatch.setattr(collections, "Iterable", collections.abc.Iterable, raising=False)
    async with served_platform() as platform, ClientSession(platform.url) as session:
        for app in (PACKED, PROCESS):
            await platform.deployed(session, app)
            await check(platform, session, app["id"], minimal=minimal)
