"""What only a file can do: outlive SIGKILL, fill its disk, be damaged, be somebody else's."""

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from coldchain.model.errors import Rejected
from coldchain.ports.store import Change, Compacted
from coldchain.store.file import connect
from coldchain.store.sqlite import SQLiteStore

WRITER = """
    import asyncio, sys
    from coldchain.ports.store import Change
    from coldchain.store.sqlite import SQLiteStore

    async def write(store, writer):
        number = 0
        while True:
            # Two keys in one write: both or neither must be found.
            revision = await store.write([Change(key=f"left/{writer}/{number}", value=b"x" * 300),
                                          Change(key=f"right/{writer}/{number}", value=b"y" * 300)])
            print(revision, writer, number, flush=True)
            number += 1

    async def main():
        store = SQLiteStore(sys.argv[1])
        await asyncio.gather(*(write(store, writer) for writer in range(8)))

    asyncio.run(main())
"""

FILLER = """
    import asyncio, sys
    from pathlib import Path
    from coldchain.model.errors import Unavailable
    from coldchain.ports.store import Change
    from coldchain.store.sqlite import SQLiteStore

    async def main():
        folder = Path(sys.argv[1])
        ballast = folder / "ballast"
        ballast.write_bytes(bytes(512 * 1024))
        store = SQLiteStore(folder / "store.db")
        acknowledged, refused = [], 0
        for number in range(400):
            try:
                revision = await store.write([Change(key=f"left/{number:03}", value=bytes(5000)),
                                              Change(key=f"right/{number:03}", value=bytes(5000))])
                acknowledged.append(f"{number:03}")
            except Unavailable as error:
                assert "is full; nothing was written" in str(error) and "Free some room" in error.todo, error
                refused += 1
                if refused == 3:
                    break
        assert refused == 3 and acknowledged, (refused, len(acknowledged))

        async def stored(store):
            sides = []
            for side in ("left/", "right/"):
                sides.append([entry.key.removeprefix(side) for entry in (await store.list(side)).entries])
            assert sides[0] == sides[1], "half-written"
            return sides[0]

        assert await stored(store) == acknowledged
        ballast.unlink()
        later = await store.write([Change(key="left/later", value=b""), Change(key="right/later", value=b"")])
        assert later == revision + 1, "a refused write took a revision"
        await store.close()
        store = SQLiteStore(folder / "store.db")
        assert await stored(store) == [*acknowledged, "later"]
        await store.close()
        print("survived", len(acknowledged), "writes")

    asyncio.run(main())
"""


def put(key: str, value: bytes = b"v") -> Change:
    return Change(key=key, value=value)


def written_until_killed(path: Path, acknowledgements: int) -> list[list[str]]:
    """Revision, writer and number of every acknowledged write of a process killed after so many of them."""
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(WRITER), str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    lines = [child.stdout.readline() for _ in range(acknowledgements)]
    os.kill(child.pid, signal.SIGKILL)
    lines += child.stdout.read().splitlines(keepends=True)
    child.wait()
    child.stdout.close()
    return [line.decode().split() for line in lines if line.endswith(b"\n")]


@pytest.mark.parametrize("acknowledgements", [1, 50, 400])
async def test_everything_acknowledged_survives_a_kill_in_mid_writing(tmp_path: Path, acknowledgements: int) -> None:
    path = tmp_path / "store.db"
    acknowledged = written_until_killed(path, acknowledgements)
    assert len(acknowledged) >= acknowledgements

    store = SQLiteStore(path)
    listing = await store.list("")
    found = {entry.key: entry for entry in listing.entries}
    for revision, writer, number in acknowledged:
        assert found[f"left/{writer}/{number}"].revision == int(revision)
    for key, entry in found.items():
        side, rest = key.split("/", 1)
        other = found[("right/" if side == "left" else "left/") + rest]
        assert other.revision == entry.revision
    assert await store.write([put("next")]) == listing.revision + 1
    await store.close()


def opened_by_another_process(path: Path) -> subprocess.CompletedProcess[str]:
    command = "import sys; from coldchain.store.sqlite import SQLiteStore; SQLiteStore(sys.argv[1])"
    return subprocess.run([sys.executable, "-c", command, str(path)], capture_output=True, text=True)


async def test_a_second_process_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SQLiteStore(path)
    (tmp_path / "alias").symlink_to(tmp_path)
    for name in (path, tmp_path / "alias" / "store.db"):
        second = opened_by_another_process(name)
        assert second.returncode == 1
        assert f"store.db is in use by another Coldchain (process {os.getpid()})" in second.stderr
    with pytest.raises(Rejected, match="in use"):
        SQLiteStore(path)
    await store.write([put("k")])
    await store.close()
    third = opened_by_another_process(path)
    assert third.returncode == 0, third.stderr


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs root for a small file system")
def test_a_full_disk_refuses_whole_writes_until_there_is_room(tmp_path: Path) -> None:
    """On a tmpfs of 2 MiB in a mount namespace of its own, so that nothing of it can be left behind."""
    script = 'mount -t tmpfs -o size=2m none "$1" && exec "$2" -c "$3" "$1"'
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable, textwrap.dedent(FILLER)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("survived")


