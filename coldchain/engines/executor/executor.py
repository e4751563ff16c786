"""Executor: the tasks of one agent, from the agent's events to the runners and back."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec
import structlog

from coldchain.clients.mesos.executor import ExecutorClient
from coldchain.decisions.executor import (
    Begun,
    End,
    ExecutorState,
    Happening,
    HeldTask,
    LaunchAsked,
    Listed,
    NotBegun,
    Observed,
    Start,
    Tell,
    Update,
    decide,
)
from coldchain.documents.executor_messages import decode, encode
from coldchain.documents.stored import UnreadableDocument
from coldchain.engines.executor.claims import Claims, in_thread
from coldchain.engines.executor.environment import ExecutorEnvironment
from coldchain.engines.executor.link import Link
from coldchain.engines.executor.served import Served
from coldchain.engines.executor.statuses import (
    RUN_BYTES,
    happening_of,
    refusals_of_group,
    update_document,
    without_secrets,
)
from coldchain.engines.executor.sweeper import Sweeper
from coldchain.model.errors import ColdchainError, Rejected, Unavailable
from coldchain.model.executor import ExecutorQuestion, ExecutorReport, ExecutorSettings, TaskDescription
from coldchain.model.task import TaskStatus
from coldchain.ports.clock import Clock
from coldchain.ports.runner import Runner

LISTING_SECONDS = 5.0
"""Between two full listings: how long a lost update of a runner can go unnoticed."""
RETRY_SECONDS, RETRY_SECONDS_MAX = 0.5, 30.0
ADOPTION_SECONDS = 10.0
"""How long a task that runs may still be another executor's when we are to adopt it: that one is about to leave, or
does not know yet that its agent has another id."""
ADOPTION_LOOK_SECONDS = 0.1

log = structlog.get_logger(__name__)

Document = dict[str, Any]
T = TypeVar("T")


class Listener(Protocol):
    """Where the scheduler reaches us."""

    address: str
    port: int


class Machine(NamedTuple):
    """What there is on this machine. `listen`: begins to answer the scheduler with a runner, until the end."""

    runner: Runner
    claims: Claims
    listen: Callable[[Runner], Awaitable[Listener]]


OpenMachine = Callable[[ExecutorSettings], contextlib.AbstractAsyncContextManager[Machine]]


@dataclass(kw_only=True)
class Starting:
    """`cancellable`: nothing of it is with the runner yet."""

    work: asyncio.Task[None]
    cancellable: bool = True


@dataclass(kw_only=True)
class Open:
    """What there is from the first subscription on."""

    machine: Machine
    listener: Listener
    sweeper: Sweeper
    orphans: tuple[TaskStatus, ...] = field(default=())


class Executor:
    """One life of an executor. When it ends, all that runs runs on."""

    def __init__(
        self, client: ExecutorClient, environment: ExecutorEnvironment, clock: Clock, open_machine: OpenMachine
    ) -> None:
        self.state = ExecutorState()
        self._client = client
        self._environment = environment
        self._clock = clock
        self._open_machine = open_machine
        self._link = Link(client, environment, clock, self._unacknowledged, self._handle)
        self._run = secrets.token_bytes(RUN_BYTES)
        self._open: Open | None = None
        self._closing = contextlib.AsyncExitStack()
        self._descriptions: dict[str, Document] = {}
        self._starting: dict[str, Starting] = {}
        self._work: set[asyncio.Task[None]] = set()

    async def run(self) -> str:
        """Until it is to leave; why, in words. Raises ColdchainError where it cannot work at all."""
        async with self._closing:
            try:
                return await self._link.run()
            finally:
                for task in tuple(self._work):
                    task.cancel()
                await asyncio.gather(*self._work, return_exceptions=True)
                await self._client.close()

    # The agent

    async def _handle(self, event: Document) -> None:
        match event["type"]:
            case "SUBSCRIBED":
                await self._subscribed(event["subscribed"])
            case "LAUNCH_GROUP":
                for refusal in refusals_of_group(event):
                    self.happen(refusal)
            case "MESSAGE":
                self._asked(event["message"].get("data", ""))
            case "ERROR":
                log.error("the agent complains", words=event["error"].get("message", ""))
            case _:
                happening = happening_of(event, self._run)
                if isinstance(happening, LaunchAsked):
                    self._descriptions[happening.task_id] = event["launch"]["task"]
                if happening is not None:
                    self.happen(happening)

    async def _subscribed(self, subscribed: Document) -> None:
        capabilities = subscribed["framework_info"].get("capabilities", ())
        tells_killing = {"type": "TASK_KILLING_STATE"} in capabilities
        self.state = msgspec.structs.replace(self.state, tells_killing=tells_killing)
        if self._open is None:
            settings = decode(subscribed["executor_info"].get("data", ""), ExecutorSettings)
            machine = await self._closing.enter_async_context(self._open_machine(settings))
            await in_thread(machine.claims.live_as, self._environment.life)
            await in_thread(machine.claims.keep_settings, settings)
            served = Served(machine.runner, machine.claims, self)
            self._open = Open(
                machine=machine,
                listener=await machine.listen(served),
                sweeper=Sweeper(machine.runner, machine.claims, settings, self._clock),
            )
            self._spawn(self._follow(), "follow")
            self._spawn(self._list(), "list")
            log.info("serving", address=self._open.listener.address, port=self._open.listener.port)
        self._report()

    def _asked(self, data: str) -> None:
        try:
            decode(data, ExecutorQuestion)
        except UnreadableDocument as error:
            log.warning("a message that means nothing", error=str(error))
            return
        self._report()

    def _report(self) -> None:
        """Tell the scheduler all we know: it may be one that knows nothing."""
        known = self._known
        report = ExecutorReport(
            executor_id=self._environment.executor_id,
            address=known.listener.address,
            port=known.listener.port,
            tasks={name: self._shown(held.told, held) for name, held in self.state.tasks.items()},
            orphans=known.orphans,
        )
        self._link.message(encode(report))

    def _unacknowledged(self) -> tuple[list[Document], list[Document]]:
        unknown = [name for name, held in self.state.tasks.items() if not held.known]
        updates = [{"status": self._update_document(update)} for update in self.state.updates]
        return updates, [self._descriptions[name] for name in unknown if name in self._descriptions]

    def _update_document(self, update: Update) -> Document:
        listener, held = self._known.listener, self.state.tasks.get(update.task_id)
        network = None
        if held is not None:
            update = msgspec.structs.replace(update, status=self._shown(update.status, held))
            network = held.description.spec.app.network.name
        name = self._environment.executor_id
        return update_document(update, name, self._run, listener.address, listener.port, network)

    @staticmethod
    def _shown(status: TaskStatus, held: HeldTask) -> TaskStatus:
        return without_secrets(status, held.description.spec.app)

    @property
    def _known(self) -> Open:
        assert self._open is not None, "nothing is known before the first subscription"
        return self._open

    # Decisions

    @property
    def life(self) -> str:
        """By which name this executor claims tasks."""
        return self._environment.life

    def happen(self, happening: Happening) -> None:
        """Decide, and begin what is to be done."""
        self.state, actions = decide(self.state, happening, self._clock.now())
        for action in actions:
            match action:
                case Start():
                    work = self._spawn(self._start(action), f"start {action.task_id}")
                    self._starting[action.task_id] = Starting(work=work)
                case End():
                    self._spawn(self._end(action), f"end {action.task_id}")
                case Tell(update=update):
                    log.info("task", task=update.task_id, state=update.status.state)
                    self._link.update(self._update_document(update))
        held = self.state.tasks
        kept = {name: one for name, one in self._descriptions.items() if name in held and not held[name].known}
        self._descriptions = kept

    async def _start(self, action: Start) -> None:
        task_id, description = action.task_id, action.description
        await asyncio.sleep(0)  # until it is known as starting
        try:
            await self._patiently(lambda: self._start_once(task_id, description))
        except ColdchainError as error:
            await self._release(description.spec.task_id)
            self.happen(NotBegun(task_id=task_id, state="lost" if description.adopts else "failed", message=str(error)))
        except asyncio.CancelledError:
            await self._release(description.spec.task_id)
            raise
        except Exception as error:
            self.happen(NotBegun(task_id=task_id, state="failed", message=f"a fault of ours: {type(error).__name__}"))
            raise
        finally:
            del self._starting[task_id]

    async def _release(self, runner_id: str) -> None:
        with contextlib.suppress(Unavailable):  # it is let go of at our end
            await in_thread(self._known.machine.claims.release, runner_id, self.life)

    async def _start_once(self, task_id: str, description: TaskDescription) -> None:
        spec, machine, starting = description.spec, self._known.machine, self._starting[task_id]
        if self.state.tasks[task_id].killed and not description.adopts:
            # An earlier try may have started it and its reply was lost: what ends it looks for that.
            raise Rejected("it was stopped before it was started")
        # What runs already can only be ended, and not be left alone.
        starting.cancellable = not description.adopts
        await self._claim(spec.task_id, ADOPTION_SECONDS if description.adopts else 0.0)
        if description.adopts:
            found = next((one for one in await machine.runner.tasks() if one.task_id == spec.task_id), None)
            if found is None:
                raise Rejected(f"{spec.task_id} does not run on this machine any more")
            self.happen(Begun(task_id=task_id))
            self.happen(Observed(status=found))
            return
        image = await machine.runner.prepare(spec.app, spec.image, lambda words: None)
        starting.cancellable = False
        await machine.runner.launch(msgspec.structs.replace(spec, image=image))
        self.happen(Begun(task_id=task_id))

    async def _claim(self, runner_id: str, patience_seconds: float) -> None:
        """Answer for a task of this machine. Raises Rejected where somebody else still does after that time."""
        deadline = self._clock.monotonic() + patience_seconds
        while why := await in_thread(self._known.machine.claims.take, runner_id, self.life):
            if self._clock.monotonic() >= deadline:
                raise Rejected(f"{runner_id} cannot be taken on: {why}")
            await self._clock.sleep(ADOPTION_LOOK_SECONDS)

    async def _end(self, action: End) -> None:
        starting = self._starting.get(action.task_id)
        if starting is not None and starting.cancellable:
            starting.work.cancel()
            await asyncio.wait([starting.work])
            words = "it was stopped before it was started"
            self.happen(NotBegun(task_id=action.task_id, state="killed", message=words))
            return
        if starting is not None and self.state.tasks[action.task_id].description.adopts:
            await asyncio.wait([starting.work])
        if (held := self.state.tasks.get(action.task_id)) is None or held.told.terminal:
            return
        runner = self._known.machine.runner
        await self._patiently(lambda: runner.kill(action.runner_id, action.grace_seconds))

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Again for as long as somebody does not answer."""
        delay = RETRY_SECONDS
        while True:
            try:
                return await work()
            except Unavailable as error:
                log.warning("tried again", reason=type(error).__name__, seconds=delay)
            await self._clock.sleep(delay)
            delay = min(2 * delay, RETRY_SECONDS_MAX)

    # The machine

    async def _follow(self) -> None:
        delay = RETRY_SECONDS
        while True:
            try:
                async with contextlib.aclosing(self._known.machine.runner.updates()) as updates:
                    async for status in updates:
                        delay = RETRY_SECONDS
                        self.happen(Observed(status=status))
            except ColdchainError as error:
                log.warning("a runner does not answer", error=str(error))
            await self._clock.sleep(delay)
            delay = min(2 * delay, LISTING_SECONDS)  # until then the listings tell

    async def _list(self) -> None:
        while True:
            with contextlib.suppress(ColdchainError):
                begun_before = frozenset(name for name, held in self.state.tasks.items() if held.begun)
                statuses = tuple(await self._known.machine.runner.tasks())
                self.happen(Listed(statuses=statuses, begun_before=begun_before))
                orphans = await self._known.sweeper.sweep(statuses)
                if orphans != self._known.orphans:
                    self._known.orphans = orphans
                    self._report()
            await self._clock.sleep(LISTING_SECONDS)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._work.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a fault of ours", work=task.get_name(), error=type(error).__name__, exc_info=error)
