"""scenario: what happens to the shop, step by step. A step that does not end as it must raises StepFailed."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from coldchain.testing.driven import DrivenPlatform, StepFailed
from coldchain.testing.load.accounting import Kill
from coldchain.testing.load.generator import Generator

SHORTEST_STEP_SECONDS = 6.0
"""Load goes on at least this long in each step, so that its numbers mean something."""
BAD_DEADLINE_SECONDS = 12
PAUSE_SECONDS = 4.0
FAILING_SECONDS = 20.0
INSTANCES = 4
"""Of the shop, where a fault does not change it."""
PATIENCE_SECONDS = 40.0
LOOK_SECONDS = 0.1
SETTLE_SECONDS = 3.0
"""Whoever would wrongly start or end something has done it by then."""


@dataclass
class Show:
    """What the steps share. `settings_of(tag, **env)` gives the shop's definition for a version."""

    stage: DrivenPlatform
    generator: Generator
    settings_of: Callable[..., dict[str, Any]]
    first_version: str
    kills: list[Kill] = field(default_factory=list)


async def steady(show: Show) -> None:
    await asyncio.sleep(SHORTEST_STEP_SECONDS)


async def scale_up(show: Show) -> None:
    await show.stage.deploy("PUT", "/v2/apps/shop", {"instances": 6})
    await expect_serving(show, 6)


async def scale_down(show: Show) -> None:
    await show.stage.deploy("PUT", "/v2/apps/shop", {"instances": 3})
    await expect_serving(show, 3)


async def restart_single(show: Show) -> None:
    (before,) = await show.stage.tasks("/cart")
    await show.stage.deploy("POST", "/v2/apps/cart/restart")
    (after,) = await show.stage.tasks("/cart")
    if before["id"] == after["id"]:
        raise StepFailed("the restart left the old task running")


async def roll_out(show: Show) -> None:
    wanted = show.settings_of("v2", START_MS="1500") | {"instances": 4}
    await show.stage.deploy("PUT", "/v2/apps/shop", wanted)
    await expect_serving(show, 4)


async def pause_and_resume(show: Show) -> None:
    started = await show.stage.call("PUT", "/v2/apps/shop", show.settings_of("v3", START_MS="700") | {"instances": 4})
    await until(show, lambda tasks: any(task["version"] == started["version"] and serves(task) for task in tasks))
    await show.stage.call("POST", f"/v1/deployments/{started['deploymentId']}/pause")
    await until(show, lambda tasks: all(map(serves, tasks)))
    paused = {task["id"]: task["version"] for task in await show.stage.tasks("/shop")}
    await asyncio.sleep(PAUSE_SECONDS)
    if {task["id"]: task["version"] for task in await show.stage.tasks("/shop")} != paused:
        raise StepFailed("the paused rollout went on")
    if len(set(paused.values())) != 2:
        raise StepFailed(f"the rollout was not paused in its middle: {paused}")
    await show.stage.call("POST", f"/v1/deployments/{started['deploymentId']}/resume")
    await show.stage.deployment(started["deploymentId"])
    await expect_serving(show, 4)


async def fail_all_checks(show: Show) -> None:
    before = await show.stage.tasks("/shop")
    await show.stage.set_health(before, healthy=False)
    limit = time.monotonic() + FAILING_SECONDS
    held = False
    while time.monotonic() < limit:
        held = held or (await show.stage.call("GET", "/v1/status"))["brake"]["holds"]
        await asyncio.sleep(0.2)
    after = await show.stage.tasks("/shop")
    if {task["id"] for task in after} != {task["id"] for task in before}:
        raise StepFailed("tasks were killed or replaced although all of them failed together")
    if not held:
        raise StepFailed("the brake did not hold, or did not say so")
    await show.stage.set_health(before, healthy=True)
    await until(show, lambda tasks: all(all(one["alive"] for one in task["healthCheckResults"]) for task in tasks))


async def roll_out_bad(show: Show) -> None:
    tasks = {task["id"] for task in await show.stage.tasks("/shop")}
    wanted = show.settings_of("v3", HEALTH="never") | {"instances": 4, "deadlineSeconds": BAD_DEADLINE_SECONDS}
    wanted["healthChecks"][0]["gracePeriodSeconds"] = 5
    failed = await show.stage.deploy("PUT", "/v2/apps/shop", wanted, expected="failed")
    rollback = await _rollback_of(show, failed["id"])
    await show.stage.deployment(rollback)
    if {task["id"] for task in await show.stage.tasks("/shop")} != tasks:
        raise StepFailed("the rollback did not leave the old tasks as they were")


async def kill_container(show: Show) -> None:
    task = (await show.stage.tasks("/shop"))[0]
    show.kills.append(await show.stage.kill_container(task["id"], task["instanceId"]))
    limit = time.monotonic() + 30
    while True:
        serving = [one for one in await show.stage.tasks("/shop") if one["phase"] == "serving"]
        if len(serving) == 4 and task["id"] not in {one["id"] for one in serving}:
            return
        if time.monotonic() > limit:
            raise StepFailed("the killed container was not replaced within 30 s")
        await asyncio.sleep(0.05)


