"""DockerRunner: port Runner on the Docker Engine of this machine."""

import asyncio
import contextlib
import math
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import structlog

from coldchain.clients.docker import DockerClient, DockerRefused, DockerUnavailable
from coldchain.model.app import App
from coldchain.model.errors import NotFound, Rejected, Unavailable
from coldchain.model.task import Execution, TaskSpec, TaskStatistics, TaskStatus
from coldchain.ports.engine import Progress
from coldchain.ports.session import Session, TerminalSize
from coldchain.runners.docker import status
from coldchain.runners.docker.execution import execute
from coldchain.runners.docker.hints import todo_for
from coldchain.runners.docker.images import Images
from coldchain.runners.docker.membership import OURS, driver_options, unfit_labels, with_options
from coldchain.runners.docker.mounts import check_mounts
from coldchain.runners.docker.network import Bridge
from coldchain.runners.docker.session import DockerSession
from coldchain.runners.docker.settings import DockerSettings
from coldchain.runners.docker.specification import ADDRESS, CONTROLLER, TASK, container_document, container_name
from coldchain.runners.docker.statistics import of_account

Document = Mapping[str, Any]

INSPECTIONS_AT_ONCE = 16

log = structlog.get_logger(__name__)


class DockerRunner:
    """The containers of one controller on one machine, known by their labels.

    It remembers nothing that matters: what it needs after a restart is on the containers and in the daemon's recent
    events. `close` lets go of the containers; they run on. The client is closed with it.
    """

    def __init__(self, client: DockerClient, controller_id: str, agent: str, settings: DockerSettings) -> None:
        self._client = client
        self._controller_id = controller_id
        self._agent = agent
        self._settings = settings
        self._images = Images(client, settings)
        self._bridge = Bridge(client, settings)
        self._starts = asyncio.Semaphore(settings.starts_at_once)
        self._inspections = asyncio.Semaphore(INSPECTIONS_AT_ONCE)
        self._launching: dict[str, asyncio.Task[None]] = {}
        self._stopping: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self._killed: set[str] | None = None
        self._ended: dict[str, TaskStatus] = {}

    async def subnet(self) -> str:
        """Subnet (CIDR) of the bridge network, from which addresses of tasks may be chosen."""
        with _unavailable():
            return await self._bridge.subnet()

    # Images

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None:
        if app.container is None:
            return None
        return await self._images.prepare(app.container.docker, image, progress)

    # Start

    async def launch(self, spec: TaskSpec) -> None:
        """Port text, and: who gives up waiting does not leave half a start behind, it goes on."""
        task = self._launching.get(spec.task_id)
        if task is None:
            task = self._launching[spec.task_id] = asyncio.create_task(
                self._launch(spec), name=f"launch {spec.task_id}"
            )
            task.add_done_callback(lambda done: self._launched(spec.task_id, done))
        await asyncio.shield(task)

    def _launched(self, task_id: str, task: asyncio.Task[None]) -> None:
        del self._launching[task_id]
        _heard(task)

    async def _launch(self, spec: TaskSpec) -> None:
        document = container_document(spec, self._controller_id, self._settings)
        own_network = document["HostConfig"]["NetworkMode"] == self._settings.network
        async with self._starts:
            with _unavailable():
                try:
                    await check_mounts(self._client, document)
                    if own_network:
                        await self._bridge.subnet()
                    elif spec.app.network.by_name:
                        document = await self._told(spec, document)
                    await self._create_and_start(spec, document)
                except DockerRefused as error:
                    if not (own_network and _network_is_missing(error)):
                        raise _rejected(spec, error) from error
                    self._bridge.forget()
                    await self._bridge.subnet()
                    try:
                        await self._create_and_start(spec, document)
                    except DockerRefused as again:
                        raise _rejected(spec, again) from again

    async def _told(self, spec: TaskSpec, document: dict[str, Any]) -> dict[str, Any]:
        """The document with what the driver of the app's network wants to know of it."""
        network = await self._client.inspect_network(document["HostConfig"]["NetworkMode"])
        if network["Driver"] != OURS:
            return document
        if left_out := list(unfit_labels(spec.app)):
            log.warning("policy does not know these labels", app=spec.app_id, labels=left_out)
        return with_options(document, driver_options(spec))

    async def _create_and_start(self, spec: TaskSpec, document: dict[str, Any]) -> None:
        name = container_name(spec.task_id)
        fresh = await self._create(spec.task_id, document)
        if not fresh and (await self._client.inspect_container(name))["State"]["Status"] != "created":
            return
        try:
            await self._client.start_container(name)
        except DockerRefused:
            with contextlib.suppress(DockerRefused):
                await self._client.remove_container(name, force=True)
            # A daemon that died while it started a container cannot start that one ever again (seen: "already
            # exists", "id already in use"). What an earlier try left behind deserves a container of a new id.
            if fresh or not await self._create(spec.task_id, document):
                raise
            await self._client.start_container(name)

    async def _create(self, task_id: str, document: dict[str, Any]) -> bool:
        """False when it is there already: from our own earlier try, whose reply was lost."""
        name = container_name(task_id)
        try:
            await self._client.create_container(name, document)
        except DockerRefused as error:
            if error.status != 409 or not self._is_ours(await self._client.inspect_container(name), task_id):
                raise
            return False
        return True

    # Stop

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        """Port text, and: returns when it is over. Asked again it joins the stop under way, unless the new grace ends
        earlier; the daemon carries a stop on when this process dies."""
        if launching := self._launching.get(task_id):
            await asyncio.wait([launching])
        deadline = time.monotonic() + grace_seconds
        stopping = self._stopping.get(task_id)
        if stopping is None or stopping[0] > deadline + 1.0:
            task = asyncio.create_task(self._stop(task_id, grace_seconds), name=f"stop {task_id}")
            stopping = self._stopping[task_id] = (deadline, task)
            task.add_done_callback(lambda done: self._stopped(task_id, done))
        await asyncio.shield(stopping[1])

    async def _stop(self, task_id: str, grace_seconds: float) -> None:
        with _unavailable():
            found = await self._inspect(task_id)
            if found is None or found["State"]["Status"] in status.ENDED:
                return
            (await self._killed_tasks()).add(task_id)
            name = container_name(task_id)
            try:
                if found["State"]["Status"] == "created":
                    await self._client.remove_container(name)
                else:
                    await self._client.stop_container(name, math.ceil(grace_seconds))
            except DockerRefused as error:
                if error.status != 404:
                    raise

    def _stopped(self, task_id: str, task: asyncio.Task[None]) -> None:
        if task_id in self._stopping and self._stopping[task_id][1] is task:
            del self._stopping[task_id]
        _heard(task)

    async def forget(self, task_id: str) -> None:
        with _unavailable():
            found = await self._inspect(task_id)
            if found is None or not status.of_inspection(found, killed=False).terminal:
                return
            try:
                await self._client.remove_container(container_name(task_id))
            except DockerRefused as error:
                if error.status not in (404, 409):  # gone, or somebody else is removing it
                    raise
            self._ended.pop(found["Id"], None)
            if self._killed is not None:
                self._killed.discard(task_id)

    # Observation

    async def tasks(self) -> Sequence[TaskStatus]:
        """Port text. One list, and one inspection of each container that has ended since it was last looked at."""
        with _unavailable():
            killed = await self._killed_tasks()
            rows = await self._client.containers([f"{CONTROLLER}={self._controller_id}"])
            present = {row["Id"] for row in rows}
            self._ended = {container: ended for container, ended in self._ended.items() if container in present}
            found = await asyncio.gather(*(self._status_of_row(row, killed) for row in rows))
        return [known for known in found if known is not None]

    async def _status_of_row(self, row: Document, killed: set[str]) -> TaskStatus | None:
        if row["State"] not in status.ENDED and row["State"] != "created":
            self._ended.pop(row["Id"], None)
            return status.of_running_row(row)
        if known := self._ended.get(row["Id"]):
            return known
        async with self._inspections:
            return await self._look(row["Id"], killed)

    async def _look(self, container: str, killed: set[str]) -> TaskStatus | None:
        """Status of a container with the last of its output if it failed; None when it is gone."""
        try:
            document = await self._client.inspect_container(container)
            task_id = document["Config"]["Labels"][TASK]
            known = status.of_inspection(document, killed=task_id in killed)
            if known.state == "failed":
                tail = await self._log_tail(container, terminal=document["Config"]["Tty"])
                known = status.of_inspection(document, killed=False, log_tail=tail)
        except DockerRefused as error:
            if error.status == 404:
                return None
            raise
        if known.terminal:
            self._ended[container] = known
        return known

    async def _log_tail(self, container: str, *, terminal: bool) -> list[str]:
        tail = self._settings.log_tail_lines
        try:
            pieces = [piece async for piece in self._client.logs(container, follow=False, tail=tail, terminal=terminal)]
        except DockerRefused:
            return []  # a log driver that cannot be read; the exit status is still worth telling
        lines = b"".join(pieces).decode(errors="replace").splitlines()
        return lines[-tail:]

    def updates(self) -> AsyncGenerator[TaskStatus, None]:
        """What changes from this call on, even if iteration begins later. Ends by raising Unavailable whenever the
        daemon's event stream breaks: call again, and then `tasks`, for what happened between."""
        return self._updates(time.time())

    async def _updates(self, since: float) -> AsyncGenerator[TaskStatus, None]:
        with _unavailable():
            killed = await self._killed_tasks()
            filters = self._event_filters("create", "start", "die", "destroy")
            async with contextlib.aclosing(self._client.events(filters, since=since)) as events:
                async for event in events:
                    if (update := await self._update(event, killed)) is not None:
                        yield update

    async def _update(self, event: Document, killed: set[str]) -> TaskStatus | None:
        container, labels, at = event["Actor"]["ID"], event["Actor"]["Attributes"], status.event_seconds(event)
        match event["Action"]:
            case "create":
                return status.of_labels(labels, "staging", at)
            case "start":
                if labels.get(ADDRESS):
                    return status.of_labels(labels, "running", at)
                return await self._look(container, killed)
            case "die":
                was_killed = labels[TASK] in killed
                return await self._look(container, killed) or status.of_death(event, killed=was_killed)
            case "destroy" if labels[TASK] in killed and container not in self._ended:
                # It was never started, so no death was told.
                return status.of_labels(labels, "killed", at, message="stopped before it was started")
        return None

    async def _killed_tasks(self) -> set[str]:
        """Tasks whose end was asked for: by this process, or as far back as the daemon remembers."""
        if self._killed is None:
            filters = self._event_filters("stop")
            events = self._client.events(filters, since=0.0, until=time.time())
            stopped = {event["Actor"]["Attributes"][TASK] async for event in events}
            self._killed = stopped if self._killed is None else self._killed
        return self._killed

    def _event_filters(self, *actions: str) -> dict[str, list[str]]:
        return {"type": ["container"], "label": [f"{CONTROLLER}={self._controller_id}"], "event": list(actions)}

    # Output

    async def logs(
        self, task_id: str, *, follow: bool, tail: int | None, since: float | None = None
    ) -> AsyncIterator[bytes]:
        """Port text, and: following a task that is not started yet waits for it."""
        with _unavailable():
            asked_at = time.time()
            found = await self._inspect(task_id)
            if found is None:
                raise NotFound(f"no output of task {task_id} is kept", todo="See the app's last failure")
            if follow and found["State"]["Status"] == "created" and not found["State"]["Error"]:
                filters = {"container": [found["Id"]], "event": ["start", "destroy"]}
                async with contextlib.aclosing(self._client.events(filters, since=asked_at)) as events:
                    await anext(events)
            async with contextlib.aclosing(
                self._client.logs(found["Id"], follow=follow, tail=tail, since=since, terminal=found["Config"]["Tty"])
            ) as pieces:
                async for piece in pieces:
                    yield piece

    # Commands beside a task

    async def open_session(self, task_id: str, command: Sequence[str], size: TerminalSize | None) -> Session:
        with _unavailable():
            found = await self._running(task_id)
            document = {
                "AttachStdin": True,
                "AttachStdout": True,
                "AttachStderr": True,
                "Tty": size is not None,
                "Cmd": list(command),
            }
            try:
                name = await self._client.create_execution(found["Id"], document)
                stream = await self._client.open_execution(name, terminal=size is not None)
            except DockerRefused as error:
                raise Rejected(f"Docker cannot run it beside {task_id}: {error.message.strip()}") from error
        session = DockerSession(self._client, name, stream, terminal=size is not None)
        if size is not None:
            await session.resize(size)
        return session

    async def network_namespace(self, task_id: str) -> str | None:
        with _unavailable():
            found = await self._running(task_id)
        return f"/proc/{found['State']['Pid']}/ns/net"

    async def statistics(self, task_id: str) -> TaskStatistics:
        with _unavailable():
            found = await self._running(task_id)
            try:
                account = await self._client.container_statistics(found["Id"])
            except DockerRefused as error:
                if error.status in (404, 409):
                    raise NotFound(f"task {task_id} does not run") from error
                raise
        return of_account(account, task_id, time.time())

    async def execute(self, task_id: str, command: str, timeout_seconds: float) -> Execution:
        with _unavailable():
            found = await self._running(task_id)
            return await execute(self._client, found["Id"], command, timeout_seconds)

    async def close(self) -> None:
        tasks = [*self._launching.values(), *(task for _, task in self._stopping.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._images.close()
        await self._client.close()

    # Ours

    async def _running(self, task_id: str) -> dict[str, Any]:
        """What Docker knows of the task's container. Raises NotFound unless it runs."""
        found = await self._inspect(task_id)
        if found is None or not found["State"]["Running"]:
            raise NotFound(f"task {task_id} does not run")
        return found

    async def _inspect(self, task_id: str) -> dict[str, Any] | None:
        """The task's container, if there is one and it is ours."""
        try:
            found = await self._client.inspect_container(container_name(task_id))
        except DockerRefused as error:
            if error.status == 404:
                return None
            raise
        return found if self._is_ours(found, task_id) else None

    def _is_ours(self, document: Document, task_id: str) -> bool:
        labels = document["Config"]["Labels"] or {}
        return labels.get(CONTROLLER) == self._controller_id and labels.get(TASK) == task_id


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    """What the daemon fails to do where it could not have said no is unknown, and worth trying again."""
    try:
        yield
    except DockerUnavailable as error:
        raise Unavailable(str(error), todo="Start it, or see `docker info`") from error
    except DockerRefused as error:
        raise Unavailable(f"the Docker Engine failed: {error.message}") from error


def _heard(task: asyncio.Task[None]) -> None:
    """Whoever still waits hears of its failure; when all gave up waiting nobody needs to, the event loop included."""
    if not task.cancelled():
        task.exception()


NO_NETWORK = re.compile(r"network \S+ not found|no such network", re.IGNORECASE)
"""In Docker's words. Of a network whose driver is missing it says `network plugin`, and `not found` as well."""


def _network_is_missing(error: DockerRefused) -> bool:
    return error.status == 404 and NO_NETWORK.search(error.message) is not None


def _rejected(spec: TaskSpec, error: DockerRefused) -> Rejected:
    todo = todo_for(error.message)
    reason = error.message.strip()
    if _network_is_missing(error):
        name = spec.app.network.name
        reason = f"machine {spec.agent} has no network {name} ({reason})"
        todo = f"Make it there (`docker network create {name}`), or name another in `networks`"
    return Rejected(f"Docker cannot start {spec.task_id}: {reason}", todo=todo)
