"""Bad days of the machine under light load: each says what it is, costs no request that can be served, and ends by
itself when its cause is gone."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest

from coldchain.testing.application.image import image_archive
from coldchain.testing.image_registry import ImageRegistry
from coldchain.testing.sandbox import DockerDaemon
from coldchain.testing.stage import Stage

Shop = Callable[..., dict[str, Any]]
CONSUMERS = 4
PAUSE_SECONDS = 0.02


@contextlib.asynccontextmanager
async def load(stage: Stage) -> AsyncIterator[Counter[int | str]]:
    """Consumers that ask one request after the other, each on a connection of its own; what became of the requests:
    a status, or the name of the error."""
    outcomes: Counter[int | str] = Counter()
    address = f"http://127.0.0.1:{stage.gateway_port}/"

    async def consume(session: aiohttp.ClientSession) -> None:
        while True:
            try:
                async with session.get(address, headers={"Host": "shop.localhost"}) as answer:
                    await answer.read()
                    outcomes[answer.status] += 1
            except aiohttp.ClientError as error:
                outcomes[type(error).__name__] += 1
            await asyncio.sleep(PAUSE_SECONDS)

    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        tasks = [group.create_task(consume(session)) for _ in range(CONSUMERS)]
        try:
            yield outcomes
        finally:
            for task in tasks:
                task.cancel()


async def served(outcomes: Counter[int | str], number: int = 100) -> None:
    """Wait until so many more requests were answered."""
    wanted = outcomes[200] + number
    async with asyncio.timeout(30):
        while outcomes[200] < wanted:
            await asyncio.sleep(0.05)


async def status_says(stage: Stage, *words: str, app: str | None = None) -> None:
    """Wait until all these words stand in the status of the platform, or of an app."""
    said = ""
    try:
        async with asyncio.timeout(40):
            while not all(word in said for word in words):
                await asyncio.sleep(0.1)
                said = json.dumps(await stage.call("GET", f"/v1/apps/{app}/status" if app else "/v1/status"))
    except TimeoutError:
        raise AssertionError(f"{words} are not all in {said}") from None


async def log_says(stage: Stage, *words: str) -> None:
    """Wait until all these words stand in one line of the controller's log."""
    try:
        async with asyncio.timeout(40):
            while not any(all(word in line for word in words) for line in stage.log.read_text().splitlines()):
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"no line with {words} in {stage.log.read_text()}") from None


async def serving(stage: Stage, count: int) -> set[str]:
    """Wait until exactly so many instances serve; their tasks."""
    async with asyncio.timeout(90):
        while True:
            tasks = await stage.tasks("/shop")
            if [task["phase"] for task in tasks] == ["serving"] * count:
                return {task["id"] for task in tasks}
            await asyncio.sleep(0.1)


@pytest.fixture
def engine(docker_engine: DockerDaemon) -> Iterator[DockerDaemon]:
    """The Docker Engine of the whole run; it is there again afterwards."""
    yield docker_engine
    if docker_engine.pid is None:
        docker_engine.start()


async def test_docker_is_killed_and_comes_back_with_its_containers(
    stage: Stage, shop: Shop, engine: DockerDaemon
) -> None:
    await stage.start()
    await stage.create(shop(instances=2))
    before = await serving(stage, 2)
    async with load(stage) as outcomes:
        await asyncio.to_thread(engine.kill)
        await log_says(stage, "engine does not answer")
        await status_says(stage, '"trouble": "', str(engine.socket))
        changed = await stage.call("PUT", "/v2/apps/shop", {"instances": 3})
        await served(outcomes)
        await asyncio.to_thread(engine.start, "--live-restore")
        await stage.deployment(changed["deploymentId"])
        await log_says(stage, "engine answers again")
        await served(outcomes)
    assert before < await serving(stage, 3), "nothing was restarted"
    assert outcomes.keys() == {200}, outcomes


async def test_docker_is_killed_and_comes_back_without_its_containers(
    stage: Stage, shop: Shop, engine: DockerDaemon
) -> None:
    await stage.start()
    await stage.create(shop(instances=2))
    before = await serving(stage, 2)
    async with load(stage) as outcomes:
        await asyncio.to_thread(engine.kill)
        await log_says(stage, "engine does not answer")
        await served(outcomes)
        assert outcomes.keys() == {200}, "while only the engine is away"
        # It ends what ran without it: from here on nobody could serve.
        await asyncio.to_thread(engine.start)
        async with asyncio.timeout(90):
            while before & await serving(stage, 2):
                await asyncio.sleep(0.1)
        failed = outcomes.total() - outcomes[200]
        await served(outcomes)
        assert outcomes.total() - outcomes[200] == failed, outcomes
    changed = await stage.deploy("PUT", "/v2/apps/shop", {"instances": 3})
    assert changed["state"] == "succeeded"


