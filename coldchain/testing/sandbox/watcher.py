"""The watcher: makes a sandbox, waits until its launcher is gone in whatever way, and leaves nothing of it behind."""

import os
import select
import shutil
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from coldchain.testing.sandbox import cgroups, kernel
from coldchain.testing.sandbox.identity import Identity
from coldchain.testing.sandbox.surroundings import become_init, tell

_PATIENCE_SECONDS = 20.0


def watch(identity: Identity, alive: int, report: int, others: Sequence[int]) -> NoReturn:
    """Runs in a child of the launcher, out of reach of its process group and terminal.

    `alive` is the end of a pipe that closes with the launcher. To `report` go a line with the number of the
    sandbox's init, and then init's own line. `others` are the launcher's ends. Exits 0 when nothing is left.
    """
    os.setsid()
    for descriptor in others:
        os.close(descriptor)
    _leave_standard_streams()
    try:
        init = _make(identity, report)
    except OSError as error:
        tell(report, f"0\n{error.strerror}\n")
        init = 0
    os.close(report)
    while os.read(alive, 1):
        pass  # nobody writes; only the end counts
    os._exit(0 if take_down(identity, init) else 1)


def take_down(identity: Identity, init: int) -> bool:
    """Kill all processes of the sandbox and remove what it left. Says on stderr what would not go; True: nothing."""
    complaints = []
    if init:
        os.kill(init, signal.SIGKILL)
        # The kernel ends init last, when every process of the namespace is buried.
        if select.select([os.pidfd_open(init)], [], [], _PATIENCE_SECONDS)[0]:
            os.waitpid(init, 0)
        else:
            complaints.append(f"processes below {init}")
    complaints += map(str, cgroups.remove(identity.cgroup_parent))
    shutil.rmtree(identity.temporary_directory, ignore_errors=True)
    if identity.temporary_directory.exists():
        complaints.append(str(identity.temporary_directory))
    if complaints:
        print(f"{identity.name} left behind: {', '.join(complaints)}", file=sys.stderr, flush=True)
    return not complaints


def _make(identity: Identity, report: int) -> int:
    identity.temporary_directory.mkdir()
    identity.temporary_directory.chmod(0o755)  # whatever the umask: nginx's workers are not root
    kernel.unshare(kernel.NEW_PROCESSES)
    init = os.fork()
    if init == 0:
        become_init(identity, report)
    tell(report, f"{init}\n")
    return init


def _leave_standard_streams() -> None:
    """Keep no pipe of the launcher's caller open but stderr, where complaints go."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.close(nowhere)
