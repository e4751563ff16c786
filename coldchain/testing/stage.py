"""stage: the platform as a user runs it: `coldchain up` in a process of its own, reached by its API."""

import asyncio
import json
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
from coldchain.model.errors import ColdchainError
from coldchain.store.sqlite import SQLiteStore
from coldchain.testing.load.accounting import Kill
from coldchain.testing.ports import free_ports

START_SECONDS = 30.0


class StepFailed(ColdchainError):  # noqa: N818
    """The platform did not do what the step expects of it."""


class Stage:
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
        self.data = data
        self.api = f"http://127.0.0.1:{api_port}"
        self.gateway_port = gateway_port
        self.registry_port = registry_port
        self.dns_port = dns_port
        self.log = data / "coldchain.log"
        self.access_log = data / "gateway" / "logs" / "access.log"
        self._docker_socket = docker_socket
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

    async def down(self) -> int:
        """`coldchain down`, and wait for its end; its exit status."""
        if self._process is None:
            return 0
        with self.log.open("ab") as log:
            down = await asyncio.create_subprocess_exec(
                *self._command("down"), *self.down_options, stdout=log, stderr=log
            )
            status = await down.wait()
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
        while not _ended(master):
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
        while not all(map(_ended, pids)):
            await asyncio.sleep(0.01)

    def _gateway_pid(self) -> int | None:
        found = sorted((Path(self.options["--data"]) / "gateway").glob("**/nginx.pid"))
        pid = int(found[0].read_text()) if found else None
        return pid if pid is not None and not _ended(pid) else None

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

    async def deploy(self, method: str, path: str, body: object = None, expected: str = "succeeded") -> dict[str, Any]:
        """A call that starts a deployment; wait until it has ended as expected and return it."""
        started = await self.call(method, path, body)
        return await self.deployment(started["deploymentId"], expected)

    async def deployment(self, name: str, expected: str = "succeeded") -> dict[str, Any]:
        """Wait until a deployment has ended as expected, over restarts of the controller."""
        while True:
            try:
                found: dict[str, Any] = await self.call("GET", f"/v1/deployments/{name}")
            except aiohttp.ClientError:
                found = {"state": "running"}
            if found["state"] == expected:
                return found
            if found["state"] != "running":
                raise StepFailed(f"deployment {name} {found['state']}, not {expected}: {found['reason']}")
            await asyncio.sleep(0.1)

    async def create(self, app: dict[str, Any]) -> dict[str, Any]:
        """Deploy a new app and wait until it serves; the app with its version."""
        created: dict[str, Any] = await self.call("POST", "/v2/apps", app)
        for deployment in created["deployments"]:
            await self.deployment(deployment["id"])
        return created

    async def tasks(self, app_id: str) -> list[dict[str, Any]]:
        """The tasks of an app."""
        found: dict[str, Any] = await self.call("GET", f"/v2/apps{app_id}/tasks?embed=coldchain")
        return list(found["tasks"])

    async def set_health(self, tasks: list[dict[str, Any]], *, healthy: bool) -> None:
        """Have the applications of these tasks answer their health checks so; all else they serve as before."""
        async with aiohttp.ClientSession() as session:
            for task in tasks:
                url = f"http://{task['endpoints'][0]}/control/health?ok={int(healthy)}"
                async with session.get(url) as answer:
                    answer.raise_for_status()

    async def kill_container(self, task_id: str, instance_id: str) -> Kill:
        """SIGKILL for the process of a task's container, from the machine: nobody is told."""
        connector = aiohttp.UnixConnector(str(self._docker_socket))
        async with aiohttp.ClientSession("http://docker", connector=connector) as docker:
            query = {"filters": json.dumps({"label": [f"coldchain.task={task_id}"]})}
            async with docker.get("/containers/json", params=query) as answer:
                (container,) = await answer.json()
            async with docker.get(f"/containers/{container['Id']}/json") as answer:
                pid = (await answer.json())["State"]["Pid"]
        began = time.time()
        os.kill(pid, signal.SIGKILL)
        while not _ended(pid):
            await asyncio.sleep(0.001)
        return Kill(instance=instance_id, started_at=began, completed_at=time.time())


def make_stage(docker_socket: Path | str) -> Stage:
    """A stage in a new folder with free ports, not started yet; nginx's workers can pass through the folder."""
    data = Path(tempfile.mkdtemp(prefix="coldchain-stage-"))
    data.chmod(0o755)
    return Stage(data, Path(docker_socket), *free_ports(5))


def _ended(pid: int) -> bool:
    """True for a process that is a zombie: its sockets are closed, only nobody has waited for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (OSError, IndexError):
        return True
