"""The launcher: runs a command in a new sandbox as if it were run in its place.

Signals sent to the launcher reach the command's process group once; the terminal is the command's while it runs, so
that Ctrl-C and Ctrl-Z work; its exit status becomes ours.
"""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Collection, Sequence
from typing import NoReturn

from coldchain.model.errors import ColdchainError
from coldchain.testing.sandbox import forwarder, kernel, uplink
from coldchain.testing.sandbox.identity import Identity, new_identity
from coldchain.testing.sandbox.terminal import Terminal
from coldchain.testing.sandbox.watcher import take_down, watch

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)
_AWAITED = (*_FORWARDED, signal.SIGCHLD)
_NAMESPACES = {
    "ipc": kernel.NEW_IPC,
    "uts": kernel.NEW_HOST_NAME,
    "net": kernel.NEW_NETWORK,
    "mnt": kernel.NEW_MOUNTS,
}


class SandboxRefused(ColdchainError):  # noqa: N818
    """The machine does not let us make the namespaces."""


def run(command: Sequence[str], *, forwarded_ports: Sequence[int] = (), way_out: bool = False) -> int:
    """Run `command` in a sandbox of its own; returns its exit status, 128 + n when signal n ended it.

    Each of `forwarded_ports` on the machine's 127.0.0.1 leads to the same port of the sandbox's 127.0.0.1; with
    `way_out` the sandbox reaches what the machine reaches. When it returns nothing of the sandbox is left. Raises
    SandboxRefused, and PortInUse or Unavailable before anything is started. Forks: not for a process with threads.
    """
    if os.geteuid() != 0:
        raise SandboxRefused("Namespaces need root", todo="Run it as root, or install sudo")
    slirp = uplink.find_program() if way_out else ""
    listeners = [forwarder.listen(port) for port in forwarded_ports]
    identity = new_identity()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    alive_reader, alive = os.pipe()
    report, report_writer = os.pipe()
    watcher = _fork(watch, identity, alive_reader, report_writer, (alive, report))
    os.close(report_writer)
    children: list[int] = []
    try:
        init = _await_ready(report)
        if slirp:
            children.append(_connect(slirp, init, alive_reader))
        namespaces = _open_namespaces(init)
        if listeners:
            children.append(_fork(_forward, namespaces["net"], listeners, alive))
        for listener in listeners:
            listener.close()
        terminal = Terminal()
        child = _fork(_become, command, namespaces, identity, terminal, before)
        children.append(child)
        for descriptor in namespaces.values():
            os.close(descriptor)
        status = _accompany(child, terminal)
        children.remove(child)
        return status
    finally:
        os.close(alive_reader)
        os.close(alive)  # tells the watcher to take all down
        for number in children:
            os.waitpid(number, 0)  # init cannot end before its processes are buried, and these are ours to bury
        if os.waitpid(watcher, 0)[1] != 0:
            take_down(identity, 0)  # the watcher itself was killed; init went with it
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _fork(body: Callable[..., None], *arguments: object) -> int:
    """Run `body` in a child; returns its number."""
    number = os.fork()
    if number != 0:
        return number
    try:
        body(*arguments)
    except BaseException as error:  # a child must never return into the launcher's code
        print(f"sandbox: {error}", file=sys.stderr, flush=True)
    os._exit(126)


def _await_ready(report: int) -> int:
    """Returns the number of the sandbox's init once it is furnished."""
    with os.fdopen(report) as lines:
        init, outcome = lines.readline(), lines.readline()
    if outcome != "ready\n":
        raise SandboxRefused(
            f"The kernel refused a sandbox: {outcome.strip() or 'its init ended early'}",
            todo="It needs root with all capabilities: a real or virtual machine, or a privileged container",
        )
    return int(init)


def _open_namespaces(init: int) -> dict[str, int]:
    """Open init's namespaces; the next children of the caller are born in its PID namespace."""
    opened = {name: os.open(f"/proc/{init}/ns/{name}", os.O_RDONLY) for name in _NAMESPACES}
    processes = os.open(f"/proc/{init}/ns/pid", os.O_RDONLY)
    kernel.enter_namespace(processes, kernel.NEW_PROCESSES)
    os.close(processes)
    return opened


def _forward(network: int, listeners: Sequence[socket.socket], alive: int) -> None:
    os.close(alive)
    kernel.enter_namespace(network, kernel.NEW_NETWORK)
    os.close(network)
    forwarder.serve(listeners)


def _connect(slirp: str, init: int, alive_reader: int) -> int:
    """Give the sandbox its way out; returns the number of the process that is it."""
    ready, ready_writer = os.pipe()
    number = _fork(uplink.become_uplink, slirp, init, alive_reader, ready_writer)
    os.close(ready_writer)
    with os.fdopen(ready, "rb") as words:
        if not words.read(1):
            os.waitpid(number, 0)
            raise SandboxRefused("slirp4netns gives no way out", todo="Is there a /dev/net/tun?")
    return number


def _become(
    command: Sequence[str], namespaces: dict[str, int], identity: Identity, terminal: Terminal, mask: Collection[int]
) -> NoReturn:
    here = os.getcwd()
    for name, descriptor in namespaces.items():
        kernel.enter_namespace(descriptor, _NAMESPACES[name])
    os.chdir(here)  # entering a mount namespace leads to its root
    os.setpgid(0, 0)
    terminal.give_to(os.getpgrp())
    # Python ignores two of them, and a shell the others in what it starts in the background; the command shall not
    # inherit that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
    try:
        os.execvpe(command[0], list(command), environment | identity.environment())
    except OSError as error:
        print(f"sandbox: {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def _accompany(child: int, terminal: Terminal) -> int:
    """Pass signals on until the command ends; returns its exit status. Stops and goes on with it."""
    with contextlib.suppress(OSError):  # the child does the same; whoever comes first
        os.setpgid(child, child)
    while True:
        number = signal.sigwait(_AWAITED)
        if number != signal.SIGCHLD:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, number)
            continue
        found, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
        if found == 0:
            continue
        if os.WIFSTOPPED(status):
            terminal.stop_with(child)
            continue
        terminal.take_back()
        return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
