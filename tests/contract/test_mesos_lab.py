"""The lab itself: what tests of the engine and of the executor rely on."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coldchain.model.errors import Unavailable
from coldchain.testing.mesos import cable, library
from coldchain.testing.mesos.bare_scheduler import BareScheduler
from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.settings import AgentSettings, MasterSettings

QUICK = AgentSettings(executor_reregistration_timeout_seconds=0.5, executor_shutdown_grace_seconds=0.5)
STUBBORN = "trap '' TERM HUP; setsid sh -c 'sleep 1000 & sleep 1000' & exec sleep 1000"
"""Leaves its process group and session, and its parent."""

LAB_OF_ITS_OWN = """
import asyncio, json, sys
from coldchain.testing.mesos.bare_scheduler import BareScheduler
from coldchain.testing.mesos.lab import MesosLab

async def main():
    async with MesosLab(zookeeper=True, tls=True) as lab:
        await lab.start_master()
        agent = await lab.start_agent()
        async with BareScheduler(lab) as scheduler:
            offer = await scheduler.offer()
            await scheduler.launch(offer, scheduler.task("task", offer, sys.argv[1]))
            await scheduler.update("task", "TASK_RUNNING")
            await agent.has(3, "sleep")
            await agent.kill()  # the executor now has no agent above it
            machines = [*lab.masters, agent, lab.zookeeper]
            print(json.dumps([str(lab.folder), [one for each in machines for one in each.processes]]), flush=True)
            await asyncio.sleep(1000)

asyncio.run(main())
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where labs of this test put their files; nothing may be left in it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def alive(numbers: list[int]) -> list[int]:
    found = []
    for number in numbers:
        try:
            state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.append(number)
    return found


async def test_agents_register_with_what_sets_them_apart() -> None:
    settings = AgentSettings(
        hostname="one.test",
        attributes={"rack": "a", "disk": "ssd"},
        resources="cpus:2;mem:512;disk:100",
        variables={"NAME": "value"},
    )
    async with MesosLab() as lab:
        await lab.start_master()
        await lab.start_agent(settings)
        await lab.start_agent()
        await lab.start_agent()
        await lab.registered(3)
        async with BareScheduler(lab) as scheduler:
            offer = await scheduler.offer("one.test")
            ports = [await scheduler.offer(f"agent-{number}") for number in (2, 3)]
            await scheduler.launch(offer, scheduler.task("task", offer, "echo $COLDCHAIN_LAB_AGENT $NAME; pwd"))
            await scheduler.update("task", "TASK_FINISHED")
            folder = (Path(lab.agents[0].work_directory) / "slaves").rglob("stdout")  # their word
            said = await lab.agents[0].api.read_file(str(next(folder)))
    assert {each["name"]: each["text"]["value"] for each in offer["attributes"]} == {"rack": "a", "disk": "ssd"}
    assert {each["name"]: each["scalar"]["value"] for each in offer["resources"] if "scalar" in each} == {
        "cpus": 2.0,
        "mem": 512.0,
        "disk": 100.0,
    }
    (one,), (other,) = ([each["ranges"] for each in port["resources"] if each["name"] == "ports"] for port in ports)
    assert one["range"][0]["end"] < other["range"][0]["begin"]
    assert said.splitlines()[0] == "one.test value"


async def test_an_agent_with_an_address_of_its_own_is_cut_off_without_a_word() -> None:
    address = "10.177.1.1"
    cable.give_address(address)
    async with MesosLab() as lab:
        await lab.start_master()
        agent = await lab.start_agent(AgentSettings(address=address))
        await lab.registered(1)
        host, _, port = agent.address.partition(":")
        assert host == address
        reader, writer = await asyncio.open_connection(host, int(port))
        cable.pull(address)
        agent.freeze(whole=True)
        writer.write(b"GET /health HTTP/1.1\r\nHost: agent\r\n\r\n")
        answer = asyncio.create_task(reader.readline())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.open_connection(host, int(port))
        assert not answer.done(), "nothing is reset"
        agent.thaw(whole=True)
        cable.plug_in(address)
        assert await answer == b"HTTP/1.1 200 OK\r\n"
        writer.close()


async def test_a_task_goes_on_while_its_agent_is_killed_and_started_again() -> None:
    async with MesosLab() as lab:
        await lab.start_master()
        agent = await lab.start_agent(QUICK)
        async with BareScheduler(lab) as scheduler:
            offer = await scheduler.offer()
            await scheduler.launch(offer, scheduler.task("task", offer))
            executor = (await scheduler.update("task", "TASK_RUNNING"))["container_status"]["executor_pid"]
            before, server = await agent.agent_id(), agent.pid
            await agent.restart()
            assert await agent.agent_id() == before
            assert agent.pid != server
            assert executor in agent.processes
            assert (await lab.operator.used())["agent-1"] == {"cpus": 0.2, "mem": 48.0}
            assert await lab.operator.twice_counted() == []
            await scheduler.kill("task")
            await scheduler.update("task", "TASK_KILLED")


