"""Masters and agents as machines of the lab."""

import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from coldchain.testing.mesos.machine import PATIENCE_SECONDS, Machine
from coldchain.testing.mesos.operator_api import OneServer, first_that
from coldchain.testing.mesos.settings import AgentSettings, MasterSettings


class Server(Machine):
    """`address` is HOST:PORT, `api` its operator API, `url` where all its HTTP APIs begin."""

    address: str
    api: OneServer

    @property
    def url(self) -> str:
        return self.api.url


class Master(Server):
    """`settings`: as it was started."""

    settings: MasterSettings

    async def joined(self) -> None:
        """Waits until its part of the `replicated_log` counts: until then no other master may be killed."""

        async def told() -> bool:
            return await self.api.metric("registrar/log/recovered") == 1.0

        await first_that(told, f"{self.name} has joined", PATIENCE_SECONDS)


class Agent(Server):
    """One agent with a process of its own. `hostname` is what offers call it."""

    settings: AgentSettings
    hostname: str
    work_directory: Path
    known: Callable[[str], Awaitable[dict[str, Any]]]

    async def registered(self) -> None:
        """Waits until the process that runs now is: the master may for a moment still know the one before it."""

        async def told() -> bool:
            return await self.api.metric("slave/registered") == 1.0  # their word

        await first_that(told, f"{self.name} is registered", PATIENCE_SECONDS)

    async def agent_id(self) -> str:
        """As the leading master knows it; waits until it does."""
        await self.registered()
        return str((await self.known(self.hostname))["agent_info"]["id"]["value"])

    async def restart(self) -> None:
        """SIGKILL if it still runs, and a new process in the same folder: it recovers what it had checkpointed."""
        await self.kill()
        self.start()

    async def shut_down(self) -> None:
        """In order (SIGUSR1): it ends its executors and takes leave of the master, which then forgets it."""
        self.signal(signal.SIGUSR1)
        await self.ended()
