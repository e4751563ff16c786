"""Makes Docker images of the test application by the Engine API's image import, without any registry.

An image holds /bin/application (its command), /bin/sh (busybox, so that an app's `cmd` works; write `exec application`
there, or the shell and not the application gets SIGTERM), /etc/passwd and /etc/release with the tag, so that images
of different tags differ in their bytes. VERSION is set to the tag. With `entry` its first process is coldchain-entry.
"""

import hashlib
import io
import shutil
import struct
import tarfile
from pathlib import Path

import aiohttp
import msgspec

from coldchain.model.errors import Rejected, Unavailable
from coldchain.testing.application.build import build_application

CONTENT_LABEL = "coldchain.testing.content"
BUSYBOX_COMMANDS = ("sh", "sleep", "cat", "echo", "kill", "ls", "ps", "wget")
ENTRY = Path(__file__).parents[3] / "register" / "coldchain-entry"
ENTRY_CLIENTS = ("nc",)
"""Of busybox's commands those by which it speaks HTTP: its wget cannot PUT."""
PROGRAM_INTERPRETER = 3  # PT_INTERP of the ELF format: only a dynamic program has one


async def ensure_image(
    docker_socket: str, repository: str = "coldchain/shop", tag: str = "v1", *, entry: bool = False
) -> str:
    """Returns the id (`sha256:…`) of the image `repository:tag`, imported unless the same content is there already.

    `docker_socket` is the path of the engine's Unix socket. Raises Unavailable when nothing answers there, or without
    compiler or busybox; Rejected, with the engine's words, when it refuses the import.
    """
    archive = image_archive(tag, entry=entry)
    content = hashlib.sha256(archive).hexdigest()
    try:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(docker_socket)) as session:
            async with session.get(f"http://docker/images/{repository}:{tag}/json") as answer:
                found = await answer.json() if answer.status == 200 else {}
            if ((found.get("Config") or {}).get("Labels") or {}).get(CONTENT_LABEL) == content:
                return str(found["Id"])
            changes = (
                'CMD ["/bin/application"]',
                f"ENV PATH=/bin VERSION={tag}",
                f"LABEL {CONTENT_LABEL}={content}",
                *(('ENTRYPOINT ["coldchain-entry"]',) if entry else ()),
            )
            query = [("fromSrc", "-"), ("repo", repository), ("tag", tag), *(("changes", change) for change in changes)]
            # expect100: a refused import is then told before the archive is sent, not in the middle of it
            async with session.post(
                "http://docker/images/create", params=query, data=io.BytesIO(archive), expect100=True
            ) as answer:
                return _imported(await answer.read(), f"{repository}:{tag}")
    except (aiohttp.ClientConnectionError, OSError) as error:
        raise Unavailable(
            f"Docker does not answer on {docker_socket}: {error}", todo="Start dockerd, or name its socket"
        ) from error


def _imported(progress: bytes, name: str) -> str:
    """The image id out of the engine's answer: JSON objects one after the other, an error among them or alone."""
    for line in progress.splitlines():
        said = msgspec.json.decode(line)
        if str(said.get("status", "")).startswith("sha256:"):
            return str(said["status"])
        if "error" in said or "message" in said:
            raise Rejected(f"Docker refused the image {name}: {said.get('error', said.get('message'))}")
    raise Rejected(f"Docker gave no id for the image {name}: {progress.decode(errors='replace')}")


def image_archive(tag: str, *, entry: bool = False) -> bytes:
    """The image's file system as a tar archive: the same bytes for the same source and tag."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("records", 0o1777), ("tmp", 0o1777)):
            made = tarfile.TarInfo(folder)
            made.type, made.mode = tarfile.DIRTYPE, mode
            archive.addfile(made)
        _add(archive, "bin/application", build_application().read_bytes(), 0o755)
        _add(archive, "bin/busybox", static_busybox().read_bytes(), 0o755)
        for command in (*BUSYBOX_COMMANDS, *(ENTRY_CLIENTS if entry else ())):
            link = tarfile.TarInfo(f"bin/{command}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        if entry:
            _add(archive, "bin/coldchain-entry", ENTRY.read_bytes(), 0o755)
        _add(archive, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n", 0o644)
        _add(archive, "etc/release", f"{tag}\n".encode(), 0o644)
    return stream.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def static_busybox() -> Path:
    """The machine's busybox. Raises Unavailable when there is none that runs without libraries."""
    path = shutil.which("busybox")
    if path is None or _is_dynamic(Path(path).read_bytes()):
        raise Unavailable("No static busybox for the test image", todo="Install the package busybox-static")
    return Path(path)


def _is_dynamic(program: bytes) -> bool:
    """True when an ELF program (64 bits, little endian) asks for a loader of shared libraries."""
    (table,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    kinds = (struct.unpack_from("<I", program, table + index * size)[0] for index in range(count))
    return PROGRAM_INTERPRETER in kinds
