"""An app without a container behind the gateway: fetched, checked, released under load, adopted, stopped."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from coldchain.testing.application.build import build_application
from coldchain.testing.load.generator import Generator
from coldchain.testing.load.plan import LoadPlan, Target
from coldchain.testing.stage import Stage


@pytest.fixture
async def release() -> AsyncIterator[str]:
    """Address of the test application on a server of releases."""
    binary = await asyncio.to_thread(build_application)

    async def answer(request: web.Request) -> web.FileResponse:
        return web.FileResponse(binary)

    application = web.Application()
    application.router.add_get("/application", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/application"
    await runner.cleanup()


def tool(release: str, **fields: object) -> dict[str, Any]:
    digest = hashlib.sha256(build_application().read_bytes()).hexdigest()
    app: dict[str, Any] = {
        "id": "/tool",
        "cmd": "exec ./application",
        "cpus": 0.1,
        "mem": 32,
        "instances": 3,
        "fetch": [{"uri": release, "sha256": digest, "executable": True}],
        "env": {"BIND": "127.0.0.1", "VERSION": "v1"},
        "healthChecks": [
            {"path": "/health", "intervalSeconds": 2, "timeoutSeconds": 2, "gracePeriodSeconds": 30},
            {
                "protocol": "COMMAND",
                "command": {"value": 'test -x "$HOME/application" && test "$(id -un)" = nobody'},
                "intervalSeconds": 2,
                "timeoutSeconds": 2,
                "gracePeriodSeconds": 30,
            },
        ],
        "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0.5},
        "routes": [{"domains": ["tool.localhost"]}],
        "drainSeconds": 10,
        "deadlineSeconds": 120,
    }
    return app | fields


def running(stage: Stage) -> dict[str, str]:
    """Of each process task that has not ended: who its shim is."""
    return {
        shim.parent.name: shim.read_text()
        for shim in (stage.data / "tasks").glob("*/*/shim.json")
        if not (shim.parent / "end.json").exists()
    }


async def test_a_release_under_load_costs_no_request(stage: Stage, release: str) -> None:
    await stage.start()
    await stage.create(tool(release))
    before = running(stage)
    assert len(before) == 3
    plan = LoadPlan(
        address="127.0.0.1",
        port=stage.gateway_port,
        targets=(Target(host="tool.localhost"),),
        rate=100.0,
        slow_share=0.02,
        slow_seconds=0.5,
    )
    async with Generator(plan) as load:
        await stage.deploy("PUT", "/v2/apps/tool", {"env": {"BIND": "127.0.0.1", "VERSION": "v2"}})
        while load.counts.sent <= 100:  # a quick machine needs less than a second for the release
            await asyncio.sleep(0.01)
    report = load.report()
    assert report.failures == ()
    assert report.total.failed == 0
    assert report.total.requests > 100
    assert set(report.total.by_version) == {"v1", "v2"}
    after = running(stage)
    assert len(after) == 3
    assert not before.keys() & after.keys()


async def test_a_controller_that_was_killed_adopts_its_processes(stage: Stage, release: str) -> None:
    await stage.start()
    await stage.create(tool(release))
    before = running(stage)
    stage.kill()
    assert running(stage) == before
    await stage.start()
    changed = await stage.deploy("PUT", "/v2/apps/tool", {"instances": 4})
    assert changed["state"] == "succeeded"
    after = running(stage)
    assert len(after) == 4
    assert before.items() < after.items()
    await stage.down()
    assert running(stage) == {}


async def test_what_cannot_start_says_why(stage: Stage, release: str, tmp_path: Path) -> None:
    await stage.start()
    broken = tool(release, fetch=[{"uri": release, "sha256": "0" * 64}], deadlineSeconds=5, instances=1)
    broken["healthChecks"] = []
    created = await stage.call("POST", "/v2/apps", broken)
    await stage.deployment(created["deployments"][0]["id"], expected="failed")
    found = await stage.call("GET", "/v2/apps/tool?embed=app.lastTaskFailure")
    assert "is not what it should be: its SHA-256 is" in str(found)
