"""cable: addresses of a machine's own, and what happens to one whose cable is pulled: packets are dropped, not reset.

Only inside the sandbox, whose network is nobody else's. A process has its machine's address where it listens; what it
calls by itself may go out from another one. So all that runs on a machine that is cut off has to stand still too.
"""

import subprocess

from coldchain.model.errors import Conflict
from coldchain.testing.sandbox import inside

RULES = (("OUTPUT", "-d"), ("PREROUTING", "-s"))
"""In the table `raw`, which packets pass before Docker gives them another address."""


def give_address(address: str) -> None:
    """From now on this machine has it, beside its others."""
    _run("ip", "address", "add", f"{address}/32", "dev", "lo")


def pull(address: str) -> None:
    """Whatever goes there or comes from there is dropped, also on connections that are open."""
    for chain, end in RULES:
        _run("iptables", "--wait", "-t", "raw", "-I", chain, end, address, "-j", "DROP")


def plug_in(address: str) -> None:
    """The end of `pull`."""
    for chain, end in RULES:
        _run("iptables", "--wait", "-t", "raw", "-D", chain, end, address, "-j", "DROP")


def _run(*command: str) -> None:
    if not inside():
        raise Conflict("Rules for packets are made in the sandbox only", todo="Run this through bin/test or bin/demo")
    subprocess.run(command, check=True, capture_output=True)
