"""Engine local: what it offers and how it merges runners."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from coldchain.engines.local import LocalEngine, LocalEngineSettings, memory_total_mib, merged, not_offered
from coldchain.model.app import App, Container, Docker
from coldchain.model.errors import NotFound, Rejected, Unavailable
from coldchain.model.task import TaskSpec, TaskStatus
from coldchain.ports.engine import Progress


def status(task_id: str) -> TaskStatus:
    return TaskStatus(
        task_id=task_id, instance_id="i", app_id="/a", target="cluster", agent="box", state="running", at=0.0
    )


class TableRunner:
    """A runner of a few tasks that are simply there."""

    def __init__(self, *task_ids: str) -> None:
        self.task_ids = task_ids
        self.launched: list[str] = []
        self.killed: list[str] = []

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None:
        return "prepared"

    async def launch(self, spec: TaskSpec) -> None:
        self.launched.append(spec.task_id)

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        self.killed.append(task_id)

    async def forget(self, task_id: str) -> None: ...

    async def tasks(self) -> Sequence[TaskStatus]:
        return [status(task_id) for task_id in self.task_ids]

    async def updates(self) -> AsyncIterator[TaskStatus]:
        for task_id in self.task_ids:
            yield status(task_id)
        await asyncio.Event().wait()

    async def logs(
        self, task_id: str, *, follow: bool, tail: int | None, since: float | None = None
    ) -> AsyncIterator[bytes]:
        if task_id not in self.task_ids:
            raise NotFound(task_id)
        yield task_id.encode()

    async def close(self) -> None: ...


async def fixed_subnet() -> str | None:
    return "10.201.0.0/16"


async def test_the_offer() -> None:
    settings = LocalEngineSettings(
        cpu_factor=2.0, memory_reserve_mib=1e9, port_first=100, port_last=200, attributes={"rack": "r1"}, zone="z1"
    )
    (offer,) = await LocalEngine("box", {}, settings, subnet=fixed_subnet, target="edge").offers()
    assert (offer.agent, offer.hostname, offer.target) == ("box", "box", "edge")
    assert offer.cpus >= 2.0
    assert offer.mem == 0.0
    assert (offer.port_ranges, offer.subnet) == (((100, 200),), "10.201.0.0/16")
    assert (offer.attributes, offer.region, offer.zone) == ({"rack": "r1"}, None, "z1")


async def test_runners_are_merged() -> None:
    docker, process = TableRunner("d1"), TableRunner("p1", "p2")
    engine = LocalEngine("box", {"docker": docker, "process": process}, LocalEngineSettings())
    assert [one.task_id for one in await engine.tasks()] == ["d1", "p1", "p2"]
    updates = engine.updates()
    assert {(await anext(updates)).task_id for _ in range(3)} == {"d1", "p1", "p2"}
    assert [piece async for piece in engine.logs("p2", follow=False, tail=None)] == [b"p2"]
    with pytest.raises(NotFound):
        [piece async for piece in engine.logs("x", follow=False, tail=None)]
    await engine.kill("p1", 1.0)
    assert docker.killed == process.killed == ["p1"]


async def test_an_app_goes_to_the_runner_of_its_kind() -> None:
    engine = LocalEngine("box", {"docker": TableRunner()}, LocalEngineSettings())
    app = App(id="/a", container=Container(docker=Docker(image="i")))
    assert await engine.prepare(app, None, lambda _: None) == "prepared"
    with pytest.raises(Rejected, match="no process runner"):
        await engine.prepare(App(id="/a"), None, lambda _: None)


async def test_one_broken_stream_ends_all() -> None:
    async def broken() -> AsyncIterator[TaskStatus]:
        yield status("b")
        raise Unavailable("gone")

    stream = merged([TableRunner("a").updates(), broken()])
    assert {(await anext(stream)).task_id, (await anext(stream)).task_id} == {"a", "b"}
    with pytest.raises(Unavailable, match="gone"):
        await anext(stream)


def test_memory() -> None:
    assert memory_total_mib("MemTotal:        2048 kB\nMemFree: 1 kB\n") == 2.0
    with pytest.raises(ValueError, match="MemTotal"):
        memory_total_mib("")


def test_gpus_are_refused_before_anything_waits_for_them() -> None:
    assert [one.path for one in not_offered(App(id="/a", cmd="x", gpus=1))] == ["/gpus"]
    assert not not_offered(App(id="/a", cmd="x"))
