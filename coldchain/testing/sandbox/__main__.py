"""`python -m coldchain.testing.sandbox [--forward PORT …] [--way-out] [--unless-docker] -- COMMAND`."""

import argparse
import os
import shutil
import sys

from coldchain.model.errors import ColdchainError
from coldchain.testing.sandbox.daemon import docker_answers
from coldchain.testing.sandbox.launcher import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="sandbox", description="Run COMMAND in namespaces that end with it.")
    parser.add_argument(
        "--forward", type=int, action="append", default=[], metavar="PORT", help="machine's 127.0.0.1:PORT leads inside"
    )
    parser.add_argument(
        "--unless-docker", action="store_true", help="run COMMAND without a sandbox when the machine's Docker answers"
    )
    parser.add_argument("--way-out", action="store_true", help="from inside one reaches what the machine reaches")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    options = parser.parse_args()
    if options.unless_docker and docker_answers():
        os.execvp(options.command[0], options.command)
    if os.geteuid() != 0 and shutil.which("sudo"):
        again = [sys.executable, "-m", "coldchain.testing.sandbox", *sys.argv[1:]]
        os.execvp("sudo", ["sudo", "--preserve-env", "env", f"PATH={os.environ['PATH']}", *again])
    try:
        return run(options.command, forwarded_ports=options.forward, way_out=options.way_out)
    except ColdchainError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
