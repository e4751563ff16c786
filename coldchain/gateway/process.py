"""process: starts, adopts, reloads and stops the nginx of one prefix. It outlives us."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Literal

from coldchain.gateway import installation, listeners
from coldchain.gateway.control_socket import ControlSocket, GatewayState
from coldchain.gateway.render import render
from coldchain.gateway.settings import GatewaySettings
from coldchain.model.errors import Rejected, Unavailable

Outcome = Literal["started", "adopted", "reloaded"]

_ANSWER_SECONDS = 2.0
_START_SECONDS = 10.0
_POLL_SECONDS = 0.02
_KILL_SECONDS = 5.0
_CLOSING_SECONDS = 2.0
"""How long answers close their connections before a reload, which ends idle ones that somebody may be about to use.
Shorter than a lease."""


class NginxProcess:
    """The nginx of `settings.prefix`."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings

    async def start_or_adopt(self) -> Outcome:
        """Afterwards nginx runs by these settings. One that runs already is kept; only if its configuration (or our
        Lua code) differs it is reloaded, once, after its answers have closed their connections for a moment. After a
        reload that changed `memory.rotation` it has no rotation, and requests that are open at that moment end
        uncounted.

        Raises `Rejected` (not installed, address in use, directory not writable, disk full, configuration refused)
        or `Unavailable` (it runs but does not answer).
        """
        found = await asyncio.to_thread(installation.find_installation)
        await asyncio.to_thread(installation.prepare, self._settings)
        digest = await asyncio.to_thread(installation.lua_digest)
        firewall = found.firewall if self._settings.firewall else None
        text = render(self._settings, modules=found.modules, lua=installation.LUA, lua_digest=digest, firewall=firewall)
        state = await self.state()
        if state is not None and is_master(state.master):
            return await self._adopt(found, text, state)
        if state is not None:
            await self._end_orphans(state)
        await self._start(found, text)
        return "started"

    async def stop(self, deadline_seconds: float = 30.0) -> None:
        """Tell consumers' connections to close, let requests end, then go. What is still open at the deadline is cut.

        Does nothing when nginx does not run. Raises `Unavailable` if it cannot be ended.
        """
        deadline = time.monotonic() + deadline_seconds
        state = await self.state()
        master = state.master if state is not None else self._master_on_file()
        if master is None or not is_master(master):
            return
        if state is not None:
            await self.drain()
            await self._until_quiet(deadline)
        for number, seconds in (
            (signal.SIGQUIT, max(0.0, deadline - time.monotonic())),
            (signal.SIGTERM, _KILL_SECONDS),
        ):
            _send(master, number)
            if await _until(lambda: not is_master(master), seconds):
                return
        raise Unavailable(f"nginx (process {master}) does not end", todo=f"End it by hand: kill -9 {master}")

    async def drain(self) -> None:
        """From now on it is not ready, and every answer closes its connection. `start_or_adopt` takes that back."""
        await self._order("/drain")

    async def say_goodbye(self) -> None:
        """From now on connections without a request are closed, and who speaks HTTP/2 is told to go (GOAWAY)."""
        await self._order("/goodbye")

    async def cut_streams(self) -> None:
        """End every stream (WebSockets, events, gRPC) at once; what else is open goes on."""
        await self._order("/cut")

    async def state(self) -> GatewayState | None:
        """What the nginx of this prefix says of itself; None when none answers."""
        control = ControlSocket(self._settings.control_socket, _ANSWER_SECONDS)
        try:
            return await control.state()
        except Unavailable:
            return None
        finally:
            await control.close()

    async def _adopt(self, found: installation.Installation, text: str, state: GatewayState) -> Outcome:
        if state.draining:
            await self._order("/resume")
        wanted = _configuration(text)
        if state.configuration == wanted:
            return "adopted"
        await asyncio.to_thread(installation.write_configuration, self._settings, text)
        await self._run(found, "-t")
        await self.drain()
        try:
            await self._until_quiet(time.monotonic() + _CLOSING_SECONDS)
            await self._reload(state, wanted)
        finally:
            await self._order("/resume")
        return "reloaded"

    async def _reload(self, state: GatewayState, wanted: str) -> None:
        _send(state.master, signal.SIGHUP)

        async def reloaded() -> bool:
            now = await self.state()
            replaced = not any(_takes_calls(worker.pid) for worker in state.workers)
            return now is not None and now.configuration == wanted and replaced

        if not await _until_true(reloaded, _START_SECONDS):
            raise Rejected(
                f"nginx kept its old configuration: {await asyncio.to_thread(self._last_errors)}",
                todo=f"See {self._settings.error_log_file}; the gateway serves on as before",
            )

    async def _start(self, found: installation.Installation, text: str) -> None:
        master = self._master_on_file()
        if master is not None:
            raise Unavailable(
                f"nginx (process {master}) runs below {self._settings.prefix} but does not answer",
                todo="Look into it, or end it by hand",
            )
        for address in self._settings.addresses:
            await asyncio.to_thread(listeners.check_free, address)
        await asyncio.to_thread(installation.write_configuration, self._settings, text)
        self._settings.control_socket.unlink(missing_ok=True)  # of one that was killed
        await self._run(found)

        async def answers() -> bool:
            state = await self.state()
            return state is not None and len(state.workers) >= state.workers_wanted

        if not await _until_true(answers, _START_SECONDS):
            raise Unavailable(
                f"nginx was started but does not answer: {await asyncio.to_thread(self._last_errors)}",
                todo=f"See {self._settings.error_log_file}",
            )

    async def _run(self, found: installation.Installation, *arguments: str) -> None:
        """nginx itself becomes a daemon; what is run here returns when it listens, or with the reason why not."""
        settings = self._settings
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-c",
            'ulimit -n "$(ulimit -Hn)"; exec "$@"',
            "sh",
            found.nginx,
            *("-p", settings.prefix, "-c", settings.configuration_file, "-e", settings.error_log_file),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            cwd=settings.prefix,
            env={"PATH": os.environ.get("PATH", os.defpath)},
            start_new_session=True,
        )
        _, output = await process.communicate()
        if process.returncode != 0:
            raise _refusal(output.decode(errors="replace"))

    async def _until_quiet(self, deadline: float) -> None:
        """Waits, not for ever, until only our own connection is left."""

        async def quiet() -> bool:
            state = await self.state()
            return state is None or state.connections <= 1

        await _until_true(quiet, min(_KILL_SECONDS, deadline - time.monotonic()))

    async def _order(self, path: str) -> None:
        control = ControlSocket(self._settings.control_socket, _ANSWER_SECONDS)
        try:
            await control.order(path)
        finally:
            await control.close()

    async def _end_orphans(self, state: GatewayState) -> None:
        """The master was killed; its workers serve on but nobody could reload or replace them."""
        pids = [worker.pid for worker in state.workers]
        for pid in pids:
            _send(pid, signal.SIGQUIT)

        async def released() -> bool:
            return await self.state() is None

        if not await _until_true(released, _KILL_SECONDS):
            raise Unavailable(f"nginx workers {pids} have lost their master and do not end", todo="End them by hand")

    def _master_on_file(self) -> int | None:
        try:
            pid = int((self._settings.prefix / "nginx.pid").read_text())
        except (OSError, ValueError):
            return None
        return pid if is_master(pid) else None

    def _last_errors(self) -> str:
        try:
            lines = self._settings.error_log_file.read_text(errors="replace").splitlines()
        except OSError:
            return "it left no log"
        return " / ".join(lines[-3:]) or "its log is empty"


