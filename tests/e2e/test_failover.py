"""Several `coldchain up` on one etcd: the leader is killed or stands still, and another one takes over."""

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coldchain.testing.driven import StepFailed
from coldchain.testing.etcd import EtcdCluster, etcd_cluster
from coldchain.testing.stage import Stage, make_stage

APP: dict[str, Any] = {"id": "/shop", "instances": 3, "cpus": 1, "mem": 64, "cmd": "sleep 1000"}
FAILOVER_SECONDS_MAX = 5.0


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[list[Stage]]:
    """Two controllers of fake agents on one member of etcd."""
    with etcd_cluster(1) as etcd:
        await etcd.ready()
        stages = [await _started(tmp_path, etcd) for _ in range(2)]
        yield stages
        for stage in stages:
            if stage.exit_status is None:
                os.kill(stage.pid, signal.SIGCONT)
                await stage.terminate()
            await stage.close()
            shutil.rmtree(stage.data)


async def _started(folder: Path, etcd: EtcdCluster) -> Stage:
    stage = make_stage(folder / "no-docker.sock")
    stage.up_options = ["--engine=fake", "--fake-agents=5"]
    stage.options["--store"] = f"etcd://{etcd.addresses}/shop"
    await stage.start()
    return stage


async def leader_of(stages: list[Stage]) -> tuple[Stage, Stage]:
    """The leader, and the other one, once both know."""
    async with asyncio.timeout(10):
        while True:
            try:
                infos = [await one.call("GET", "/v2/info") for one in stages]
            except StepFailed as error:  # one that has just stepped down reads the store first
                if ": 503 " not in str(error):
                    raise
                await asyncio.sleep(0.05)
                continue
            if infos[0]["leader"] == infos[1]["leader"] and any(info["elected"] for info in infos):
                first, second = stages
                return (first, second) if infos[0]["elected"] else (second, first)
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_the_next_write_is_taken_within_seconds(two: list[Stage], how: signal.Signals) -> None:
    leader, standby = await leader_of(two)
    await standby.create(APP)
    assert [one["id"] for one in (await leader.call("GET", "/v2/apps"))["apps"]] == ["/shop"]
    began = time.monotonic()
    os.kill(leader.pid, how)
    while True:
        try:
            await standby.call("PUT", "/v2/apps/shop", {"instances": 4})
            break
        except StepFailed as error:  # it was on its way to a leader that stood still
            if ": 503 " not in str(error):
                raise
    took = time.monotonic() - began
    assert took < FAILOVER_SECONDS_MAX, f"{took:.1f} s"
    if how is signal.SIGSTOP:
        os.kill(leader.pid, signal.SIGCONT)
        assert (await leader_of(two))[0] is standby
        [app] = (await leader.call("GET", "/v2/apps"))["apps"]
        assert app["instances"] == 4


async def test_down_stops_everything_and_ends_all_controllers(two: list[Stage]) -> None:
    leader, standby = await leader_of(two)
    await standby.create(APP)
    await standby.call("POST", "/v1/down")
    async with asyncio.timeout(30):
        while any(stage.exit_status is None for stage in two):
            await asyncio.sleep(0.05)
    assert [stage.exit_status for stage in two] == [0, 0], [stage.log_tail() for stage in two]
    assert "draining and stopping every instance" in leader.log_tail()
    await standby.start()
    async with asyncio.timeout(20):
        while len([one for one in await standby.tasks("/shop") if one["phase"] == "serving"]) != APP["instances"]:
            await asyncio.sleep(0.05)


async def test_the_embedded_registry_goes_with_the_leader(two: list[Stage]) -> None:
    """Its content is in the store that they share, so what others registered is there at the next leader's."""
    leader, standby = await leader_of(two)
    async with aiohttp.ClientSession() as session:
        service = {"Name": "legacy", "ID": "old-1", "Address": "10.9.9.9", "Port": 81}
        async with session.put(f"{registry_of(leader)}/v1/agent/service/register", json=service) as answer:
            assert answer.status == 200
        async with session.get(f"{registry_of(leader)}/v1/health/service/legacy") as answer:
            index, before = int(answer.headers["X-Consul-Index"]), await answer.json()
        with pytest.raises(aiohttp.ClientConnectorError):  # one who stands by serves none: it could not write
            await session.get(f"{registry_of(standby)}/v1/agent/services")
        leader.kill()
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(aiohttp.ClientConnectorError):
                    async with session.get(f"{registry_of(standby)}/v1/health/service/legacy") as answer:
                        after = await answer.json()
                        break
                await asyncio.sleep(0.05)
        assert [one["Service"] for one in after] == [one["Service"] for one in before]
        assert int(answer.headers["X-Consul-Index"]) >= index


def registry_of(stage: Stage) -> str:
    return f"http://127.0.0.1:{stage.registry_port}"
