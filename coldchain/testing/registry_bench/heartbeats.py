"""heartbeats: 10,000 instances with a TTL of 15 s say that they live: what that costs the process with the registry.

The whole of `coldchain up` on fake agents. 1,000 services of ten instances each register over HTTP, and each says
every 14 s that it lives: 714 heartbeats a second, evenly spread, each over a connection of its own, as from a shell.
CPU time is that of the whole process, whatever it does beside. At the end every check passes.
"""

import asyncio
import shutil
import time
from pathlib import Path

import aiohttp

from coldchain.testing.bench import Bar
from coldchain.testing.registry_bench import Part
from coldchain.testing.stage import Stage, make_stage

INSTANCES, SERVICES = 10_000, 1_000
TTL_SECONDS, EVERY_SECONDS = 15, 14.0
LIMIT = 0.5
AT_ONCE = 16
"""Who registers at the same time."""
LOST_MAX = 0.001
"""Of the heartbeats: one whose connection was not taken is said again the next time."""


class Crowd:
    """All the instances, as one program that speaks for them. `told`: heartbeats that were taken; `lost`: those that
    were not."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._registered = bytearray(INSTANCES)
        self.told = 0
        self.lost: list[str] = []

    async def register(self) -> float:
        """All of them; seconds."""
        began = time.perf_counter()
        numbers = iter(range(INSTANCES))
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self._port}") as session:

            async def some() -> None:
                for number in numbers:
                    check = {"TTL": f"{TTL_SECONDS}s", "Status": "passing"}
                    name, address = f"bench-{number % SERVICES}", f"10.1.{number // 250}.{number % 250 + 1}"
                    body = {"ID": f"i-{number}", "Name": name, "Address": address, "Port": 80, "Check": check}
                    async with session.put("/v1/agent/service/register", json=body) as answer:
                        assert answer.status == 200, await answer.text()
                    self._registered[number] = True

            await asyncio.gather(*(some() for _ in range(AT_ONCE)))
        return time.perf_counter() - began

    async def _beat(self, number: int) -> None:
        try:
            async with asyncio.timeout(TTL_SECONDS):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    writer.write(
                        b"PUT /v1/agent/check/pass/service:i-%d HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                        b"Content-Length: 0\r\n\r\n" % number
                    )
                    answer = await reader.read()
                finally:
                    writer.close()
        except OSError as error:  # a time-out too: one that is as late as that is of no use
            answer = (str(error) or type(error).__name__).encode()
        if answer.startswith(b"HTTP/1.1 200"):
            self.told += 1
        else:
            self.lost.append(answer[:60].decode(errors="replace"))

    async def live(self) -> None:
        """For ever: the heartbeats of those who are registered, at their moments, whether those before them were
        answered or not."""
        loop = asyncio.get_running_loop()
        began, number = loop.time(), 0
        async with asyncio.TaskGroup() as group:
            while True:
                while number * EVERY_SECONDS / INSTANCES <= loop.time() - began:
                    if self._registered[number % INSTANCES]:
                        group.create_task(self._beat(number % INSTANCES))
                    number += 1
                await asyncio.sleep(EVERY_SECONDS / INSTANCES)

    async def passing(self) -> int:
        """How many are."""
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{self._port}") as session,
            session.get("/v1/health/state/passing") as answer,
        ):
            return sum(one["ServiceID"] != "" for one in await answer.json())


async def measure(seconds: float = 3 * EVERY_SECONDS) -> Part:
    """Three heartbeats of each."""
    stage = make_stage("no-docker.sock")
    stage.up_options = ["--engine=fake", "--fake-agents=1"]
    try:
        await stage.start()
        return await _measure(stage, seconds)
    finally:
        await stage.terminate()
        await stage.close()
        shutil.rmtree(stage.data)


async def _measure(stage: Stage, seconds: float) -> Part:
    crowd = Crowd(stage.registry_port)
    living = asyncio.create_task(crowd.live())
    registered = await crowd.register()
    await asyncio.sleep(EVERY_SECONDS)  # all are in step from here on
    told, lost, before, began = crowd.told, len(crowd.lost), stage.cpu_seconds(), time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    used, count, lost = stage.cpu_seconds() - before, crowd.told - told, len(crowd.lost) - lost
    passing = await crowd.passing()
    assert not living.done(), living.exception()
    living.cancel()
    await asyncio.gather(living, return_exceptions=True)
    assert passing == INSTANCES, f"{INSTANCES - passing} of {INSTANCES} do not pass"
    assert lost <= count * LOST_MAX, crowd.lost[-3:]
    bar = Bar(name="heartbeat_core_share", value=used / took, unit="", limit=LIMIT, better="lower", samples=count)
    peers = {
        "heartbeats_per_second": round(count / took),
        "heartbeats_lost": lost,
        "heartbeat_cpu_us": round(used / count * 1e6),
        "registered_per_second": round(INSTANCES / registered),
        "rss_mb": round(_rss_mb(stage.pid)),
    }
    return Part(bars=[bar], peers=peers)


def _rss_mb(pid: int) -> float:
    (kib,) = (line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line)
    return int(kib) * 1024 / 1e6