async def test_nginx_is_killed(stage: Stage, shop: Shop) -> None:
    await stage.start()
    await stage.create(shop(instances=2))
    before = await serving(stage, 2)
    async with load(stage) as outcomes:
        await served(outcomes)
        await stage.kill_gateway()
        await log_says(stage, "gateway did not answer", '"nginx": "started"')
        await served(outcomes)
        await log_says(stage, "gateway answers again")
        refused = outcomes.total() - outcomes[200]
        await served(outcomes)
    assert outcomes.total() - outcomes[200] == refused, outcomes
    assert all(isinstance(outcome, str) for outcome in outcomes if outcome != 200), (
        "no answer was wrong: there was none"
    )
    assert await serving(stage, 2) == before
    await stage.deploy("PUT", "/v2/apps/shop", {"instances": 3})


async def test_the_master_of_nginx_is_killed(stage: Stage, shop: Shop) -> None:
    await stage.start()
    await stage.create(shop(instances=2))
    async with load(stage) as outcomes:
        workers = await stage.kill_gateway_master()
        await log_says(stage, "nginx has lost its master process", "quiet moment")
        await stage.deploy("PUT", "/v2/apps/shop", {"instances": 3})
        await stage.deploy("POST", "/v2/apps/shop/restart")
        await served(outcomes)
    assert outcomes.keys() == {200}, outcomes
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    await log_says(stage, "gateway did not answer", '"nginx": "started"')
    await log_says(stage, "gateway answers again")
    async with load(stage) as outcomes:
        await served(outcomes)
    assert outcomes.keys() == {200}, outcomes


async def test_an_image_cannot_be_pulled_until_its_registry_is_there(
    stage: Stage, shop: Shop, free_port: Callable[[], int]
) -> None:
    port = free_port()
    registry = ImageRegistry(port)
    registry.push_layer("v2", image_archive("v2"))
    new = shop(instances=2)
    new["container"]["docker"]["image"] = image = f"127.0.0.1:{port}/shop:v2"
    await stage.start()
    await stage.create(shop(instances=2))
    before = await serving(stage, 2)
    async with load(stage) as outcomes:
        begun = await stage.call("PUT", "/v2/apps/shop", new)
        await status_says(stage, f"cannot pull {image}", "its registry can be reached", app="shop")
        await served(outcomes)
        assert {task["id"] for task in await stage.tasks("/shop")} == before
        async with registry:
            await stage.deployment(begun["deploymentId"])
        await served(outcomes)
    assert not before & await serving(stage, 2)
    assert outcomes.keys() == {200}, outcomes


async def test_the_file_descriptors_run_out(stage: Stage, shop: Shop) -> None:
    await stage.start()
    await stage.create(shop(instances=2))
    before = await serving(stage, 2)
    async with load(stage) as outcomes:
        usual = resource.prlimit(stage.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(stage.pid, resource.RLIMIT_NOFILE, (3, usual[1]))
        await log_says(stage, "Too many open files")
        await served(outcomes, 1000)  # longer than it takes probes to make an instance bad
        resource.prlimit(stage.pid, resource.RLIMIT_NOFILE, usual)
        assert await serving(stage, 2) == before
        changed = await stage.deploy("PUT", "/v2/apps/shop", {"instances": 3})
        assert changed["state"] == "succeeded"
    assert before < await serving(stage, 3), "nothing was restarted"
    assert outcomes.keys() == {200}, outcomes


async def test_the_disk_of_the_logs_is_full(stage: Stage, shop: Shop) -> None:
    logs = stage.data / "logs"
    logs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "tmpfs", str(logs)], check=True)
    (logs / "gateway").mkdir(mode=0o755)
    (stage.data / "gateway").mkdir(mode=0o755)
    (stage.data / "gateway" / "logs").symlink_to(logs / "gateway")
    stage.log = logs / "coldchain.log"
    try:
        await stage.start()
        await stage.create(shop(instances=2))
        before = await serving(stage, 2)
        filler = logs / "filler"
        for path in (filler, stage.log):
            with pytest.raises(OSError, match="No space"), path.open("ab", buffering=0) as file:
                while True:
                    file.write(b"\n")
        async with load(stage) as outcomes:
            await served(outcomes)
        # Without load: nobody can save what is in a container that is killed.
        [task, _] = await stage.tasks("/shop")
        await stage.kill_container(task["id"], task["instanceId"])
        while await serving(stage, 2) == before:
            await asyncio.sleep(0.1)
        assert outcomes.keys() == {200}, outcomes
        async with load(stage) as outcomes:
            await served(outcomes)
            await stage.deploy("PUT", "/v2/apps/shop", {"instances": 3})
        assert outcomes.keys() == {200}, outcomes
        written = stage.log.read_text()
        async with load(stage) as outcomes:
            await stage.kill_gateway()
            await served(outcomes)
        assert stage.log.read_text() == written
        filler.unlink()
        async with load(stage) as outcomes:
            await stage.kill_gateway()
            await served(outcomes)
        await log_says(stage, "lines of this log are lost", "No space left on device")
        assert stage.log.read_text().startswith(written)
    finally:
        await stage.down()
        subprocess.run(["umount", "-l", str(logs)], check=True)
