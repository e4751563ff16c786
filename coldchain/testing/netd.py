"""netd for tests: `coldchain netd` in a process of its own, which can be killed."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from coldchain.main.netd import STATUS_SOCKET
from coldchain.testing.server_process import DIES_WITH_ITS_PARENT

START_SECONDS = 30.0


class NetdProcess:
    """netd of `node`. It dies with the process that started it; what it made outlives it."""

    def __init__(self, store: str, node: str, address: str, folder: Path, docker: Path, *options: str) -> None:
        self.status_socket = folder / STATUS_SOCKET
        self.log = folder / "netd.log"
        self._options = ["--store", store, "--node", node, "--address", address]
        self._options += ["--state-directory", str(folder), "--docker", str(docker), *options]
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Returns once Docker is answered."""
        command = [*DIES_WITH_ITS_PARENT, sys.executable, "-m", "coldchain", "netd"]
        command += self._options
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                await self.status()
                return
            except aiohttp.ClientError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"netd does not answer: {self.log.read_text()[-3000:]}") from None
                await asyncio.sleep(0.02)  # a socket appears without notice

    @property
    def running(self) -> bool:
        return self._process is not None

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(self._process.wait, START_SECONDS)
        self._process = None
        return status

    def descriptors(self) -> int:
        """How many it has open."""
        assert self._process is not None
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    async def status(self) -> dict[str, Any]:
        async with self._get("status") as answer:
            return dict(await answer.json())

    async def metrics(self) -> str:
        async with self._get("metrics") as answer:
            return await answer.text()

    @contextlib.asynccontextmanager
    async def _get(self, name: str) -> AsyncIterator[aiohttp.ClientResponse]:
        connector = aiohttp.UnixConnector(str(self.status_socket))
        async with aiohttp.ClientSession(connector=connector) as session, session.get(f"http://netd/{name}") as answer:
            yield answer
