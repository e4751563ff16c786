"""A machine of the lab, from the test's side: one server process, and all that it started, below a keeper."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coldchain.model.errors import Unavailable

KEEPER = Path(__file__).with_name("keeper.py")
PATIENCE_SECONDS = 30.0


class Machine:
    """Its orders are answered at once, so they are plain calls; only what waits for a server is awaited.

    `start` may be called again after the server has ended: it is the same server, in the same folder. `door`: a command
    that runs all of it elsewhere; processes then have the numbers that they have there.
    """

    def __init__(self, name: str, folder: Path, door: Sequence[str] = ()) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir(parents=True)
        self.log = self.folder / "log"
        self._command: tuple[Sequence[str], Mapping[str, str]] = ((), {})
        self._keeper = subprocess.Popen(
            [*door, sys.executable, "-ISE", str(KEEPER), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )

    @property
    def pid(self) -> int:
        """Of the server that was started last."""
        return int(self._order({})["server"])

    @property
    def runs(self) -> bool:
        state = self._order({})
        return bool(state["server"]) and state["ended"] is None

    @property
    def processes(self) -> list[int]:
        """Of everything that lives on this machine: the server, executors, their tasks."""
        return list(self._order({})["processes"])

    async def has(self, count: int, program: str) -> None:
        """Once so many processes of that name live here: a task counts as running before all that it starts does."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while [_name(number) for number in self.processes].count(program) < count:
                await asyncio.sleep(0.02)

    def command(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """What `start` starts from now on."""
        self._command = (arguments, environment)

    def start(self) -> None:
        arguments, environment = self._command
        order = {"arguments": list(arguments), "environment": dict(environment), "log": str(self.log)}
        self._order({"start": order})

    def signal(self, number: int, *, whole: bool = False) -> None:
        """To the server, or to the whole machine: the server and all that it started and left behind."""
        self._order({"signal": number, "whole": whole})

    async def kill(self, *, whole: bool = False) -> None:
        """SIGKILL. The server alone: executors and tasks live on. The whole machine: nothing does."""
        self.signal(signal.SIGKILL, whole=whole)
        await self.ended()

    def freeze(self, *, whole: bool = False) -> None:
        """SIGSTOP: it answers nothing and closes nothing, as behind a cut cable."""
        self.signal(signal.SIGSTOP, whole=whole)

    def thaw(self, *, whole: bool = False) -> None:
        self.signal(signal.SIGCONT, whole=whole)

    async def ended(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until the server has ended. Raises Unavailable."""
        deadline = time.monotonic() + patience_seconds
        while self.runs:
            if time.monotonic() > deadline:
                raise Unavailable(f"{self.name} does not end", todo=self.log_tail())
            await asyncio.sleep(0.01)

    @property
    def keeper_pid(self) -> int:
        return self._keeper.pid

    def close(self) -> None:
        """Everything on it is killed, its folder removed."""
        self._keeper.communicate()

    def log_tail(self) -> str:
        """The last words of the server, for errors."""
        if not self.log.exists():
            return "It has written nothing"
        lines = self.log.read_text(errors="replace").splitlines()
        first, last = lines[:-15][:5], lines[-15:]
        return "\n".join(["Its log:", *first, *(["…"] if len(lines) > 20 else []), *last])

    def _order(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        try:
            self._keeper.stdin.write(json.dumps(order) + "\n")
            self._keeper.stdin.flush()
            answer: dict[str, Any] = json.loads(self._keeper.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            raise Unavailable(f"The keeper of {self.name} has ended", todo="Close the lab") from None
        return answer


def _name(number: int) -> str:
    try:
        return Path(f"/proc/{number}/comm").read_text().strip()
    except OSError:  # it has just ended
        return ""
