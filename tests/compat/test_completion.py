"""Completion in the real shells: each is started on a terminal, taught its words, and asked with the tab key."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coldchain.testing.command_server import SHOP, Server, saved

SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
TEACH = {
    "bash": 'eval "$(_COLDCHAIN_COMPLETE=source_bash coldchain)"',
    "zsh": 'autoload -U compinit; compinit -D; eval "$(_COLDCHAIN_COMPLETE=source_zsh coldchain)"',
    "fish": "_COLDCHAIN_COMPLETE=source_fish coldchain | source",
}
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b\][^\x07]*\x07|\x1b[=>]|[\x00-\x08\x0e-\x1f]")
PATIENCE_SECONDS = 40.0


class Terminal:
    """A shell on a terminal of its own."""

    def __init__(self, command: list[str], folder: Path, url: str) -> None:
        self._ours, theirs = pty.openpty()
        programs = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        environment = {
            "PATH": programs,
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),  # fish would make itself one in /tmp
            "TERM": "xterm",
            "COLDCHAIN_URL": url,
            "LC_ALL": "C.UTF-8",
        }
        whole = ["setsid", "--ctty", *command]
        self._process = subprocess.Popen(whole, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder)
        os.close(theirs)
        self._screen = ""

    def type(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def until(self, wanted: str) -> None:
        """Read until what is wanted was written since the last time."""
        limit = time.monotonic() + PATIENCE_SECONDS
        while wanted not in self._screen:
            ready, _, _ = select.select([self._ours], [], [], max(0.0, limit - time.monotonic()))
            assert ready, f"{wanted!r} was not written: {self._screen[-2000:]!r}"
            written = os.read(self._ours, 65536).decode(errors="replace")
            if "\x1b[c" in written or "\x1b[0c" in written:
                self.type("\x1b[?62;c")  # fish asks what the terminal is and waits for the answer
            self._screen = ESCAPES.sub("", self._screen + written)
        self._screen = self._screen.rpartition(wanted)[2]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server()
    folder = tmp_path_factory.mktemp("apps")
    server.done("deploy", saved(folder, **(SHOP | {"id": "/sorting/hall"})))
    yield server
    server.close()


@pytest.mark.parametrize("shell", SHELLS)
def test_the_tab_key_completes_commands_options_and_ids_of_apps(shell: str, server: Server, tmp_path: Path) -> None:
    assert shutil.which(SHELLS[shell][0]), f"bin/setup installs {shell}"
    terminal = Terminal(SHELLS[shell], tmp_path, server.platform.url)
    try:
        terminal.type(f"{TEACH[shell]}; echo tau''ght\r")
        terminal.until("taught")
        for typed, completed in (
            ("coldchain sta\t", "status"),
            ("coldchain deploy --det\t", "--detach"),
            ("coldchain logs /sor\t", "/sorting/hall"),
        ):
            terminal.type(typed)
            terminal.until(completed)
            terminal.type("\x15")  # the line is taken back
    finally:
        terminal.close()
