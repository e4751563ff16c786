"""driven: a platform that a test or a demo drives by its API and from its machine."""

import asyncio
import json
import os
import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import aiohttp

from coldchain.model.errors import ColdchainError
from coldchain.testing.load.accounting import Kill


class StepFailed(ColdchainError):  # noqa: N818
    """The platform did not do what the step expects of it."""


class DrivenPlatform(ABC):
    """`docker_socket`: of the Docker Engine that its containers run in."""

    def __init__(self, docker_socket: Path) -> None:
        self._docker_socket = docker_socket

    @abstractmethod
    async def call(self, method: str, path: str, body: object = None) -> Any:
        """One call of the API; its answer. Raises StepFailed with what the API said, and aiohttp's errors."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL for the controller that leads."""

    @abstractmethod
    async def start(self) -> None:
        """Start what was killed, and wait until its API answers."""

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
        while not process_ended(pid):
            await asyncio.sleep(0.001)
        return Kill(instance=instance_id, started_at=began, completed_at=time.time())


def process_ended(pid: int) -> bool:
    """True for a process that is a zombie: its sockets are closed, only nobody has waited for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (OSError, IndexError):
        return True
