"""shim: the parent of one task. A program of its own: `python -I -S shim.py run FOLDER`; with `exec FOLDER` and
`enter FOLDER PROGRAM …` it runs commands beside the task.

It outlives the controller, so it must be small and imports nothing of ours. It starts the task in a session of its
own, writes its output into numbered files, hands signals on to all of its processes, leaves none of them behind, and
writes down how it ended. Nothing of the task gets lost when the disk is full: the room for that record is taken first.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import sys
import time
import warnings  # noqa: F401 -- os.execvpe wants it, as a user who may not read where Python is

TYPE_CHECKING = False  # as typing's, whose import would cost a third of the start
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER = 1, 38, 36
PIECE_BYTES = 65536
RECORD_BYTES = 4096
RETRY_SECONDS = 0.05
NOTED_SECONDS = 0.01
"""How exactly `times.N` tells when a place in `output.N` was written."""
FORWARDED = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)

libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


class Output:
    """Files `output.000001` and so on: a new number when one is full, so that a reader never loses its place."""

    def __init__(self, bytes_max: int, files: int) -> None:
        self.bytes_max = bytes_max
        self.files = files
        self.number = 0
        self.file = self.times = -1
        self.size = 0
        self.lost = 0
        self.noted_at = 0.0
        self.begin()

    def begin(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        opened = [os.open(f"{name}.{self.number + 1:06d}", flags, 0o600) for name in ("output", "times")]
        for file in (self.file, self.times):
            if file >= 0:
                os.close(file)
        self.file, self.times = opened
        self.number, self.size = self.number + 1, 0
        if self.number > self.files:
            for name in ("output", "times"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{name}.{self.number - self.files:06d}")

    def write(self, piece: bytes) -> None:
        """A full disk costs the output, and nothing else: the task is never held up by it."""
        try:
            if self.size >= self.bytes_max:
                self.begin()
            if self.lost:
                self._put(f"\n[coldchain: {self.lost} bytes of output were lost: the disk was full]\n".encode())
                self.lost = 0
            now = time.time()
            if abs(now - self.noted_at) >= NOTED_SECONDS:
                os.write(self.times, f"{now:.3f} {self.size}\n".encode())
                self.noted_at = now
            self._put(piece)
        except OSError:
            self.lost += len(piece)

    def _put(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            written = os.write(self.file, rest)
            self.size += written
            rest = rest[written:]


class Tail:
    """The end of what a check says, in memory."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.text = b""

    def write(self, piece: bytes) -> None:
        self.text = (self.text + piece)[-self.bytes_max :]


class Process:
    """A program with all that it starts, whose adopted parent this process is."""

    def __init__(self, plan: dict[str, Any], argv: list[str]) -> None:
        # Closed at exec: what is read from it before is why there was none.
        failed, failing = os.pipe()
        self.output, output = os.pipe()
        self.awake, waking = os.pipe()
        os.set_blocking(self.output, False)
        os.set_blocking(self.awake, False)
        os.set_blocking(waking, False)
        for number in (signal.SIGCHLD, signal.SIGTERM, *FORWARDED):
            signal.signal(number, lambda number, frame: None)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        self.cgroups = plan["cgroups"]
        self.exit_status: int | None = None
        shim = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            become(plan, argv, output, failing, shim)
        os.close(failing)
        os.close(output)
        self.error = os.read(failed, PIECE_BYTES).decode(errors="replace")
        os.close(failed)

    def wait(self, sink: Output | Tail, seconds: float | None) -> bytes:
        """Until something happens: output is written to `sink`; returns the numbers of the signals that came."""
        poll = select.poll()
        poll.register(self.awake, select.POLLIN)
        if self.output >= 0:
            poll.register(self.output, select.POLLIN)
        ready = {file for file, _ in poll.poll(None if seconds is None else max(0, int(seconds * 1000) + 1))}
        if self.output in ready:
            self.pump(sink)
        return os.read(self.awake, PIECE_BYTES) if self.awake in ready else b""

    def pump(self, sink: Output | Tail) -> bool:
        """Write one piece of output; False when there is none now."""
        try:
            piece = os.read(self.output, PIECE_BYTES)
        except BlockingIOError:
            return False
        if piece:
            sink.write(piece)
        else:
            os.close(self.output)
            self.output = -1
        return bool(piece)

    def bury(self) -> bool:
        """Take notice of every process that ended; False when none is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.pid:
                code = os.waitstatus_to_exitcode(status)
                self.exit_status = code if code >= 0 else 128 - code

    def signal(self, number: int) -> None:
        """To the whole group at once, and to each descendant that has left it."""
        if self.exit_status is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)
        for pid in self.descendants():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                # Who is in the group has it already.
                if self.exit_status is not None or os.getpgid(pid) != self.pid:
                    os.kill(pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        for directory in self.cgroups:
            for pid in numbers(f"{directory}/cgroup.procs"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def descendants(self) -> list[int]:
        found = []
        waiting = [os.getpid()]
        while waiting:
            parent = waiting.pop()
            try:
                threads = os.listdir(f"/proc/{parent}/task")
            except OSError:
                continue
            for thread in threads:
                children = numbers(f"/proc/{parent}/task/{thread}/children")
                found += children
                waiting += children
        return found

    def drain(self, sink: Output | Tail) -> None:
        while self.output >= 0 and self.pump(sink):
            pass


def numbers(path: str) -> list[int]:
    try:
        with open(path) as file:
            return [int(word) for word in file.read().split() if word != "0"]
    except OSError:
        return []


class Failed(Exception):  # noqa: N818 -- as the errors of ours
    """In words, with the system's error number."""


