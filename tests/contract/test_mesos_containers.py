"""Engine mesos with agents that run containers themselves, against a master over HTTP that tells what a test lets it
tell; and output of tasks, against the files of an agent over HTTP."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from coldchain.clients.mesos.agent import AgentClient, FilesUnavailable, NoFile
from coldchain.documents import keys, stored
from coldchain.engines.mesos import MesosEngine, MesosSettings
from coldchain.engines.mesos.sandbox import PIECE_BYTES
from coldchain.model.app import App
from coldchain.model.errors import NotFound, Rejected, Unavailable
from coldchain.model.mesos import MesosTask
from coldchain.model.task import TaskSpec, TaskStatus
from coldchain.testing.engine_labs import make_spec
from coldchain.testing.fake_master import offers, subscribed, update
from coldchain.testing.mesos_bench import Bench

SETTINGS = MesosSettings(settle_seconds=1.0, launch_seconds=1.0, containerizer="docker", pids_max=64)


class AgentFiles:
    """The files of an agent, by the whole of their content; `asked`: paths."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.refuses = self.broken = False
        application = web.Application()
        application.router.add_post("/slave(1)/api/v1", self._answer)  # their word
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        self.url = {"scheme": "http", "address": {"ip": "127.0.0.1", "port": self.port}, "path": "/slave(1)"}

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        call = await request.json()
        assert call["type"] == "READ_FILE"
        read = call["read_file"]
        self.asked.append(read["path"])
        if self.refuses:
            return web.Response(status=403, text="who are you")
        if self.broken:
            return web.Response(text="[]")
        content = self.contents.get(read["path"])
        if content is None:
            return web.Response(status=404, text="no such file")
        piece = content[read["offset"] : read["offset"] + read["length"]]
        answer = {"size": len(content), "data": base64.b64encode(piece).decode()}
        return web.json_response({"type": "READ_FILE", "read_file": answer})


class ContainersBench(Bench):
    """A master, one agent, a store, and engines, one after the other."""

    def __init__(self, agent: AgentFiles) -> None:
        super().__init__()
        self.agent = agent
        self.master.script = [subscribed(), offers("O1", url=agent.url)]

    async def engine(self, settings: MesosSettings = SETTINGS) -> MesosEngine:
        return await super().engine(settings)

    async def launched(self, engine: MesosEngine, spec: TaskSpec) -> dict[str, Any]:
        """Launched, and told to run; what Mesos was asked for."""
        launching = asyncio.create_task(engine.launch(spec))
        accepted = await self.master.until("ACCEPT", len(self.master.of("ACCEPT")) + 1)
        self.master.say(said(spec, "RUNNING"))
        await launching
        [task] = accepted["accept"]["operations"][0]["launch"]["task_infos"]
        return dict(task)

    async def records(self) -> list[MesosTask]:
        entries = (await self.store.list(keys.mesos_tasks("cluster"))).entries
        return [stored.decode(one.value, MesosTask) for one in entries]


def said(spec: TaskSpec, state: str, message: str = "", source: str = "SOURCE_EXECUTOR") -> dict[str, Any]:
    return update(spec.task_id, f"TASK_{state}", source=source, message=message, uuid=f"{state} {spec.task_id}")


async def state_of(engine: MesosEngine, spec: TaskSpec, *wanted: str) -> TaskStatus:
    async with asyncio.timeout(10):
        while True:
            found = [one for one in await engine.tasks() if one.task_id == spec.task_id and one.state in wanted]
            if found:
                return found[0]
            await asyncio.sleep(0.01)


@pytest.fixture
async def agent() -> AsyncIterator[AgentFiles]:
    made = AgentFiles()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def bench(agent: AgentFiles) -> AsyncIterator[ContainersBench]:
    async with ContainersBench(agent) as made:
        yield made


async def test_a_task_goes_without_an_executor_and_its_record_says_so(bench: ContainersBench) -> None:
    engine = await bench.engine()
    [offer] = await engine.offers()
    assert (offer.containerizer, offer.cpus) == (True, 4.0)
    spec = make_spec("serves")
    task = await bench.launched(engine, spec)
    assert (task["container"]["type"], "executor" in task, "data" in task) == ("DOCKER", False, False)
    [record] = await bench.records()
    assert (record.executor_id, record.agent_url) == ("", f"http://127.0.0.1:{bench.agent.port}/slave(1)")
    acknowledged = await bench.master.until("ACKNOWLEDGE")
    assert acknowledged["acknowledge"]["task_id"] == {"value": spec.task_id}
    assert await engine.prepare(spec.app, None, lambda words: None) == "coldchain/shop:v1"


