"""Unpacks archives that nobody vouches for. Blocks.

No member is written through a link: files and folders come first, hard links next, symbolic links last. A symbolic link
may climb only before it descends, and not above the folder: nothing that follows it gets out. Whatever else a member
may be (a device, a pipe, an absolute name, one that climbs), the whole archive is refused.
"""

import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from coldchain.model.errors import Rejected

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
ZIP_SUFFIXES = (".zip",)
PIECE_BYTES = 1024 * 1024
LINK_BYTES_MAX = 4096


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What may come out, and who says that it takes too long by raising."""

    bytes_max: int
    entries_max: int
    check: Callable[[], None]


@dataclass(frozen=True)
class Member:
    """One entry. `link`: where a symbolic or hard link leads; `content`: of a file, in pieces."""

    name: str
    kind: str
    mode: int = 0o644
    link: str = ""
    content: Callable[[], IO[bytes]] | None = None


def is_archive(name: str) -> bool:
    return name.lower().endswith(TAR_SUFFIXES + ZIP_SUFFIXES)


def unpack(archive: Path, folder: Path, bounds: Bounds) -> None:
    """Everything into an existing folder. Raises Rejected; what was written until then is for the caller to remove."""
    try:
        if archive.name.lower().endswith(ZIP_SUFFIXES):
            with zipfile.ZipFile(archive) as opened:
                _Unpacking(folder, bounds, archive.name).run(_zip_members(opened))
        else:
            with tarfile.open(archive, "r|*") as stream:
                _Unpacking(folder, bounds, archive.name).run(_tar_members(stream))
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise Rejected(f"cannot unpack {archive.name}: {error}", todo="Build the archive again") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError, FileNotFoundError) as error:
        raise Rejected(f"cannot unpack {archive.name}: {error}", todo="Give each name once") from error


class _Unpacking:
    def __init__(self, folder: Path, bounds: Bounds, archive: str) -> None:
        self._folder = folder
        self._bounds = bounds
        self._archive = archive
        self._bytes = self._entries = 0

    def run(self, members: Iterator[Member]) -> None:
        later: list[Member] = []
        for member in members:
            self._bounds.check()
            self._entries += 1
            if self._entries > self._bounds.entries_max:
                raise self._refusal(f"has more than {self._bounds.entries_max} entries")
            path = self._path(member.name)
            if member.kind == "folder":
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if member.kind == "file":
                self._write(member, path)
            elif member.kind in ("link", "hard link"):
                later.append(member)
            else:
                raise self._refusal(f"contains {member.name}, which is neither file, folder nor link")
        for member in sorted(later, key=lambda one: one.kind == "link"):
            if member.kind == "hard link":
                os.link(self._path(member.link), self._path(member.name), follow_symlinks=False)
            else:
                self._check_link(member)
                os.symlink(member.link, self._path(member.name))

    def _path(self, name: str) -> Path:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
            raise self._refusal(f"contains {name!r}, which would leave the folder")
        return self._folder.joinpath(*parts)

    def _write(self, member: Member, path: Path) -> None:
        assert member.content is not None
        # Setuid and its like are left out; execution for the owner is execution for all.
        mode = 0o755 if member.mode & stat.S_IXUSR else 0o644
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with os.fdopen(file, "wb") as target, member.content() as source:
            while piece := source.read(PIECE_BYTES):
                self._bounds.check()
                self._bytes += len(piece)
                if self._bytes > self._bounds.bytes_max:
                    raise self._refusal(f"is more than {self._bounds.bytes_max} bytes when unpacked")
                target.write(piece)

    def _check_link(self, member: Member) -> None:
        depth = len(PurePosixPath(*(part for part in member.name.split("/") if part != ".")).parts) - 1
        descending = False
        for part in member.link.split("/"):
            if part == "..":
                depth -= 1
                if descending or depth < 0:
                    break
            elif part not in ("", "."):
                descending = True
        else:
            if member.link and not member.link.startswith("/"):
                return
        raise self._refusal(f"contains the link {member.name} → {member.link}, which could leave the folder")

    def _refusal(self, reason: str) -> Rejected:
        return Rejected(f"{self._archive} {reason}", todo="Build the archive without that, or put it into an image")


def _tar_members(stream: tarfile.TarFile) -> Iterator[Member]:
    for entry in stream:
        kind = "other"
        if entry.isdir():
            kind = "folder"
        elif entry.isfile():
            kind = "file"
        elif entry.issym() or entry.islnk():
            kind = "link" if entry.issym() else "hard link"

        def content(entry: tarfile.TarInfo = entry) -> IO[bytes]:
            opened = stream.extractfile(entry)
            assert opened is not None
            return opened

        yield Member(entry.name, kind, entry.mode, entry.linkname, content)


def _zip_members(opened: zipfile.ZipFile) -> Iterator[Member]:
    for entry in opened.infolist():
        if entry.flag_bits & 1:
            raise ValueError("it is encrypted")
        mode = entry.external_attr >> 16
        if entry.is_dir():
            yield Member(entry.filename, "folder")
        elif stat.S_ISLNK(mode):
            with opened.open(entry) as target:
                yield Member(entry.filename, "link", link=target.read(LINK_BYTES_MAX).decode(errors="replace"))
        elif stat.S_IFMT(mode) in (0, stat.S_IFREG):

            def content(entry: zipfile.ZipInfo = entry) -> IO[bytes]:
                return opened.open(entry)

            yield Member(entry.filename, "file", mode or 0o644, content=content)
        else:
            yield Member(entry.filename, "other")
