"""The keeper of one machine of the lab: starts its server, adopts what leaves it, and takes all down at the end.

Run as a script that imports nothing of ours, a child of the test's process and in a session of its own. Orders come as
lines of JSON on standard input, each gets one line of answer. When the other end is closed, in whatever way the test's
process ended, everything below the keeper is killed and the machine's folder is removed.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import sys
from typing import Any

SET_DEATH_SIGNAL, SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None)


class Keeper:
    """`server`: the process that was started last; `ended`: its wait status once it has."""

    def __init__(self) -> None:
        self.server = 0
        self.ended: int | None = None
        _libc.prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.signal(signal.SIGCHLD, self._bury)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        if "start" in order:
            self._start(order["start"])
        elif "signal" in order:
            self._signal(order["signal"], order["whole"])
        return {"server": self.server, "ended": self.ended, "processes": below(os.getpid())}

    def end(self) -> None:
        """Again and again, for what is about to fork escapes the first list."""
        while processes := below(os.getpid()):
            for number in processes:
                _kill(number, signal.SIGKILL)
            signal.sigtimedwait([], 0.01)

    def _start(self, order: dict[str, Any]) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        self.ended = None
        self.server = os.fork()
        if self.server == 0:
            self._become(order)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _become(self, order: dict[str, Any]) -> None:
        try:
            _libc.prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            for descriptor, stream in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
                os.dup2(descriptor, stream)
            os.closerange(3, 64)
            os.execve(order["arguments"][0], order["arguments"], order["environment"])
        except OSError as error:
            os.write(2, f"keeper: {order['arguments'][0]}: {error}\n".encode())
        finally:
            os._exit(127)

    def _signal(self, number: int, whole: bool) -> None:
        """To the server alone, if it has not ended, or to everything on the machine until nothing new is found."""
        if not whole:
            if self.ended is None and self.server:
                _kill(self.server, number)
            return
        told: set[int] = set()
        while new := set(below(os.getpid())) - told:
            for process in new:
                _kill(process, number)
            told |= new

    def _bury(self, *_: object) -> None:
        while True:
            try:
                number, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if number == 0:
                return
            if number == self.server:
                self.ended = status


def below(parent: int) -> list[int]:
    """All living descendants, the nearest first."""
    found: list[int] = []
    for number in _children(parent):
        found += [number, *below(number)]
    return found


def _children(parent: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{parent}/task"):
            with open(f"/proc/{parent}/task/{thread}/children") as words:
                found += map(int, words.read().split())
        return [number for number in found if _lives(number)]
    except OSError:
        return [number for number in found if _lives(number)]


def _lives(number: int) -> bool:
    try:
        with open(f"/proc/{number}/stat") as words:
            return words.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _kill(number: int, what: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, what)


def main() -> None:
    folder = sys.argv[1]
    keeper = Keeper()
    try:
        for line in sys.stdin:
            print(json.dumps(keeper.obey(json.loads(line))), flush=True)
    finally:
        keeper.end()
        shutil.rmtree(folder, ignore_errors=True)
        lab = os.path.dirname(folder)
        with contextlib.suppress(OSError):
            if set(os.listdir(lab)) <= {"certificates"}:  # this was the last machine
                shutil.rmtree(lab, ignore_errors=True)


if __name__ == "__main__":
    main()
