"""`python -m coldchain.testing.fresh [12] [13] [--run COMMAND …] [--rounds N]`, as bin/check-fresh calls it."""

import argparse
import json
import shlex
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from coldchain.model.errors import ColdchainError
from coldchain.testing.fresh.inventory import AT_SET_UP, Inventory, differences, take
from coldchain.testing.fresh.machine import CHECKOUT, SUITES, FreshMachine
from coldchain.testing.sandbox import inside

SOURCE = Path(__file__).parents[3]


class Outcome(msgspec.Struct, kw_only=True):
    """One Debian. `failed`: commands with their exit status. `left_behind`: differences, and after what they showed."""

    debian: str
    python: str = ""
    docker: str = ""
    nginx: str = ""
    packages_installed: int = 0
    files_added_to_etc: int = 0
    seconds: dict[str, float] = {}
    failed: list[str] = []
    left_behind: list[str] = []


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bin/check-fresh", description="On a Debian made for it, from a clone: set-up, demo and tests, twice."
    )
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help=f"of Debian: {', '.join(SUITES)}; default all")
    parser.add_argument(
        "--run", action="append", metavar="COMMAND", help="instead of bin/demo and bin/test; may be given again"
    )
    parser.add_argument("--rounds", type=int, default=2, help="how often all commands are run (2)")
    options = parser.parse_args()
    if unknown := set(options.releases) - SUITES.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(SUITES)}")
    if not inside():
        parser.error("it runs inside the sandbox only: call it as bin/check-fresh")
    commands = options.run or ["bin/demo", "bin/test"]
    try:
        outcomes = [check(release, commands, options.rounds) for release in options.releases or SUITES]
    except ColdchainError as error:
        print(f"bin/check-fresh: {error}", file=sys.stderr)
        return 1
    passed = not any(one.failed or one.left_behind for one in outcomes)
    print(json.dumps({"passed": passed, "debians": msgspec.to_builtins(outcomes)}), flush=True)
    return 0 if passed else 1


def check(release: str, commands: list[str], rounds: int) -> Outcome:
    """Everything on one Debian, which is gone afterwards."""
    outcome = Outcome(debian=release)
    machine = FreshMachine(release, Path(tempfile.gettempdir()))
    try:
        began = time.monotonic()
        _say(release, "making it with debootstrap, and cloning what is committed into it")
        machine.create(SOURCE)
        machine.enter()
        outcome.seconds["create"] = round(time.monotonic() - began, 1)
        take(machine)  # the first look loads what iptables-save itself needs
        bare = take(machine)
        if not _timed(outcome, machine, "bin/setup", "set-up"):
            return outcome
        ready = take(machine)
        _note_installed(outcome, machine, bare, ready)
        _compare(outcome, "set-up", differences(bare, ready, AT_SET_UP))
        for number in range(1, rounds + 1):
            for command in commands:
                name = f"round {number}: {command}"
                _timed(outcome, machine, command, name)
                _compare(outcome, name, differences(ready, take(machine)))
    finally:
        machine.remove()
    return outcome


def _timed(outcome: Outcome, machine: FreshMachine, command: str, name: str) -> bool:
    """Run a command; True when it went well."""
    _say(outcome.debian, f"{name}{'' if name.endswith(command) else f': {command}'}")
    began = time.monotonic()
    status = machine.run(shlex.split(command))
    outcome.seconds[name] = round(time.monotonic() - began, 1)
    _say(outcome.debian, f"{name} ended with {status} after {outcome.seconds[name]:.0f} s")
    if status != 0:
        outcome.failed.append(f"{name}: exit status {status}")
    return status == 0


def _note_installed(outcome: Outcome, machine: FreshMachine, bare: Inventory, ready: Inventory) -> None:
    outcome.packages_installed = len(ready.packages - bare.packages)
    outcome.files_added_to_etc = len(ready.configuration.keys() - bare.configuration.keys())
    outcome.python = machine.version(f"{CHECKOUT}/.venv/bin/python", "--version")
    outcome.docker = machine.version("dockerd", "--version")
    outcome.nginx = machine.version("nginx", "-v")
    _say(
        outcome.debian,
        f"{outcome.packages_installed} packages installed ({outcome.python}; {outcome.docker}; {outcome.nginx})",
    )


def _compare(outcome: Outcome, name: str, found: list[str]) -> None:
    for one in found:
        _say(outcome.debian, f"{name} left behind: {one}")
    outcome.left_behind += [f"{name}: {one}" for one in found]


def _say(release: str, words: str) -> None:
    print(f"bin/check-fresh: Debian {release}: {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
