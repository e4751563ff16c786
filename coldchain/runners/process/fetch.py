"""What a task brings along before it starts: downloaded, checked, unpacked; whole or not at all.

The folder is nobody's but ours until all of it is there, so that no task of the same user can meddle.
"""

import asyncio
import errno
import hashlib
import ipaddress
import os
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

import aiohttp

from coldchain.model.app import Fetch
from coldchain.model.errors import Rejected
from coldchain.runners.process.archive import Bounds, is_archive, unpack
from coldchain.runners.process.settings import FetchSettings
from coldchain.runners.process.specification import User

PIECE_BYTES = 1024 * 1024


async def fetch_all(wanted: Sequence[Fetch], work: Path, user: User, settings: FetchSettings) -> None:
    """Into `work`, which is the user's afterwards. Raises Rejected with the address that failed; `work` is then half
    full, and for the caller to remove."""
    stop = threading.Event()
    try:
        async with asyncio.timeout(settings.seconds_max):
            for one in wanted:
                await _fetch(one, work, settings, stop)
    except TimeoutError:
        raise Rejected(
            f"not everything was fetched in {settings.seconds_max:g} s", todo="Fetch less, or from nearer by"
        ) from None
    finally:
        stop.set()
    await asyncio.to_thread(hand_over, work, user)


async def _fetch(one: Fetch, work: Path, settings: FetchSettings, stop: threading.Event) -> None:
    name = file_name(one)
    target = work / name
    fresh = work.parent / "fetched"
    digest = hashlib.sha256()
    size = 0
    pieces = _file(one.uri, settings) if one.uri.startswith("file:") else _download(one.uri, settings)
    with fresh.open("wb") as file:
        async for piece in pieces:
            size += len(piece)
            if size > settings.download_bytes_max:
                raise Rejected(f"{one.uri} has more than {settings.download_bytes_max} bytes")
            await asyncio.to_thread(file.write, piece)
            digest.update(piece)
    if one.sha256 is not None and digest.hexdigest() != one.sha256:
        raise Rejected(
            f"{one.uri} is not what it should be: its SHA-256 is {digest.hexdigest()}, not {one.sha256}",
            todo="Correct `sha256` if the new content is the wanted one",
        )
    if one.extract and not one.executable and is_archive(name):
        archive = fresh.rename(work.parent / Path(name).name)
        await _unpack(archive, target.parent, settings, stop)
        archive.unlink()
    else:
        await asyncio.to_thread(_put, one, fresh, target)


def _put(one: Fetch, fresh: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(fresh, target)  # unlike a renaming, it never takes the place of what is there
    except (FileExistsError, NotADirectoryError):
        raise Rejected(f"{one.uri}: {target.name} is there already", todo="Give another `destFile`") from None
    fresh.unlink()
    target.chmod(0o755 if one.executable else 0o644)


async def _unpack(archive: Path, folder: Path, settings: FetchSettings, stop: threading.Event) -> None:
    def check() -> None:
        if stop.is_set():
            raise Rejected(f"{archive.name} was not unpacked in time")

    def work() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        unpack(archive, folder, bounds)

    limits = (settings.unpacked_bytes_max, settings.unpacked_entries_max)
    bounds = Bounds(bytes_max=limits[0], entries_max=limits[1], check=check)
    unpacking = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(unpacking)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([unpacking])
        unpacking.exception()
        raise


def file_name(one: Fetch) -> str:
    """Relative to the task's folder. Raises Rejected where there is none, or one that leads elsewhere."""
    name = one.dest_file or unquote(urlsplit(one.uri).path).rpartition("/")[2]
    parts = name.split("/")
    if not name or name.startswith("/") or not {"..", ".", ""}.isdisjoint(parts) or "\0" in name:
        raise Rejected(f"{one.uri}: {name!r} is no name of a file in the task's folder", todo="Give `destFile`")
    return name


async def _file(uri: str, settings: FetchSettings) -> AsyncIterator[bytes]:
    opened = await asyncio.to_thread(_open, uri, settings)
    with opened:
        while piece := await asyncio.to_thread(opened.read, PIECE_BYTES):
            yield piece


def _open(uri: str, settings: FetchSettings) -> BinaryIO:
    try:
        descriptor = os.open(unquote(urlsplit(uri).path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Rejected(f"cannot read {uri}: {error.strerror}") from error
    opened = os.fdopen(descriptor, "rb")
    # What was opened counts, wherever links led on the way.
    actual = Path(f"/proc/self/fd/{descriptor}").resolve()
    if actual.is_file() and any(actual.is_relative_to(folder.resolve()) for folder in settings.file_folders):
        return opened
    opened.close()
    raise Rejected(
        f"{uri} is not below a folder that tasks may fetch from",
        todo="Put it on a web server, or start `coldchain up --fetch-folder FOLDER`",
    )


async def _download(uri: str, settings: FetchSettings) -> AsyncIterator[bytes]:
    connector = aiohttp.TCPConnector(socket_factory=_socket, force_close=True)
    timeout = aiohttp.ClientTimeout(total=settings.seconds_max, sock_connect=10.0)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session,
            session.get(uri, max_redirects=settings.redirects_max) as response,
        ):
            if response.status != 200:
                raise Rejected(f"cannot fetch {uri}: status {response.status}", todo="Correct `uri`")
            async for piece in response.content.iter_chunked(PIECE_BYTES):
                yield piece
    except TimeoutError:
        raise
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Rejected(f"cannot fetch {uri}: {error}", todo="See that its server can be reached from here") from error


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """Refuses where only this machine's own secrets are: a cloud's metadata is at a link-local address. Here, because
    names and redirects have been followed by now."""
    family, kind, protocol, _, place = address
    host = ipaddress.ip_address(str(place[0]).partition("%")[0])
    mapped = getattr(host, "ipv4_mapped", None) or host
    if mapped.is_link_local or mapped.is_multicast or mapped.is_unspecified:
        raise OSError(errno.EACCES, f"{host} is not an address to fetch from")
    return socket.socket(family, kind, protocol)


def hand_over(work: Path, user: User) -> None:
    """Give all of it to the user: the inside first, so that he can change nothing before the last step. Blocks."""
    if user.uid != os.geteuid():
        for _, folders, files, descriptor in os.fwalk(work, topdown=False, follow_symlinks=False):
            for name in (*folders, *files):
                os.chown(name, user.uid, user.gid, dir_fd=descriptor, follow_symlinks=False)
        os.chown(work, user.uid, user.gid)
    os.chmod(work, 0o750)  # noqa: S103 -- its group may look in
