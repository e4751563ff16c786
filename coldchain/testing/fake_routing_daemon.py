"""A routing daemon in memory: it has the sessions of its configuration, and a test says how they stand."""

import asyncio
import re
from collections.abc import Mapping

from coldchain.model.errors import NotFound, Rejected, Unavailable

_SESSION = re.compile(r"^protocol bgp '([^']+)'", re.MULTILINE)


class FakeRoutingDaemon:
    """Implements `ports.network.RoutingDaemon`. `applied`: every configuration, in order; `starts`: how often it was
    started. `states` by session, `Connect` where nothing is said; `hears` by address. `refuses` True: it takes no
    configuration."""

    def __init__(self) -> None:
        self.applied: list[str] = []
        self.states: dict[str, str] = {}
        self.hears: dict[str, bool] = {}
        self.withdrawn: list[str] = []
        self.starts = 0
        self.refuses = False
        self._configuration: str | None = None
        self._last: str | None = None
        self._gone = asyncio.Event()
        self._gone.set()

    async def apply(self, configuration: str) -> None:
        if self.refuses or configuration.count("{") != configuration.count("}"):
            raise Rejected("BIRD refuses its configuration: syntax error", todo="It goes on by the one before")
        self.applied.append(configuration)
        self._run(configuration)

    async def resume(self) -> None:
        if self._last is not None:
            self._run(self._last)

    async def sessions(self) -> Mapping[str, str]:
        if self._configuration is None:
            raise Unavailable("BIRD does not answer", todo="netd starts it again if it has ended")
        return {name: self.states.get(name, "Connect") for name in _SESSION.findall(self._configuration)}

    async def heard(self) -> Mapping[str, bool]:
        await self.sessions()
        return dict(self.hears)

    async def withdraw(self, session: str) -> None:
        if session not in await self.sessions():
            raise NotFound(f"BIRD has no session {session!r}")
        self.withdrawn.append(session)

    async def ended(self) -> None:
        await self._gone.wait()

    async def stop(self) -> None:
        self._last = None
        self.kill()

    def kill(self) -> None:
        """It ends by itself."""
        self._configuration = None
        self._gone.set()

    def _run(self, configuration: str) -> None:
        if self._configuration is None:
            self.starts += 1
        self._configuration = self._last = configuration
        self._gone.clear()
