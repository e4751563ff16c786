"""`coldchain up --store etcd://…` and `coldchain store migrate`: the state in a cluster, there and back."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coldchain.main.stores import EtcdAccess, open_etcd
from coldchain.ports.store import Change
from coldchain.testing.driven import StepFailed
from coldchain.testing.etcd import EtcdCluster, client_files, etcd_cluster, require_users
from coldchain.testing.stage import Stage, make_stage

APP: dict[str, Any] = {"id": "/shop", "instances": 5, "cpus": 1, "mem": 64, "cmd": "sleep 1000"}


@pytest.fixture
def etcd() -> Iterator[EtcdCluster]:
    with etcd_cluster(3) as cluster:
        yield cluster


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Stage]:
    """A platform of fake agents: all else is real."""
    stage = make_stage(tmp_path / "no-docker.sock")
    stage.up_options = ["--engine=fake", "--fake-agents=5"]
    try:
        yield stage
    finally:
        if stage.exit_status is None:
            await stage.terminate()
        await stage.close()
        shutil.rmtree(stage.data)


def store_command(*words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "coldchain", "store", "migrate", *words]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | (environment or {}))


async def migrated(source: str, target: str) -> dict[str, Any]:
    ran = await asyncio.to_thread(store_command, source, target, "--json")
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


async def test_the_state_outlives_the_controller_and_a_member(etcd: EtcdCluster, alone: Stage) -> None:
    await etcd.ready()
    alone.options["--store"] = f"etcd://{etcd.addresses}/shop"
    await alone.start()
    await alone.create(APP)
    alone.kill()
    await alone.start()
    [app] = (await alone.call("GET", "/v2/apps"))["apps"]
    assert (app["id"], app["instances"]) == ("/shop", 5)
    for member in [etcd.members[0], await etcd.leader()]:
        member.kill()
        async with asyncio.timeout(20):
            while True:  # a write on its way when the leader dies is answered with 503
                try:
                    scaled = app["instances"] + 1
                    await alone.deploy("PUT", "/v2/apps/shop?force=true", {"instances": scaled})
                    break
                except StepFailed as error:
                    if ": 503 " not in str(error):
                        raise
        app["instances"] = scaled
        member.start()
        await etcd.ready()
    async with asyncio.timeout(20):
        while len(await alone.tasks("/shop")) != 7:
            await asyncio.sleep(0.05)
    assert not (alone.data / "store.sqlite").exists()
    assert await alone.terminate() == 0


async def test_containers_stay_when_the_state_goes_to_etcd_and_back(
    etcd: EtcdCluster, stage: Stage, shop: Callable[..., dict[str, Any]]
) -> None:
    await etcd.ready()
    file, address = str(stage.data / "store.sqlite"), f"etcd://{etcd.addresses}/shop"
    await stage.start()
    await stage.create(shop())
    before = {task["id"] for task in await stage.tasks("/shop")}
    refused = await asyncio.to_thread(store_command, file, address)
    assert refused.returncode == 1
    assert f"is in use by another Coldchain (process {stage.pid})" in refused.stderr
    await stage.terminate()
    moved = await migrated(file, address)
    assert moved == {"from": file, "to": address, "keys": moved["keys"], "already": False}
    assert moved["keys"] > 5
    assert (await migrated(file, address))["already"]

    with pytest.raises(StepFailed, match="the content of this store went to etcd://"):
        await stage.start()
    stage.options["--store"] = address
    await stage.start()
    assert {task["id"] for task in await stage.tasks("/shop")} == before
    await stage.deploy("PUT", "/v2/apps/shop", {"labels": {"moved": "yes"}})
    after = {task["id"] for task in await stage.tasks("/shop")}
    await stage.terminate()

    back = str(stage.data / "back.sqlite")
    await migrated(address, back)
    Path(back).replace(file)
    del stage.options["--store"]
    await stage.start()
    assert {task["id"] for task in await stage.tasks("/shop")} == after
    refused = await asyncio.to_thread(store_command, back, address)
    assert "there is no store" in refused.stderr


async def test_a_store_that_somebody_keeps_a_lease_in_is_not_migrated(etcd: EtcdCluster, tmp_path: Path) -> None:
    await etcd.ready()
    address, file = f"etcd://{etcd.addresses}/shop", str(tmp_path / "store.sqlite")
    store = open_etcd(address, EtcdAccess())
    lease = await store.lease(30)
    await store.write([Change(key="app/1", value=b"x"), Change(key="controller/leader", value=b"1", lease=lease.id)])
    refused = await asyncio.to_thread(store_command, address, file)
    assert refused.returncode == 1
    assert f"{address} is in use: controller/leader" in refused.stderr
    await lease.revoke()
    assert (await migrated(address, file))["keys"] == 1
    await store.close()


async def test_killed_in_the_middle_it_goes_on(etcd: EtcdCluster, tmp_path: Path) -> None:
    await etcd.ready()
    first, second = (f"etcd://{etcd.addresses}/{name}" for name in ("first", "second"))
    store = open_etcd(first, EtcdAccess())
    for portion in range(80):
        await store.write([Change(key=f"app/{portion}/{one}", value=bytes(200)) for one in range(100)])
    command = [sys.executable, "-m", "coldchain", "store", "migrate", first, second]
    running = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
    assert running.stderr is not None
    assert b"0 of 8000 keys" in await running.stderr.readline()
    await running.stderr.readline()
    running.send_signal(signal.SIGKILL)
    await running.wait()
    arrived = open_etcd(second, EtcdAccess())
    assert 0 < len((await arrived.list("app/")).entries) < 8000
    assert await migrated(first, second) == {"from": first, "to": second, "keys": 8000, "already": False}
    assert len((await arrived.list("")).entries) == 8000
    await arrived.close()
    await store.close()


async def test_with_a_user_and_over_tls(alone: Stage, tmp_path: Path) -> None:
    with etcd_cluster(tls=True) as etcd:
        await etcd.ready()
        assert etcd.authority is not None
        await require_users(etcd, "shop", "secret", "/shop/")
        credentials = tmp_path / "credentials"
        credentials.write_text("shop:secret\n")
        access = {
            "--etcd-authority": str(etcd.authority.file),
            "--etcd-certificate": str(client_files(etcd.authority)),
            "--etcd-credentials-file": str(credentials),
        }
        alone.options |= {"--store": f"etcd://{etcd.addresses}/shop", **access}
        await alone.start()
        await alone.create(APP)
        assert await alone.terminate() == 0
        address, file = alone.options["--store"], str(tmp_path / "store.sqlite")
        words = [address, file, *(f"{name}={value}" for name, value in access.items()), "--json"]
        refused = await asyncio.to_thread(store_command, *words[:4], environment={})
        assert refused.returncode == 1
        assert "etcd refused" in refused.stderr
        variable = {"COLDCHAIN_ETCD_CREDENTIALS": "shop:secret"}
        ran = await asyncio.to_thread(store_command, *words[:4], environment=variable)
        assert ran.returncode == 0, ran.stderr
        assert Path(file).exists()
