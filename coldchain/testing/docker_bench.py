"""A bench for the docker runner: runners of controllers of its own on a real Docker Engine, and a look behind them."""

import uuid
from pathlib import Path
from typing import Any

import msgspec

from coldchain.clients.docker import DockerClient
from coldchain.model.app import App, Container, Docker, Parameter, PortMapping, Volume
from coldchain.model.task import TaskSpec
from coldchain.runners.docker import DockerRunner, DockerSettings
from coldchain.runners.docker.specification import container_name

PATIENCE_SECONDS = 30.0
SHOP = Docker(image="coldchain/shop:v1")


class Bench:
    """Runners of one controller, and a client to look behind them. `close` removes every container of its specs."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.controller = f"bench-{uuid.uuid4().hex[:8]}"
        self.client = DockerClient(socket)
        self._runners: list[DockerRunner] = []

        self._mark = f"coldchain.bench={self.controller}"

    def runner(self, *, socket: Path | None = None, controller: str | None = None, **settings: Any) -> DockerRunner:
        client = DockerClient(socket or self.socket)
        runner = DockerRunner(client, controller or self.controller, "agent-1", DockerSettings(**settings))
        self._runners.append(runner)
        return runner

    def spec(
        self,
        *parameters: tuple[str, str],
        docker: Docker = SHOP,
        mappings: tuple[PortMapping, ...] = (PortMapping(container_port=8080),),
        volumes: tuple[Volume, ...] = (),
        host_ports: tuple[int, ...] = (0,),
        **app: Any,
    ) -> TaskSpec:
        """A task of the shop. `parameters` are options of `docker run`; `app` replaces fields of the app."""
        options = tuple(Parameter(key=key, value=value) for key, value in (("label", self._mark), *parameters))
        container = Container(
            docker=msgspec.structs.replace(docker, parameters=options), port_mappings=mappings, volumes=volumes
        )
        number = uuid.uuid4().hex[:10]
        values: dict[str, Any] = {"env": {"PORT": "8080"}, "cpus": 0.1, "mem": 32, "container": container}
        return TaskSpec(
            task_id=f"app.instance-{number}._app.1",
            instance_id=f"app.instance-{number}",
            app_id="/app",
            version_id="V1",
            target="cluster",
            agent="agent-1",
            app=App(id="/app", **(values | app)),
            image=None,
            address=None,
            host_ports=host_ports,
        )

    async def inspect(self, spec: TaskSpec) -> dict[str, Any]:
        return await self.client.inspect_container(container_name(spec.task_id))

    async def close(self) -> None:
        for runner in self._runners:
            await runner.close()
        for row in await self.client.containers([self._mark]):
            await self.client.remove_container(row["Id"], force=True)
        await self.client.close()
