"""How engine mesos finds the master that leads: by ZooKeeper, by a list, by a standby that is named first."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from kazoo.client import KazooClient  # type: ignore[import-untyped]
from kazoo.security import make_acl, make_digest_acl  # type: ignore[import-untyped]

from coldchain.clients.mesos.leader import LeadingMaster
from coldchain.clients.mesos.scheduler import MesosUnavailable, SchedulerClient
from coldchain.clients.zookeeper import ZooKeeperUnavailable
from coldchain.clients.zookeeper_address import ZooKeeperAddress
from coldchain.control.clock import SystemClock
from coldchain.main.mesos import open_mesos
from coldchain.main.mesos_access import MesosAccess
from coldchain.model.errors import Unavailable
from coldchain.model.executor import ExecutorSettings
from coldchain.store.cipher import KeyFileCipher
from coldchain.store.memory import MemoryStore
from coldchain.testing.fake_master import FakeMaster, knows, subscribed
from coldchain.testing.mesos.lab import MesosLab

EXECUTOR = ExecutorSettings(controller_id="c", version="1")
MASTER = {
    "hostname": "master.test",
    "port": 5050,
    "address": {"ip": "10.0.0.1", "hostname": "master.test", "port": 5050},
}


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await condition()
            except Unavailable:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.fixture
async def keeper() -> AsyncIterator[str]:
    """Address of a ZooKeeper with a master on record that only `me` may read."""
    async with MesosLab(zookeeper=True) as lab:
        assert lab.zookeeper is not None

        def write() -> None:
            client = KazooClient(lab.zookeeper.address if lab.zookeeper else "")
            client.start()
            mine = [make_digest_acl("me", "p@ss", all=True), make_acl("world", "anyone", create=True)]
            client.create("/mesos", acl=mine)
            client.create("/mesos/json.info_0000000001", json.dumps(MASTER).encode(), acl=mine)
            client.stop()
            client.close()

        await asyncio.to_thread(write)
        yield lab.zookeeper.address


async def led(text: str, *, by_name: bool = False) -> str:
    leading = LeadingMaster(ZooKeeperAddress.parse(text), session_seconds=2.0, by_name=by_name)
    try:
        return await leading.leader(patience_seconds=10.0)
    finally:
        await leading.close()


async def test_zookeeper_tells_who_shows_a_password(keeper: str, free_port: Callable[[], int]) -> None:
    # The first of the servers does not answer, as one that is being repaired.
    assert await led(f"zk://me:p%40ss@127.0.0.1:{free_port()},{keeper}/mesos") == "10.0.0.1:5050"
    assert await led(f"zk://me:p%40ss@{keeper}/mesos", by_name=True) == "master.test:5050"


async def test_zookeeper_tells_nobody_else(keeper: str) -> None:
    leading = LeadingMaster(ZooKeeperAddress.parse(f"zk://me:wrong@{keeper}/mesos"), session_seconds=2.0)
    with pytest.raises(ZooKeeperUnavailable, match="NoAuth"):
        await leading.leader(patience_seconds=2.0)
    await leading.close()


async def test_of_a_list_each_master_is_tried(tmp_path: Path, free_port: Callable[[], int]) -> None:
    master = FakeMaster()
    master.script, master.answers = [subscribed()], knows
    await master.start()
    access = MesosAccess(master=f"127.0.0.1:{free_port()},{master.address}")
    cipher = KeyFileCipher(tmp_path / "keys")
    async with open_mesos(access, EXECUTOR, MemoryStore(), cipher, SystemClock(), "cluster") as engine:
        await until(engine.tasks)
    assert len(master.of("SUBSCRIBE")) == 1
    await master.stop()


async def test_a_real_standby_that_is_named_first_says_who_leads(tmp_path: Path) -> None:
    async with MesosLab(zookeeper=True) as lab:
        await lab.start_master()
        await lab.start_master()
        leader = await lab.leader()
        (standby,) = [one for one in lab.masters if one is not leader]
        asked: list[str] = []

        async def named() -> str:
            asked.append(standby.address)
            return standby.address

        client = SchedulerClient(named)
        try:
            async with asyncio.timeout(20):
                framework = {
                    "user": "root",
                    "name": "standby",
                    "roles": ["*"],
                    "capabilities": [{"type": "MULTI_ROLE"}],
                }
                while True:
                    try:
                        event = await anext(client.subscribe(framework))
                        break
                    except MesosUnavailable:  # a standby hears a moment later than others who leads
                        await asyncio.sleep(0.05)
            assert event.subscribed is not None
            assert set(asked) == {standby.address}
            assert client.master.rpartition(":")[2] == leader.address.rpartition(":")[2]
        finally:
            await client.close()
