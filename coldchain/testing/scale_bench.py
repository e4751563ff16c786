"""A bench for sizes: controllers in this process, with stores of their own, on fake agents: their CPU time."""

import asyncio
import contextlib
import math
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from coldchain.api.context import Context
from coldchain.api.settings import ApiSettings
from coldchain.control.clock import SystemClock
from coldchain.control.controller import Controller
from coldchain.decisions.dependency import parent
from coldchain.decisions.group import GroupUpdate, Tree, plan, updated
from coldchain.documents.application import decode_app
from coldchain.engines.fake import FakeAgents, fake_offers
from coldchain.model.app import App
from coldchain.store.sqlite import SQLiteStore
from coldchain.testing.fake_prober import FakeProber

COPIES = 10
TEAMS = 20
"""Groups that the apps are in."""
ASKED = 5
"""How often each controller is asked for what is at rest."""


def definition(number: int, copies: int = COPIES) -> dict[str, Any]:
    """One of many apps, as a user of Marathon would write it."""
    return {
        "id": f"/team-{number % TEAMS}/app-{number}",
        "instances": copies,
        "cpus": 0.1,
        "mem": 32,
        "container": {
            "type": "DOCKER",
            "docker": {"image": "coldchain/shop:v1"},
            "portMappings": [{"containerPort": 8080, "name": "http"}],
        },
        "networks": [{"mode": "container/bridge"}],
        "env": {"PORT": "8080", "LOG_LEVEL": "info"},
        "labels": {"team": f"team-{number % TEAMS}"},
    }


def plan_seconds(apps: int) -> float:
    """CPU seconds for the steps of a group in which every app gets another image; most wait for another app."""
    before, after = ([_dependent(number, tag) for number in range(apps)] for tag in ("v1", "v2"))
    teams: dict[str, list[App]] = {}
    for app in after:
        teams.setdefault(parent(app.id), []).append(app)
    update = GroupUpdate(id="/", groups=tuple(GroupUpdate(id=team, apps=tuple(some)) for team, some in teams.items()))
    tree = Tree(apps={app.id: app for app in before})
    began = time.process_time()
    steps = plan(tree, updated(tree, update))
    used = time.process_time() - began
    assert sum(map(len, steps)) == apps
    return used


def _dependent(number: int, tag: str) -> App:
    """One of the apps; four of five depend on the app before them in their team."""
    given = definition(number)
    given["container"]["docker"]["image"] = f"coldchain/shop:{tag}"
    if number // TEAMS % 5:
        given["dependencies"] = [definition(number - TEAMS)["id"]]
    return decode_app(given)


class Sized:
    """A controller with so many of these apps."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._context = Context(controller, ApiSettings())

    async def place(self, apps: int, copies: int) -> float:
        """CPU seconds from the first request until every instance serves."""
        state, changed = self._controller.state, asyncio.Event()
        state.on_commit(lambda pairs: changed.set())
        began = time.process_time()
        for number in range(apps):
            await self._controller.operations.create(decode_app(definition(number, copies)), "bench")
        while state.running:
            changed.clear()
            await changed.wait()
        used = time.process_time() - began
        assert [one.phase for one in state.instances.values()] == ["serving"] * apps * copies
        return used

    async def reconcile(self) -> float:
        """CPU seconds of a full listing and a pass over every app when nothing has changed."""
        written: list[object] = []
        self._controller.state.on_commit(written.append)
        began = time.process_time()
        await self._controller.tasks.list_now()
        await self._controller.reconciler.once(self._controller.state.apps)
        used = time.process_time() - began
        assert written == []
        return used

    async def answer(self) -> float:
        """CPU seconds of all apps with their tasks as JSON."""
        embed = {"counts", "deployments", "tasks"}
        began = time.process_time()
        for app_id in sorted(self._controller.state.apps):
            msgspec.json.encode(self._context.app(app_id, embed))
        return time.process_time() - began


@contextlib.asynccontextmanager
async def controller_of(agents: int) -> AsyncIterator[Controller]:
    """A controller that runs."""
    clock = SystemClock()
    engine = FakeAgents(clock, agents=fake_offers(agents, target="cluster", cpus=64.0, mem=262144.0))
    with tempfile.TemporaryDirectory(prefix="coldchain-scale-") as folder:
        store = SQLiteStore(Path(folder) / "store.sqlite")
        controller = Controller(store, engine, FakeProber(clock), clock)
        await controller.start()
        running = asyncio.create_task(controller.run())
        try:
            yield controller
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await engine.close()
            await store.close()


async def used_by(apps: int, copies: int, agents: int) -> dict[str, float]:
    """CPU seconds of each operation with so many instances of so many apps: of those at rest the median."""
    async with controller_of(agents) as controller:
        sized = Sized(controller)
        placed = await sized.place(apps, copies)
        reconciled = [await sized.reconcile() for _ in range(ASKED)]
        answered = [await sized.answer() for _ in range(ASKED)]
    return {"place": placed, "reconcile": statistics.median(reconciled), "answer": statistics.median(answered)}


async def grown(sizes: Mapping[int, int], agents: int) -> dict[str, dict[int, float]]:
    """For each operation the CPU seconds by number of instances, as medians: of apps of ten, and of one app that has
    them all; `sizes`: how many controllers of each."""
    found: dict[str, dict[int, float]] = {}
    for instances, samples in sizes.items():
        for words, copies in (("", COPIES), (" one app", instances)):
            used = [await used_by(instances // copies, copies, agents) for _ in range(samples)]
            for operation in used[0]:
                seconds = statistics.median(one[operation] for one in used)
                found.setdefault(operation + words, {})[instances] = seconds
                print(
                    f"{instances:6} instances: {operation + words:17} {seconds * 1000:8.1f} ms of CPU time", flush=True
                )
    return found


def exponent(seconds: Iterable[tuple[float, float]]) -> float:
    """How seconds grow with size: the slope of the straight line through their logarithms."""
    points = [(math.log(size), math.log(took)) for size, took in seconds]
    across, up = statistics.mean(x for x, _ in points), statistics.mean(y for _, y in points)
    return sum((x - across) * (y - up) for x, y in points) / sum((x - across) ** 2 for x, _ in points)
