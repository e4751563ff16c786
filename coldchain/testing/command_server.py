"""A platform for tests of commands: the real API in a thread of its own, so that commands can run their own loops."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from typer.testing import CliRunner, Result

from coldchain.api.settings import ApiSettings
from coldchain.cli.application import application
from coldchain.model.offer import Offer
from coldchain.ports.store import LostUpdate
from coldchain.testing.fake_engine import ONE_AGENT
from coldchain.testing.served_platform import ServedPlatform

SHOP: dict[str, Any] = {
    "id": "/shop",
    "instances": 2,
    "container": {"docker": {"image": "shop:v1"}, "portMappings": [{"containerPort": 80}]},
    "healthChecks": [{"path": "/health", "gracePeriodSeconds": 0.2, "intervalSeconds": 0.1, "timeoutSeconds": 0.05}],
    "routes": [{"domains": ["shop.test"]}],
    "deadlineSeconds": 30,
    "drainSeconds": 1,
}


class Server:
    """A served platform, and commands that are sent to it."""

    def __init__(self, settings: ApiSettings | None = None, agents: Sequence[Offer] = (ONE_AGENT,)) -> None:
        self._settings = settings
        self._agents = agents
        self._ending: asyncio.Task[None] | None = None
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.platform = self.do(self._made())
        self.do(self.platform.start())

    async def _made(self) -> ServedPlatform:
        return ServedPlatform(self._settings, agents=self._agents)

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def late_once_failed(self, app_id: str) -> None:
        """The next deployment of the app that a task of it fails in has no time left from then on. A short deadline
        would be waited for, and on a busy machine come before anything has failed."""
        self.do(self._late_once_failed(app_id))

    async def _late_once_failed(self, app_id: str) -> None:
        state = self.platform.controller.state
        late: list[str] = []

        async def end(name: str) -> None:
            found = state.deployments.get(name)
            if found is not None and found.running and not late:
                with contextlib.suppress(LostUpdate):  # then there was another commit, which leads here again
                    await state.commit([replace(found, deadline_at=found.started_at)])
                    late.append(name)

        def look(pairs: object) -> None:
            wanted = state.running.get(app_id)
            if not late and wanted is not None and app_id in state.failures:
                self._ending = self.loop.create_task(end(wanted.id))

        state.on_commit(look)

    def close(self) -> None:
        self.do(self.platform.stop())
        self.do(self.platform.engine.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def run(self, *arguments: str, given: str | None = None) -> Result:
        environment = {"COLDCHAIN_URL": self.platform.url}
        return CliRunner().invoke(application, list(arguments), env=environment, input=given)

    def done(self, *arguments: str) -> str:
        """Standard output of a command that must succeed."""
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.done(*arguments, "--json"))


def saved(folder: Path, **fields: object) -> str:
    """The path of a file with the example, some fields replaced or added."""
    path = folder / "changed.json"
    path.write_text(json.dumps(SHOP | fields))
    return str(path)
