"""machine: one of a lab, from the user's side: what runs on it, its power, and its cable."""

import contextlib
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coldchain.model.errors import Unavailable
from coldchain.testing.machines.docker import MachineDocker
from coldchain.testing.machines.plan import Place
from coldchain.testing.server_process import DIES_WITH_ITS_PARENT

if TYPE_CHECKING:
    from coldchain.testing.machines.lab import MachineLab

PATIENCE_SECONDS = 60.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid")


class Started:
    """A process on a machine. It is killed with the machine, and when the process that started it ends."""

    def __init__(self, name: str, door: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.log = log
        self._door = door
        self._pid = 0

    @property
    def pid(self) -> int:
        """As the user of the lab sees it."""
        children = Path(f"/proc/{self._door.pid}/task/{self._door.pid}/children")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._pid:
            if not self.runs or time.monotonic() > deadline:
                raise Unavailable(f"{self.name} has ended:\n{self.log_tail()}", todo="Its log says why")
            with contextlib.suppress(OSError, IndexError):
                self._pid = int(children.read_text().split()[0])
        return self._pid

    @property
    def runs(self) -> bool:
        return self._door.poll() is None

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and its end. What it started lives on."""
        if self.runs:
            with contextlib.suppress(Unavailable):
                self.signal(signal.SIGKILL)
        self.ended()

    def let_go(self) -> None:
        """Both are killed: a door that stands still buries nobody, and its machine could not end."""
        self._door.kill()
        self._door.wait()

    def unfreeze_door(self) -> None:
        """It stopped with its process."""
        if self.runs:
            self._door.send_signal(signal.SIGCONT)

    def ended(self, patience_seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit status, once it has one. Raises Unavailable."""
        try:
            return self._door.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{self.name} does not end:\n{self.log_tail()}", todo="Its log says why") from None

    def log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


class Machine:
    """One machine of a lab. `docker` is its Docker Engine, which runs where the plan says so."""

    def __init__(self, lab: "MachineLab", place: Place) -> None:
        self.name = place.name
        self.address = place.address
        self.place = place
        self.docker = MachineDocker(self, lab.folder)
        self.init = 0
        self._lab = lab
        self._started: list[Started] = []

    @property
    def runs(self) -> bool:
        return self.init != 0

    def entered(self, *command: str, only_network: bool = False) -> list[str]:
        """The command that runs `command` in it. `only_network`: with the files and processes of who calls."""
        assert self.runs, f"{self.name} has no power"
        return ["nsenter", f"--target={self.init}", *(("--net",) if only_network else NAMESPACES), "--", *command]

    def run(self, *command: str, status: int | None = 0, stdin: str = "") -> str:
        """What a command in it prints. Raises Unavailable unless it ends with `status`; None: any will do."""
        done = subprocess.run(
            self.entered(*command), input=stdin, env=environment(), capture_output=True, text=True, check=False
        )
        if status is not None and done.returncode != status:
            words = f"{self.name}: {shlex.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}"
            raise Unavailable(words.strip(), todo="The words before say why")
        return done.stdout

    def start(self, *command: str, variables: Mapping[str, str] | None = None, name: str = "") -> Started:
        """A process in it that goes on. Its output goes to a log in the folder of the lab."""
        name = name or f"{Path(command[0]).name}-{len(self._started) + 1}"
        log = self._lab.folder / f"{self.name}-{name}.log"
        with log.open("ab") as output:
            door = subprocess.Popen(
                [*DIES_WITH_ITS_PARENT, *self.entered(*DIES_WITH_ITS_PARENT, *command)],
                env=environment() | dict(variables or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._started.append(Started(f"{self.name}: {name}", door, log))
        return self._started[-1]

    def reaches(self, address: str, patience_seconds: float = 1.0) -> bool:
        """By one ICMP echo."""
        command = self.entered("busybox", "ping", "-c1", f"-W{max(1, round(patience_seconds))}", address)
        return subprocess.run(command, env=environment(), capture_output=True, check=False).returncode == 0

    @property
    def processes(self) -> list[int]:
        """All that live on it, as the user of the lab sees them, without its init."""
        own, found = os.readlink(f"/proc/{self.init}/ns/pid"), []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.init:
                with contextlib.suppress(OSError):
                    if os.readlink(entry / "ns/pid") == own:
                        found.append(int(entry.name))
        return found

    def cut_cable(self, *, seen: bool = False) -> None:
        """Packets are dropped, and nobody is told. `seen`: the links at both ends go down as well."""
        self._lab.switch.cut(self.place, seen=seen)

    def plug_in_cable(self) -> None:
        """The end of `cut_cable`."""
        self._lab.switch.plug_in(self.place)

    def freeze(self) -> None:
        """As a virtual machine that is paused: no process goes on, no packet gets in or out, nothing is closed."""
        self.cut_cable()
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)
        for each in self._started:
            each.unfreeze_door()
        self.plug_in_cable()

    def power_off(self) -> None:
        """All at once, with no farewell. Its disk stays as it is."""
        self._lab.power_off(self)

    def lost_power(self) -> None:
        """What the user's side of it has to forget."""
        for each in self._started:
            each.let_go()
        self._started.clear()
        self.init = 0

    def boot(self) -> None:
        """With its disk and its cables. Docker is started by who wants it."""
        self._lab.boot([self])

    def _signal_all(self, number: int) -> None:
        """Until no new one is found: one that is about to fork escapes the first list."""
        told: set[int] = set()
        while new := set(self.processes) - told:
            for process in new:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
            told |= new


def environment() -> dict[str, str]:
    """Of root who has just logged in."""
    return {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "TERM": os.environ.get("TERM", "dumb")}


def call(command: Sequence[str]) -> None:
    """Raises Unavailable with what the command says."""
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Unavailable(f"{shlex.join(command)}: {done.stdout}{done.stderr}".strip(), todo="Is this the sandbox?")
