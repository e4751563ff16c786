"""Stand-in for `mesos-containerizer launch`: waits for the agent's word, runs the command, writes how it ended."""

import contextlib
import json
import os
import signal
import sys
from typing import Any

_PREFIX = "MESOS_CONTAINERIZER_"


def main() -> None:
    information = json.loads(os.environ[f"{_PREFIX}LAUNCH_INFO"])
    status_file = _open_status(os.environ.get(f"{_PREFIX}RUNTIME_DIRECTORY"))
    _wait_for_agent()
    for command in information.get("pre_exec_commands", ()):
        if os.spawnvp(os.P_WAIT, *_words(command)) != 0:
            sys.exit(1)
    environment = {one["name"]: one.get("value", "") for one in information.get("environment", {}).get("variables", ())}
    environment.setdefault("PATH", os.environ.get("PATH", "/usr/bin:/bin"))
    if folder := information.get("working_directory"):
        os.chdir(folder)
    status = _run(*_words(information["command"]), environment)
    if status_file is not None:
        os.write(status_file, str(status).encode())
        os.fsync(status_file)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def _open_status(folder: str | None) -> int | None:
    if not folder:
        return None
    return os.open(f"{folder}/status", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _wait_for_agent() -> None:
    """It gives a byte when the container is isolated and written down; the end of the pipe is its death."""
    reader, writer = (os.environ.get(f"{_PREFIX}PIPE_{end}") for end in ("READ", "WRITE"))
    if reader and writer:
        os.close(int(writer))
        if len(os.read(int(reader), 1)) != 1:
            sys.exit("the agent ended")
        os.close(int(reader))


def _words(command: dict[str, Any]) -> tuple[str, list[str]]:
    if command.get("shell", True):
        return "/bin/sh", ["sh", "-c", command["value"]]
    return command["value"], command.get("arguments") or [command["value"]]


def _run(program: str, arguments: list[str], environment: dict[str, str]) -> int:
    """Run it as a child, pass signals on, return its wait status."""
    number = os.fork()
    if number == 0:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        try:
            os.execvpe(program, arguments, environment)
        except OSError as error:
            os.write(2, f"{program}: {error.strerror}\n".encode())
        os._exit(127)
    for one in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(one, lambda received, _: os.kill(number, received))
    return os.waitpid(number, 0)[1]


if __name__ == "__main__":
    if sys.argv[1:2] != ["launch"]:
        sys.exit(f"this stand-in launches, and nothing else: {sys.argv[1:]}")
    main()
