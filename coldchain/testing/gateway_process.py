"""A gateway for tests: `coldchain gateway` in a process of its own, with a real nginx."""

import asyncio
import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp

from coldchain.gateway.process import NginxProcess
from coldchain.main.gateway_settings import GatewayProcessSettings
from coldchain.testing.ports import free_ports
from coldchain.testing.server_process import DIES_WITH_ITS_PARENT

START_SECONDS = 60.0
LOOK_SECONDS = 0.02


class GatewayProcess:
    """`settings` may be changed before each start; `token_file` is where its token stands, if it has one. `prefix` is a
    command to run it by."""

    def __init__(
        self, settings: GatewayProcessSettings, prefix: Sequence[str] = (), token_file: Path | None = None
    ) -> None:
        self.settings = settings
        self.log = settings.data / "gateway.log"
        self._prefix = prefix
        self._token_file = token_file
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return int(self.settings.listen[0].rpartition(":")[2])

    @property
    def nginx(self) -> NginxProcess:
        return NginxProcess(self.settings.gateway_settings())

    @property
    def access_log(self) -> Path:
        return self.settings.gateway_settings().access_log_file

    def start(self) -> None:
        """Begin to start it; `ready` waits."""
        one = self.settings
        command = [*self._prefix, *DIES_WITH_ITS_PARENT, sys.executable, "-m", "coldchain", "gateway"]
        command += [f"--name={one.name}", f"--data={one.data}", f"--status={one.status}", "--status-open"]
        command += [f"--leave-seconds={one.leave_seconds}", f"--drain-seconds={one.drain_seconds}"]
        command += [f"--controller={url}" for url in one.controllers] + [f"--listen={place}" for place in one.listen]
        command += [f"--trusted-proxy={network}" for network in one.trusted_proxies]
        if self._token_file is not None:
            command.append(f"--token-file={self._token_file}")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    async def ready(self, wanted: bool = True) -> None:
        """Wait until the balancer before it would use it, or not."""
        limit = time.monotonic() + START_SECONDS
        while await self.is_ready() != wanted:
            if time.monotonic() > limit or (wanted and self._process is not None and self._process.poll() is not None):
                raise AssertionError(f"gateway {self.settings.name} is not so: {self.log_tail()}")
            await asyncio.sleep(LOOK_SECONDS)

    async def is_ready(self) -> bool:
        url = f"http://{self.settings.status}/.coldchain/ready"
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit status."""
        assert self._process is not None
        status = await asyncio.to_thread(self._process.wait, START_SECONDS)
        self._process = None
        return status

    async def leave(self) -> int:
        """SIGTERM; its exit status."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def close(self) -> None:
        """Whatever is left of it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        await self.nginx.stop(0.2)

    async def said(self, words: str) -> None:
        """Wait until these are in what it said last."""
        limit = time.monotonic() + START_SECONDS
        while words not in self.log_tail():
            assert time.monotonic() < limit, f"gateway {self.settings.name} never said {words}: {self.log_tail()}"
            await asyncio.sleep(LOOK_SECONDS)

    def log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:]) if self.log.exists() else ""


@contextlib.asynccontextmanager
async def own_gateways(settings: Sequence[GatewayProcessSettings]) -> AsyncIterator[list[GatewayProcess]]:
    """Each with a folder and ports on loopback of its own, started; nothing of them is left afterwards."""
    made: list[GatewayProcess] = []
    async with contextlib.AsyncExitStack() as closing:
        for one in settings:
            folder = Path(tempfile.mkdtemp(prefix="coldchain-gateway-"))
            folder.chmod(0o755)
            closing.callback(shutil.rmtree, folder, ignore_errors=True)
            port, status = free_ports(2)
            placed = replace(one, data=folder, listen=(f"127.0.0.1:{port}",), status=f"127.0.0.1:{status}")
            gateway = GatewayProcess(placed)
            closing.push_async_callback(gateway.close)
            gateway.start()
            made.append(gateway)
        for gateway in made:
            await gateway.ready()
        yield made
