"""`python -m coldchain.testing.demo [--keep]`, as bin/demo calls it: in a sandbox, or on the machine's own Docker."""

import argparse
import asyncio
import contextlib
import copy
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp

from coldchain.model.errors import ColdchainError
from coldchain.testing.application.image import ensure_image
from coldchain.testing.demo.result import good, in_words, result
from coldchain.testing.demo.scenario import Show, perform
from coldchain.testing.demo.table import Board
from coldchain.testing.load.generator import Generator
from coldchain.testing.load.plan import LoadPlan, Target
from coldchain.testing.sandbox import DockerDaemon, inside
from coldchain.testing.stage import Stage

EXAMPLE = Path(__file__).parents[3] / "examples" / "01-shop"
MACHINE_DOCKER = Path("/var/run/docker.sock")
TAGS = ("v1", "v2", "v3")
API_PORT, GATEWAY_PORT, STATUS_PORT = 8080, 8000, 8081
"""What --keep leaves running is reached under the ports that `coldchain` uses by itself."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="bin/demo", description="Releases, scaling and crashes under load.")
    parser.add_argument("--keep", action="store_true", help="leave the platform running and say what to try")
    parser.add_argument("--requests", type=int, default=21_000, help="send at least so many (default 21,000)")
    parser.add_argument("--rate", type=float, default=300.0, help="requests per second (default 300)")
    options = parser.parse_args()
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
    with _docker() as docker_socket, _folder() as folder:
        print("bin/demo: making images and starting the platform", file=sys.stderr)
        images = [await ensure_image(str(docker_socket), tag=tag) for tag in TAGS]
        async with _stage(folder, docker_socket, images) as stage:
            sums = await _perform(options, stage, folder)
            print(in_words(sums), file=sys.stderr)
            if options.keep:
                with contextlib.suppress(asyncio.CancelledError):  # Ctrl-C is how it is meant to end
                    await _keep(stage)
            print(json.dumps(sums), flush=True)
        return 0 if good(sums) else 1


async def _perform(options: argparse.Namespace, stage: Stage, folder: Path) -> dict[str, Any]:
    records = folder / "records"
    definitions = {name: json.loads((EXAMPLE / f"{name}.json").read_text()) for name in ("shop", "cart")}

    def settings_of(tag: str, **environment: str) -> dict[str, Any]:
        app: dict[str, Any] = copy.deepcopy(definitions["shop"])
        app["container"]["docker"]["image"] = f"coldchain/shop:{tag}"
        app["env"] |= environment
        return app

    for app in definitions.values():
        app["container"]["docker"]["parameters"] = [{"key": "volume", "value": f"{records}:/records"}]
        app["env"] |= {"RECORDS": "/records"}
    first = await stage.create(settings_of("v1"))
    await stage.create(definitions["cart"])
    targets = (Target(host="shop.localhost", weight=4), Target(host="cart.localhost", weight=1))
    plan = LoadPlan(address="127.0.0.1", port=stage.gateway_port, rate=options.rate, targets=targets)
    generator = Generator(plan)
    board = Board(stage, generator)
    showing = asyncio.create_task(board.run())
    show = Show(stage=stage, generator=generator, settings_of=settings_of, first_version=first["version"])
    try:
        await perform(show, board.began, options.requests)
    finally:
        await generator.stop()
        showing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await showing
    return await result(generator, records, stage.access_log, show.kills)


@contextlib.asynccontextmanager
async def _stage(folder: Path, docker_socket: Path, images: list[str]) -> AsyncIterator[Stage]:
    data = folder / "data"
    data.mkdir()
    stage = Stage(data, docker_socket, API_PORT, GATEWAY_PORT, STATUS_PORT)
    try:
        await stage.start()
        yield stage
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


async def _keep(stage: Stage) -> None:
    print(
        f"""
It stays as it is until Ctrl-C. Try:
  curl http://shop.localhost:{stage.gateway_port}/          (or in a browser; cart.localhost is the other app)
  .venv/bin/coldchain status /shop
  .venv/bin/coldchain scale /shop 6
  .venv/bin/coldchain logs /shop
The API is on {stage.api}.""",
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
    (folder / "records").mkdir(mode=0o777)
    (folder / "records").chmod(0o777)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
