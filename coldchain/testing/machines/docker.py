"""docker: the Docker Engine of one machine of a lab."""

import contextlib
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from coldchain.model.errors import Unavailable
from coldchain.testing.sandbox import docker_answers

if TYPE_CHECKING:
    from coldchain.testing.machines.machine import Machine, Started

ARGUMENTS = ("--live-restore",)
"""Containers live on without the engine, as machines that hold the company's shops have it."""
START_SECONDS = 60.0


class MachineDocker:
    """`socket`: by which the user of the lab reaches it. On the machine itself it is where everybody looks for it.

    `start` and `kill` may follow each other. Containers and images are on the machine's disk.
    """

    def __init__(self, machine: "Machine", folder: Path) -> None:
        self.socket = folder / f"{machine.name}.sock"
        self._machine = machine
        self._process: Started | None = None

    def start(self, *arguments: str) -> None:
        """Begin to start it; `ready` waits. Without arguments: `ARGUMENTS`."""
        command = ["dockerd", f"--host=unix://{self.socket}", "--host=unix:///run/docker.sock"]
        command += ["--exec-opt=native.cgroupdriver=cgroupfs", *(arguments or ARGUMENTS)]
        self._process = self._machine.start(*command, name="dockerd")

    def ready(self) -> None:
        """Wait until it answers. Raises Unavailable with the end of its log."""
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while not docker_answers(self.socket):
            if not self._process.runs or time.monotonic() > deadline:
                raise Unavailable(
                    f"{self._machine.name}: dockerd does not answer; its log ends with:\n{self._process.log_tail()}",
                    todo="The log says why",
                )
            time.sleep(0.01)  # the socket appears without notice

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.runs

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL to the engine alone, as in a crash: its containers go on."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def stop(self) -> None:
        """In order. With live restore its containers go on."""
        if self._process is not None:
            with contextlib.suppress(Unavailable):
                self._process.signal(signal.SIGTERM)
            self._process.ended()
            self._process = None

    def run(self, *arguments: str, status: int | None = 0) -> str:
        """`docker …` on the machine; what it prints, without the last line's end."""
        return self._machine.run("docker", *arguments, status=status).rstrip("\n")