async def test_what_mesos_ran_itself_and_lost_has_failed_and_is_not_taken_over(bench: ContainersBench) -> None:
    engine = await bench.engine()
    spec = make_spec("serves")
    await bench.launched(engine, spec)
    bench.master.say(said(spec, "FAILED", "Executor terminated", "SOURCE_AGENT"))
    failed = await state_of(engine, spec, "failed")
    assert failed.message == "Mesos says failed: Executor terminated"
    bench.master.say(offers("O2", url=bench.agent.url))
    other = make_spec("serves")
    await bench.launched(engine, other)
    launched = [one["accept"]["operations"][0]["launch"]["task_infos"] for one in bench.master.of("ACCEPT")]
    assert [[task["task_id"]["value"] for task in some] for some in launched] == [[spec.task_id], [other.task_id]]
    await engine.forget(spec.task_id)
    async with asyncio.timeout(10):
        while [one.task_id for one in await bench.records()] != [other.task_id]:
            await asyncio.sleep(0.01)


async def test_a_container_that_cannot_begin_is_refused_to_who_launched_it(bench: ContainersBench) -> None:
    engine = await bench.engine()
    spec = make_spec("serves")
    launching = asyncio.create_task(engine.launch(spec))
    await bench.master.until("ACCEPT")
    bench.master.say(said(spec, "FAILED", "Failed to pull: no such image", "SOURCE_AGENT"))
    with pytest.raises(Rejected, match="no such image"):
        await launching
    assert await engine.tasks() == []


async def test_what_needs_an_executor_waits_in_vain_there(bench: ContainersBench) -> None:
    engine = await bench.engine()
    with pytest.raises(Rejected, match="offered too little"):
        await engine.launch(make_spec("serves", app=App(id="/p", cmd="serve"), host_ports=()))
    assert bench.master.of("ACCEPT") == []


async def test_a_framework_that_mesos_has_forgotten_has_none_of_its_containers(bench: ContainersBench) -> None:
    engine = await bench.engine()
    spec = make_spec("serves")
    await bench.launched(engine, spec)
    bench.master.script = [subscribed("G"), offers("O9", url=bench.agent.url)]
    bench.master.cut()
    await bench.master.until("SUBSCRIBE", 2)

    async def failed() -> TaskStatus:
        while True:
            try:
                return await state_of(engine, spec, "failed")
            except Unavailable:
                await asyncio.sleep(0.01)

    async with asyncio.timeout(10):
        assert (await failed()).message == "Mesos has forgotten this framework"
    assert len(bench.master.of("ACCEPT")) == 1


async def test_output_is_that_of_the_sandbox(bench: ContainersBench) -> None:
    engine = await bench.engine()
    spec = make_spec("serves")
    await bench.launched(engine, spec)
    folder = f"/frameworks/F/executors/{spec.task_id}/runs/latest"
    lines = b"".join(b"line %d of \xff\n" % number for number in range(20_000))
    bench.agent.contents = {f"{folder}/stdout": lines, f"{folder}/stderr": b"one\ntwo\nthree"}
    assert len(lines) > 3 * PIECE_BYTES

    async def read(tail: int | None = None, *, follow: bool = False) -> bytes:
        return b"".join([piece async for piece in engine.logs(spec.task_id, follow=follow, tail=tail)])

    assert await read() == lines + b"one\ntwo\nthree"
    assert await read(2) == b"line 19998 of \xff\nline 19999 of \xff\ntwo\nthree"
    assert await read(10_000) == lines[lines.index(b"line 10000 ") :] + b"one\ntwo\nthree"
    assert await read(30_000) == lines + b"one\ntwo\nthree"
    assert await read(0) == b""

    came = []
    async with asyncio.timeout(10):
        async for piece in engine.logs(spec.task_id, follow=True, tail=1):
            came.append(piece)
            if piece == b"three":
                bench.agent.contents[f"{folder}/stdout"] += b"later\n"
            elif piece == b"later\n":
                bench.master.say(said(spec, "FAILED", "Container exited with status 3"))
    assert came == [b"line 19999 of \xff\n", b"three", b"later\n"]
    bench.agent.contents.clear()
    with pytest.raises(NotFound, match="is kept on its agent"):
        await read()
    other = make_spec("serves")
    bench.master.say(offers("O2", url=bench.agent.url))
    await bench.launched(engine, other)
    with pytest.raises(Unavailable, match="is there yet"):
        [piece async for piece in engine.logs(other.task_id, follow=False, tail=None)]
    bench.agent.broken = True
    with pytest.raises(Unavailable, match="means nothing"):
        await read()


async def test_the_client_of_agents_tells_no_file_from_no_answer(agent: AgentFiles) -> None:
    client, url = AgentClient(), f"http://127.0.0.1:{agent.port}/slave(1)"
    agent.contents["/a"] = b"abc"
    assert await client.read_file(url, "/a", 1, 5) == (b"bc", 3)
    with pytest.raises(NoFile):
        await client.read_file(url, "/b", 0, 1)
    agent.refuses = True
    with pytest.raises(FilesUnavailable, match="refuses: who are you"):
        await client.read_file(url, "/a", 0, 1)
    await agent.stop()
    with pytest.raises(FilesUnavailable, match=r"the agent at http:.* does not answer"):
        await client.read_file(url, "/a", 0, 1)
    await client.close()
    over_tls = AgentClient(ssl.create_default_context())
    with pytest.raises(FilesUnavailable, match=r"the agent at https:.* does not answer"):
        await over_tls.read_file(url, "/a", 0, 1)
    await over_tls.close()
