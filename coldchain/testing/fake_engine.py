"""FakeEngine: fake agents in the hands of a test; time comes from a Clock.

It can stop answering, carry a request out and lose the reply, lose updates, crash a task, and lose a whole agent. It
counts what it created and deleted.
"""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any, Literal

import msgspec

from coldchain.engines.fake import SIGKILL_STATUS, FakeAgents, FakeTask, Life
from coldchain.model.app import App
from coldchain.model.errors import Unavailable
from coldchain.model.offer import Offer
from coldchain.model.task import Execution, TaskSpec, TaskStatistics, TaskStatus
from coldchain.ports.clock import Clock
from coldchain.ports.engine import Progress
from coldchain.ports.session import Session, TerminalSize
from coldchain.testing.fake_session import FakeSession

__all__ = ["ONE_AGENT", "FakeEngine", "FakeTask", "Life"]

ONE_AGENT = Offer(
    agent="agent-1",
    target="cluster",
    hostname="agent-1",
    cpus=64.0,
    mem=65536.0,
    disk=1048576.0,
    port_ranges=((31000, 32000),),
    subnet="10.201.0.0/16",
)


class FakeEngine(FakeAgents):
    """Set `available` to False and it answers nothing and breaks the updates.

    `loses_reply(operation)` is asked after each operation that changes something (`prepare`, `launch`, `kill`,
    `forget`): True, and the caller gets Unavailable for what was done. `loses_update(status)`: True, and nobody hears.
    """

    def __init__(self, clock: Clock, *, agents: Sequence[Offer] = (ONE_AGENT,), **options: Any) -> None:
        super().__init__(clock, agents=agents, **options)
        self.loses_reply: Callable[[str], bool] = lambda operation: False
        self.loses_update: Callable[[TaskStatus], bool] = lambda status: False
        self.created: Counter[str] = Counter()
        self.deleted: Counter[str] = Counter()
        self.prepared: Counter[str] = Counter()
        self._available = True

    # Hands of the test

    @property
    def available(self) -> bool:
        return self._available

    @available.setter
    def available(self, answer: bool) -> None:
        self._available = answer
        if not answer:
            self.break_updates()

    def break_updates(self) -> None:
        """Every stream of updates ends by Unavailable; the engine itself answers on."""
        for listener in self._listeners:
            listener.put_nowait(self._silence())

    def crash(self, task_id: str, exit_status: int = SIGKILL_STATUS) -> None:
        """The task ends now, by itself or by someone else's hand."""
        self._end(self.held[task_id], "failed", exit_status, f"exit status {exit_status}")

    def vanish(self, task_id: str) -> None:
        """The task and all that is left of it are gone, and nobody is told (a reboot, a `docker rm -f`)."""
        self._drop(task_id)

    def orphan(self, task_id: str, who: Literal["", "executor", "agent"]) -> None:
        """Nobody answers for the running task any more, because this is gone; empty: somebody does again."""
        task = self.held[task_id]
        words = f"its {who} is gone" if who else ""
        task.status = msgspec.structs.replace(task.status, orphaned=who, message=words)
        self._tell(task.status)

    def move(self, task_id: str, address: str) -> None:
        """Its network has it at another address, as when its container was started anew."""
        task = self.held[task_id]
        task.status = msgspec.structs.replace(task.status, address=address)
        self._tell(task.status)

    def lose_agent(self, agent: str) -> None:
        """The agent is gone with all its tasks, which are reported lost."""
        del self._agents[agent]
        for task in tuple(self.held.values()):
            if task.spec.agent == agent:
                self._end(task, "lost", None, f"agent {agent} is lost")

    def add_agent(self, offer: Offer) -> None:
        self._agents[offer.agent] = offer

    def task_at(self, address: str, port: int) -> FakeTask | None:
        """The running task that listens there: what a prober or a gateway would reach."""
        for task in self.held.values():
            status = task.status
            if status.state in ("running", "killing") and status.address == address and port in status.ports:
                return task
        return None

    # Port Engine

    async def offers(self) -> Sequence[Offer]:
        self._answer()
        return await super().offers()

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None:
        self._answer()
        prepared = await super().prepare(app, image, progress)
        if app.container is not None:
            self.prepared[app.id] += 1
            self._reply("prepare")
        return prepared

    async def launch(self, spec: TaskSpec) -> None:
        self._answer()
        await super().launch(spec)
        self._reply("launch")

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        self._answer()
        await super().kill(task_id, grace_seconds)
        self._reply("kill")

    async def forget(self, task_id: str) -> None:
        self._answer()
        await super().forget(task_id)
        self._reply("forget")

    async def tasks(self) -> Sequence[TaskStatus]:
        self._answer()
        return await super().tasks()

    def updates(self) -> AsyncGenerator[TaskStatus, None]:
        following = super().updates()
        if not self._available:
            self._listeners[-1].put_nowait(self._silence())
        return following

    async def logs(
        self, task_id: str, *, follow: bool, tail: int | None, since: float | None = None
    ) -> AsyncIterator[bytes]:
        self._answer()
        async for line in super().logs(task_id, follow=follow, tail=tail, since=since):
            yield line

    async def execute(self, task_id: str, command: str, timeout_seconds: float) -> Execution:
        self._answer()
        return await super().execute(task_id, command, timeout_seconds)

    async def network_namespace(self, task_id: str) -> str | None:
        self._answer()
        return await super().network_namespace(task_id)

    async def statistics(self, task_id: str) -> TaskStatistics:
        self._answer()
        return await super().statistics(task_id)

    async def open_session(self, task_id: str, command: Sequence[str], size: TerminalSize | None) -> Session:
        self._answer()
        self._check_runs(task_id)
        return FakeSession(command, size)

    # Lives

    def _create(self, spec: TaskSpec, life: Life) -> None:
        super()._create(spec, life)
        self.created[spec.app_id] += 1

    def _drop(self, task_id: str) -> None:
        self.deleted[self.held[task_id].spec.app_id] += 1
        super()._drop(task_id)

    def _tell(self, status: TaskStatus) -> None:
        if self._available and not self.loses_update(status):
            super()._tell(status)

    # Answers

    def _answer(self) -> None:
        if not self._available:
            raise self._silence()

    def _reply(self, operation: str) -> None:
        if self.loses_reply(operation):
            raise Unavailable(f"engine {self.target}: the reply to {operation} was lost")

    def _silence(self) -> Unavailable:
        return Unavailable(f"engine {self.target} does not answer")
