"""Archives that nobody vouches for: what comes out, and what is refused."""

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from coldchain.model.errors import Rejected
from coldchain.runners.process.archive import Bounds, is_archive, unpack

REGULAR, SYMBOLIC, HARD, DEVICE, PIPE, FOLDER = (
    tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE,
)  # fmt: skip
Entry = tuple[str, bytes, str | bytes]


def packed(folder: Path, *entries: Entry) -> Path:
    """A tar archive; each entry has name, kind, and content or the link's end."""
    path = folder / "given.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, what in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = kind, 0o4755
            if isinstance(what, str):
                entry.linkname = what
                archive.addfile(entry)
            else:
                entry.size = len(what)
                archive.addfile(entry, io.BytesIO(what))
    return path


def bounds(bytes_max: int = 1000, entries_max: int = 100, check: Callable[[], None] = lambda: None) -> Bounds:
    return Bounds(bytes_max=bytes_max, entries_max=entries_max, check=check)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "out" / "work"
    path.mkdir(parents=True)
    return path


def test_files_folders_and_links_that_stay_inside(tmp_path: Path, folder: Path) -> None:
    archive = packed(
        tmp_path,
        ("./node/bin/npm", SYMBOLIC, "../lib/npm.js"),
        ("node/lib/npm.js", REGULAR, b"code"),
        ("empty", FOLDER, b""),
        ("same", HARD, "node/lib/npm.js"),
        ("current", SYMBOLIC, "node/lib"),
    )
    unpack(archive, folder, bounds())
    assert (folder / "node/bin/npm").read_bytes() == (folder / "same").read_bytes() == b"code"
    assert (folder / "current/npm.js").read_bytes() == b"code"
    assert (folder / "empty").is_dir()
    assert stat.S_IMODE((folder / "node/lib/npm.js").stat().st_mode) & 0o7000 == 0


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([("../x", REGULAR, b"1")], "would leave the folder"),
        ([("a/../../x", REGULAR, b"1")], "would leave the folder"),
        ([("/x", REGULAR, b"1")], "would leave the folder"),
        ([("x", SYMBOLIC, "/etc")], "could leave the folder"),
        ([("x", SYMBOLIC, "..")], "could leave the folder"),
        ([("a/x", SYMBOLIC, "../..")], "could leave the folder"),
        ([("x", SYMBOLIC, "a/../..")], "could leave the folder"),
        ([("p/q/x", SYMBOLIC, "../.."), ("p/q/y", SYMBOLIC, "x/..")], "could leave the folder"),
        ([("x", SYMBOLIC, "."), ("x/y", REGULAR, b"1")], "Give each name once"),
        ([("x", HARD, "../../secret")], "would leave the folder"),
        ([("x", HARD, "/etc/passwd")], "would leave the folder"),
        ([("x", DEVICE, b"")], "neither file, folder nor link"),
        ([("x", PIPE, b"")], "neither file, folder nor link"),
        ([("x", REGULAR, b"1"), ("x", REGULAR, b"2")], "Give each name once"),
        ([("x", REGULAR, b"1"), ("x/y", REGULAR, b"2")], "Give each name once"),
        ([("x", REGULAR, b"0" * 1001)], "more than 1000 bytes"),
        ([(f"x{n}", REGULAR, b"") for n in range(101)], "more than 100 entries"),
    ],
)
def test_what_is_refused(tmp_path: Path, folder: Path, entries: list[Entry], reason: str) -> None:
    (tmp_path / "secret").write_text("secret")
    archive = packed(tmp_path, *entries)
    with pytest.raises(Rejected, match=reason):
        unpack(archive, folder, bounds())
    assert [path.name for path in folder.parent.iterdir()] == ["work"]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] in (
        ["secret", archive.name],
        [archive.name, "secret"],
    )


def test_no_file_is_written_through_a_link(tmp_path: Path, folder: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = packed(tmp_path, ("door", SYMBOLIC, str(outside)), ("door/x", REGULAR, b"1"))
    with pytest.raises(Rejected):
        unpack(archive, folder, bounds())
    assert list(outside.iterdir()) == []


def test_zip(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "given.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bin/run", "x")
        link = zipfile.ZipInfo("run")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "bin/run")
    unpack(path, folder, bounds())
    assert os.readlink(folder / "run") == "bin/run"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", "0" * 100_000)
    with pytest.raises(Rejected, match="more than 1000 bytes"):
        unpack(path, folder, bounds())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../x", "x")
    with pytest.raises(Rejected, match="would leave"):
        unpack(path, folder, bounds())


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip", "a.tar"])
def test_what_is_no_archive(tmp_path: Path, folder: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(Rejected, match="cannot unpack"):
        unpack(tmp_path / name, folder, bounds())


def test_it_is_given_up_when_it_takes_too_long(tmp_path: Path, folder: Path) -> None:
    def late() -> None:
        raise Rejected("late")

    with pytest.raises(Rejected, match="late"):
        unpack(packed(tmp_path, ("x", REGULAR, b"1")), folder, bounds(check=late))


def test_names_of_archives() -> None:
    assert [is_archive(name) for name in ("a.tgz", "A.ZIP", "a.tar.xz", "a.jar", "tar", "a.gz")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