@contextlib.contextmanager
def attempt(words: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failed(f"cannot {words}: {os.strerror(error.errno or 0)}", error.errno) from error


def assume(plan: dict[str, Any]) -> None:
    """Take on the limits, the user and the folder of the task. Raises Failed."""
    with attempt("limit it"):
        for directory in plan["cgroups"]:
            with open(f"{directory}/cgroup.procs", "w") as members:
                members.write("0")
    os.umask(0o022)
    with attempt("become user {}".format(plan["user"])):
        if plan["uid"] != os.geteuid():
            os.setgroups(plan["groups"])
            os.setresgid(plan["gid"], plan["gid"], plan["gid"])
            os.setresuid(plan["uid"], plan["uid"], plan["uid"])
        prctl(PR_SET_NO_NEW_PRIVS, 1)
    with attempt("enter {}".format(plan["work"])):
        os.chdir(plan["work"])


def become(plan: dict[str, Any], argv: list[str], output: int, failing: int, shim: int) -> None:
    """The rest of the child's life: the task, or the words why not."""
    try:
        os.setsid()
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ, *FORWARDED):
            signal.signal(number, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        for place, file in enumerate((nothing, output, output)):
            os.dup2(file, place)
        assume(plan)
        # Who kills the shim ends the task: nobody else would know its exit status. Set after the change of user,
        # which clears it.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == shim:
            with attempt(f"run {argv[0]}"):
                os.execvpe(argv[0], argv, plan["environment"])  # noqa: S606 -- the task itself
    except BaseException as error:
        os.write(failing, (str(error.args[0]) if isinstance(error, Failed) else repr(error)).encode())
    os._exit(127)


def write(name: str, document: dict[str, Any]) -> None:
    """Whole or not at all, also when the machine loses power in between. Overwrites room that was taken before."""
    file = os.open(f"{name}.room", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    text = json.dumps(document).encode().ljust(RECORD_BYTES)
    os.pwrite(file, text, 0)
    os.fsync(file)
    os.close(file)
    os.rename(f"{name}.room", name)
    folder = os.open(".", os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def take_room(name: str) -> None:
    file = os.open(f"{name}.room", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.pwrite(file, b" " * RECORD_BYTES, 0)
    os.fsync(file)
    os.close(file)


def read(name: str) -> dict[str, Any] | None:
    try:
        with open(name) as file:
            document: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return None
    return document


def out_of_memory(events: str | None) -> bool:
    try:
        with open(events or "") as file:
            words = file.read().split()
    except OSError:
        return False
    counts = dict(zip(words[::2], words[1::2], strict=False))
    return int(counts.get("oom_kill", 0)) > 0


def remove_cgroups(directories: list[str]) -> None:
    for directory in directories:
        for _ in range(20):
            try:
                os.rmdir(directory)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    break
                time.sleep(RETRY_SECONDS)  # the kernel has not buried its last process yet, and nothing tells when
            else:
                break


def claim() -> bool:
    """False when another shim had this task, has it, or its folder is going away."""
    lock = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(lock).st_nlink > 0 and read("shim.json") is None and read("end.json") is None


def identity() -> dict[str, Any]:
    with open("/proc/self/stat") as file:
        started = file.read().rpartition(")")[2].split()[19]
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read().strip()
    return {"pid": os.getpid(), "started": int(started), "boot": boot, "at": time.time()}


def report(document: dict[str, str]) -> None:
    """To who started us, if he is still there."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(document).encode() + b"\n")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)


def run() -> None:
    """Report one line on standard output, and look after the task: `{}` as soon as it runs, or `{"error"}` why it did
    not start, which comes last, since the folder is taken away then."""
    if not claim():
        report({})
        return
    plan = read("task.json")
    assert plan is not None
    take_room("end.json")
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    output = Output(plan["log_file_bytes"], plan["log_files"])
    write("shim.json", identity())
    process = Process(plan, plan["argv"])
    if not process.error:
        report({})
    stopped = look_after(process, output, plan["foreign_grace_seconds"])
    end = {"exit_status": process.exit_status, "at": time.time(), "stopped": stopped, "error": process.error}
    write("end.json", end | {"out_of_memory": out_of_memory(plan["memory_events"])})
    remove_cgroups(plan["cgroups"])
    if process.error:
        report({"error": process.error})


def look_after(process: Process, output: Output, foreign_grace_seconds: float) -> bool:
    """Until no process of the task is left. True when Coldchain asked for its end."""
    deadline: float | None = None
    stopped = told = False
    while process.bury():
        now = time.monotonic()
        if (process.exit_status is not None and not told) or (deadline is not None and now >= deadline):
            process.kill()
            seconds: float | None = RETRY_SECONDS  # a process may have been born while we counted them
        else:
            seconds = None if deadline is None else deadline - now
        for number in process.wait(output, seconds):
            if number == signal.SIGTERM:
                asked = read("stop.json")
                grace = foreign_grace_seconds if asked is None else asked["deadline"] - time.time()
                grace = min(grace, foreign_grace_seconds if asked is None else asked["grace_seconds"])
                sooner = time.monotonic() + max(0.0, grace)
                deadline = sooner if deadline is None else min(deadline, sooner)
                # A second SIGTERM makes many programs give up at once: they are told only one time.
                if not told:
                    process.signal(signal.SIGTERM)
                told = True
                stopped = stopped or asked is not None
            elif number in FORWARDED:
                process.signal(number)
    process.drain(output)
    return stopped


def execute() -> None:
    """Run the command that standard input asks for beside the task; its outcome goes to standard output."""
    asked = json.load(sys.stdin)
    plan = read("task.json")
    assert plan is not None
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    tail = Tail(asked["output_bytes_max"])
    deadline = time.monotonic() + asked["timeout_seconds"]
    process = Process(plan | {"cgroups": [one for one in plan["cgroups"] if os.path.isdir(one)]}, asked["argv"])
    process.cgroups = []  # those are the task's, which goes on
    late = False
    while process.bury():
        late = late or (process.exit_status is None and time.monotonic() >= deadline)
        if process.exit_status is not None or late:
            process.kill()
        seconds = RETRY_SECONDS if late or process.exit_status is not None else deadline - time.monotonic()
        # SIGTERM: nobody wants the outcome any more.
        late = signal.SIGTERM in process.wait(tail, seconds) or late
    process.drain(tail)
    text = process.error or tail.text.decode(errors="replace")
    sys.stdout.write(json.dumps({"exit_status": None if late else process.exit_status, "output": text}))


def enter() -> None:
    """Become the rest of the command line, beside the task, on the input and output that this process was given."""
    plan = read("task.json")
    assert plan is not None
    argv = sys.argv[3:]
    try:
        if os.isatty(0):
            import termios

            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        assume(plan)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        terminal = {"TERM": "xterm-256color"} if os.isatty(0) else {}
        with attempt(f"run {argv[0]}"):
            os.execvpe(argv[0], argv, terminal | plan["environment"])  # noqa: S606 -- what the user asked for
    except Failed as failed:
        sys.stderr.write(f"{failed.args[0]}\n")
        raise SystemExit(127 if failed.args[1] == errno.ENOENT else 126) from None


def main() -> None:
    os.chdir(sys.argv[2])
    if sys.argv[1] == "exec":
        execute()
    elif sys.argv[1] == "enter":
        enter()
    elif os.fork() == 0:
        # Away from the terminal, the session and the parent of who started us.
        os.setsid()
        run()


if __name__ == "__main__":
    main()
