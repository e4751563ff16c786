"""network plugin: a driver of networks that a Docker Engine finds by name. It makes no link and keeps what it hears."""

import json
from pathlib import Path
from typing import Any

from aiohttp import web

PLUGINS = Path("/run/docker/plugins")
"""Where a Docker Engine looks for the sockets of drivers, under their names."""


class NetworkPlugin:
    """Containers in its networks have an address of Docker's own choice, and nothing that would carry a packet."""

    def __init__(self, name: str) -> None:
        self.socket = PLUGINS / f"{name}.sock"
        self.endpoints: list[dict[str, Any]] = []
        """What Docker said of each container that was to join."""
        self.refusal = ""
        """If not empty, what the next containers that want to join are told."""

    async def start(self) -> None:
        application = web.Application()
        application.router.add_post("/{call}", self._answer)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        await web.UnixSite(self._runner, str(self.socket)).start()

    async def stop(self) -> None:
        """Docker asks for some 15 s whether it comes back, at each call."""
        await self._runner.cleanup()
        self.socket.unlink(missing_ok=True)

    async def _answer(self, request: web.Request) -> web.Response:
        call = request.match_info["call"]
        said = json.loads(await request.read() or b"{}")
        answer: dict[str, Any] = {}
        if call == "Plugin.Activate":
            answer = {"Implements": ["NetworkDriver"]}
        elif call == "NetworkDriver.GetCapabilities":
            answer = {"Scope": "local", "ConnectivityScope": "global"}
        elif call == "NetworkDriver.CreateEndpoint":
            if self.refusal:
                return web.json_response({"Err": self.refusal}, status=500)
            self.endpoints.append(said)
        elif call == "NetworkDriver.EndpointOperInfo":
            answer = {"Value": {}}
        elif call == "NetworkDriver.Join":
            answer = {"DisableGatewayService": True}
        return web.json_response(answer)
