"""What goes wrong is said in words, with what to do, and leaves nothing half done."""

import asyncio
import io
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coldchain.testing.driven import StepFailed
from coldchain.testing.stage import Stage, make_stage

Shop = Callable[..., dict[str, Any]]


async def refusal(stage: Stage) -> str:
    """What `up` says when it cannot start; nothing of it may be left."""
    with pytest.raises(StepFailed) as failed:
        await stage.start()
    assert stage.exit_status == 1
    return str(failed.value)


async def post(stage: Stage, body: bytes, path: str = "/v2/apps") -> tuple[int, dict[str, Any]]:
    headers = {"Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{stage.api}{path}", data=io.BytesIO(body), headers=headers) as answer,
    ):
        return answer.status, json.loads(await answer.text())


async def test_no_docker(stage: Stage, tmp_path: Path) -> None:
    stage.options["--docker-socket"] = str(tmp_path / "nothing.sock")
    said = await refusal(stage)
    assert "no Docker Engine answers on" in said
    assert "--docker-socket" in said
    assert not stage.gateway_runs()


async def test_no_nginx(stage: Stage) -> None:
    stage.prefix = ["unshare", "-m", "sh", "-c", 'mount --bind /dev/null "$(command -v nginx)" && exec "$@"', "sh"]
    said = await refusal(stage)
    assert "nginx" in said
    assert "install" in said.lower()


@pytest.mark.parametrize("which", ["--api", "--gateway"])
async def test_a_port_in_use(stage: Stage, which: str) -> None:
    host, _, port = stage.options[which].rpartition(":")
    with socket.create_server((host, int(port))):
        said = await refusal(stage)
    assert port in said
    assert "listen" in said
    assert not stage.gateway_runs()


async def test_a_second_up_on_the_same_data(stage: Stage, docker_daemon: Path) -> None:
    await stage.start()
    second = make_stage(docker_daemon)
    second.options["--data"] = stage.options["--data"]
    try:
        said = await refusal(second)
        assert "store.sqlite" in said
        assert "in use" in said or "is open" in said
    finally:
        await second.close()
    assert await stage.call("GET", "/v2/apps") == {"apps": []}


async def test_an_api_that_others_reach_is_refused_while_no_admin_is_known(free_port: Callable[[], int]) -> None:
    own = [f"--{name}=127.0.0.1:{free_port()}" for name in ("registry", "dns")]
    with tempfile.TemporaryDirectory() as data:  # a short name: there are sockets in it
        options = [f"--data={data}", "--engine=fake", f"--api=0.0.0.0:{free_port()}", *own]
        command = [sys.executable, "-m", "coldchain", "up", *options]
        ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    assert "0.0.0.0, which others reach, and no admin is known" in ended.stderr
    assert "--http-credentials-file" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_documents_that_cannot_be(stage: Stage, shop: Shop) -> None:
    await stage.start()
    status, body = await post(stage, b'{"id": "/shop",')
    assert (status, body["message"]) == (400, "Invalid JSON")
    status, body = await post(stage, json.dumps(shop(instances="four", instnaces=4, cpus=-1)).encode())
    assert (status, body["message"]) == (422, "Object is not valid")
    said = {one["path"]: one["errors"][0] for one in body["details"]}
    assert {"/instances", "/instnaces", "/cpus"} <= said.keys()
    assert "instances" in said["/instnaces"]
    status, body = await post(stage, json.dumps(shop(labels={"big": "x" * 10_000_000})).encode())
    assert status in (400, 413)
    assert "MiB" in json.dumps(body)
    parameters = [{"key": "no-such-option", "value": "1"}]
    app = shop()
    app["container"]["docker"]["parameters"] = parameters
    status, body = await post(stage, json.dumps(app).encode())
    assert status == 422
    assert "no-such-option" in json.dumps(body)
    assert await stage.call("GET", "/v2/apps") == {"apps": []}


async def test_no_image(stage: Stage, shop: Shop) -> None:
    await stage.start()
    app = shop(deadlineSeconds=40)
    app["healthChecks"][0]["gracePeriodSeconds"] = 5
    app["container"]["docker"]["image"] = "127.0.0.1:1/none/such:v1"
    created = await stage.call("POST", "/v2/apps", app)
    async with asyncio.timeout(20):
        while True:
            status = json.dumps(await stage.call("GET", "/v1/apps/shop/status"))
            if "127.0.0.1:1/none/such" in status and "no image" in status:
                break
            await asyncio.sleep(0.1)
    assert await stage.tasks("/shop") == []
    name = created["deployments"][0]["id"]
    await stage.deploy("DELETE", f"/v2/deployments/{name}")
    async with asyncio.timeout(20):
        while (await stage.call("GET", "/v2/apps"))["apps"]:
            await asyncio.sleep(0.1)


async def test_a_full_disk(stage: Stage, shop: Shop) -> None:
    store = stage.data / "full"
    store.mkdir(mode=0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=755", "tmpfs", str(store)], check=True)
    stage.options["--data"] = str(store)
    try:
        await stage.start()
        await stage.create(shop(instances=1))
        filler = store / "filler"
        with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        status, body = 0, {}
        for number in range(200):
            app = json.dumps(shop(id=f"/more-{number}", routes=[], labels={"big": "x" * 50_000})).encode()
            status, body = await post(stage, app)
            if status != 201:
                break
        assert status == 503, body
        assert "is full" in json.dumps(body)
        filler.unlink()
        async with asyncio.timeout(30):
            while True:
                status, body = await post(stage, json.dumps(shop(id="/after", routes=[], instances=0)).encode())
                if status == 201:
                    break
                await asyncio.sleep(0.2)
        assert [task["phase"] for task in await stage.tasks("/shop")] == ["serving"]
    finally:
        (store / "filler").unlink(missing_ok=True)
        await stage.down()
        subprocess.run(["umount", "-l", str(store)], check=True)
