"""PyPI's client `marathon` before a served platform, and what is on the engine behind it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from marathon import MarathonApp, MarathonClient  # type: ignore[import-untyped]
from marathon.models.app import MarathonHealthCheck  # type: ignore[import-untyped]
from marathon.models.container import (  # type: ignore[import-untyped]
    MarathonContainer,
    MarathonContainerPortMapping,
    MarathonDockerContainer,
)

from coldchain.testing.fake_engine import FakeTask
from coldchain.testing.served_platform import ServedPlatform, served_platform

CHECK = {"grace_period_seconds": 0.2, "interval_seconds": 0.1, "timeout_seconds": 0.05, "max_consecutive_failures": 3}
WAIT_SECONDS = 20


class Scene:
    """A platform, the client, and what the client was asked. The client blocks, and the platform is in this process:
    each of its methods is here under its name, to be awaited."""

    def __init__(self, platform: ServedPlatform, client: MarathonClient) -> None:
        self.platform, self.client = platform, client
        self.called: set[str] = set()

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **named: Any) -> Any:
            self.called.add(name)
            return await asyncio.to_thread(getattr(self.client, name), *arguments, **named)

        return call

    def tasks(self, app_id: str) -> list[FakeTask]:
        """Those that run on the engine."""
        held = self.platform.engine.held.values()
        return [task for task in held if task.spec.app_id == app_id and task.status.state == "running"]

    def ids(self, app_id: str) -> set[str]:
        return {task.spec.task_id for task in self.tasks(app_id)}

    def env(self, app_id: str) -> list[dict[str, str]]:
        """The variables of each that runs."""
        return [task.spec.app.env for task in self.tasks(app_id)]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Whatever changes is committed: asked again after each commit."""
        committed = asyncio.Event()
        self.platform.controller.state.on_commit(lambda pairs: committed.set())
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                await committed.wait()
                committed.clear()

    async def runs(self, app_id: str, number: int, **env: str) -> None:
        """So many tasks run, all with these variables, and nothing is under way."""

        def settled() -> bool:
            running = self.env(app_id)
            fit = [one for one in running if env.items() <= one.items()]
            return len(fit) == len(running) == number and not self.platform.controller.state.running

        await self.until(settled)

    async def created(self, app_id: str, **fields: Any) -> Any:
        """An app that runs; what the client made of the answer."""
        made = await self.create_app(app_id, shop(**fields))
        await self.runs(app_id, fields.get("instances", 1))
        return made

    @contextlib.asynccontextmanager
    async def following(self, **named: Any) -> AsyncIterator[asyncio.Queue[Any]]:
        """What `event_stream` gives, from the moment on at which the stream is there; what it raises comes last. At the
        end the API stops and starts again, which ends the stream."""
        loop, attached = asyncio.get_running_loop(), asyncio.Event()
        events: asyncio.Queue[Any] = asyncio.Queue()

        def answered(*_: object, **__: object) -> None:
            loop.call_soon_threadsafe(attached.set)

        def follow() -> None:
            try:
                for event in self.client.event_stream(**named):
                    loop.call_soon_threadsafe(events.put_nowait, event)
            except Exception as error:
                loop.call_soon_threadsafe(events.put_nowait, error)

        self.called.add("event_stream")
        self.client.sse_session.hooks["response"].append(answered)
        reading = asyncio.create_task(asyncio.to_thread(follow))
        async with asyncio.timeout(WAIT_SECONDS):
            await attached.wait()
            try:
                yield events
            finally:
                await self.platform.stop()
                await reading
                await self.platform.start()


def shop(**fields: Any) -> MarathonApp:
    """An app in a container, with a health check."""
    mapping = MarathonContainerPortMapping(name="http", container_port=8080, host_port=0, protocol="tcp")
    container = MarathonContainer(docker=MarathonDockerContainer(image="shop:v1"), port_mappings=[mapping])
    check = MarathonHealthCheck(path="/health", port_index=0, protocol="HTTP", **CHECK)
    given = {"cpus": 0.1, "mem": 32, "instances": 1, "container": container, "health_checks": [check]}
    return MarathonApp(**(given | fields))


@contextlib.asynccontextmanager
async def marathon_scene() -> AsyncIterator[Scene]:
    """The client is the package's own, as it is."""
    async with served_platform() as platform:
        client = MarathonClient(platform.url, timeout=WAIT_SECONDS)
        yield Scene(platform, client)
        client.session.close()
        client.sse_session.close()