async def test_an_agent_that_is_shut_down_takes_its_executors_along_and_is_forgotten() -> None:
    async with MesosLab() as lab:
        await lab.start_master()
        agent = await lab.start_agent(QUICK)
        async with BareScheduler(lab) as scheduler:
            offer = await scheduler.offer()
            await scheduler.launch(offer, scheduler.task("task", offer))
            await scheduler.update("task", "TASK_RUNNING")
            await agent.shut_down()
            assert agent.processes == []
            assert await lab.operator.agents() == []


async def test_of_three_masters_another_leads_when_one_is_killed_or_frozen() -> None:
    settings = MasterSettings(registry="replicated_log", quorum=2)
    async with MesosLab(zookeeper=True) as lab:
        for _ in range(3):
            await lab.start_master(settings)
        agent = await lab.start_agent()
        await lab.registered(1)
        identity = await agent.agent_id()
        first = await lab.leader()
        for master in lab.masters:
            await master.joined()
        await first.kill()
        second = await lab.leader()
        assert second is not first
        await lab.registered(1)
        assert await agent.agent_id() == identity
        first.start()
        await first.joined()
        second.freeze()
        third = await lab.leader()
        assert third is not second
        await lab.registered(1)
        second.thaw()
        await second.ended()  # a master that finds itself deposed ends
        assert await lab.leader() is third


async def test_a_master_alone_keeps_its_registry_over_a_restart() -> None:
    async with MesosLab() as lab:
        master = await lab.start_master(MasterSettings(registry="replicated_log"))
        agent = await lab.start_agent()
        identity = await agent.agent_id()
        await agent.kill()
        await master.kill()
        master.start()
        await lab.leader()
        recovered = (await lab.operator.call("GET_AGENTS"))["get_agents"]["recovered_agents"]
        assert [one["id"]["value"] for one in recovered] == [identity]


async def test_many_simulated_agents_in_one_process() -> None:
    async with MesosLab() as lab:
        await lab.start_master()
        machine = await lab.start_simulated_agents(40, AgentSettings(attributes={"rack": "a"}))
        await lab.registered(40)
        assert len(machine.processes) == 1
        async with BareScheduler(lab) as scheduler:
            offer = await scheduler.offer("simulated-40")
            await scheduler.launch(offer, scheduler.task("task", offer, "echo $COLDCHAIN_LAB_AGENT"))
            await scheduler.update("task", "TASK_FINISHED")
    assert offer["attributes"][0]["text"]["value"] == "a"


async def test_what_closes_leaves_neither_processes_nor_files(temporary: Path) -> None:
    async with MesosLab() as lab:
        await lab.start_master()
        agent = await lab.start_agent()
        async with BareScheduler(lab, leaves=True) as scheduler:
            offer = await scheduler.offer()
            await scheduler.launch(offer, scheduler.task("task", offer, STUBBORN))
            await scheduler.update("task", "TASK_RUNNING")
            await agent.has(3, "sleep")
        processes = [*agent.processes, *lab.masters[0].processes]
        assert len(alive(processes)) >= 6
        agent.freeze(whole=True)
    assert alive(processes) == []


async def test_what_is_killed_leaves_neither_processes_nor_files(temporary: Path) -> None:
    command = [sys.executable, "-c", LAB_OF_ITS_OWN, STUBBORN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as test:
        try:
            assert test.stdout is not None
            folder, processes = json.loads(test.stdout.readline())
            assert len(alive(processes)) >= 6
            assert Path(folder).exists()
        finally:
            os.killpg(test.pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        while alive(processes) or Path(folder).exists():
            await asyncio.sleep(0.02)


async def test_a_keeper_that_is_killed_takes_its_server_along(temporary: Path) -> None:
    async with MesosLab() as lab:
        master = await lab.start_master()
        server = master.pid
        os.kill(master.keeper_pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            while alive([server]):
                await asyncio.sleep(0.02)
        with pytest.raises(Unavailable, match="keeper of master-1"):
            master.start()


async def test_a_server_that_ends_at_once_is_told_with_its_last_words(temporary: Path) -> None:
    async with MesosLab() as lab:
        with pytest.raises(Unavailable, match="nonsense"):
            await lab.start_master(MasterSettings(flags={"registry": "nonsense"}))


def test_a_damaged_library_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network it can only be said; the file is there, so only its content tells."""
    damaged = library.folder(tmp_path)
    damaged.mkdir()
    shutil.copy(library.find_library() / "libmesos.so", damaged)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(Unavailable, match="cannot be fetched"):
        library.find_library(tmp_path)
