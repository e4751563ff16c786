"""scale: what 10,000 instances cost, and how that grows: 1,000 apps of ten instances each, on 200 fake agents.

`growth`: controllers in this process with 100, 1,000 and 10,000 instances: CPU time to place all, of a full listing and
a pass over every app when nothing has changed, and of an answer with all apps and their tasks; once in apps of ten
instances, once all of one app. The exponent is fitted over the three sizes; the worst counts, but for the answer with
10,000 tasks of one app, which is told beside them: it is all in memory at once, and grows more than it should.

`plan_ms`: the steps of a group of 1,000 apps, all changed at once.

All else is `coldchain up --engine local --engine fake`, a process of its own, reached by its API: what it needs in
memory, and how long a real container takes to start before and while it has the 10,000 instances.
"""

import argparse
import asyncio
import logging
import resource
import statistics
import sys
import time
from typing import Any

import aiohttp
import structlog

from coldchain.testing.application.image import ensure_image
from coldchain.testing.bench import Bar, report
from coldchain.testing.driven import StepFailed
from coldchain.testing.sandbox import DockerDaemon
from coldchain.testing.scale_bench import COPIES, definition, exponent, grown, plan_seconds
from coldchain.testing.stage import Stage, make_stage

APPS = 1000
AGENTS = 200
SIZES = {100: 10, 1000: 5, 10_000: 2}
"""Instances of the controllers whose growth is measured, and how many controllers there are of each size."""
CLIENTS = 1000
ASKED = 10
PLANS = 20
ID, MARK = b"id: ", b"\nevent: "
"""Once in each event, with its number in between."""
REST_BYTES = 64
"""An id and the mark after it are shorter."""
STREAM = {"Accept": "text/event-stream"}
ENDLESS = aiohttp.ClientTimeout(total=None)
STARTS = 12
QUIET_SECONDS = 2.0
PATIENCE_SECONDS = 120.0

RSS_LIMIT_MB = 150.0
GROWTH_LIMIT = 1.15
PLAN_LIMIT_MS = 100.0
START_LIMIT = 1.25

REAL = definition(0) | {
    "id": "/real",
    "instances": 1,
    "target": "cluster",
    "container": {
        "type": "DOCKER",
        "docker": {"image": "coldchain/shop:v1"},
        "portMappings": [{"containerPort": 8080, "name": "http"}],
    },
}


class Process:
    """The running `coldchain up`, looked at from outside."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.rss_mb: list[float] = []

    def look(self) -> float:
        """Its resident memory now, in MB."""
        with open(f"/proc/{self._stage.pid}/status") as status:
            (kib,) = (int(line.split()[1]) for line in status if line.startswith("VmRSS"))
        self.rss_mb.append(kib * 1024 / 1e6)
        return self.rss_mb[-1]


class Scale:
    """A platform that is given its 10,000 instances."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.process = Process(stage)
        self.starts: dict[str, list[float]] = {}

    async def start_real(self, when: str) -> None:
        """Seconds from the request for a real container until its deployment has succeeded; it is removed again."""
        began = time.perf_counter()
        created = await self.stage.call("POST", "/v2/apps", REAL)
        await self._ended(created["deployments"][0]["id"])
        self.starts.setdefault(when, []).append(time.perf_counter() - began)
        deleted = await self.stage.call("DELETE", "/v2/apps/real?force=true")
        await self._ended(deleted["deploymentId"])

    async def _ended(self, name: str) -> None:
        while (found := await self.stage.call("GET", f"/v1/deployments/{name}"))["state"] == "running":
            await asyncio.sleep(0.01)
        assert found["state"] == "succeeded", found

    async def place(self) -> tuple[float, float]:
        """Seconds, and CPU seconds of the platform, until all instances serve; real containers start meanwhile."""
        began, cpu = time.perf_counter(), self.stage.cpu_seconds()
        placing = asyncio.create_task(self._place())
        while not placing.done():
            await self.start_real("placing")
        await placing
        return time.perf_counter() - began, self.stage.cpu_seconds() - cpu

    async def _place(self) -> None:
        for number in range(APPS):
            await self.stage.call("POST", "/v2/apps", definition(number) | {"target": "fake"})
        while [one for one in await self.stage.call("GET", "/v2/deployments") if one["affectedApps"] != ["/real"]]:
            await asyncio.sleep(0.2)

    async def answer_ms(self) -> float:
        """CPU of the platform for all apps with their tasks, over HTTP."""
        before = self.stage.cpu_seconds()
        for _ in range(ASKED):
            found = await self.stage.call("GET", "/v2/apps?embed=apps.tasks")
            assert sum(len(app["tasks"]) for app in found["apps"]) == APPS * COPIES
            self.process.look()
        return (self.stage.cpu_seconds() - before) / ASKED * 1000


