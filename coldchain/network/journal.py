"""journal: netd's own disk: one file that grows by a record for each write, and is written anew when it has grown.

A record is a mark, its length, its checksum and the changes. What a write cut short left at the end of the file was
never told to anybody as written, and is cut off when the file is opened. Damage before the end is not guessed at.
"""

import asyncio
import fcntl
import os
import struct
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import msgspec

from coldchain.model.errors import Rejected, Unavailable

MARK = b"\x00ccj"
HEAD = struct.Struct(">4sII")
GROWN_BYTES = 2**20
"""A file smaller than this is never written anew; a larger one when less than a quarter of it is of use."""

_DECODER = msgspec.msgpack.Decoder(dict[str, bytes | None])


class FileJournal:
    """Implements ports.network.Journal. One thread does all writes, in their order, also of callers that gave up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._values: dict[str, bytes] | None = None
        self._file = self._lock = -1
        self._end = 0
        self._doubtful = False

    async def read(self) -> Mapping[str, bytes]:
        """Raises Rejected for a file that is damaged, or that another process has open."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read)

    async def write(self, changes: Mapping[str, bytes | None]) -> None:
        """Raises Unavailable where the disk is full or broken: nothing of it is read later."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, dict(changes))

    def close(self) -> None:
        """After what is being written."""
        self._thread.shutdown()
        self._let_go()

    def _let_go(self) -> None:
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    def _read(self) -> dict[str, bytes]:
        return dict(self._opened())

    def _write(self, changes: dict[str, bytes | None]) -> None:
        values = self._opened()
        after = _applied(values, changes)
        record = _record(changes)
        try:
            if self._doubtful or self._end + len(record) > max(GROWN_BYTES, 4 * _size(after)):
                self._write_anew(after)
            else:
                self._append(record)
        except OSError as error:
            raise Unavailable(
                f"{self._path} cannot be written: {error.strerror}",
                todo=f"Look at the disk, or make room below {self._path.parent}; nothing has to be restarted.",
            ) from error
        self._values = after

    def _append(self, record: bytes) -> None:
        try:
            _write_all(self._file, record, self._end)
            os.fsync(self._file)
        except OSError:
            # What is on the disk now nobody knows: cut it off, and if that fails too begin a new file next time.
            self._doubtful = True
            with suppress(OSError):
                os.ftruncate(self._file, self._end)
                os.fsync(self._file)
            raise
        self._end += len(record)

    def _write_anew(self, values: dict[str, bytes]) -> None:
        """Beside the file, then in its place: there is always one that is whole."""
        fresh = self._path.with_name(self._path.name + ".new")
        record = _record(values)
        file = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write_all(file, record, 0)
            os.fsync(file)
            fresh.replace(self._path)
        except OSError:
            os.close(file)
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise
        os.close(self._file)
        self._file, self._end = file, len(record)
        self._doubtful = True  # until the folder says so on the disk, the old file may come back
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._doubtful = False

    def _opened(self) -> dict[str, bytes]:
        if self._values is not None:
            return self._values
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._claim()
            self._path.with_name(self._path.name + ".new").unlink(missing_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            content = self._path.read_bytes()
            values, self._end = parse(content, self._path)
            if self._end < len(content):
                os.ftruncate(self._file, self._end)
                os.fsync(self._file)
        except OSError as error:
            self._let_go()
            raise Rejected(
                f"{self._path} cannot be opened: {error.strerror}",
                todo="The folder of the journal must be writable; netd runs as root.",
            ) from error
        except Rejected:
            self._let_go()
            raise
        self._values = values
        return values

    def _claim(self) -> None:
        """Two processes that write one journal would each forget what the other gave."""
        self._lock = os.open(self._path.with_name(self._path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Rejected(
                f"{self._path} is in use by another netd", todo="One runs on each machine: stop that one first."
            ) from error


def parse(content: bytes, path: Path) -> tuple[dict[str, bytes], int]:
    """What the records say, and where the last whole one ends. Raises Rejected for damage before that."""
    values: dict[str, bytes] = {}
    end = 0
    while (changes := _changes(content, end)) is not None:
        values = _applied(values, changes[0])
        end = changes[1]
    later = content.find(MARK, end + 1)
    while later >= 0:
        if _changes(content, later) is not None:
            raise Rejected(
                f"{path} is damaged at byte {end}, before its end",
                todo="Look at the disk. Without this file netd learns from the store what was given: move it away, "
                "restart netd, then run `coldchain network check`.",
            )
        later = content.find(MARK, later + 1)
    return values, end


def _changes(content: bytes, start: int) -> tuple[dict[str, bytes | None], int] | None:
    """The record that begins there and where it ends; None where there is no whole one."""
    if len(content) < start + HEAD.size:
        return None
    mark, length, checksum = HEAD.unpack_from(content, start)
    begin = start + HEAD.size
    body = content[begin : begin + length]
    if mark != MARK or len(body) < length or zlib.crc32(body) != checksum:
        return None
    try:
        return _DECODER.decode(body), begin + length
    except msgspec.MsgspecError:
        return None


def _record(changes: Mapping[str, bytes | None]) -> bytes:
    body = msgspec.msgpack.encode(changes)
    return HEAD.pack(MARK, len(body), zlib.crc32(body)) + body


def _applied(values: dict[str, bytes], changes: Mapping[str, bytes | None]) -> dict[str, bytes]:
    after = dict(values)
    for name, value in changes.items():
        if value is None:
            after.pop(name, None)
        else:
            after[name] = value
    return after


def _size(values: Mapping[str, bytes]) -> int:
    return sum(len(name) + len(value) + 16 for name, value in values.items())


def _write_all(file: int, content: bytes, at: int) -> None:
    while content:
        written = os.pwrite(file, content, at)
        content, at = content[written:], at + written
