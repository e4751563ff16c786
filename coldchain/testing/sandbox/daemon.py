"""DockerDaemon: a Docker Engine that lives and ends inside a sandbox."""

import contextlib
import fcntl
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from coldchain.model.errors import Conflict, Unavailable
from coldchain.testing.sandbox import cgroups, kernel
from coldchain.testing.sandbox.identity import inside

MACHINE_SOCKET = Path("/var/run/docker.sock")

_LOCK = Path("/run/coldchain-dockerd.lock")
_START_SECONDS = 30.0
_STOP_SECONDS = 20.0
_LOG_TAIL_LINES = 15


def docker_answers(path: Path = MACHINE_SOCKET) -> bool:
    """True when a Docker Engine answers on the socket at `path` within two seconds."""
    connection = http.client.HTTPConnection("localhost", timeout=2.0)
    try:
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(2.0)
        connection.sock.connect(str(path))
        connection.request("GET", "/_ping")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class DockerDaemon:
    """A Docker Engine of the sandbox's own: default bridge, iptables, images and containers in memory.

    `socket` defaults to a file in the sandbox's temporary directory, where the machine outside sees it as well.
    `start` and `kill` may follow each other: images and containers stay until `close`. A context manager starts
    and closes it. One at a time in a sandbox, because two would delete each other's bridge and rules.
    """

    def __init__(self, socket: Path | None = None, *, arguments: Sequence[str] = ()) -> None:
        self._name = f"docker-{secrets.token_hex(3)}"
        self._files = Path(tempfile.gettempdir()) / self._name
        self.socket = socket or self._files / "docker.sock"
        self.log = self._files / "dockerd.log"
        self.data_root = Path("/var/lib/docker") / self._name
        self.exec_root = Path("/run") / self._name
        self.cgroup_parent = f"{os.environ.get('COLDCHAIN_CGROUP_PARENT', '')}/{self._name}"
        self._arguments = tuple(arguments)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The daemon's process, None while it does not run."""
        return self._process.pid if self._process else None

    def start(self, *arguments: str) -> None:
        """Start it, this time with these arguments too, and wait until it answers. Raises Conflict for a second one,
        Unavailable with the log's tail."""
        if not inside():
            raise Conflict(
                "A Docker daemon for tests may run only inside the sandbox",
                todo="Run this through bin/test, bin/demo or bin/bench",
            )
        if self._process is not None:
            raise Conflict("This Docker daemon runs already")
        self._take_lock()
        for directory in (self._files, self.data_root, self.exec_root):
            directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command(), *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + _START_SECONDS
        while not docker_answers(self.socket):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise Unavailable(
                    f"dockerd does not answer; its log ends with:\n{self._log_tail()}\n", todo="The log says why"
                )
            time.sleep(0.01)  # the socket appears without notice

    def stop(self, *, keep_containers_running: bool = False) -> None:
        """End the daemon in order. Containers are killed first unless they shall live on (live restore)."""
        if self._process is None:
            return
        if not keep_containers_running:
            cgroups.kill(self.cgroup_parent)
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the daemon alone, as in a crash: its containers go on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End the daemon, its containers and their shims, and remove all of its files."""
        self.stop()
        cgroups.kill(self.cgroup_parent)
        self._kill_helpers()
        for point, _ in reversed(kernel.mounts()):
            if f"{point}/".startswith((f"{self.data_root}/", f"{self.exec_root}/")):
                with contextlib.suppress(OSError):
                    kernel.unmount_lazily(point)
        for directory in (self.data_root, self.exec_root, self._files):
            shutil.rmtree(directory, ignore_errors=True)
        cgroups.remove(self.cgroup_parent)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _command(self) -> list[str]:
        return [
            "dockerd",
            f"--host=unix://{self.socket}",
            f"--data-root={self.data_root}",
            f"--exec-root={self.exec_root}",
            f"--pidfile={self.exec_root}/dockerd.pid",
            f"--cgroup-parent={self.cgroup_parent}",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            f"--storage-driver={'overlay2' if self._overlay_works() else 'vfs'}",
            *self._arguments,
        ]

    def _overlay_works(self) -> bool:
        """Some kernels refuse an overlay above a tmpfs; images are then copied whole."""
        trial = self.data_root / "overlay-trial"
        lower, upper, work, merged = (trial / name for name in ("lower", "upper", "work", "merged"))
        for directory in (lower, upper, work, merged):
            directory.mkdir(parents=True, exist_ok=True)
        try:
            kernel.mount("overlay", str(merged), f"lowerdir={lower},upperdir={upper},workdir={work}")
            kernel.unmount_lazily(str(merged))
        except OSError:
            return False
        finally:
            shutil.rmtree(trial, ignore_errors=True)
        return True

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        lock = _LOCK.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise Conflict(
                "Another Docker daemon runs in this sandbox, and two would delete each other's bridge",
                todo="Use the running one, or start a sandbox of its own",
            ) from None
        self._lock = lock

    def _kill_helpers(self) -> None:
        """containerd and the containers' shims: all whose command line names our own exec root."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if os.fsencode(self.exec_root) in (entry / "cmdline").read_bytes():
                        os.kill(int(entry.name), signal.SIGKILL)

    def _log_tail(self) -> str:
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])
        return "(no log)"