async def kill_controller(show: Show) -> None:
    wanted = show.settings_of("v3", START_MS="500") | {"instances": 4}
    started = await show.stage.call("PUT", "/v2/apps/shop", wanted)
    await asyncio.sleep(1.5)
    show.stage.kill()
    await asyncio.sleep(2)
    await show.stage.start()
    await show.stage.deployment(started["deploymentId"])
    await expect_serving(show, 4)


async def roll_back(show: Show) -> None:
    await show.stage.deploy("PUT", "/v2/apps/shop", {"version": show.first_version})
    await expect_serving(show, 4)


Step = Callable[[Show], Awaitable[None]]
STEPS: tuple[tuple[str, Step], ...] = (
    ("steady load", steady),
    ("scale 4 → 6", scale_up),
    ("scale 6 → 3", scale_down),
    ("restart the single instance", restart_single),
    ("rollout, 1.5 s start", roll_out),
    ("pause and resume a rollout", pause_and_resume),
    ("rollout that never gets healthy", roll_out_bad),
    ("SIGKILL a container", kill_container),
    ("SIGKILL the controller in mid-rollout", kill_controller),
    ("rollback by version", roll_back),
    ("all health checks fail for 20 s", fail_all_checks),
)


async def perform(
    show: Show, began: Callable[[str], None], requests: int, steps: Sequence[tuple[str, Step]] = STEPS
) -> None:
    """Start the load, all steps in order, then steady load until `requests` were sent."""
    for name, step in steps:
        show.generator.step(name)
        began(name)
        if name == steps[0][0]:
            show.generator.start()
        shortest = asyncio.ensure_future(asyncio.sleep(SHORTEST_STEP_SECONDS))
        try:
            await step(show)
        except StepFailed as error:
            raise StepFailed(f"{name}: {error}") from error
        await shortest
    if show.generator.counts.sent < requests:
        show.generator.step("steady again")
        began("steady again")
        while show.generator.counts.sent < requests:
            await asyncio.sleep(0.2)


async def expect_serving(show: Show, count: int) -> None:
    """Raises StepFailed unless so many instances of the shop are there and in rotation."""
    tasks = await show.stage.tasks("/shop")
    phases = [task["phase"] for task in tasks]
    if phases != ["serving"] * count:
        raise StepFailed(f"expected {count} instances serving, found {phases}")


def serves(task: dict[str, Any]) -> bool:
    return bool(task["phase"] == "serving")


async def until(show: Show, reached: Callable[[list[dict[str, Any]]], bool], patience_seconds: float = 30.0) -> None:
    """Waits for what the tasks of the shop are to be. Raises StepFailed."""
    limit = time.monotonic() + patience_seconds
    while not reached(await show.stage.tasks("/shop")):
        if time.monotonic() > limit:
            raise StepFailed(f"the tasks of /shop did not get there within {patience_seconds:g} s")
        await asyncio.sleep(0.05)


async def eventually(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Waits for what is to become of anything else. Raises StepFailed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await condition():
        if time.monotonic() > deadline:
            raise StepFailed(f"in vain waited {PATIENCE_SECONDS:g} s for: {what}")
        await asyncio.sleep(LOOK_SECONDS)


async def in_mid_rollout(show: Show, tag: str) -> dict[str, Any]:
    """A rollout of the shop that is begun and not yet ended; what the API said of it."""
    wanted = show.settings_of(tag, START_MS="500") | {"instances": INSTANCES}
    started: dict[str, Any] = await show.stage.call("PUT", "/v2/apps/shop", wanted)
    version = started["version"]

    def begun(tasks: list[dict[str, Any]]) -> bool:
        old = [one for one in tasks if one["version"] != version]
        return bool(old) and any(serves(one) for one in tasks if one not in old)

    await until(show, begun)
    return started


async def unmoved(containers: Callable[[], Awaitable[dict[str, str]]], show: Show, before: dict[str, str]) -> None:
    """Every container is the same as before, also a moment later, and in rotation."""
    await asyncio.sleep(SETTLE_SECONDS)
    after = await containers()
    if after != before:
        raise StepFailed(f"containers were started or ended: {sorted(before.items() ^ after.items())}")
    await expect_serving(show, INSTANCES)


async def _rollback_of(show: Show, failed: str) -> str:
    limit = time.monotonic() + 5
    while time.monotonic() < limit:
        for deployment in await show.stage.call("GET", "/v2/deployments?embed=coldchain"):
            if deployment["kind"] == "rollback":
                return str(deployment["id"])
        found = await show.stage.call("GET", f"/v1/deployments/{failed}")
        if found.get("rolledBackBy"):
            return str(found["rolledBackBy"])
        await asyncio.sleep(0.02)
    raise StepFailed("the failed rollout was not rolled back")
