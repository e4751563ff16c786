"""A machine within the machine: namespaces of its own for everything that tests, the demo and benches start.

What lives here: the launcher that runs a command in a sandbox, the watcher that takes all down even when the
launcher is killed, and `DockerDaemon`, a Docker Engine of the sandbox's own.
What must not: anything that knows pytest, the demo or a bench; they import this. Nothing of the platform either,
but for its errors.
Processes: launcher (waits for the command, owns the terminal) → watcher (a session of its own, waits on a pipe that
ends with the launcher) → init (PID 1 of the sandbox). The command is the launcher's child, inside the namespaces.
"""

from coldchain.testing.sandbox.daemon import DockerDaemon, docker_answers
from coldchain.testing.sandbox.identity import inside
from coldchain.testing.sandbox.launcher import run

__all__ = ["DockerDaemon", "docker_answers", "inside", "run"]
