"""`python -m coldchain.testing.machines [--segments] [-- COMMAND]`: a lab for work by hand, in a sandbox of its own.

Each machine is a command there: `machine-1 docker ps`, or `vm` alone for a shell on it.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time

from coldchain.model.errors import ColdchainError
from coldchain.testing.machines import FLAT, SEGMENTED, MachineLab
from coldchain.testing.sandbox import inside

_SHELL = 'if [ "$#" = 0 ]; then set -- "${SHELL:-/bin/sh}"; fi\n'


def run(segments: bool, command: list[str]) -> int:
    """Runs `command`, or a shell, with a command for each machine on its path. Returns its exit status."""
    began = time.monotonic()
    with MachineLab(SEGMENTED if segments else FLAT) as lab:
        programs = lab.folder / "bin"
        programs.mkdir()
        for machine in lab:
            program = programs / machine.name
            program.write_text(f'#!/bin/sh\n{_SHELL}exec {shlex.join(machine.entered())} "$@"\n')
            program.chmod(0o755)
            what = "Docker" if machine.place.docker else ""
            addresses = ", ".join(cable.address for cable in machine.place.cables)
            print(f"{machine.name:<12}{addresses:<32}{what}", file=sys.stderr)
        took = time.monotonic() - began
        print(f"Up in {took:.1f} s, gone when this shell ends. `vm ip route` runs it there.", file=sys.stderr)
        variables = {"PATH": f"{programs}:{os.environ['PATH']}", "COLDCHAIN_CONSOLE": lab.console}
        return subprocess.run(command or [os.environ.get("SHELL", "/bin/sh")], env=os.environ | variables).returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m coldchain.testing.machines", description=__doc__)
    parser.add_argument("--segments", action="store_true", help="two segments, and a router that knows no container")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="instead of a shell")
    options = parser.parse_args()
    if not inside():
        again = [sys.executable, "-m", "coldchain.testing.sandbox", "--"]
        os.execv(sys.executable, [*again, sys.executable, "-m", "coldchain.testing.machines", *sys.argv[1:]])
    try:
        return run(options.segments, options.command)
    except ColdchainError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
