"""The first hour of somebody new, typed into a terminal: install, look at the machine, start, an app of one's own, a
mistake, a rollout that fails, logs, what happened, a rollback, down. Each screen is compared with the one on record.

`FIRST_HOUR=record bin/test tests/e2e/test_first_hour.py` writes the screens anew; read what differs.
"""

import asyncio
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coldchain.testing.application.image import ensure_image

SCREENS = Path(__file__).with_name("first_hour.txt")
PATIENCE_SECONDS = 60.0
COLUMNS, ROWS = 240, 60
PORTS = ("--api", "--gateway", "--gateway-status")

STEPS = (
    "coldchain doctor $PLATFORM",
    "coldchain status",
    "coldchain init shop --image coldchain/shop:v1 --port 8080 --health /health",
    "coldchain init shop",
    "sed -i 's/instances: 2/instnaces: two/' shop/coldchain.yaml",
    "coldchain validate shop/coldchain.yaml",
    "coldchain deploy shop/coldchain.yaml",
    "sed -i 's/instnaces: two/instances: 2/' shop/coldchain.yaml",
    "coldchain deploy shop/coldchain.yaml",
    "coldchain status shop",
    "coldchain diff shop/coldchain.yaml",
    "sed -i 's/shop:v1/shop:v2/' shop/coldchain.yaml",
    "coldchain diff shop/coldchain.yaml",
    "coldchain deploy shop/coldchain.yaml",
    "sed -e 's/PORT: .*/HEALTH: never/' -e 's/Seconds: 30}/Seconds: 4}/' -e 's/Seconds: 120/Seconds: 4/'"
    " shop/coldchain.yaml > bad.yaml",
    "coldchain deploy bad.yaml",
    "coldchain status shop",
    "coldchain logs shop --grep listening",
    "coldchain history shop",
    "coldchain rollback shop",
    "coldchain exec shop -- echo from the inside",
    "coldchain scale shop 0",
    "coldchain down $PLATFORM",
)

NORMAL = (
    (r"\x1b\[[0-9;]*m", ""),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+Z?)?", "TIME"),
    (r"\b(deployment|cancel) [0-9a-f]{8,}\b", r"\1 ID"),
    (r"\b[0-9a-f]{8}(?= \| )", "ID"),
    (r"\b[0-9a-f]{10,}\b", "ID"),
    (r"(deadline of 4 s passed): .*", r"\1: REASON"),
    (r"(/shop replace)( \d)+ failed", r"\1 COUNTS failed"),
    (r"\d+\.\d+\.\d+\.\d+(:\d+)?", "ADDRESS"),
    (r"\b\d+ (s|min)\b", "N s"),
    (r"\d+ of \d+ MiB", "N of N MiB"),
    (r"(system: Linux|Docker Engine|nginx:|open files:|disk|cgroups:) .*", r"\1 …"),
)
"""What differs from run to run or from machine to machine, and what stands for it on record."""
LEFT_OUT = re.compile(r"\[1\]|. clock:|Keep it right:|ID stopped |. open files:")
"""Lines that are there or not: the shell's words for a command in the background, the machine's clock, instances that
have ended, for as long as they are kept."""


class Terminal:
    """A tmux of our own with one shell in it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._socket = str(folder / "tmux")
        self._environment = environment | {
            "PS1": "$ ",
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
            "HOME": str(folder),
            "HISTFILE": "",  # which the shell would write as it ends, while its home is removed
        }
        shell = "bash --norc --noprofile"
        self._tmux(
            "-f", "/dev/null", "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), "-c", str(folder), shell
        )
        self._number = 0

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", self._socket, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=self._environment, check=True)
        return done.stdout

    def run(self, command: str) -> str:
        """Type a command; what stands on the screen and above it when it has ended, with its exit status."""
        self._number += 1
        end = f"ended-{self._number}"
        then = "" if command.endswith("&") else ";"
        typed = f"clear; tmux -S {self._socket} clear-history; {command}{then} echo {end} $?"
        self._tmux("send-keys", "-l", typed)
        self._tmux("send-keys", "Enter")
        limit = time.monotonic() + PATIENCE_SECONDS
        while True:
            screen = self._tmux("capture-pane", "-p", "-J", "-S", "-")
            found = re.search(rf"^{end} (\d+)$", screen, re.MULTILINE)
            if found:
                return f"{screen[: found.start()].rstrip()}\nexit status {found[1]}"
            assert time.monotonic() < limit, f"{command} has not ended:\n{screen}"
            time.sleep(0.05)

    def close(self) -> None:
        self._tmux("kill-server")


def normal(screen: str) -> str:
    """Columns move with what stands in them: blanks are one."""
    screen = re.sub(" +", " ", screen)
    for pattern, stands_for in NORMAL:
        screen = re.sub(pattern, stands_for, screen)
    lines = (line.strip() for line in screen.splitlines())
    return "\n".join(line for line in lines if line and not LEFT_OUT.match(line))


@pytest.fixture
def home() -> Iterator[Path]:
    """nginx's workers can pass through it."""
    folder = Path(tempfile.mkdtemp(prefix="coldchain-hour-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def terminal(installed: Path, docker_daemon: Path, home: Path, free_port: Callable[[], int]) -> Iterator[Terminal]:
    """The platform's options are in $PLATFORM, so that the screens name no port of this run."""
    for tag in ("v1", "v2"):
        asyncio.run(ensure_image(str(docker_daemon), tag=tag))
    ports = {name: free_port() for name in PORTS}
    options = [f"{name} 127.0.0.1:{port}" for name, port in ports.items()]
    options += [f"--data {home}/data", f"--docker-socket {docker_daemon}"]
    environment = {
        "PATH": f"{installed}:{os.environ['PATH']}",
        "PLATFORM": " ".join(options),
        "COLDCHAIN_URL": f"http://127.0.0.1:{ports['--api']}",
    }
    terminal = Terminal(home, environment)
    try:
        yield terminal
    finally:
        terminal.run("coldchain down $PLATFORM")
        terminal.close()


def start(terminal: Terminal, home: Path) -> None:
    """In the background, because it stays."""
    terminal.run("coldchain up $PLATFORM --agent box --cpu-factor 4 > up.log 2>&1 &")
    limit = time.monotonic() + PATIENCE_SECONDS
    while terminal.run("coldchain status")[-1] != "0":
        assert time.monotonic() < limit, (home / "up.log").read_text()


def test_the_first_hour(terminal: Terminal, home: Path) -> None:
    screens = []
    for step in STEPS:
        if step == "coldchain status":
            start(terminal, home)
        screens.append(f"$ {step}\n{normal(terminal.run(step))}\n")
    shown = "\n".join(screens).replace(str(home), "HOME")
    if os.environ.get("FIRST_HOUR") == "record":
        SCREENS.write_text(shown)
    assert shown == SCREENS.read_text()
