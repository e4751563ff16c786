"""`python -m coldchain.testing.demo [--mesos | --network] [--keep]`, as bin/demo calls it: in a sandbox or on the
machine's Docker.

With `--mesos` and `--network` always in a sandbox: machines are made and cut off in it.
"""

import argparse
import asyncio
import contextlib
import copy
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from coldchain.model.errors import ColdchainError
from coldchain.testing.application.image import ensure_image
from coldchain.testing.demo import network
from coldchain.testing.demo.balancer import Balancer
from coldchain.testing.demo.cluster import cluster
from coldchain.testing.demo.faults import steps
from coldchain.testing.demo.machines import POOLS, SHOP, machines
from coldchain.testing.demo.result import good, in_words, result
from coldchain.testing.demo.scenario import STEPS, Show, Step, perform
from coldchain.testing.demo.table import Board
from coldchain.testing.driven import DrivenPlatform
from coldchain.testing.load.generator import Generator
from coldchain.testing.load.plan import LoadPlan, Target
from coldchain.testing.sandbox import DockerDaemon, inside
from coldchain.testing.stage import Stage

EXAMPLE = Path(__file__).parents[3] / "examples" / "01-shop"
MACHINE_DOCKER = Path("/var/run/docker.sock")
TAGS = ("v1", "v2", "v3")
RATE, CLUSTER_RATE = 300.0, 100.0
"""With --mesos and --network two cores carry twenty servers more, and what is to be seen are faults, not throughput."""
QUICK_CHECKS = {"intervalSeconds": 0.4, "timeoutSeconds": 0.5, "maxConsecutiveFailures": 6}
"""Two failures in a row and the time between come to less than 2 s: so soon a machine that was cut off gets no more."""
API_PORT, GATEWAY_PORT, STATUS_PORT = 8080, 8000, 8081
"""What --keep leaves running is reached under the ports that `coldchain` uses by itself."""
PORTS = {"api": API_PORT, "gateway": GATEWAY_PORT, "status": STATUS_PORT}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bin/demo", description="Releases, scaling and crashes under load.")
    parser.add_argument("--keep", action="store_true", help="leave the platform running and say what to try")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--mesos", action="store_true", help="on a cluster of Mesos and etcd, whose parts fail too")
    where.add_argument("--network", action="store_true", help="on three machines with a container network of their own")
    parser.add_argument("--requests", type=int, default=21_000, help="send at least so many (default 21,000)")
    words = f"requests per second (default {RATE:g}; {CLUSTER_RATE:g} with --mesos and --network)"
    parser.add_argument("--rate", type=float, help=words)
    options = parser.parse_args()
    options.rate = options.rate or (CLUSTER_RATE if options.mesos or options.network else RATE)
    try:
        return asyncio.run(_interruptible(demo(options)))
    except ColdchainError as error:
        print(f"bin/demo: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("bin/demo: interrupted; everything it started is gone", file=sys.stderr)
        return 130


async def _interruptible(program: Any) -> int:
    """SIGTERM ends it as Ctrl-C does: what was started is taken down first."""
    task = asyncio.ensure_future(program)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return int(await task)


async def demo(options: argparse.Namespace) -> int:
    """The whole demo; its exit status."""
    print("bin/demo: making images and starting the platform", file=sys.stderr)
    with _folder() as folder:
        async with _staged(options, folder) as staging:
            sums = await _perform(options, staging)
            print(in_words(sums), file=sys.stderr)
            if options.keep:
                with contextlib.suppress(asyncio.CancelledError):  # Ctrl-C is how it is meant to end
                    await _keep(staging.tries)
            print(json.dumps(sums), flush=True)
        return 0 if good(sums) else 1


@dataclass(frozen=True)
class Staging:
    """What the demo is shown on, what is done to it, and where its gateways are: ports of consumers and of readiness,
    access logs. `records`: a folder that all containers can have. `fit`: what apps need there. `sums`: what there is to
    say of it at the end. `tries`: what else one may try with --keep."""

    platform: DrivenPlatform
    steps: Sequence[tuple[str, Step]]
    gateways: Sequence[tuple[int, int]]
    access_logs: Sequence[Path]
    records: Path
    address: str = "127.0.0.1"
    fit: Callable[[dict[str, Any]], None] = lambda _: None
    sums: Callable[[], Awaitable[dict[str, Any]]] | None = None
    tries: Sequence[str] = ()


async def _perform(options: argparse.Namespace, staging: Staging) -> dict[str, Any]:
    platform, records = staging.platform, staging.records
    definitions = {name: json.loads((EXAMPLE / f"{name}.json").read_text()) for name in ("shop", "cart")}

    def settings_of(tag: str, **environment: str) -> dict[str, Any]:
        app: dict[str, Any] = copy.deepcopy(definitions["shop"])
        app["container"]["docker"]["image"] = f"coldchain/shop:{tag}"
        app["env"] |= environment
        return app

    for app in definitions.values():
        app["container"]["docker"]["parameters"] = [{"key": "volume", "value": f"{records}:/records"}]
        app["env"] |= {"RECORDS": "/records"}
        staging.fit(app)
    first = await platform.create(settings_of("v1"))
    await platform.create(definitions["cart"])
    targets = (Target(host="shop.localhost", weight=4), Target(host="cart.localhost", weight=1))
    plan = LoadPlan(address=staging.address, port=staging.gateways[0][0], rate=options.rate, targets=targets)
    generator = Generator(plan)
    board = Board(platform, generator)
    beside = [asyncio.create_task(board.run())]
    if len(staging.gateways) > 1:
        balancer = Balancer(staging.gateways, generator)
        beside.append(asyncio.create_task(balancer.run()))
        await balancer.found()
    show = Show(stage=platform, generator=generator, settings_of=settings_of, first_version=first["version"])
    try:
        await perform(show, board.began, options.requests, staging.steps)
    finally:
        await generator.stop()
        for task in beside:
            task.cancel()
        for ended in await asyncio.gather(*beside, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
    sums = await result(generator, records, [one for one in staging.access_logs if one.exists()], show.kills)
    return sums | (await staging.sums() if staging.sums else {})


@contextlib.asynccontextmanager
async def _staged(options: argparse.Namespace, folder: Path) -> AsyncIterator[Staging]:
    """As it was asked for."""
    if options.network:
        async with _machines() as staging:
            yield staging
        return
    with _docker() as docker_socket:
        images = [await ensure_image(str(docker_socket), tag=tag) for tag in TAGS]
        make = _cluster(folder, docker_socket) if options.mesos else _stage(folder, docker_socket, images)
        async with make as staging:
            yield staging


@contextlib.asynccontextmanager
async def _cluster(folder: Path, docker_socket: Path) -> AsyncIterator[Staging]:
    def fit(app: dict[str, Any]) -> None:
        app["healthChecks"][0] |= QUICK_CHECKS
        app["container"]["portMappings"][0]["hostPort"] = 0  # machines reach each other's containers by these

    async with cluster(folder, docker_socket, PORTS) as started:
        records = _records(folder)
        yield Staging(started.controllers, steps(started), started.gateways, started.access_logs, records, fit=fit)


@contextlib.asynccontextmanager
async def _machines() -> AsyncIterator[Staging]:
    def fit(app: dict[str, Any]) -> None:
        app["networks"] = [{"mode": "container", "name": SHOP}]
        app["constraints"] = [["hostname", "GROUP_BY", str(len(started.network.hosts))]]

    async with machines(TAGS, PORTS) as started:
        yield Staging(
            started.controller,
            network.steps(started),
            [(GATEWAY_PORT, STATUS_PORT)],
            [one.access_log for one in started.controller.stages],
            _records(started.network.lab.folder),
            address=started.gateway.address,
            fit=fit,
            sums=started.sums,
            tries=(f"pool show {POOLS[SHOP][0]}", f"network show {SHOP}", "policy test /cart /shop 8080"),
        )


@contextlib.asynccontextmanager
async def _stage(folder: Path, docker_socket: Path, images: list[str]) -> AsyncIterator[Staging]:
    data = folder / "data"
    data.mkdir()
    stage = Stage(data, docker_socket, API_PORT, GATEWAY_PORT, STATUS_PORT)
    try:
        await stage.start()
        yield Staging(stage, STEPS, [(GATEWAY_PORT, STATUS_PORT)], [stage.access_log], _records(folder))
    finally:
        await stage.down()
        await stage.close()
        if not inside():
            await _sweep(docker_socket, images, await stage.controller_id())


async def _sweep(docker_socket: Path, images: list[str], controller_id: str) -> None:
    """On the machine's own Docker: take away what `down` rightly leaves of this platform: stopped containers, the
    network unless somebody else uses it, images."""
    connector = aiohttp.UnixConnector(str(docker_socket))
    async with aiohttp.ClientSession("http://docker", connector=connector) as docker:
        query = {"all": "1", "filters": json.dumps({"label": [f"coldchain.controller={controller_id}"]})}
        async with docker.get("/containers/json", params=query) as answer:
            containers = await answer.json()
        for container in containers:
            await docker.delete(f"/containers/{container['Id']}", params={"force": "1", "v": "1"})
        await docker.delete("/networks/coldchain")
        for image in images:
            await docker.delete(f"/images/{image}", params={"force": "1"})


async def _keep(tries: Sequence[str]) -> None:
    more = "".join(f"\n  .venv/bin/coldchain {one}" for one in tries)
    print(
        f"""
It stays as it is until Ctrl-C. Try:
  curl http://shop.localhost:{GATEWAY_PORT}/          (or in a browser; cart.localhost is the other app)
  .venv/bin/coldchain status /shop
  .venv/bin/coldchain scale /shop 6
  .venv/bin/coldchain logs /shop{more}
The API is on http://127.0.0.1:{API_PORT}.""",
        file=sys.stderr,
    )
    await asyncio.Event().wait()


@contextlib.contextmanager
def _docker() -> Iterator[Path]:
    if not inside():
        yield MACHINE_DOCKER
        return
    with DockerDaemon() as daemon:
        yield daemon.socket


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder that nginx's workers and the containers can reach."""
    folder = Path(tempfile.mkdtemp(prefix="coldchain-demo-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _records(folder: Path) -> Path:
    """Where whoever runs in a container may write."""
    made = folder / "records"
    made.mkdir()
    made.chmod(0o777)
    return made


if __name__ == "__main__":
    sys.exit(main())
