"""failover: the leading controller is killed; how long until the next write is accepted, and did anything move?

Two `coldchain up` with their tasks on real Mesos (ZooKeeper, a master, two agents, one Docker Engine) and their state
in real etcd, three members. Again and again SIGKILL for the one that leads, while the other one is asked to change an
app until it accepts; then the killed one is started again and stands by. Before and after each, Mesos's own list of
tasks and Docker's of containers are compared: nothing may have been started or killed.
"""

import argparse
import asyncio
import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from coldchain.clients.docker import DockerClient
from coldchain.testing.application.image import ensure_image
from coldchain.testing.bench import Bar, report
from coldchain.testing.controllers import Controllers
from coldchain.testing.driven import StepFailed
from coldchain.testing.etcd import EtcdCluster, etcd_cluster
from coldchain.testing.mesos.lab import MesosLab
from coldchain.testing.sandbox import DockerDaemon
from coldchain.testing.stage import Stage, make_stage

LIMIT_SECONDS = 5.0
POLL_SECONDS = 0.02
PATIENCE_SECONDS = 30.0
SETTLE_SECONDS = 3.0
"""After the write was accepted: whoever would wrongly start or kill something has done it by then."""

SHOP: dict[str, Any] = {
    "id": "/shop",
    "instances": 4,
    "cpus": 0.1,
    "mem": 32,
    "container": {
        "type": "DOCKER",
        "docker": {"image": "coldchain/shop:v1"},
        "portMappings": [{"containerPort": 8080, "hostPort": 0, "name": "http"}],
    },
    "env": {"PORT": "8080"},
    "healthChecks": [{"path": "/health", "intervalSeconds": 1, "timeoutSeconds": 1}],
}
NOTE: dict[str, Any] = {"id": "/note", "cmd": "true", "instances": 0, "cpus": 0.1, "mem": 16}


class Pair:
    """The two controllers, and what runs for them."""

    def __init__(self, controllers: Controllers, lab: MesosLab, docker: DockerClient) -> None:
        self._controllers = controllers
        self._lab = lab
        self._docker = docker
        self.seconds: list[float] = []
        self.changed: list[str] = []

    async def leader(self) -> tuple[Stage, Stage]:
        """The one that leads and the one that stands by, once both know."""
        leader, (standby,) = await self._controllers.leader()
        return leader, standby

    async def runs(self) -> dict[str, str]:
        """Every task as Mesos lists it, with its state, and every container by its id."""
        listed = await self._lab.operator.tasks()
        tasks = {one["task_id"]["value"]: f"{kind} {one['state']}" for kind, some in listed.items() for one in some}
        containers = await self._docker.containers(["coldchain.app=/shop"])
        return tasks | {one["Id"]: one["State"] for one in containers}

    async def fail_over(self, number: int) -> None:
        """One kill."""
        leader, standby = await self.leader()
        before = await self.runs()
        began = time.monotonic()
        os.kill(leader.pid, signal.SIGKILL)
        await self._accepted(standby, number)
        self.seconds.append(time.monotonic() - began)
        await asyncio.sleep(SETTLE_SECONDS)
        after = await self.runs()
        if before != after:
            self.changed.append(f"{sorted(before.items() ^ after.items())}")
        leader.kill()  # its end is waited for
        await leader.start()
        print(f"{self.seconds[-1]:5.2f} s, {len(after)} tasks and containers", file=sys.stderr, flush=True)

    async def _accepted(self, stage: Stage, number: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    # What is scaled to nothing starts nothing; each change is another one.
                    await stage.call("PUT", "/v2/apps/note?force=true", {"env": {"NUMBER": str(number)}})
                except (StepFailed, aiohttp.ClientError):
                    await asyncio.sleep(POLL_SECONDS)
                else:
                    return


@contextlib.asynccontextmanager
async def pair(lab: MesosLab, etcd: EtcdCluster, socket: Path) -> AsyncIterator[Pair]:
    """Started, with the app deployed; ended at the end."""
    docker = DockerClient(str(socket))
    stages = (make_stage(socket), make_stage(socket))
    controllers = Controllers(stages, socket)
    keys = stages[0].data / "keys"
    try:
        for stage in stages:
            stage.options |= {"--store": f"etcd://{etcd.addresses}/bench", "--secret-keys": str(keys)}
            stage.up_options = [
                "--engine=mesos",
                f"--mesos-master={lab.master_address}",
                f"--mesos-executor={sys.executable} -m coldchain executor",
            ]
            await stage.start()
        found = Pair(controllers, lab, docker)
        leader, _ = await found.leader()
        await leader.create(SHOP)
        await leader.create(NOTE)
        yield found
        leader, _ = await found.leader()
        await leader.deploy("DELETE", "/v2/apps/shop")
    finally:
        await controllers.end()
        await docker.close()


async def measure(socket: Path, kills: int) -> list[Bar]:
    await ensure_image(str(socket))
    with etcd_cluster(3) as etcd:
        await etcd.ready()
        async with MesosLab(zookeeper=True) as lab:
            lab.folder.chmod(0o711)
            await lab.start_master()
            for _ in range(2):
                await lab.start_agent()
            await lab.registered(2)
            async with pair(lab, etcd, socket) as both:
                for number in range(kills):
                    await both.fail_over(number)
                twice = await lab.operator.twice_counted()
    for words in both.changed:
        print(f"changed: {words}", file=sys.stderr)
    ordered = sorted(both.seconds)
    p95 = ordered[min(len(ordered) - 1, math.ceil(0.95 * len(ordered)) - 1)]
    count = len(ordered)
    return [
        Bar(name="failover_s_p95", value=p95, unit="s", limit=LIMIT_SECONDS, better="lower", samples=count),
        Bar(name="moved", value=len(both.changed), unit="", limit=0, better="lower", samples=count),
        Bar(name="counted_twice", value=len(twice), unit="", limit=0, better="lower", samples=1),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench failover", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="how often the leader is killed (20)")
    options = parser.parse_args()
    with DockerDaemon() as daemon:
        bars = asyncio.run(measure(daemon.socket, options.kills))
    return report(bars, {})


if __name__ == "__main__":
    sys.exit(main())
