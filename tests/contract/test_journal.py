"""What every journal does, and that the one on disk loses nothing it had told as written."""

import asyncio
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coldchain.model.errors import Rejected, Unavailable
from coldchain.network import journal as journal_file
from coldchain.network.journal import FileJournal
from coldchain.ports.network import Journal
from coldchain.testing.fake_journal import FakeJournal

Reopen = Callable[[], Journal]


@pytest.fixture(params=["fake", "file"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopen]:
    """The journal of one machine, as a process that starts anew finds it."""
    if request.param == "fake":
        fake = FakeJournal()
        yield lambda: fake
        return
    opened: list[FileJournal] = []

    def again() -> Journal:
        for one in opened:
            one.close()
        opened[:] = [FileJournal(tmp_path / "netd" / "journal")]
        return opened[0]

    yield again
    for one in opened:
        one.close()


async def test_a_new_one_is_empty(reopen: Reopen) -> None:
    assert await reopen().read() == {}


async def test_what_was_written_is_read_by_this_process_and_the_next(reopen: Reopen) -> None:
    journal = reopen()
    await journal.write({"a": b"1", "b": b"2"})
    await journal.write({"a": b"3", "b": None, "c": b"\x00\xff", "absent": None})
    assert await journal.read() == {"a": b"3", "c": b"\x00\xff"}
    assert await reopen().read() == {"a": b"3", "c": b"\x00\xff"}
    await reopen().write({"a": None})
    assert await reopen().read() == {"c": b"\x00\xff"}


async def test_writes_at_once_all_take_place_in_their_order(reopen: Reopen) -> None:
    journal = reopen()
    await asyncio.gather(*(journal.write({"last": b"%d" % one, f"{one}": b""}) for one in range(50)))
    read = await reopen().read()
    assert read["last"] == b"49"
    assert len(read) == 51


async def test_what_was_read_does_not_change_afterwards(reopen: Reopen) -> None:
    journal = reopen()
    await journal.write({"a": b"1"})
    before = await journal.read()
    await journal.write({"a": b"2"})
    assert before == {"a": b"1"}


async def written(path: Path, count: int) -> list[int]:
    """Write that many records. Returns how long the file was after each, beginning with none."""
    journal = FileJournal(path)
    await journal.read()
    lengths = [0]
    for number in range(count):
        await journal.write({f"key {number}": bytes([number]) * number, "last": b"%d" % number})
        lengths.append(path.stat().st_size)
    journal.close()
    return lengths


async def test_a_file_cut_anywhere_has_every_whole_record_and_takes_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    lengths = await written(path, 4)
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        for torn in (b"", b"\x00" * 40):
            path.write_bytes(whole[:cut] + torn)
            kept = sum(length <= cut for length in lengths) - 1
            journal = FileJournal(path)
            read = await journal.read()
            assert read.get("last") == (b"%d" % (kept - 1) if kept else None), cut
            assert len(read) == (kept + 1 if kept else 0)
            await journal.write({"after": b"x"})
            journal.close()
            again = FileJournal(path)
            assert await again.read() == {**read, "after": b"x"}
            again.close()


async def test_damage_before_the_end_is_not_guessed_at_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    lengths = await written(path, 3)
    whole = path.read_bytes()
    for place in range(lengths[2]):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        journal = FileJournal(path)
        with pytest.raises(Rejected, match="is damaged at byte"):
            await journal.read()
        with pytest.raises(Rejected):
            await journal.write({"a": b""})
        journal.close()
        assert path.read_bytes() == damaged


async def test_it_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_file, "GROWN_BYTES", 2000)
    path = tmp_path / "journal"
    journal = FileJournal(path)
    await journal.write({f"kept {number}": b"k" for number in range(20)})
    longest = 0
    for number in range(300):
        await journal.write({"changes": b"%d" % number})
        longest = max(longest, path.stat().st_size)
    journal.close()
    assert longest <= 2000
    again = FileJournal(path)
    read = await again.read()
    again.close()
    assert (len(read), read["changes"]) == (21, b"299")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["journal", "journal.lock"]


@contextmanager
def file_bytes_max(limit: int) -> Iterator[None]:
    """No file of this process grows beyond it, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_on_a_full_disk_it_says_so_and_goes_on_once_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = FileJournal(path)
    await journal.write({"a": b"1"})
    with file_bytes_max(path.stat().st_size + 20):
        for _ in range(2):
            with pytest.raises(Unavailable, match="cannot be written: File too large"):
                await journal.write({"b": b"x" * 100})
            assert await journal.read() == {"a": b"1"}
    await journal.write({"c": b"3"})
    journal.close()
    again = FileJournal(path)
    assert await again.read() == {"a": b"1", "c": b"3"}
    again.close()


async def test_only_one_process_has_it_open(tmp_path: Path) -> None:
    first, second = FileJournal(tmp_path / "journal"), FileJournal(tmp_path / "journal")
    await first.read()
    with pytest.raises(Rejected, match="in use by another netd"):
        await second.read()
    first.close()
    assert await second.read() == {}
    second.close()
