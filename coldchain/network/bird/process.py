"""process: starts, adopts, reconfigures and stops the BIRD of one folder. It outlives us, and its routes outlive it."""

import asyncio
import contextlib
import os
import select
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

from coldchain.model.errors import NotFound, Rejected, Unavailable
from coldchain.network.bird.control_socket import ask, heard_of, refusal, session_states
from coldchain.network.programs import run

INSTALL = "Install the package bird2; its service may stay off: netd starts BIRD itself"
_END_SECONDS = 10.0
_FAMILIES = ("-4", "-6")
_OF_BIRD = ("proto", "bird")
"""By this the kernel knows whose routes they are."""


class Bird:
    """Implements ports.network.RoutingDaemon. `folder` has its configuration, log, pid file and control socket, and is
    readable by nobody else: passwords of sessions stand in the configuration."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._configuration = folder / "bird.conf"
        self._socket = folder / "bird.ctl"
        self._pid_file = folder / "bird.pid"

    @property
    def log_file(self) -> Path:
        """Where the configuration has to tell it to write."""
        return self._folder / "bird.log"

    async def apply(self, configuration: str) -> None:
        program = _program()
        await asyncio.to_thread(self._write, configuration)
        new = self._configuration.with_suffix(".new")
        status, _, errors = await run((program, "-p", "-c", str(new)))
        if status != 0:
            raise Rejected(
                f"BIRD refuses its configuration: {errors.strip().replace(str(new), 'bird.conf')}",
                todo=f"It goes on by the one before; what was refused is {new}",
            )
        await asyncio.to_thread(os.replace, new, self._configuration)
        if await asyncio.to_thread(self._pid) is None:
            await self._start(program)
        elif said := refusal(await ask(self._socket, "configure")):
            raise Rejected(f"BIRD refuses its configuration: {said}", todo=f"See {self.log_file}")

    async def resume(self) -> None:
        if await asyncio.to_thread(self._configuration.exists) and await asyncio.to_thread(self._pid) is None:
            await self._start(_program())

    async def sessions(self) -> Mapping[str, str]:
        return session_states(await ask(self._socket, "show protocols"))

    async def heard(self) -> Mapping[str, bool]:
        return heard_of(await ask(self._socket, "show bfd sessions"))

    async def withdraw(self, session: str) -> None:
        for command in ("disable", "enable"):
            if said := refusal(await ask(self._socket, f"{command} '{session}'")):
                raise NotFound(f"BIRD has no session {session!r}: {said}")

    async def ended(self) -> None:
        """Returns once it does not run."""
        pid = await asyncio.to_thread(self._pid)
        if pid is None:
            return
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(descriptor, done.set)
        try:
            await done.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)

    async def stop(self) -> None:
        pid = await asyncio.to_thread(self._pid)
        if pid is not None:
            await asyncio.to_thread(self._end, pid)
        await asyncio.to_thread(self._configuration.unlink, missing_ok=True)
        for family in _FAMILIES:
            # It leaves its routes when it ends, for the sake of the next one.
            status, _, errors = await run(("ip", family, "route", "flush", *_OF_BIRD))
            if status != 0:
                raise Unavailable(f"BIRD's routes cannot be taken away: {errors.strip()}", todo="netd has to be root")

    async def _start(self, program: str) -> None:
        """It becomes a daemon of its own once it listens. `-R`: others have kept our routes, and it keeps those of the
        kernel until it has heard of theirs. Where the kernel has none, as after a start of the machine, it must not
        wait so for somebody who is away."""
        with contextlib.suppress(FileNotFoundError):
            self._socket.unlink()  # of one that was killed
        files = ("-c", str(self._configuration), "-s", str(self._socket), "-P", str(self._pid_file))
        kept = [(await run(("ip", family, "route", "show", *_OF_BIRD)))[1] for family in _FAMILIES]
        status, _, errors = await run((program, *(["-R"] if any(kept) else []), *files))
        if status != 0:
            raise Rejected(f"BIRD does not start: {errors.strip()}", todo=f"See {self.log_file}")
        await ask(self._socket, "show status")  # it answers only after its pid file is written

    def _write(self, configuration: str) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = self._configuration.with_suffix(".new")
            new.unlink(missing_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(configuration)
        except OSError as error:
            words = f"cannot write into {self._folder}: {error.strerror}"
            raise Rejected(words, todo="Make room there, or run as root") from error

    def _pid(self) -> int | None:
        """Of the BIRD that runs in this folder, and of no other process under a number that was used again."""
        try:
            pid = int(self._pid_file.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError):
            return None
        return pid if str(self._socket).encode() in words and state != "Z" else None

    def _end(self, pid: int) -> None:
        """Without `graceful restart` for the others: they are told that it goes."""
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            if not select.select([descriptor], [], [], _END_SECONDS)[0]:
                raise Unavailable(f"BIRD (process {pid}) does not end", todo=f"End it by hand: kill -9 {pid}")
        finally:
            os.close(descriptor)


def _program() -> str:
    found = shutil.which("bird", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise Rejected("there is no BIRD on this machine", todo=INSTALL)
    return found
