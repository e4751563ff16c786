"""A platform whose own side of the network fails blames no instance for it."""

import asyncio
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from coldchain.testing.sandbox import inside
from coldchain.testing.stage import Stage

CHECK = {"protocol": "HTTP", "path": "/health", "intervalSeconds": 1, "timeoutSeconds": 1, "gracePeriodSeconds": 30}


def nft(*lines: str) -> None:
    subprocess.run(["nft", "-f", "-"], input="\n".join(lines), text=True, check=True)


async def checks(stage: Stage, found: Callable[[list[dict[str, Any]]], bool]) -> None:
    """Waits until the last answers to all health checks are so; fails with what they are."""
    said: list[dict[str, Any]] = []
    for _ in range(300):
        said = [one for task in await stage.tasks("/shop") for one in task["healthCheckResults"]]
        if len(said) == 2 and found(said):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"health checks: {said}")


@pytest.mark.skipif(not inside(), reason="packets are dropped inside the sandbox only; run this through bin/test")
async def test_cut_off_from_everything_it_knows_nothing_and_from_instances_alone_it_knows(
    stage: Stage, shop: Callable[..., dict[str, Any]]
) -> None:
    await stage.start()
    await stage.create(shop(instances=2, healthChecks=[CHECK]))
    await checks(stage, lambda said: all(one["alive"] for one in said))
    before = {task["id"] for task in await stage.tasks("/shop")}
    status = stage.options["--gateway-status"].rpartition(":")[2]
    places = {task["endpoints"][0].rpartition(":")[0] for task in await stage.tasks("/shop")}
    nft(
        "table ip cut {",
        "chain out { type filter hook output priority 0;",
        f"ip daddr {{ {', '.join(sorted(places))} }} tcp flags syn drop",
        f"tcp dport {status} tcp flags syn drop",
        "}",
        "}",
    )
    try:
        await asyncio.sleep(6.0)  # two probes in a row without an answer take 4 s
        said = [one for task in await stage.tasks("/shop") for one in task["healthCheckResults"]]
        assert [one["consecutiveFailures"] for one in said] == [0, 0]
        assert {task["id"] for task in await stage.tasks("/shop")} == before

        nft(
            "flush chain ip cut out",
            f"add rule ip cut out ip daddr {{ {', '.join(sorted(places))} }} tcp flags syn drop",
        )
        await checks(stage, lambda said: all(one["consecutiveFailures"] > 0 for one in said))
    finally:
        nft("delete table ip cut")
    await checks(stage, lambda said: all(one["alive"] for one in said))