async def test_a_write_that_cannot_be_stored_does_not_spoil_its_group(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "store.db")
    outcomes = await asyncio.gather(
        store.write([put("before")]),
        store.write([put("half"), put("\ud800")]),
        store.write([put("after")]),
        return_exceptions=True,
    )
    assert isinstance(outcomes[1], UnicodeEncodeError)
    assert [entry.key for entry in (await store.list("")).entries] == ["after", "before"]
    await store.close()


class LateToTell(SQLiteStore):
    """Tells its watchers of a commit only when it is allowed to."""

    allowed = False

    def _finish(self, group: Any, outcomes: Any) -> None:
        if self.allowed:
            super()._finish(group, outcomes)
        else:
            asyncio.get_running_loop().call_soon(self._finish, group, outcomes)


def hold_up_until_committed(path: Path) -> None:
    """Keeps the event loop from hearing of the first commit before it is there."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        while connection.execute("SELECT revision FROM meta").fetchone() != (1,):
            pass


async def test_a_reader_is_not_ahead_of_the_watchers(tmp_path: Path) -> None:
    """A commit may be read before it is told. Who lists and watches from there must not be sent away for it."""
    store = LateToTell(tmp_path / "store.db")
    writing = asyncio.ensure_future(store.write([put("k")]))
    await asyncio.sleep(0)
    hold_up_until_committed(store.path)
    listing = asyncio.ensure_future(store.list(""))
    entry = asyncio.ensure_future(store.get("k"))
    await asyncio.wait([listing, entry], timeout=0.05)
    assert not listing.done()
    assert not entry.done()
    store.allowed = True
    assert (await listing).revision == await writing == 1
    changes = store.watch("", listing.result().revision)
    await store.write([put("later")])
    assert (await asyncio.wait_for(anext(changes), 10)).key == "later"
    assert await entry is not None
    await store.close()


def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    with contextlib.closing(connect(tmp_path / "store.db")) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_old_revisions_are_compacted_over_a_restart(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "store.db")
    await store.write([put("a")])
    last = await store.write([put("b")])
    await store.close()
    store = SQLiteStore(tmp_path / "store.db")
    with pytest.raises(Compacted):
        await anext(store.watch("", last - 1))
    changes = store.watch("", last)
    await store.write([put("c")])
    assert (await asyncio.wait_for(anext(changes), 10)).key == "c"
    await store.close()


async def test_a_lease_ends_with_the_process_that_had_the_file_open(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "store.db")
    lease = await store.lease(600)
    attached = [Change(key=key, value=b"v", lease=lease.id) for key in ("leader", "kept", "leader/2")]
    await store.write([*attached, put("other")])
    last = await store.write([put("kept")])
    await store.close()
    store = SQLiteStore(tmp_path / "store.db")
    listing = await store.list("")
    assert ([entry.key for entry in listing.entries], listing.revision) == (["kept", "other"], last + 1)
    lease = await store.lease(600)
    await store.write([Change(key="leader", value=b"v", lease=lease.id)])
    await store.close()
    store = SQLiteStore(tmp_path / "store.db")
    assert (await store.list("")).revision == last + 3
    await store.close()
    store = SQLiteStore(tmp_path / "store.db")
    assert (await store.list("")).revision == last + 3
    await store.close()


async def test_a_file_of_before_there_were_leases(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "store.db")
    await store.write([put("k")])
    await store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as connection:
        connection.execute("DROP TABLE leased")
    store = SQLiteStore(tmp_path / "store.db")
    lease = await store.lease(600)
    await store.write([Change(key="leader", value=b"v", lease=lease.id)])
    await lease.revoke()
    assert [entry.key for entry in (await store.list("")).entries] == ["k"]
    await store.close()


def refusal(path: Path) -> Rejected:
    before = path.read_bytes()
    with pytest.raises(Rejected) as caught:
        SQLiteStore(path)
    assert path.read_bytes() == before, "a file that is not ours was changed"
    assert caught.value.todo
    return caught.value


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"#!/bin/sh\necho hello\n" * 200)
    assert "is not a usable store of Coldchain: file is not a database" in str(refusal(path))


def test_the_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE music (title)")
    connection.close()
    assert "another program" in str(refusal(path))


async def test_a_newer_schema(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await SQLiteStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    assert "newer Coldchain (schema 2, known here 1)" in str(refusal(path))


async def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = SQLiteStore(path)
    await store.write([put(f"k/{number}", bytes(500)) for number in range(200)])
    await store.close()
    content = bytearray(path.read_bytes())
    content[8192:16384] = b"\xff" * 8192
    path.write_bytes(content)
    assert "is not a usable store of Coldchain" in str(refusal(path))


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="cannot be opened: No such file or directory"):
        SQLiteStore(tmp_path / "absent" / "store.db")


async def test_nothing_is_left_open_after_close(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    store = SQLiteStore(tmp_path / "store.db")
    await store.write([put("k")])
    await store.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert not (tmp_path / "store.db-wal").exists()
