"""ProcessRunner: port Runner on the processes of this machine."""

import asyncio
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import structlog

from coldchain.model.app import App
from coldchain.model.errors import NotFound, Rejected, Unavailable
from coldchain.model.task import Execution, TaskSpec, TaskStatistics, TaskStatus
from coldchain.ports.engine import Progress
from coldchain.ports.session import Session, TerminalSize
from coldchain.runners.process import cgroups, shim, status
from coldchain.runners.process.fetch import fetch_all
from coldchain.runners.process.folder import (
    MADE,
    REMOVED,
    Document,
    TaskFolder,
    boot_id,
    folder_name,
    kill_left_behind,
    open_shim,
)
from coldchain.runners.process.output import Cursor, pieces, tail
from coldchain.runners.process.session import open_process_session
from coldchain.runners.process.settings import ProcessSettings
from coldchain.runners.process.specification import command_of, task_document
from coldchain.runners.process.statistics import measure
from coldchain.runners.process.users import find_user

EXECUTIONS_AT_ONCE = 8
EXECUTION_OUTPUT_BYTES_MAX = 4096
SHIM_LATE_SECONDS = 10.0
"""A shim that has not ended the task so long after its grace is stuck, and ended itself."""

DISK_TODO = {
    errno.ENOSPC: "Free space on it",
    errno.EDQUOT: "Free space on it",
    errno.EMFILE: "Start `coldchain up` with a higher limit of open files (`ulimit -n`)",
    errno.ENFILE: "Raise the machine's limit of open files (`sysctl fs.file-max`)",
}

log = structlog.get_logger(__name__)

T = TypeVar("T")


