"""Claims: who answers for which task of this machine. In files, because executors come and go.

    ROOT/settings.json         of the executor that came last, for the sweeper
    ROOT/executors/NAME        its lock is held for as long as the executor lives; the kernel lets go of it then
    ROOT/claims/TASK.json      who answers for the task
    ROOT/lock                  held for the moment of looking at a claim and changing it
    ROOT/sweeper               its lock is held by the only sweeper that runs beside no executor
    ROOT/tasks/                the process runner's

Everything here blocks: it is called `in_thread`.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote

import msgspec

from coldchain.decisions.orphan import Claim, refusal
from coldchain.documents import stored
from coldchain.documents.stored import UnreadableDocument
from coldchain.model.errors import Unavailable
from coldchain.model.executor import ExecutorSettings

T = TypeVar("T")

LOCKED_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


class Claims:
    """Of one controller on one machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in (root / "executors", root / "claims"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Tasks of other users pass through to their own folders, and see no names on the way.
        root.chmod(0o711)
        self._held: list[int] = []

    # Who lives

    def live_as(self, name: str) -> None:
        """From now on until this process ends `name` is a living executor."""
        self._held.append(_lock(self.root / "executors" / _safe(name), wait=True))

    def sweep_alone(self) -> bool:
        """Whether this process is the sweeper from now on; False when there is one."""
        try:
            self._held.append(_lock(self.root / "sweeper", wait=False))
        except BlockingIOError:
            return False
        return True

    def living(self) -> frozenset[str]:
        """The executors that live. What those left who do not is cleared away."""
        found = set()
        for path in (self.root / "executors").iterdir():
            try:
                descriptor = _lock(path, wait=False)
            except BlockingIOError:
                found.add(unquote(path.name))
                continue
            path.unlink(missing_ok=True)
            os.close(descriptor)
        return frozenset(found)

    def close(self) -> None:
        """Who lived here lives no more."""
        for descriptor in self._held:
            os.close(descriptor)
        self._held.clear()

    # Who answers for what

    def take(self, task_id: str, holder: str) -> str:
        """Answer for a task from now on. Why not, if somebody else does; empty: done."""
        with self._alone():
            why = refusal(self._read(task_id), holder, self.living())
            if not why:
                _write(self._path(task_id), msgspec.json.encode(Claim(holder=holder)))
            return why

    def release(self, task_id: str, holder: str) -> None:
        """Nothing is left of the task that `holder` answers for."""
        with self._alone():
            claim = self._read(task_id)
            if claim is not None and claim.holder == holder:
                self._path(task_id).unlink()

    def all(self) -> dict[str, Claim]:
        """By the runner's id of the task."""
        names = [unquote(path.name.removesuffix(".json")) for path in (self.root / "claims").glob("*.json")]
        read = {name: self._read(name) for name in names}
        return {name: claim for name, claim in read.items() if claim is not None}

    def clear(self, present: Collection[str]) -> None:
        """Take away claims of others than the living on tasks that are not there any more. Who came after these were
        looked at may have claimed what has begun since: he lives."""
        claims = self.all()
        living = self.living()
        for name, claim in claims.items():
            if name not in present and claim.holder not in living:
                self.release(name, claim.holder)

    # Settings for who sweeps when no executor is left

    def keep_settings(self, settings: ExecutorSettings) -> None:
        _write(self.root / "settings.json", stored.encode(msgspec.structs.replace(settings, token="")))

    def settings(self) -> ExecutorSettings:
        """Raises UnreadableDocument, also where there are none."""
        try:
            return stored.decode((self.root / "settings.json").read_bytes(), ExecutorSettings)
        except FileNotFoundError as error:
            raise UnreadableDocument(f"{self.root} is not the folder of an executor") from error

    # Ours

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = _lock(self.root / "lock", wait=True)
        try:
            yield
        finally:
            os.close(descriptor)

    def _read(self, task_id: str) -> Claim | None:
        try:
            return msgspec.json.decode(self._path(task_id).read_bytes(), type=Claim)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None

    def _path(self, task_id: str) -> Path:
        return self.root / "claims" / f"{_safe(task_id)}.json"


async def in_thread(work: Callable[..., T], *arguments: object) -> T:
    """What the disk fails to do is unknown, and worth trying again."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except OSError as error:
        raise Unavailable(f"the disk with the executor's folder fails: {error}") from error


def _safe(name: str) -> str:
    """As a file's name; never begins with a dot."""
    return quote(name, safe="").replace(".", "%2E")


def _lock(path: Path, *, wait: bool) -> int:
    """A descriptor that holds the file's lock. Raises BlockingIOError where somebody else does and we do not wait."""
    while True:
        descriptor = os.open(path, LOCKED_FLAGS, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # Who cleared away what a dead one left may have taken the file from under us.
            if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all. No disk is waited for: after a crash of the machine nothing runs that this tells of."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(content)
    fresh.replace(path)
