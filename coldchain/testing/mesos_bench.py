"""A bench for engine mesos: a master that tells what it is let tell, a store, and engines, one after the other."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Self

from coldchain.clients.mesos.scheduler import SchedulerClient
from coldchain.control.clock import SystemClock
from coldchain.documents import keys, stored
from coldchain.documents.executor_messages import encode
from coldchain.engines.mesos import MesosEngine, MesosSettings
from coldchain.model.errors import Unavailable
from coldchain.model.executor import ExecutorSettings, TaskReport
from coldchain.model.mesos import MesosTask
from coldchain.model.task import TaskSpec, TaskStatus
from coldchain.runners.remote import RemoteRunner
from coldchain.store.memory import MemoryStore
from coldchain.testing.engine_labs import make_spec
from coldchain.testing.fake_master import FakeMaster, knows, offers, subscribed, update

SETTINGS = MesosSettings(settle_seconds=1.0, launch_seconds=1.0)


class Bench:
    """A context manager: its master is there in it."""

    def __init__(self) -> None:
        self.master = FakeMaster()
        self.master.script = [subscribed(), offers("O1")]
        self.master.answers = knows
        self.store = MemoryStore()
        self.engines: list[MesosEngine] = []

    async def engine(self, settings: MesosSettings = SETTINGS) -> MesosEngine:
        async def find_master() -> str:
            return self.master.address

        engine = MesosEngine(
            SchedulerClient(find_master),
            self.store,
            SystemClock(),
            settings,
            ExecutorSettings(controller_id="c", version="1"),
            key=b"k",
            reach=RemoteRunner,
        )
        self.engines.append(engine)
        await engine.start()
        return engine

    async def __aenter__(self) -> Self:
        await self.master.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        for engine in self.engines:
            await engine.close()
        await self.master.stop()

    async def running(self, engine: MesosEngine, spec: TaskSpec) -> None:
        """Launched, and told to run."""
        accepted = len(self.master.of("ACCEPT")) + 1
        launching = asyncio.create_task(engine.launch(spec))
        await self.master.until("ACCEPT", accepted)
        self.master.say(report(spec, "running"))
        await launching

    async def known(self, spec: TaskSpec) -> MesosTask | None:
        for one in (await self.store.list(keys.mesos_tasks("cluster"))).entries:
            task = stored.decode(one.value, MesosTask)
            if task.task_id == spec.task_id:
                return task
        return None


def spec_of(name: str, **changes: Any) -> TaskSpec:
    return make_spec("serves", task_id=f"shop.instance-{name}._app.1", instance_id=f"shop.instance-{name}", **changes)


def report(spec: TaskSpec, state: Any, mesos_id: str = "", **more: Any) -> dict[str, Any]:
    """What an executor tells of a task, with an acknowledgement asked for."""
    status = TaskStatus(
        task_id=spec.task_id,
        instance_id=spec.instance_id,
        app_id=spec.app_id,
        target="",
        agent="",
        state=state,
        at=time.time(),
        **more,
    )
    data = encode(TaskReport(address="127.0.0.1", port=1, status=status))
    name = f"TASK_{state.upper()}"
    return update(mesos_id or spec.task_id, name, source="SOURCE_EXECUTOR", uuid=f"{state} {mesos_id}", data=data)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(Unavailable):
                if await condition():
                    return
            await asyncio.sleep(0.01)


async def state_of(engine: MesosEngine, spec: TaskSpec) -> str:
    return next((one.state for one in await engine.tasks() if one.task_id == spec.task_id), "")
