"""The SQLite file: who may open it, how it is opened, and what its faults mean."""

import fcntl
import os
import sqlite3
from pathlib import Path

from coldchain.model.errors import ColdchainError, Rejected, Unavailable

APPLICATION_ID = 0x436F6C64
"""`Cold`: tells our files from other programs' (SQLite's `application_id`)."""
SCHEMA_VERSION = 1
WAL_BYTES_MAX = 16 * 1024 * 1024

LEASED = "CREATE TABLE IF NOT EXISTS leased (key TEXT NOT NULL PRIMARY KEY, lease TEXT NOT NULL)"
SCHEMA = (
    "BEGIN IMMEDIATE",
    "CREATE TABLE entry (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL)",
    "CREATE TABLE meta (revision INTEGER NOT NULL)",
    "INSERT INTO meta VALUES (0)",
    LEASED,
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
    "COMMIT",
)


class FileLock:
    """Keeps a second process out for as long as this one lives; the kernel lets go of it however we end.

    It is a file beside the store's, because SQLite's own locks would be lost if we closed a descriptor of its file.
    """

    def __init__(self, path: Path) -> None:
        place = path.with_name(path.name + ".lock")
        try:
            self._descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Rejected(
                f"{place} cannot be opened: {error.strerror}",
                todo="The folder of the store must exist and be writable",
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise Rejected(
                f"{path} is in use by another Coldchain (process {holder})",
                todo="Stop that one first, or give this one a file of its own",
            ) from error
        try:
            os.truncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            # A full disk: the number is only there for the other's error message; the lock itself is held.
            return

    def release(self) -> None:
        """The file stays: removing it would let two processes lock two files of the same name."""
        os.close(self._descriptor)


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, making it if it is absent. Raises `Rejected` if it is not a sound file of ours."""
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=32)
    except sqlite3.Error as error:
        raise _unusable(path, str(error)) from error
    try:
        _make_or_check(connection, path)  # Before all else: the file of another program must not be touched.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_MAX}")
    except sqlite3.Error as error:
        connection.close()
        raise full_or_broken(path, error, opening=True) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _make_or_check(connection: sqlite3.Connection, path: Path) -> None:
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application_id == 0 and version == 0 and tables == 0:
        for statement in SCHEMA:
            connection.execute(statement)
        return
    if application_id != APPLICATION_ID:
        raise _unusable(path, "it is an SQLite file of another program")
    if version > SCHEMA_VERSION:
        raise Rejected(
            f"{path} was written by a newer Coldchain (schema {version}, known here {SCHEMA_VERSION})",
            todo="Start that version, or restore the copy made before the upgrade",
        )
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _unusable(path, found)
    # Files of before there were leases; whoever knows of none can go on with the file.
    connection.execute(LEASED)


def full_or_broken(path: Path, error: sqlite3.Error, *, opening: bool = False) -> ColdchainError:
    """What a fault of SQLite means for the caller."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(
            f"the disk that holds {path} is full; nothing was written",
            todo=f"Free some room below {path.parent}; nothing has to be restarted",
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or opening:
        return _unusable(path, str(error))
    return Unavailable(
        f"{path} cannot be read or written ({error}); whether this write is on the disk is not known",
        todo="Look at the disk and at the rights of the file; nothing has to be restarted",
    )


def _unusable(path: Path, why: str) -> Rejected:
    return Rejected(
        f"{path} is not a usable store of Coldchain: {why}",
        todo="Name another file, or restore this one from a copy; it was not changed",
    )