class ProcessRunner:
    """The tasks below one folder, which belongs to one controller.

    It remembers nothing that matters: all of it is in the tasks' folders. `close` lets go of the tasks; they run on.
    """

    def __init__(self, root: Path, settings: ProcessSettings) -> None:
        self._root = Path(os.path.abspath(root))
        self._settings = settings
        self._starts = asyncio.Semaphore(settings.starts_at_once)
        self._executions = asyncio.Semaphore(EXECUTIONS_AT_ONCE)
        self._launching: dict[str, asyncio.Task[None]] = {}
        self._watched: dict[str, int] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._ended: dict[str, TaskStatus] = {}
        self._stops = asyncio.Lock()
        self._ends = asyncio.Condition()
        self._listeners: list[asyncio.Queue[TaskStatus]] = []
        self._opening = asyncio.Lock()
        self._opened = False
        self._unlimited = False

    async def prepare(self, app: App, image: str | None, progress: Progress) -> str | None:
        return None

    # Start

    async def launch(self, spec: TaskSpec) -> None:
        """Port text, and: who gives up waiting does not leave half a start behind, it goes on."""
        task = self._launching.get(spec.task_id)
        if task is None:
            task = self._launching[spec.task_id] = asyncio.create_task(
                self._launch(spec), name=f"launch {spec.task_id}"
            )
            task.add_done_callback(lambda done: self._launched(spec.task_id, done))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise Rejected(f"{spec.task_id} was stopped before it was started") from None
            raise

    def _launched(self, task_id: str, task: asyncio.Task[None]) -> None:
        del self._launching[task_id]
        if not task.cancelled():
            task.exception()  # whoever still waits hears of it; if nobody does, nobody needs to

    async def _launch(self, spec: TaskSpec) -> None:
        await self._open()
        folder = self._folder(spec.task_id)
        async with self._starts:
            if await _in_thread(folder.read, "task") is None:
                await self._make(spec, folder)
            await self._begin(folder)

    async def _make(self, spec: TaskSpec, folder: TaskFolder) -> None:
        """The task's folder, whole or not at all."""
        user = await _in_thread(find_user, spec.app.user, self._settings)
        command_of(spec)  # before anything is fetched
        fresh = TaskFolder(folder.path.with_name(MADE + folder.path.name))
        try:
            await _in_thread(_make_folders, fresh)
            await fetch_all(spec.app.fetch, fresh.work, user, self._settings.fetch)
            limits = cgroups.limits_of(spec.app.cpus, spec.app.mem, self._settings.pids_max)
            plan = await _in_thread(self._limit, folder.path.name, limits)
            task = task_document(spec, user, folder.work, plan, self._settings)
            await _in_thread(fresh.write, "task", task)
            await _in_thread(fresh.path.rename, folder.path)
        except BaseException:
            await _in_thread(fresh.remove)
            raise

    def _limit(self, name: str, limits: cgroups.Limits) -> cgroups.CgroupPlan:
        plan = cgroups.look(self._settings.cgroup_parent, name, limits)
        reason = f"this machine has no cgroups for {', '.join(plan.missing)}" if plan.missing else ""
        try:
            cgroups.make(plan)
        except OSError as error:
            plan, reason = cgroups.CgroupPlan(), f"cannot make a cgroup: {error}"
        if reason and not self._unlimited:
            self._unlimited = True
            log.warning("process tasks run without some of their limits", reason=reason)
        return plan

    async def _begin(self, folder: TaskFolder) -> None:
        """Start the shim, if there was none yet, and hear from it that the task runs. Raises Rejected."""
        if await _in_thread(folder.read, "shim") is None and await _in_thread(folder.read, "end") is None:
            error = await _in_thread(_start_shim, folder.path)
            if error:
                task = await _in_thread(folder.read, "task")
                await _in_thread(folder.remove)
                cgroups.remove(task["cgroups"] if task else ())
                raise Rejected(error, todo=_todo(error))
        known = await self._look(folder)
        if known is not None:
            self._tell(known)

    # Stop

    async def kill(self, task_id: str, grace_seconds: float) -> None:
        """Port text, and: returns when it is over. Asked again the earlier end of the two graces counts; the shim
        carries a stop on when this process dies."""
        if launching := self._launching.get(task_id):
            launching.cancel()
            await asyncio.wait([launching])
        folder = self._folder(task_id)
        if await self._look(folder) is None or folder.path.name in self._ended:
            return
        if await _in_thread(_stop_unbegun, folder):
            await self._end(folder.path.name)
            return
        async with self._stops:
            await _in_thread(_ask_to_stop, folder, grace_seconds)
            reached = self._signal(folder, signal.SIGTERM)
        if not reached:
            await self._end(folder.path.name)
        try:
            async with asyncio.timeout(grace_seconds + SHIM_LATE_SECONDS), self._ends:
                await self._ends.wait_for(lambda: folder.path.name in self._ended)
        except TimeoutError:
            log.warning("a shim does not end its task", task=task_id)
            self._signal(folder, signal.SIGKILL)

    def _signal(self, folder: TaskFolder, number: int) -> bool:
        """To the task's shim; False when it is gone."""
        descriptor = self._watched.get(folder.path.name)
        if descriptor is None:
            return False
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        return True

    async def forget(self, task_id: str) -> None:
        folder = self._folder(task_id)
        task = await _in_thread(folder.read, "task")
        known = await self._look(folder)
        if task is not None and known is not None and known.terminal:
            await _in_thread(cgroups.remove, task["cgroups"])
            await _in_thread(folder.remove)
            self._ended.pop(folder.path.name, None)

    # Observation

    async def tasks(self) -> Sequence[TaskStatus]:
        await self._open()
        names = await _in_thread(os.listdir, self._root)
        self._ended = {name: known for name, known in self._ended.items() if name in names}
        found = [await self._look(TaskFolder(self._root / name)) for name in sorted(names) if not name.startswith(".")]
        return [known for known in found if known is not None]

    async def _look(self, folder: TaskFolder) -> TaskStatus | None:
        """What there is to know of a task; None when there is none. A running one is watched from then on."""
        name = folder.path.name
        if known := self._ended.get(name):
            return known
        known, descriptor = await _in_thread(_observe, folder, self._settings.log_tail_lines)
        if known is not None and known.terminal:
            self._ended.setdefault(name, known)
        elif descriptor is not None and name not in self._watched:
            self._watched[name] = descriptor
            asyncio.get_running_loop().add_reader(descriptor, self._over, name)
            descriptor = None
        if descriptor is not None:
            os.close(descriptor)
        return known

    def _over(self, name: str) -> None:
        """A shim is gone."""
        self._unwatch(name)
        ending = asyncio.create_task(self._end(name), name=f"end of {name}")
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    def _unwatch(self, name: str) -> None:
        descriptor = self._watched.pop(name)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)

    async def _end(self, name: str) -> None:
        """Tell everybody how a task ended; a disk that cannot be read now is asked again by the next `tasks`."""
        with contextlib.suppress(Unavailable):
            known = await self._look(TaskFolder(self._root / name))
            if known is not None and known.terminal:
                self._tell(known)
        async with self._ends:
            self._ends.notify_all()

    def updates(self) -> AsyncGenerator[TaskStatus, None]:
        listener: asyncio.Queue[TaskStatus] = asyncio.Queue()
        self._listeners.append(listener)
        return self._updates(listener)

    async def _updates(self, listener: asyncio.Queue[TaskStatus]) -> AsyncGenerator[TaskStatus, None]:
        try:
            await self.tasks()  # so that what an earlier life started is watched
            while True:
                yield await listener.get()
        finally:
            self._listeners.remove(listener)

    def _tell(self, known: TaskStatus) -> None:
        for listener in self._listeners:
            listener.put_nowait(known)

    # Beside the task

    async def logs(
        self, task_id: str, *, follow: bool, tail: int | None, since: float | None = None
    ) -> AsyncIterator[bytes]:
        folder = self._folder(task_id)
        if await _in_thread(folder.read, "task") is None:
            raise NotFound(f"no output of task {task_id} is kept", todo="See the app's last failure")

        def ended() -> bool:
            return folder.read("end") is not None or folder.read("task") is None

        output = pieces(folder.path, follow=follow, lines=tail, since=since, ended=ended)
        async with contextlib.aclosing(output):
            async for piece in output:
                yield piece

    async def execute(self, task_id: str, command: str, timeout_seconds: float) -> Execution:
        folder = await self._running(task_id)
        asked = {
            "argv": ["/bin/sh", "-c", command],
            "timeout_seconds": timeout_seconds,
            "output_bytes_max": EXECUTION_OUTPUT_BYTES_MAX,
        }
        async with self._executions:
            answer = await _execute(folder.path, asked)
        return Execution(exit_status=answer["exit_status"], output=answer["output"])

    async def network_namespace(self, task_id: str) -> str | None:
        await self._running(task_id)
        return None

    async def statistics(self, task_id: str) -> TaskStatistics:
        folder = await self._running(task_id)
        task = await _in_thread(folder.read, "task")
        if task is None:
            raise NotFound(f"task {task_id} does not run")
        return await _in_thread(measure, task, time.time())

    async def open_session(self, task_id: str, command: Sequence[str], size: TerminalSize | None) -> Session:
        folder = await self._running(task_id)
        return await open_process_session(folder.path, command, size)

    async def close(self) -> None:
        tasks = [*self._launching.values(), *self._endings]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for name in tuple(self._watched):
            self._unwatch(name)

    # Ours

    async def _running(self, task_id: str) -> TaskFolder:
        """The task's folder. Raises NotFound unless it runs."""
        folder = self._folder(task_id)
        known = await self._look(folder)
        if known is None or known.state != "running":
            raise NotFound(f"task {task_id} does not run")
        return folder

    def _folder(self, task_id: str) -> TaskFolder:
        return TaskFolder(self._root / folder_name(task_id))

    async def _open(self) -> None:
        """Clear away what an earlier life was making or removing when it ended."""
        async with self._opening:
            if not self._opened:
                await _in_thread(_clear, self._root)
                self._opened = True


