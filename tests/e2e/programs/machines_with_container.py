"""Run by test_machines.py: a lab with a container on a machine. Says `ready` and its keeper, then waits for a line."""

import asyncio
import sys

from coldchain.testing.application.image import ensure_image
from coldchain.testing.machines import MachineLab


def main() -> None:
    with MachineLab() as lab:
        machine = lab["machine-1"]
        asyncio.run(ensure_image(str(machine.docker.socket)))
        machine.docker.run("run", "--detach", "--publish", "8080:8080", "coldchain/shop:v1")
        lab["vm"].start("sleep", "1000")
        print("ready", lab.switch.keeper, flush=True)
        sys.stdin.readline()


main()
