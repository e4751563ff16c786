"""stage: the platform as a user runs it: `coldchain up` in a process of its own, reached by its API."""

import asyncio
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from coldchain.documents import keys
from coldchain.store.sqlite import SQLiteStore
from coldchain.testing.driven import DrivenPlatform, StepFailed, process_ended
from coldchain.testing.ports import free_ports

START_SECONDS = 60.0


class Stage(DrivenPlatform):
    """One platform. `start` and `kill` may follow each other, as often as the scenario likes.

    `options` are those of `coldchain up` and `down`, `up_options` and `down_options` those of one alone;
    `prefix` is a command to run it by.
    """

    def __init__(
        self,
        data: Path,
        docker_socket: Path,
        api_port: int,
        gateway_port: int,
        status_port: int,
        registry_port: int = 8500,
        dns_port: int = 8600,
    ) -> None:
        super().__init__(docker_socket)
        self.data = data
        self.api = f"http://127.0.0.1:{api_port}"
        self.gateway_port = gateway_port
        self.registry_port = registry_port
        self.dns_port = dns_port
        self.log = data / "coldchain.log"
        self.access_log = data / "gateway" / "logs" / "access.log"
        self.options = {
            "--data": str(data),
            "--api": f"127.0.0.1:{api_port}",
            "--gateway": f"127.0.0.1:{gateway_port}",
            "--gateway-status": f"127.0.0.1:{status_port}",
            "--docker-socket": str(docker_socket),
            "--registry": f"127.0.0.1:{registry_port}",
            "--dns": f"127.0.0.1:{dns_port}",
        }
        self.up_options = ["--cpu-factor=4"]
        self.down_options: list[str] = []
        self.prefix: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._session: aiohttp.ClientSession | None = None
        self._headers: dict[str, str] = {}
        self._trust: ssl.SSLContext | bool = True

    async def reach_by(self, api: str, headers: dict[str, str], trust: ssl.SSLContext) -> None:
        """From now on call the API at this address, and show it these headers."""
        await self.close()
        self._session, self.api, self._headers, self._trust = None, api, headers, trust

    async def start(self) -> None:
        """Start the controller and wait until its API answers."""
        with self.log.open("ab") as log:
            command = [*self.prefix, *self._command("up"), *self.up_options]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        limit = time.monotonic() + START_SECONDS
        while True:
            try:
                async with asyncio.timeout(1):
                    await self.call("GET", "/ping")
            except (aiohttp.ClientError, StepFailed, TimeoutError) as error:
                if self._process.poll() is not None or time.monotonic() > limit:
                    raise StepFailed(f"`coldchain up` does not answer: {self.log_tail()}") from error
                await asyncio.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """SIGKILL for the controller."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def log_tail(self) -> str:
        """The last lines of the controller's log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(lines[-15:])

    async def down(self, limit: float | None = None) -> int:
        """`coldchain down`, and wait for its end; its exit status. After `limit` seconds it is killed instead, and the
        controller ended: raises StepFailed."""
        if self._process is None:
            return 0
        with self.log.open("ab") as log:
            down = await asyncio.create_subprocess_exec(
                *self._command("down"), *self.down_options, stdout=log, stderr=log
            )
            try:
                async with asyncio.timeout(limit):
                    status = await down.wait()
            except TimeoutError as error:
                down.kill()
                raise StepFailed(f"`coldchain down` does not come to an end: {self.log_tail()}") from error
            finally:
                await self.terminate()
        return status

    async def terminate(self) -> int:
        """SIGTERM for the controller, if it runs; its exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self._process.wait)

    @property
    def pid(self) -> int:
        """Of the controller."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether the controller does."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """Of the controller; None while it runs."""
        return self._process.poll() if self._process else None

    def cpu_seconds(self) -> float:
        """CPU time that the controller has used."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def gateway_runs(self) -> bool:
        """True when the platform's nginx runs."""
        return self._gateway_pid() is not None

    async def kill_gateway_master(self) -> list[int]:
        """SIGKILL for nginx's master process alone; its workers, which serve on."""
        master = self._gateway_pid()
        assert master is not None
        workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        os.kill(master, signal.SIGKILL)
        while not process_ended(master):
            await asyncio.sleep(0.01)
        return [int(pid) for pid in workers]

    async def kill_gateway(self) -> None:
        """SIGKILL for nginx and its workers, as when the machine goes down."""
        master = self._gateway_pid()
        assert master is not None
        children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
        pids = [master, *map(int, children)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        while not all(map(process_ended, pids)):
            await asyncio.sleep(0.01)

    def _gateway_pid(self) -> int | None:
        found = sorted((Path(self.options["--data"]) / "gateway").glob("**/nginx.pid"))
        pid = int(found[0].read_text() or 0) if found else 0  # empty while nginx is writing it
        return pid if pid and not process_ended(pid) else None

    def _command(self, verb: str) -> list[str]:
        options = [f"{name}={value}" for name, value in self.options.items()]
        return [sys.executable, "-m", "coldchain", verb, *options]

    async def controller_id(self) -> str:
        """By it this platform's containers are known. To be asked when nothing of it runs any more."""
        store = SQLiteStore(Path(self.options["--data"]) / "store.sqlite")
        try:
            entry = await store.get(keys.CONTROLLER_ID)
        finally:
            await store.close()
        return entry.value.decode() if entry else ""

    async def close(self) -> None:
        """Let go of the API."""
        if self._session is not None:
            await self._session.close()

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """One call of the API; its answer. Raises StepFailed with what the API said."""
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._trust)
            self._session = aiohttp.ClientSession(self.api, headers=self._headers, connector=connector)
        async with self._session.request(method, path, json=body) as answer:
            if answer.status >= 400:
                raise StepFailed(f"{method} {path}: {answer.status} {await answer.text()}")
            return await answer.json(content_type=None) if answer.content_type == "application/json" else None


def make_stage(docker_socket: Path | str) -> Stage:
    """A stage in a new folder with free ports, not started yet; nginx's workers can pass through the folder."""
    data = Path(tempfile.mkdtemp(prefix="coldchain-stage-"))
    data.chmod(0o755)
    return Stage(data, Path(docker_socket), *free_ports(5))
