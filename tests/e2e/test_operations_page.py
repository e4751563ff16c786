"""The commands of docs/howto/operations.md and of README, run as they stand there, but for the folders."""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from coldchain.clients.docker import DockerClient
from coldchain.testing.stage import Stage

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "howto" / "operations.md"
Shop = Callable[..., dict[str, Any]]


def blocks(heading: str) -> list[str]:
    """The blocks of commands below a heading."""
    [section] = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


async def run(stage: Stage, block: str, backups: Path) -> str:
    """Run a block, until the first command that fails; what it wrote."""
    text = block.replace("/var/lib/coldchain", str(stage.data)).replace("/var/backups", str(backups))
    script = f'set -eux\ncoldchain() {{ {sys.executable} -m coldchain "$@"; }}\n{text}'
    environment = os.environ | {
        "COLDCHAIN_URL": stage.api,
        "COLDCHAIN_DATA": str(stage.data),
        "COLDCHAIN_DOCKER_SOCKET": stage.options["--docker-socket"],
        "LC_ALL": "C.UTF-8",
    }
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", script, stdout=pipe, stderr=asyncio.subprocess.STDOUT, env=environment
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def serving(stage: Stage, count: int) -> set[str]:
    """Wait until exactly so many instances serve; their tasks."""
    async with asyncio.timeout(60):
        while True:
            tasks = await stage.tasks("/shop")
            if [task["phase"] for task in tasks] == ["serving"] * count:
                return {task["id"] for task in tasks}
            await asyncio.sleep(0.1)


async def running(stage: Stage) -> set[str]:
    """The tasks of which a container runs."""
    client = DockerClient(Path(stage.options["--docker-socket"]))
    try:
        listed = await client.containers(["coldchain.app"])
    finally:
        await client.close()
    return {one["Labels"]["coldchain.task"] for one in listed if one["State"] == "running"}


async def test_a_backup_brings_everything_back(stage: Stage, shop: Shop, tmp_path: Path) -> None:
    save, restore = blocks("Back up and restore")
    await stage.start()
    await stage.create(shop(instances=2))
    tasks = await serving(stage, 2)
    await stage.terminate()
    await run(stage, save, tmp_path)
    saved = (stage.data / "secret.keys").read_bytes()
    await stage.start()
    assert await serving(stage, 2) == tasks, "nothing was restarted"
    await stage.create(shop(id="/later", routes=[], instances=1))

    # The same machine: what came later than the backup is not known and ends, what is known goes on.
    await stage.terminate()
    await run(stage, restore, tmp_path)
    await stage.start()
    assert await serving(stage, 2) == tasks
    assert [app["id"] for app in (await stage.call("GET", "/v2/apps"))["apps"]] == ["/shop"]
    async with asyncio.timeout(60):
        while await running(stage) != tasks:
            await asyncio.sleep(0.1)

    # Another machine: nothing runs there, and there is no data folder.
    await stage.down()
    shutil.rmtree(stage.data)
    await run(stage, restore, tmp_path)
    stage.data.chmod(0o755)
    await stage.start()
    async with asyncio.timeout(60):
        while tasks & await serving(stage, 2):
            await asyncio.sleep(0.1)
    assert (stage.data / "secret.keys").read_bytes() == saved


async def test_what_to_look_at(stage: Stage, shop: Shop, tmp_path: Path) -> None:
    [look] = blocks("When something is wrong")
    await stage.start()
    await stage.create(shop(instances=1))
    tasks = await stage.tasks("/shop")
    await stage.kill_container(tasks[0]["id"], tasks[0]["instanceId"])
    async with asyncio.timeout(60):
        while tasks[0]["id"] in await serving(stage, 1):
            await asyncio.sleep(0.1)
    said = await run(stage, look, tmp_path)
    assert "serving" in said
    assert "this machine can run a platform" in said


async def test_the_first_commands_of_readme(stage: Stage, tmp_path: Path) -> None:
    _, block = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    before_up, after_up = re.split(r"^coldchain up .*\n", block, flags=re.MULTILINE)
    await run(stage, before_up, tmp_path)
    # There is no network in here to pull the image that `init` names.
    connector = aiohttp.UnixConnector(stage.options["--docker-socket"])
    async with aiohttp.ClientSession("http://docker", connector=connector) as docker:
        async with docker.post("/images/coldchain/shop:v1/tag?repo=nginx&tag=alpine") as answer:
            answer.raise_for_status()
        try:
            await stage.start()
            said = await run(stage, f"cd {tmp_path}\n{after_up}", tmp_path)
            assert "running 2 2 2 2 nginx:alpine" in " ".join(said.split())
        finally:
            async with docker.delete("/images/nginx:alpine") as answer:
                answer.raise_for_status()