async def _in_thread(work: Callable[..., T], *arguments: object) -> T:
    """What the disk fails to do is unknown, and worth trying again. A caller that is cancelled waits for the end:
    nothing may go on behind its back."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        running.exception()
        raise
    except OSError as error:
        todo = DISK_TODO.get(error.errno or 0, "See the machine's own log")
        raise Unavailable(f"the disk with the tasks' folders fails: {error}", todo=todo) from error


def _clear(root: Path) -> None:
    # Tasks of other users pass through to their own folders, and see no names on the way.
    root.mkdir(mode=0o711, parents=True, exist_ok=True)
    for path in root.iterdir():
        if path.name.startswith((MADE, REMOVED)):
            TaskFolder(path).remove()


def _make_folders(fresh: TaskFolder) -> None:
    fresh.remove()
    fresh.path.mkdir(mode=0o711)
    fresh.work.mkdir(mode=0o700)


def _start_shim(path: Path) -> str:
    """Why the task did not start; empty when it did. The shim is nobody's child when this returns."""
    command = [sys.executable, "-I", "-S", shim.__file__, "run", str(path)]
    with (path / "shim.log").open("ab") as errors:
        outcome = subprocess.run(  # noqa: S603 -- our own program
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env={}, check=False
        )
    if not outcome.stdout:
        words = (path / "shim.log").read_text(errors="replace").strip().splitlines()
        return f"the shim did not start: {words[-1] if words else 'it said nothing'}"
    error: str = json.loads(outcome.stdout).get("error", "")
    return error


