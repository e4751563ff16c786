"""`coldchain gateway doctor` beside a real nginx: what it says of it, of its certificates, and of who feeds it."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from coldchain.documents.certificate_file import read_certificate
from coldchain.main.gateway_doctor import findings
from coldchain.main.gateway_machine import look
from coldchain.main.gateway_settings import GatewayProcessSettings
from coldchain.model.gateway_resource import Certificate
from coldchain.testing.certificates import Authority
from coldchain.testing.gateway_lab import GatewayLab, running_gateway
from coldchain.testing.ports import free_ports

LATE = "Mon, 01 Jan 2024 00:00:00 GMT"


async def command(lab: GatewayLab, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Its exit status, and what it found by name."""
    data = lab.settings.prefix.parent
    places = ["--data", str(data), "--listen", lab.settings.listen[0], "--status", lab.settings.status_listen]
    program = [sys.executable, "-m", "coldchain", "gateway", "doctor", "--json", *places, *words]
    process = await asyncio.create_subprocess_exec(
        *program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, trouble = await process.communicate()
    assert trouble == b""
    document = json.loads(said)
    assert document["ready"] is (process.returncode == 0)
    assert process.returncode is not None
    return process.returncode, {one["name"]: one for one in document["findings"]}


async def look_again(lab: GatewayLab, *controllers: str, token: str | None = None) -> dict[str, dict[str, Any]]:
    """The same without a process of its own."""
    settings = GatewayProcessSettings(
        controllers=controllers,
        token=token,
        data=lab.settings.prefix.parent,
        listen=lab.settings.listen,
        status=lab.settings.status_listen,
    )
    return {one.name: one._asdict() for one in findings(await look(settings))}


def states(found: dict[str, dict[str, Any]], *names: str) -> list[str]:
    return [found[name]["state"] for name in names]


async def controller(request: web.Request) -> web.Response:
    late = {"Date": LATE} if request.headers.get("Authorization") == "Bearer late" else {}
    if "Authorization" not in request.headers:
        return web.json_response({"message": "who?"}, status=401)
    return web.json_response({"name": "gateway", "role": "operator", "group": "/"}, headers=late)


async def test_what_runs_is_looked_at_and_who_feeds_it_is_asked(tmp_path: Path) -> None:
    made = read_certificate(Authority(tmp_path).made_for("shop", "shop.test").read_text(), time.time())
    token = tmp_path / "token"
    token.write_text("known")
    served = web.Application()
    served.router.add_get("/v1/caller", controller)
    runner = web.AppRunner(served)
    await runner.setup()
    port, nobody = free_ports(2)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    mine, away = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{nobody}"
    fed, silent = f"controller {mine}", f"controller {away}"
    try:
        async with running_gateway() as lab:
            await lab.know(Certificate(name="shop", domains=made.domains, chain=made.chain, key=made.key))
            await lab.gateway.renew(60)
            words = ["--controller", mine, "--controller", away, "--token-file", str(token)]
            status, found = await command(lab, *words)
            well = ("nginx", f"port {lab.settings.listen[0]}", "gateway", "lease", "memory rotation", fed)
            assert (status, states(found, *well, silent)) == (0, ["ok"] * len(well) + ["warning"])
            assert found["gateway"]["found"] == "revision 1, 2 workers"
            assert "KiB used" in found["memory control"]["found"]
            assert found["certificate shop"]["found"].startswith("ends in ")
            assert (await look_again(lab, mine, token="late"))["clock"]["state"] == "warning"
            await lab.gateway.renew(0)
            assert states(await look_again(lab, mine), "lease", fed) == ["missing", "missing"]
            await lab.process.stop(0.2)
            found = await look_again(lab, mine, token="known")
            assert states(found, f"port {lab.settings.listen[0]}", "gateway", fed) == ["ok", "warning", "ok"]
            assert "lease" not in found
    finally:
        await runner.cleanup()
