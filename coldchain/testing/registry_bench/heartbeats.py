"""heartbeats: 10,000 instances with a TTL of 15 s say that they live: what that costs the process with the registry.

The whole of `coldchain up` on fake agents. 1,000 services of ten instances each register over HTTP, and each says
every 14 s that it lives: 714 heartbeats a second, evenly spread, each over a connection of its own, as from a shell.
CPU time is that of the whole process, whatever it does beside. At the end every check passes, and each heartbeat was
taken.
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
REST_SECONDS = 5.0


class Crowd:
    """All the instances, as one program that speaks for them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.refused: list[str] = []
        self.told = 0

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
                    await self._beat(number)

            await asyncio.gather(*(some() for _ in range(AT_ONCE)))
        return time.perf_counter() - began

    async def _beat(self, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(
            b"PUT /v1/agent/check/pass/service:i-%d HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            b"Content-Length: 0\r\n\r\n" % number
        )
        answer = await reader.read()
        writer.close()
        self.told += 1
        if not answer.startswith(b"HTTP/1.1 200"):
            self.refused.append(answer[:60].decode(errors="replace"))

    async def live(self, seconds: float) -> None:
        """Heartbeats at their moments, whether those before them were answered or not."""
        loop = asyncio.get_running_loop()
        began, number = loop.time(), 0
        async with asyncio.TaskGroup() as group:
            while (now := loop.time()) < began + seconds:
                while number * EVERY_SECONDS / INSTANCES <= now - began:
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
    registered = await crowd.register()
    await crowd.live(EVERY_SECONDS)  # in step from here on
    told, before, began = crowd.told, stage.cpu_seconds(), time.perf_counter()
    await crowd.live(seconds)
    took = time.perf_counter() - began
    used, count = stage.cpu_seconds() - before, crowd.told - told
    passing = await crowd.passing()
    assert passing == INSTANCES, f"{INSTANCES - passing} of {INSTANCES} do not pass"
    assert not crowd.refused, crowd.refused[:3]
    bar = Bar(name="heartbeat_core_share", value=used / took, unit="", limit=LIMIT, better="lower", samples=count)
    peers = {
        "heartbeats_per_second": round(count / took),
        "heartbeat_cpu_us": round(used / count * 1e6),
        "registered_per_second": round(INSTANCES / registered),
        "rss_mb": round(_rss_mb(stage.pid)),
    }
    return Part(bars=[bar], peers=peers)


def _rss_mb(pid: int) -> float:
    (kib,) = (line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line)
    return int(kib) * 1024 / 1e6
