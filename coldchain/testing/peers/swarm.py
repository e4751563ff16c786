"""swarm: Docker Swarm on one engine, its tasks reached directly, and a script that keeps nginx's list by the events.

Swarm's own balancing needs IPVS, which not every kernel has; tasks whose port is published in host mode stand on the
engine's bridge and are listed by their address there.
"""

import asyncio
import contextlib
import json
import time
from typing import Any

import aiohttp

from coldchain.clients.docker import DockerClient
from coldchain.model.errors import Rejected, Unavailable
from coldchain.testing.peers.nginx_list import NginxList

APPLICATION_PORT = 8080
SECOND = 1_000_000_000
CHECK = ["CMD-SHELL", f"wget -q -O /dev/null http://127.0.0.1:{APPLICATION_PORT}/health"]

_TASKS = "Repli" + "cas"
"""Docker's word for how many there shall be, which is none of ours."""

Document = dict[str, Any]


class Swarm:
    """The engine's swarm mode. `async with` begins and ends it."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    async def __aenter__(self) -> "Swarm":
        self._http = aiohttp.ClientSession("http://docker", connector=aiohttp.UnixConnector(self._socket))
        await self.call("POST", "/swarm/init", {"ListenAddr": "127.0.0.1:2377", "AdvertiseAddr": "127.0.0.1"})
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(Rejected, aiohttp.ClientError):
            await self.call("POST", "/swarm/leave?force=1")
        await self._http.close()

    async def call(self, method: str, path: str, document: Document | None = None) -> Any:
        """One call of the Engine API. Raises Rejected with the engine's words."""
        async with self._http.request(method, path, json=document) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise Rejected(f"{method} {path}: {answer.status} {text}")
            return json.loads(text) if text else None

    async def create(self, name: str, image: str, tasks: int, *, check_seconds: float | None, **more: Any) -> Document:
        """A service that begins anew at once when a task ends, and updates start-first, one at a time.

        `check_seconds`: the interval of its HEALTHCHECK, None for none. `more` are fields of its containers. Returns
        the specification, as `update` takes it.
        """
        container: Document = {"Image": image, **more}
        if check_seconds is not None:
            interval = int(check_seconds * SECOND)
            container["HealthCheck"] = {"Test": CHECK, "Interval": interval, "Timeout": 2 * SECOND, "Retries": 3}
        specification: Document = {
            "Name": name,
            "TaskTemplate": {
                "ContainerSpec": container,
                "RestartPolicy": {"Condition": "any", "Delay": 0},
            },
            "Mode": {"Replicated": {_TASKS: tasks}},
            "UpdateConfig": {"Parallelism": 1, "Order": "start-first", "Delay": 0},
            "EndpointSpec": {
                "Ports": [{"Protocol": "tcp", "TargetPort": APPLICATION_PORT, "PublishMode": "host"}],
            },
        }
        await self.call("POST", "/services/create", specification)
        return specification

    async def update(self, specification: Document) -> None:
        """What `docker service update` does, until it says that it is complete. Raises Unavailable if it is not."""
        name = specification["Name"]
        found = await self.call("GET", f"/services/{name}")
        await self.call("POST", f"/services/{name}/update?version={found['Version']['Index']}", specification)
        while True:
            found = await self.call("GET", f"/services/{name}")
            state = found.get("UpdateStatus", {}).get("State")
            if state == "completed":
                return
            if state not in (None, "updating"):
                raise Unavailable(f"the update of {name} is {state}: {found['UpdateStatus']['Message']}")
            await asyncio.sleep(0.1)

    async def remove(self, name: str) -> None:
        await self.call("DELETE", f"/services/{name}")


class ListKeeper:
    """The script: a task of the service is listed when it is healthy (or, without a check, when it has started), and
    no more when it is told to end or has ended. `servers`: container id → address:port of those listed now."""

    def __init__(self, socket: str, service: str, nginx: NginxList, *, checked: bool) -> None:
        self.servers: dict[str, str] = {}
        self._client = DockerClient(socket)
        self._service = service
        self._nginx = nginx
        self._enters = "health_status: healthy" if checked else "start"
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """For ever."""
        filters = {
            "type": ["container"],
            "label": [f"com.docker.swarm.service.name={self._service}"],
            "event": ["start", "kill", "die", "health_status"],
        }
        try:
            async with contextlib.aclosing(self._client.events(filters, since=time.time())) as events:
                async for event in events:
                    await self._take(event["Action"], event["Actor"]["ID"])
        finally:
            await self._client.close()

    async def _take(self, action: str, container: str) -> None:
        if action == self._enters:
            found = await self._client.inspect_container(container)
            address = found["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
            self.servers[container] = f"{address}:{APPLICATION_PORT}"
        elif action in ("kill", "die"):
            self.servers.pop(container, None)
        else:
            return
        self._nginx.set_servers(self.servers.values())
        self._changed.set()

    async def until(self, count: int) -> None:
        """Wait until so many are listed."""
        while len(self.servers) != count:
            self._changed.clear()
            await self._changed.wait()