async def _execute(path: Path, asked: Document) -> Document:
    """Raises Unavailable when the helper itself fails. Cancelled, it ends the command with all that it started."""
    helper = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", shim.__file__, "exec", str(path),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}, start_new_session=True,
    )  # fmt: skip
    try:
        answer, errors = await helper.communicate(json.dumps(asked).encode())
    except asyncio.CancelledError:
        helper.terminate()
        await helper.wait()
        raise
    if helper.returncode != 0:
        words = errors.decode(errors="replace").strip().splitlines()
        raise Unavailable(f"the helper that runs commands failed: {words[-1] if words else helper.returncode}")
    document: Document = json.loads(answer)
    return document


def _ask_to_stop(folder: TaskFolder, grace_seconds: float) -> None:
    """Write down when the task must have ended; what was asked before stands where it is earlier."""
    asked = {"grace_seconds": grace_seconds, "deadline": time.time() + grace_seconds}
    before = folder.read("stop")
    if before is None or asked["deadline"] < before["deadline"]:
        folder.write("stop", asked)


def _stop_unbegun(folder: TaskFolder) -> bool:
    """End a task whose shim never began it; False when one did."""
    with folder.claimed() as ours:
        if not ours or folder.read("shim") is not None:
            return False
        folder.write("end", status.unseen_end(time.time(), "stopped before it was started", stopped=True))
        return True


def _observe(folder: TaskFolder, tail_lines: int) -> tuple[TaskStatus | None, int | None]:
    """Status of a task, with a descriptor of its shim while that lives. Ends what a shim left behind."""
    task = folder.read("task")
    if task is None:
        return None, None
    begun = folder.read("shim")
    descriptor = open_shim(begun) if begun is not None else None
    if descriptor is not None and begun is not None:
        return status.of_live(task, "running", begun["at"]), descriptor
    end = folder.read("end")  # read last: what has ended meanwhile has written it
    if end is None and begun is None:
        return status.of_live(task, "staging", (folder.path / "task.json").stat().st_mtime), None
    if end is None and begun is not None:
        kill_left_behind(task)
        rebooted = begun["boot"] != boot_id()
        words = "the machine was restarted" if rebooted else "its shim was killed, and the task with it"
        end = status.unseen_end(time.time(), words, stopped=folder.read("stop") is not None)
        folder.write("end", end)
    assert end is not None
    return status.of_end(task, end, _last_lines(folder, tail_lines)), None


def _last_lines(folder: TaskFolder, lines: int) -> list[str]:
    return tail(Cursor(folder.path), lines).decode(errors="replace").splitlines()


def _todo(error: str) -> str:
    if "No such file" in error:
        return "Correct `cmd` or `args`: the program is not on this machine, or not where PATH leads"
    if "ermission denied" in error:
        return "See that `user` may run the program, and enter the folder of the tasks"
    return ""
