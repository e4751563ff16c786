"""layers: the order in which `bin/test` runs its layers, and what runs beside what.

Unit tests and simulations compute, about as long as each other; unit tests also wait now and then. So those have two
processes, and simulations one beside them: quicker than to share all out among two. Alone, either has two. The other
layers mostly wait for servers, so that two of them at once take little longer than one. Each has a sandbox of its own,
since there may be one Docker daemon in a network namespace.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from typing import IO

from coldchain.testing.sandbox import inside

LAYERS = ("unit", "sim", "contract", "compat", "e2e")
STAGES = ((("unit",), ("sim",)), (("contract", "compat"), ("e2e",)))
"""One after the other; of each, what runs side by side."""
MOVED = {
    "e2e": tuple(
        f"tests/e2e/test_{name}.py" for name in ("registry", "registry_consul", "registry_faults", "store_etcd")
    )
}
"""What of a layer runs with the part beside it when both run: e2e takes longer than contract and compat."""
COMPUTING = ("unit", "sim")
NOTHING_CHOSEN, INTERRUPTED = 5, 2
"""Exit statuses of pytest."""


def stages(chosen: Collection[str], arguments: Sequence[str]) -> list[list[list[str]]]:
    """The arguments of pytest, for each of those that run side by side, for each stage. `chosen`: layers, or paths of
    tests, which run as they are; none means all."""
    if not set(chosen) <= set(LAYERS):
        return [[[*(f"tests/{name}" if name in LAYERS else name for name in chosen), *arguments]]]
    found = []
    for stage in STAGES:
        parts = [part for whole in stage if (part := [layer for layer in whole if not chosen or layer in chosen])]
        found.append(
            [
                [
                    *(("-n", "2") if part is parts[0] and part[0] in COMPUTING else ()),
                    *(f"tests/{layer}" for layer in part),
                    *_moved(part, parts),
                    *arguments,
                ]
                for part in parts
            ]
        )
    return [stage for stage in found if stage]


def _moved(part: Sequence[str], parts: Sequence[Sequence[str]]) -> list[str]:
    """What a part runs of those beside it, and what it leaves to them. The first takes what the others leave."""
    if len(parts) == 1:
        return []
    if part is parts[0]:
        return [path for other in parts[1:] for layer in other for path in MOVED.get(layer, ())]
    return [f"--ignore={path}" for layer in part for path in MOVED.get(layer, ())]


def worst(statuses: Sequence[int]) -> int:
    """Of all that ran: the first that failed, else 0. That a part of the choice has no test is right, that all have
    none is not."""
    failed = [status for status in statuses if status not in (0, NOTHING_CHOSEN)]
    return failed[0] if failed else 0 if 0 in statuses else NOTHING_CHOSEN


def run_beside(commands: Sequence[Sequence[str]]) -> list[int]:
    """Run them all at once; their exit statuses. The first has our terminal, what the others print comes after it. When
    the first is interrupted, or we are ended, all are."""
    with contextlib.ExitStack() as closing:
        outputs: list[IO[bytes]] = [closing.enter_context(tempfile.TemporaryFile()) for _ in commands[1:]]
        # Whoever kills this process has ended all of it: a sandbox takes itself down when it is told to.
        dying = ("setpriv", "--pdeathsig", "TERM", "--")
        others: list[subprocess.Popen[bytes]] = []
        processes, ended = closing.enter_context(_passing_on())
        for command, output in zip(commands[1:], outputs, strict=True):
            others.append(
                subprocess.Popen(
                    [*dying, *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
                )
            )
            processes.append(others[-1])
        first = subprocess.Popen([*dying, *commands[0]])
        processes.append(first)
        for process in processes if ended else ():  # told while one was started, which was not on the list then
            process.terminate()
        statuses = [_await(first)]
        if statuses[0] in (INTERRUPTED, 128 + signal.SIGINT):
            for process in others:
                process.terminate()
        for process, output in zip(others, outputs, strict=True):
            statuses.append(_await(process))
            output.seek(0)
            while some := output.read(65536):
                sys.stdout.buffer.write(some)
                sys.stdout.buffer.flush()
    return statuses


def _await(process: subprocess.Popen[bytes]) -> int:
    """Its exit status, 128 + n when signal n ended it. Stops with it (Ctrl-Z), so that the shell gets the terminal, and
    later has both go on."""
    while True:
        found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)
        if found is None or found.si_code != os.CLD_STOPPED:
            status = process.wait()
            return status if status >= 0 else 128 - status
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG)
        os.kill(os.getpid(), signal.SIGSTOP)


@contextlib.contextmanager
def _passing_on() -> Iterator[tuple[list[subprocess.Popen[bytes]], list[int]]]:
    """The processes that a SIGTERM is passed on to, to be filled, and what came. Ctrl-C reaches the first by itself."""
    processes: list[subprocess.Popen[bytes]] = []
    came: list[int] = []

    def pass_on(number: int, _frame: object) -> None:
        if number == signal.SIGTERM:
            came.append(number)
        for process in processes if number == signal.SIGTERM else ():
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield processes, came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(words: Sequence[str]) -> int:
    """`[LAYER or path …] -- [arguments of pytest …]`."""
    split = list(words).index("--")
    chosen, arguments = words[:split], words[split + 1 :]
    sandbox = [] if inside() else [sys.executable, "-m", "coldchain.testing.sandbox", "--"]
    statuses: list[int] = []
    for stage in stages(chosen, arguments):
        commands = [[*sandbox, sys.executable, "-m", "pytest", *part] for part in stage]
        # Within one sandbox one after the other.
        for together in [commands] if sandbox else [[command] for command in commands]:
            statuses += run_beside(together)
            if INTERRUPTED in statuses or 128 + signal.SIGINT in statuses or 128 + signal.SIGTERM in statuses:
                return worst(statuses)
    status = worst(statuses)
    if status == NOTHING_CHOSEN:
        print("bin/test: no test was chosen", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