class Followers:
    """Many clients that follow the events of one platform: how many each has had, and the id of its last."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._tasks: list[asyncio.Task[None]] = []
        self.counts = [0] * CLIENTS
        self._last = [0] * CLIENTS

    async def open(self) -> None:
        """All of them, connected."""
        connected = [asyncio.Event() for _ in range(CLIENTS)]
        self._tasks = [asyncio.create_task(self._follow(number, connected[number])) for number in range(CLIENTS)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            for event in connected:
                await event.wait()

    async def _follow(self, number: int, connected: asyncio.Event) -> None:
        rest = b""
        async with self._session.get(f"{self._stage.api}/v2/events", headers=STREAM, timeout=ENDLESS) as answer:
            async for chunk in answer.content.iter_any():
                connected.set()
                text = rest + chunk
                if found := text.count(MARK):
                    self.counts[number] += found
                    before, _, text = text.rpartition(MARK)
                    self._last[number] = int(before.rpartition(ID)[2])
                rest = text[-REST_BYTES:]

    async def settled(self) -> int:
        """The id of the last event, once all have had it and none has come for a while. Raises StepFailed when that
        does not come."""
        limit = time.monotonic() + PATIENCE_SECONDS
        while True:
            before = [*self._last]
            await asyncio.sleep(QUIET_SECONDS)
            if self._last == before and len({*before}) == 1:
                return before[0]
            if time.monotonic() > limit:
                ended = sum(task.done() for task in self._tasks)
                words = f"the last events of the followers are {min(self._last)} to {max(self._last)}"
                raise StepFailed(f"{words} after {PATIENCE_SECONDS:.0f} s; {ended} of them have ended")

    async def missed_by_nobody(self, after: int, last: int) -> int:
        """How many events there are between two ids, as one who resumes is told them."""
        address = f"{self._stage.api}/v2/events?lastEventId={after}"
        had = b""
        async with asyncio.timeout(PATIENCE_SECONDS), self._session.get(address, headers=STREAM) as answer:
            while (end := had.find(b"%s%d%s" % (ID, last, MARK))) < 0:
                had += await answer.content.readany()
        return had[:end].count(MARK) + 1

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()


async def follow(scale: Scale) -> dict[str, float]:
    """What 1,000 clients of the events cost: memory each, and CPU for each event and client. Fails where one has not
    had each event exactly once."""
    stage, before = scale.stage, scale.process.look()
    followers = Followers(stage)
    try:
        await followers.open()
        begun = await followers.settled()  # each has heard of those who came after it
        connected, had = scale.process.look(), [*followers.counts]
        cpu = stage.cpu_seconds()
        await stage.deploy("POST", "/v2/apps/team-0/app-0/restart")
        last = await followers.settled()
        used = stage.cpu_seconds() - cpu
        counts = {now - then for now, then in zip(followers.counts, had, strict=True)}
        events = await followers.missed_by_nobody(begun, last)
    finally:
        await followers.close()
    if counts != {events}:
        raise StepFailed(f"of {events} events followers have had {sorted(counts)}")
    return {
        "events": events,
        "kb_each": round((connected - before) * 1000 / CLIENTS, 1),
        "microseconds_per_event_and_client": round(used / events / CLIENTS * 1e6, 2),
    }


async def measure(socket: str) -> tuple[list[Bar], dict[str, Any]]:
    await ensure_image(socket)
    stage = make_stage(socket)
    stage.up_options += ["--engine=local", "--engine=fake", f"--fake-agents={AGENTS}"]
    await stage.start()
    scale = Scale(stage)
    try:
        for _ in range(STARTS):
            await scale.start_real("unloaded")
        empty = scale.process.look()
        seconds, cpu_seconds = await scale.place()
        placed = scale.process.look()
        for _ in range(STARTS):
            await scale.start_real("loaded")
        answer_ms = await scale.answer_ms()
        rss_mb = max(scale.process.rss_mb)
        before = stage.cpu_seconds()
        await asyncio.sleep(10)
        rest_share = (stage.cpu_seconds() - before) / 10
        events = await follow(scale)
    finally:
        # Not by `down`: to drain 10,000 instances would take longer than the rest. Fake tasks end with the process.
        await stage.close()
        await stage.terminate()
        await stage.kill_gateway()
    starts = {when: statistics.median(samples) for when, samples in scale.starts.items()}
    bars = [
        Bar(
            name="rss_mb",
            value=rss_mb,
            unit="MB",
            limit=RSS_LIMIT_MB,
            better="lower",
            samples=len(scale.process.rss_mb),
        ),
        Bar(
            name="start_ratio",
            value=starts["loaded"] / starts["unloaded"],
            unit="x",
            limit=START_LIMIT,
            better="lower",
            samples=STARTS,
        ),
    ]
    return bars, {
        "rss_mb": {"empty": round(empty), "placed": round(placed), "answered": round(rss_mb)},
        "place_all": {"seconds": round(seconds, 1), "cpu_seconds": round(cpu_seconds, 1)},
        "apps_with_tasks_ms": round(answer_ms),
        "cpu_share_at_rest": round(rest_share, 4),
        "event_clients": events,
        "start_seconds": {when: round(value, 3) for when, value in starts.items()},
    }


async def measure_growth() -> tuple[list[Bar], dict[str, Any]]:
    """The worst exponent of three operations over three sizes, of many apps and of one."""
    seconds = await grown(SIZES, AGENTS)
    exponents = {operation: exponent(by_size.items()) for operation, by_size in seconds.items()}
    last = {operation: exponent(list(by_size.items())[-2:]) for operation, by_size in seconds.items()}
    worst = max(value for operation, value in exponents.items() if operation != "answer one app")
    bar = Bar(name="growth", value=worst, unit="", limit=GROWTH_LIMIT, better="lower", samples=sum(SIZES.values()))
    return [bar], {
        "cpu_ms": {
            operation: {instances: round(took * 1000, 1) for instances, took in by_size.items()}
            for operation, by_size in seconds.items()
        },
        "growth": {operation: round(value, 3) for operation, value in exponents.items()},
        "growth_from_1000_to_10000": {operation: round(value, 3) for operation, value in last.items()},
    }


def main() -> int:
    argparse.ArgumentParser(prog="bench scale", description=__doc__).parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    planned = [plan_seconds(APPS) * 1000 for _ in range(PLANS)]
    plans = Bar(
        name="plan_ms",
        value=statistics.median(planned),
        unit="ms",
        limit=PLAN_LIMIT_MS,
        better="lower",
        samples=PLANS,
    )
    growth, growth_peers = asyncio.run(measure_growth())
    with DockerDaemon() as daemon:
        bars, peers = asyncio.run(measure(str(daemon.socket)))
    return report([plans, *bars, *growth], peers | growth_peers)


if __name__ == "__main__":
    sys.exit(main())