def is_master(pid: int) -> bool:
    """True while that process is an nginx master (and not another process under a used-again number)."""
    return _title(pid).startswith(b"nginx: master process")


def lost_its_master(state: GatewayState) -> bool:
    """True when the parent of the workers is another program. Asked all the time, also when no file can be opened."""
    try:
        return os.readlink(f"/proc/{state.master}/exe") != os.readlink(f"/proc/{state.workers[0].pid}/exe")
    except (OSError, IndexError):  # one of them ends at this moment; the next look tells
        return False


def _takes_calls(pid: int) -> bool:
    """True for a worker that was not told to end yet."""
    return _title(pid).rstrip(b"\0 ") == b"nginx: worker process"


def _title(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def _configuration(text: str) -> str:
    return text.partition('configuration = "')[2].partition('"')[0]


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _refusal(output: str) -> Rejected:
    lines = [line for line in output.splitlines() if "[emerg]" in line or "error" in line] or output.splitlines()
    text = " / ".join(lines) or "it did not say why"
    if "No space left" in text:
        return Rejected(f"nginx has no space left: {text}", todo="Make room on that disk")
    if "module '" in text and "not found" in text:
        return Rejected(f"nginx lacks a Lua library: {text}", todo=installation.INSTALL)
    return Rejected(f"nginx refuses to run: {text}", todo="Correct the gateway's settings")


async def _until(condition: Callable[[], bool], seconds: float) -> bool:
    async def check() -> bool:
        return condition()

    return await _until_true(check, seconds)


async def _until_true(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Polls: nginx is nobody's child here, so there is nothing to wait on."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True
