"""The example of an app that registers itself, under load: released without a lost request, and out of rotation when
its heartbeats end."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from coldchain.testing.application.build import build_application
from coldchain.testing.load.generator import Generator
from coldchain.testing.load.plan import LoadPlan, Target
from coldchain.testing.stage import Stage

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "03-self-registration" / "tool.json"
THEIRS = "https://releases.example.com"
TTL_SECONDS = 3.0


@pytest.fixture
async def tool() -> AsyncIterator[dict[str, Any]]:
    """The example's definition, its files on a server of releases."""
    files = {
        "application": await asyncio.to_thread(build_application),
        "coldchain-entry": ROOT / "register" / "coldchain-entry",
    }

    async def answer(request: web.Request) -> web.FileResponse:
        return web.FileResponse(files[request.match_info["name"]])

    application = web.Application()
    application.router.add_get("/{name}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield json.loads(EXAMPLE.read_text().replace(THEIRS, f"http://127.0.0.1:{runner.addresses[0][1]}"))
    await runner.cleanup()


def plan(stage: Stage) -> LoadPlan:
    target = Target(host="tool.localhost")
    return LoadPlan(
        address="127.0.0.1",
        port=stage.gateway_port,
        targets=(target,),
        rate=100.0,
        slow_share=0.02,
        slow_seconds=0.5,
    )


async def checks(stage: Stage) -> dict[str, str]:
    """What the registry says of each registration."""
    url = f"http://127.0.0.1:{stage.registry_port}/v1/health/checks/tool"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return {one["ServiceID"]: one["Status"] for one in await answer.json()}


async def standings(stage: Stage) -> dict[str, str]:
    found = await stage.call("GET", "/v1/apps//tool/status")
    return {one["id"]: one["standing"] for one in found["instances"] if one["phase"] == "serving"}


def processes(variable: str, words: str) -> list[int]:
    """The processes that have this in their environment, and these words as their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment, line = (folder / "environ").read_bytes(), (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if variable.encode() in environment.split(b"\0") and words.encode() in line.replace(b"\0", b" "):
            found.append(int(folder.name))
    return sorted(found)


async def test_a_release_loses_no_request_and_who_says_nothing_gets_none(stage: Stage, tool: dict[str, Any]) -> None:
    await stage.start()
    await stage.create(tool)
    before = await checks(stage)
    assert sorted(before.values()) == ["passing"] * 3
    assert before.keys() == {f"tool-{name}" for name in await standings(stage)}
    async with Generator(plan(stage)) as load:
        await stage.deploy("PUT", "/v2/apps/tool", {"env": tool["env"] | {"VERSION": "v2"}})
        while load.counts.sent <= 100:
            await asyncio.sleep(0.01)
        after = await checks(stage)
        assert sorted(after.values()) == ["passing"] * 3
        assert before.keys().isdisjoint(after)
        # The heart of one stops; its app goes on, and nobody probes it.
        silent = next(iter(await standings(stage)))
        entry, heart = processes(f"COLDCHAIN_INSTANCE={silent}", "coldchain-entry ./application")[:2]
        assert heart != entry
        os.kill(heart, signal.SIGSTOP)
        async with asyncio.timeout(TTL_SECONDS + 5):
            while (await standings(stage))[silent] != "unhealthy":
                await asyncio.sleep(0.02)
        os.kill(heart, signal.SIGCONT)
        async with asyncio.timeout(10):
            while set((await standings(stage)).values()) != {"healthy"}:
                await asyncio.sleep(0.02)
    report = load.report()
    assert report.failures == ()
    assert report.total.failed == 0
    assert set(report.total.by_version) == {"v1", "v2"}


async def test_one_that_is_killed_is_replaced_and_its_registration_ends_with_its_ttl(
    stage: Stage, tool: dict[str, Any]
) -> None:
    await stage.start()
    await stage.create(tool)
    [killed, *rest] = sorted(await standings(stage))
    for pid in processes(f"COLDCHAIN_INSTANCE={killed}", ""):
        with contextlib.suppress(ProcessLookupError):  # it ended with one of the others
            os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(30):
        while len(found := await standings(stage)) != 3 or killed in found:
            await asyncio.sleep(0.05)
        assert set(rest) < found.keys()
        while (await checks(stage)).get(f"tool-{killed}") == "passing":
            await asyncio.sleep(0.05)
