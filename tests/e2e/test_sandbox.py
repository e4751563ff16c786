"""The sandbox is the promise that nothing survives; so it is started, killed and looked behind in every way."""

import contextlib
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coldchain.testing.remains import nothing_remains
from coldchain.testing.sandbox import inside

SANDBOX = [sys.executable, "-m", "coldchain.testing.sandbox"]
DOCKER_WITH_CONTAINER = [sys.executable, str(Path(__file__).parent / "programs" / "docker_with_container.py")]
PATIENCE_SECONDS = 30.0


@pytest.fixture
def untouched() -> Iterator[None]:
    """The machine after the test is the machine before it."""
    if not inside():
        pytest.fail("Sandboxes are tested within one; run this through bin/test", pytrace=False)
    with nothing_remains():
        yield


def start(*command: str, options: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A sandbox in a process group of its own. Its stderr ends when launcher, watcher and all within have ended."""
    return subprocess.Popen(
        [*SANDBOX, *options, "--", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def run(*command: str, options: tuple[str, ...] = (), stdin: str = "") -> subprocess.CompletedProcess[str]:
    with start(*command, options=options) as process:
        output, errors = process.communicate(stdin, PATIENCE_SECONDS)
        return subprocess.CompletedProcess(command, process.returncode, output, errors)


def expect_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    if line != "ready\n":
        pytest.fail(f"not ready: {line!r} {process.communicate(timeout=PATIENCE_SECONDS)}")


def children(parent: int) -> list[int]:
    return [int(number) for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -KILL $$"], 137),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["no-such-command"], 127),
        (["/etc/passwd"], 126),
    ],
)
@pytest.mark.usefixtures("untouched")
def test_the_exit_status_is_that_of_the_command(command: list[str], status: int) -> None:
    assert run(*command).returncode == status


@pytest.mark.usefixtures("untouched")
def test_standard_input_output_and_directory_are_those_of_the_caller() -> None:
    result = run("sh", "-c", "cat; pwd; echo oops >&2", stdin="hello\n")
    assert result.stdout == f"hello\n{os.getcwd()}\n"
    assert result.stderr == "oops\n"


@pytest.mark.usefixtures("untouched")
def test_inside_is_a_machine_of_its_own() -> None:
    result = run(
        "sh",
        "-c",
        "ip -o link | wc -l; ip -o -4 addr show lo | grep -c 127.0.0.1; cat /proc/sys/net/ipv4/ip_forward;"
        "ls /proc | grep -c '^[0-9]*$' | xargs test 9 -gt && echo few processes; ls /etc/docker /var/lib/docker;"
        "ls -d $TMPDIR; echo $COLDCHAIN_CGROUP_PARENT",
    )
    one, address, forward, few, *middle, temporary, parent = result.stdout.splitlines()
    assert (one, address, forward, few) == ("1", "1", "1", "few processes")
    assert middle == ["/etc/docker:", "", "/var/lib/docker:"]
    assert Path(temporary).parent == Path(os.environ["TMPDIR"])
    assert parent.startswith(os.environ["COLDCHAIN_CGROUP_PARENT"] + "/coldchain-")


@pytest.mark.usefixtures("untouched")
def test_what_the_command_leaves_running_ends_with_it() -> None:
    result = run("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & touch $TMPDIR/file; mkdir $TMPDIR/folder; echo ready")
    assert (result.returncode, result.stdout) == (0, "ready\n")


@pytest.mark.parametrize("end", ["exit", "kill launcher", "kill process group", "kill watcher", "terminate"])
@pytest.mark.usefixtures("untouched")
def test_nothing_of_docker_and_a_container_survives(end: str) -> None:
    with start(*DOCKER_WITH_CONTAINER) as process:
        expect_ready(process)
        match end:
            case "kill launcher":
                process.kill()
            case "kill process group":
                os.killpg(process.pid, signal.SIGKILL)
            case "kill watcher":
                os.kill(children(process.pid)[0], signal.SIGKILL)
            case "terminate":
                process.terminate()
        _, errors = process.communicate("\n", PATIENCE_SECONDS)
    expected = {"exit": 0, "terminate": 143, "kill watcher": 137}
    assert (process.returncode, errors) == (expected.get(end, -signal.SIGKILL), "")


@pytest.mark.parametrize("moment", range(16))
@pytest.mark.usefixtures("untouched")
def test_a_launcher_killed_at_any_moment_leaves_nothing(moment: int) -> None:
    with start("sh", "-c", "mkdir $TMPDIR/folder; exec sleep 1000") as process:
        time.sleep(moment * 0.02)  # the moment of the fault; nothing waits for anything here
        os.killpg(process.pid, signal.SIGKILL)
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert errors == ""


@pytest.mark.usefixtures("untouched")
def test_a_launcher_that_is_gone_before_the_first_report_leaves_nothing() -> None:
    program = (
        "import os\n"
        "from coldchain.testing.sandbox.identity import new_identity\n"
        "from coldchain.testing.sandbox.launcher import _fork\n"
        "from coldchain.testing.sandbox.watcher import watch\n"
        "(alive_reader, alive), (report, report_writer) = os.pipe(), os.pipe()\n"
        "os.close(report)\n"
        "watcher = _fork(watch, new_identity(), alive_reader, report_writer, (alive,))\n"
        "os.close(alive)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(watcher, 0)[1]))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (ended.stdout, ended.stderr) == ("0\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("to_group", [False, True])
@pytest.mark.usefixtures("untouched")
def test_a_signal_reaches_the_command_once(number: signal.Signals, to_group: bool) -> None:
    program = (
        "import signal, sys\n"
        f"signal.pthread_sigmask(signal.SIG_BLOCK, [{number}])\n"
        "print('ready', flush=True)\n"
        f"print(signal.sigwait([{number}]).value, flush=True)\n"
        f"sys.stdin.readline()\n"
        f"print(signal.sigpending())\n"
        "sys.exit(3)"
    )
    with start(sys.executable, "-c", program) as process:
        expect_ready(process)
        (os.killpg if to_group else os.kill)(process.pid, number)
        output, _ = process.communicate("\n", PATIENCE_SECONDS)
    assert output == f"{number.value}\nset()\n"
    assert process.returncode == 3


class Screen:
    """A terminal with a shell or a sandbox on it."""

    def __init__(self, command: list[str]) -> None:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def expect(self, text: str) -> None:
        """Read on until `text` appears; forgets all up to it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.seen:
            if not select.select([self.descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                pytest.fail(f"{text!r} is not in {self.seen!r}")
            self.seen += os.read(self.descriptor, 4096).decode(errors="replace")
        self.seen = self.seen.partition(text)[2]

    def finish(self) -> int:
        """The exit status, once the terminal is closed by all who had it."""
        with contextlib.suppress(OSError):  # a terminal without users answers EIO
            while os.read(self.descriptor, 4096):
                pass
        os.close(self.descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


INTERRUPTIBLE = "trap 'echo interrupted; exit 3' INT; echo ready; while read line; do echo \"got $line\"; done"


@pytest.fixture
def interruptible(tmp_path: Path) -> Path:
    """A script that repeats lines until it is interrupted."""
    script = tmp_path / "interruptible.sh"
    script.write_text(INTERRUPTIBLE)
    return script


@pytest.mark.usefixtures("untouched")
def test_the_terminal_is_the_commands_and_interrupts_it(interruptible: Path) -> None:
    screen = Screen([*SANDBOX, "--", "bash", str(interruptible)])
    screen.expect("ready")
    screen.type("words\n")
    screen.expect("got words")
    screen.type("\x03")
    screen.expect("interrupted")
    assert screen.finish() == 3


@pytest.mark.usefixtures("untouched")
def test_a_shell_can_stop_it_and_go_on(interruptible: Path) -> None:
    screen = Screen(["env", "HISTFILE=", "bash", "--norc", "--noprofile", "-i"])
    screen.type(f"{' '.join(SANDBOX)} -- bash {interruptible}\n")
    screen.expect("ready")
    screen.type("\x1a")
    screen.expect("Stopped")
    screen.type("echo the shell $((40 + 2))\n")
    screen.expect("the shell 42")
    screen.type("fg\n")
    screen.expect(str(interruptible))  # the shell shows the command that goes on
    screen.type("words\n")
    screen.expect("got words")
    screen.type("\x03")
    screen.expect("interrupted")
    screen.type("echo status $?; exit\n")
    screen.expect("status 3")
    assert screen.finish() == 0


@pytest.mark.usefixtures("untouched")
def test_a_port_of_the_machine_leads_inside(free_port: Callable[[], int]) -> None:
    port = free_port()
    program = (
        "import socket\n"
        f"listener = socket.create_server(('127.0.0.1', {port}))\n"
        "print('ready', flush=True)\n"
        "inner, _ = listener.accept()\n"
        "data = b''\n"
        "while chunk := inner.recv(65536): data += chunk\n"
        "inner.sendall(str(len(data)).encode())\n"
        "inner.close()\n"
        "input()"
    )
    with start(sys.executable, "-c", program, options=("--forward", str(port))) as process:
        expect_ready(process)
        with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as outer:
            outer.sendall(b"x" * 1_000_000)
            outer.shutdown(socket.SHUT_WR)
            assert outer.recv(100) == b"1000000"
        process.communicate("\n", PATIENCE_SECONDS)
    assert process.returncode == 0


@pytest.mark.usefixtures("untouched")
def test_a_port_in_use_is_said_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("echo", "started", options=("--forward", str(port)))
    assert (result.returncode, result.stdout) == (1, "")
    assert f"Port {port} of 127.0.0.1" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.usefixtures("untouched")
def test_with_a_way_out_it_reaches_what_the_machine_reaches(untouched: None) -> None:
    address = "198.51.100.1"
    asks = "import socket, sys; print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 10).recv(9))"
    subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    try:
        with socket.create_server((address, 0)) as server:
            ask = [sys.executable, "-c", asks, address, str(server.getsockname()[1])]
            with start(*ask, options=("--way-out",)) as process:
                server.settimeout(PATIENCE_SECONDS)
                with server.accept()[0] as connection:
                    connection.sendall(b"welcome")
                output, errors = process.communicate(timeout=PATIENCE_SECONDS)
            assert (output, errors, process.returncode) == ("b'welcome'\n", "", 0)
            refused = run(*ask)
            assert "unreachable" in refused.stderr
    finally:
        subprocess.run(["ip", "address", "del", f"{address}/32", "dev", "lo"], check=True)


def test_without_slirp4netns_a_way_out_is_refused_before_anything_starts(tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path), "TMPDIR": str(tmp_path)}
    command = [*SANDBOX, "--way-out", "--", "/bin/true"]
    refused = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)
    assert refused.returncode == 1
    assert "Install the package slirp4netns" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_sandbox_without_privileges_says_what_it_needs() -> None:
    result = subprocess.run(
        ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", *SANDBOX, "--", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "refused a sandbox: unshare: Operation not permitted" in result.stderr
    assert "Traceback" not in result.stderr


def python(program: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"from coldchain.testing.sandbox import DockerDaemon\n{program}")


@pytest.mark.usefixtures("untouched")
def test_a_docker_daemon_can_be_killed_started_again_and_closed() -> None:
    result = run(
        *python(
            "import os\n"
            "with DockerDaemon() as daemon:\n"
            "    first = daemon.pid\n"
            "    daemon.kill()\n"
            "    assert daemon.pid is None\n"
            "    daemon.start()\n"
            "    assert daemon.pid != first\n"
            "    files = (daemon.data_root, daemon.exec_root, daemon.socket, daemon.log)\n"
            "assert not any(file.exists() for file in files)\n"
            "print([number for number in os.listdir('/proc') if number.isdigit()])\n"
        )
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.split(",")) == 2  # init and the command


@pytest.mark.usefixtures("untouched")
def test_a_docker_daemon_that_does_not_start_shows_its_log() -> None:
    result = run(*python("DockerDaemon(arguments=['--nonsense']).start()"))
    assert result.returncode == 1
    assert "unknown flag: --nonsense" in result.stderr


@pytest.mark.usefixtures("untouched")
def test_a_second_docker_daemon_is_refused() -> None:
    result = run(*python("with DockerDaemon():\n    DockerDaemon().start()"))
    assert result.returncode == 1
    assert "Another Docker daemon runs in this sandbox" in result.stderr


@pytest.mark.usefixtures("untouched")
def test_outside_a_sandbox_no_docker_daemon_starts() -> None:
    # With its own /run taken away the command sees the machine's, as if it had been started there.
    outside = (
        "umount /run && exec \"$0\" -c 'from coldchain.testing.sandbox import DockerDaemon; DockerDaemon().start()'"
    )
    result = run("sh", "-c", outside, sys.executable)
    assert result.returncode == 1
    assert "only inside the sandbox" in result.stderr
