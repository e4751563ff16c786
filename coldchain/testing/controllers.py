"""controllers: several `coldchain up` of one store, driven as one platform, whoever of them leads."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from coldchain.testing.driven import DrivenPlatform, StepFailed
from coldchain.testing.stage import Stage

PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.02


class Controllers(DrivenPlatform):
    """Each call goes to the next of them, so that leader and standbys are all asked. `killed`: by the last `kill`."""

    def __init__(self, stages: Sequence[Stage], docker_socket: Path) -> None:
        super().__init__(docker_socket)
        self.stages = list(stages)
        self.killed: Stage | None = None
        self._leader: Stage | None = None
        self._turn = 0

    async def start(self) -> None:
        """Those that do not run."""
        for stage in self.stages:
            if not stage.runs:
                await stage.start()
        self.killed = None
        await self.leader()

    def kill(self) -> None:
        """SIGKILL for the one that led when it was last asked who leads."""
        assert self._leader is not None
        self.killed, self._leader = self._leader, None
        self.killed.kill()

    async def leader(self) -> tuple[Stage, list[Stage]]:
        """The one that leads and those that stand by, once all that run agree."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        running = [one for one in self.stages if one is not self.killed]
        while time.monotonic() < deadline:
            with contextlib.suppress(StepFailed, aiohttp.ClientError):
                infos = [await one.call("GET", "/v2/info") for one in running]
                leading = [one for one, info in zip(running, infos, strict=True) if info["elected"]]
                if len(leading) == 1 and len({info["leader"] for info in infos}) == 1:
                    self._leader = leading[0]
                    return leading[0], [one for one in running if one is not leading[0]]
            await asyncio.sleep(LOOK_SECONDS)
        raise StepFailed(f"no leader that all agree on within {PATIENCE_SECONDS:g} s: {self.log_tails()}")

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """Who only looks asks again while nobody leads; a change is asked for once."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            self._turn += 1
            try:
                return await self.stages[self._turn % len(self.stages)].call(method, path, body)
            except aiohttp.ClientConnectorError:
                pass  # nobody listens there, so nobody heard it
            except (aiohttp.ClientError, StepFailed) as error:
                if method != "GET" or (isinstance(error, StepFailed) and ": 503 " not in str(error)):
                    raise
            if time.monotonic() > deadline:
                raise StepFailed(f"{method} {path}: no controller answers: {self.log_tails()}")
            await asyncio.sleep(LOOK_SECONDS)

    def log_tails(self) -> str:
        """The last lines of each one's log."""
        return "\n".join(f"{one.api}: {one.log_tail()}" for one in self.stages)

    async def end(self) -> None:
        """In order for the controllers; their gateways are killed, and what runs for them runs on."""
        for stage in reversed(self.stages):
            if stage.runs:
                await stage.terminate()
            if stage.gateway_runs():
                await stage.kill_gateway()
            await stage.close()
