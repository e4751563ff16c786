"""The uplink: a way out of the sandbox's network to where the machine itself can go. Nothing gets in by it.

slirp4netns speaks for the sandbox from a process of the machine's network, so that the machine needs no link and no
rule for it, and nothing has to be put back.
"""

import os
import shutil
from typing import NoReturn

from coldchain.model.errors import Unavailable

RESOLVER = "10.0.2.3"
"""Answers names in the sandbox as the machine's own resolver does."""

_LINK = "tap0"


def find_program() -> str:
    """Path of slirp4netns. Raises Unavailable."""
    program = shutil.which("slirp4netns")
    if program is None:
        raise Unavailable("No slirp4netns for the sandbox's way out", todo="Install the package slirp4netns")
    return program


def become_uplink(program: str, init: int, alive: int, ready: int) -> NoReturn:
    """Runs in a child of the launcher: writes to `ready` once packets pass, ends when `alive`'s other end is closed."""
    for descriptor in (alive, ready):
        os.set_inheritable(descriptor, True)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.setsid()  # out of reach of the terminal's Ctrl-C: it ends after the sandbox, not before
    options = ["--configure", "--mtu=65520", "--disable-host-loopback", f"--exit-fd={alive}", f"--ready-fd={ready}"]
    os.execv(program, [program, *options, str(init), _LINK])
