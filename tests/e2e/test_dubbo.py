"""Providers and a consumer of Dubbo that are not ours: released, scaled and taken over by the next controller under
calls of which none is made twice, and none fails."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from coldchain.clients.zookeeper import ZooKeeper
from coldchain.testing import node
from coldchain.testing.server_process import DIES_WITH_ITS_PARENT
from coldchain.testing.stage import Stage
from coldchain.testing.zookeeper import zookeeper

SCRIPT = Path(node.__file__).with_name("dubbo_rollout.js")
INTERFACES = ("com.shop.Stock", "com.shop.Prices")
CALLS = 20_000


def stock(registry: str, **fields: object) -> dict[str, Any]:
    app: dict[str, Any] = {
        "id": "/stock",
        "cmd": f"exec {node.node()} {SCRIPT} provider {registry} $PORT0 $VERSION",
        "cpus": 0.1,
        "mem": 128,
        "instances": 3,
        "env": {"VERSION": "v1", "NODE_PATH": str(node.node_modules())},
        "portDefinitions": [{"port": 0, "name": "dubbo"}],
        "dubbo": {"registry": f"zk://{registry}", "interfaces": [f"SOFA/{name}:1.0.0" for name in INTERFACES]},
        "healthChecks": [{"protocol": "TCP", "intervalSeconds": 2, "timeoutSeconds": 2, "gracePeriodSeconds": 60}],
        "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0.5},
        "settleSeconds": 1,
        "drainSeconds": 2,
        "deadlineSeconds": 240,
    }
    return app | fields


class Load:
    """The consumer, which calls from beginning to end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: dict[str, Any] = {}

    async def listen(self) -> None:
        """Until it has ended."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.said = json.loads(line)

    async def reach(self, count: int) -> None:
        while self.said.get("count", -1) < count:
            assert self._process.returncode is None
            await asyncio.sleep(0.05)

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


@contextlib.asynccontextmanager
async def load(registry: str) -> AsyncIterator[Load]:
    process = await asyncio.create_subprocess_exec(
        *DIES_WITH_ITS_PARENT,
        str(node.node()),
        str(SCRIPT),
        "consumer",
        registry,
        env=node.environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    found = Load(process)
    listening = asyncio.create_task(found.listen())
    try:
        await found.reach(0)
        yield found
        await found.end()
        await listening
    finally:
        listening.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_no_call_fails_while_providers_come_and_go_and_the_controller_is_killed(stage: Stage) -> None:
    async with zookeeper() as server:
        try:
            await released(stage, server.address)
        finally:
            await stage.down()  # while ZooKeeper is there to be told


async def released(stage: Stage, address: str) -> None:
    registry = f"{address}/dubbo"
    await stage.start()
    await stage.create(stock(registry))
    async with load(registry) as calls:
        await calls.reach(1000)
        await stage.deploy("PUT", "/v2/apps/stock", {"env": stock(registry)["env"] | {"VERSION": "v2"}})
        await stage.deploy("PUT", "/v2/apps/stock", {"instances": 1})
        await stage.deploy("PUT", "/v2/apps/stock", {"instances": 3})
        env = stock(registry)["env"] | {"VERSION": "v3"}
        started = await stage.call("PUT", "/v2/apps/stock", {"env": env})
        while await states(stage) & {"draining", "closing"} == set():
            await asyncio.sleep(0.05)
        stage.kill()
        await asyncio.sleep(2)
        await stage.start()
        await stage.deployment(started["deploymentId"])
        await calls.reach(CALLS)
    assert calls.said["failures"] == []
    assert calls.said["count"] >= CALLS
    assert calls.said["versions"].keys() == {"v1", "v2", "v3"}
    client = ZooKeeper(address)
    async with asyncio.timeout(60):
        for name in INTERFACES:
            while await client.children(f"/dubbo/{name}/configurators"):
                await asyncio.sleep(0.1)
            assert len(await client.children(f"/dubbo/{name}/providers")) == 3
    await client.close()


async def states(stage: Stage) -> set[str]:
    """The phases of its instances."""
    status = await stage.call("GET", "/v1/apps/stock/status")
    return {one["phase"] for one in status["instances"]}
