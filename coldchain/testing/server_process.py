"""ServerProcess: a server that a test starts, kills, freezes and thaws. It dies with the process that started it."""

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

DIES_WITH_ITS_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")


class ServerProcess:
    """`name`: by which a test is told that it does not run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self, command: Sequence[str], log: Path) -> None:
        """What it says goes to the end of `log`."""
        with log.open("ab") as said:
            self._process = subprocess.Popen(
                [*DIES_WITH_ITS_PARENT, *command], stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )

    def kill(self) -> None:
        """SIGKILL; its port refuses from then on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def running(self) -> bool:
        return self._process is not None

    def freeze(self) -> None:
        """It keeps its connections and says nothing more: what is half open looks like this."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, f"{self.name} does not run"
        self._process.send_signal(number)
