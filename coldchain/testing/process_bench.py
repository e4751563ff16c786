"""A bench for the process runner: one folder of tasks, and runners on it, one after the other."""

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from coldchain.model.app import App
from coldchain.model.task import TaskSpec, TaskStatus
from coldchain.runners.process import ProcessRunner, ProcessSettings
from coldchain.runners.process.folder import TaskFolder, folder_name, start_ticks
from coldchain.testing.sandbox import inside

PATIENCE_SECONDS = 30.0


class Bench:
    """A folder for tasks, and as many runners on it, one after the other, as a test needs."""

    def __init__(self) -> None:
        assert inside(), "run this through bin/test"
        self.root = Path(tempfile.mkdtemp(prefix="coldchain-tasks-"))
        self.root.chmod(0o755)
        self.settings: dict[str, Any] = {
            "cgroup_parent": f"{os.environ['COLDCHAIN_CGROUP_PARENT']}/{self.root.name}",
            "root_allowed": True,
        }
        self._runners: list[ProcessRunner] = []

    def runner(self, **settings: Any) -> ProcessRunner:
        """Another runner; settings given replace the bench's."""
        runner = ProcessRunner(self.root / "tasks", ProcessSettings(**(self.settings | settings)))
        self._runners.append(runner)
        return runner

    def folder(self, spec: TaskSpec) -> TaskFolder:
        """Where the task is kept."""
        return TaskFolder(self.root / "tasks" / folder_name(spec.task_id))

    async def close(self) -> None:
        """End everything; nothing may be left."""
        runner = self.runner()
        for task in await runner.tasks():
            await runner.kill(task.task_id, 0.0)
            await runner.forget(task.task_id)
        left = [path.name for path in (self.root / "tasks").iterdir()]
        for each in self._runners:
            await each.close()
        shutil.rmtree(self.root, ignore_errors=True)
        assert left == []


def make_spec(cmd: str | None = None, **fields: Any) -> TaskSpec:
    """A task of root's, unless `fields` of the app say otherwise."""
    number = uuid.uuid4().hex[:10]
    app = App(**({"id": "/bench/app", "cmd": cmd, "cpus": 0.1, "mem": 64, "user": "root"} | fields))
    return TaskSpec(
        task_id=f"bench_app.instance-{number}._app.1",
        instance_id=f"bench_app.instance-{number}",
        app_id=app.id,
        version_id="2026-11-23T00:00:00.000Z",
        target="cluster",
        agent="agent-1",
        app=app,
        image=None,
        address=None,
        host_ports=(31001,),
    )


async def ended(runner: ProcessRunner, spec: TaskSpec) -> TaskStatus:
    """Launch, and wait for the end."""
    updates = runner.updates()
    await runner.launch(spec)
    return await end_of(runner, spec, updates)


async def end_of(runner: ProcessRunner, spec: TaskSpec, updates: AsyncIterator[TaskStatus]) -> TaskStatus:
    """The task\'s end, from a listing or from updates that began before."""
    async with asyncio.timeout(PATIENCE_SECONDS), aclosing(updates) as stream:  # type: ignore[type-var]
        for status in await runner.tasks():
            if status.task_id == spec.task_id and status.terminal:
                return status
        async for status in stream:
            if status.task_id == spec.task_id and status.terminal:
                return status
    raise AssertionError("the updates ended")


async def output(runner: ProcessRunner, spec: TaskSpec, *, follow: bool = False) -> bytes:
    """All that is kept of it; with `follow` up to the task's end."""
    return b"".join([piece async for piece in runner.logs(spec.task_id, follow=follow, tail=None)])


async def lines(runner: ProcessRunner, spec: TaskSpec, count: int) -> list[str]:
    """The first lines, as soon as they are there."""
    text = b""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with aclosing(runner.logs(spec.task_id, follow=True, tail=None)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                text += piece
                if text.count(b"\n") >= count:
                    break
    return text.decode().splitlines()


async def gone(pid: int) -> None:
    """Wait until the process has ended."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while start_ticks(pid) is not None:
            await asyncio.sleep(0.02)
