"""`python -m coldchain.testing.mesos`: a lab for work by hand, until Ctrl-C."""

import argparse
import asyncio
import contextlib
import signal
import sys

from coldchain.model.errors import ColdchainError
from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.mesos.settings import AgentSettings, MasterSettings


async def run(masters: int, agents: int, simulated: int, settings: AgentSettings) -> None:
    """Prints the addresses once all are registered."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with MesosLab(zookeeper=masters > 1) as lab:
        for _ in range(masters):
            await lab.start_master(MasterSettings())
        for _ in range(agents):
            await lab.start_agent(settings)
        if simulated:
            await lab.start_simulated_agents(simulated, settings)
        await lab.registered(agents + simulated, patience_seconds=60)
        print(f"frameworks  {lab.master_address}")
        for server in (*lab.masters, *lab.agents):
            print(f"{server.name:<12}{server.url}  process {server.pid}  log {server.log}")
        print("It ends with Ctrl-C.", flush=True)
        await ended.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m coldchain.testing.mesos", description=__doc__)
    parser.add_argument("--masters", type=int, default=1, metavar="N", help="more than one: found by ZooKeeper (1)")
    parser.add_argument("--agents", type=int, default=2, metavar="N", help="each a process of its own (2)")
    parser.add_argument("--simulated", type=int, default=0, metavar="N", help="as many more agents in one process (0)")
    parser.add_argument("--attribute", action="append", default=[], metavar="NAME=VALUE", help="of every agent")
    options = parser.parse_args()
    attributes = dict(each.split("=", 1) for each in options.attribute)
    try:
        asyncio.run(run(options.masters, options.agents, options.simulated, AgentSettings(attributes=attributes)))
    except ColdchainError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
