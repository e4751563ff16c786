"""The platform beyond loopback: refused before anybody is known, then over TLS for who is known and nobody else."""

import asyncio
import base64
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coldchain.testing.certificates import Authority
from coldchain.testing.driven import StepFailed
from coldchain.testing.stage import Stage

Shop = Callable[..., dict[str, Any]]
ADDRESS = "192.0.2.10"
CREDENTIALS = "marathon:pass:word"


@pytest.fixture
def outside() -> Iterator[str]:
    """An address of this machine that is not loopback's."""
    subprocess.run(["ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"], check=True)
    yield ADDRESS
    subprocess.run(["ip", "address", "delete", f"{ADDRESS}/32", "dev", "lo"], check=True)


async def command(*arguments: str, environment: dict[str, str], given: str = "") -> str:
    """Standard output of a command that must succeed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "coldchain",
        *arguments,
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    said, errors = await process.communicate(given.encode())
    assert process.returncode == 0, errors.decode()
    return said.decode()


def given(options: dict[str, str]) -> list[str]:
    """As a command has them."""
    return [f"{name}={value}" for name, value in options.items()]


async def refused(stage: Stage, **options: str) -> str:
    """What `up` says when it does not start with these options."""
    before, stage.up_options = stage.up_options, [*stage.up_options, *given(options)]
    with pytest.raises(StepFailed) as failure:
        await stage.start()
    stage.up_options = before
    assert stage.exit_status == 1
    return str(failure.value)


async def first_token(stage: Stage) -> str:
    """An admin's, made by root on the machine while the API listens on loopback."""
    assert "no admin is known" in await refused(stage, **{"--api": f"{ADDRESS}:{stage.options['--api'][10:]}"})
    assert "--dns-open" in await refused(stage, **{"--dns": f"{ADDRESS}:{stage.dns_port}"})
    await stage.start()
    here = {"COLDCHAIN_DATA": str(stage.data)}
    token = (await command("token", "create", "ops", "--role", "admin", environment=here)).strip()
    with pytest.raises(StepFailed, match="401"):
        await stage.call("GET", "/v2/apps")
    await stage.terminate()
    return token


async def test_beyond_loopback_only_who_is_known_gets_in(
    outside: str, stage: Stage, shop: Shop, tmp_path: Path
) -> None:
    token = await first_token(stage)
    authority = Authority(tmp_path)
    (tmp_path / "credentials").write_text(CREDENTIALS + "\n")
    port = stage.options["--api"].rpartition(":")[2]
    stage.options["--registry"] = f"{outside}:{stage.registry_port}"
    stage.up_options += given(
        {
            "--api": f"{outside}:{port}",
            "--api-certificate": str(authority.made("server", "server", [outside])),
            "--api-client-authority": str(authority.file),
            "--http-credentials-file": str(tmp_path / "credentials"),
        }
    )
    trust = ssl.create_default_context(cafile=str(authority.file))
    url, bearer = f"https://{outside}:{port}", {"Authorization": f"Bearer {token}"}
    await stage.reach_by(url, bearer, trust)
    await stage.start()

    await _who_gets_in(url, trust, authority)
    await _commands(url, token, str(authority.file), tmp_path)
    await _a_group(stage, url, trust, shop)
    await _registry(f"http://{outside}:{stage.registry_port}", token)
    for line in stage.log.read_text(errors="replace").splitlines():
        assert token not in line
        assert "pass:word" not in line


async def _who_gets_in(url: str, trust: ssl.SSLContext, authority: Authority) -> None:
    showing = ssl.create_default_context(cafile=str(authority.file))
    showing.load_cert_chain(authority.made("anna", "client"))
    basic = {"Authorization": f"Basic {base64.b64encode(CREDENTIALS.encode()).decode()}"}
    async with aiohttp.ClientSession(url) as session:
        for path in ("/ping", "/v2/apps", "/v2/events", "/nothing"):
            async with session.get(path, ssl=trust) as answer:
                assert answer.status == 401, path
        async with session.get("/v1/caller", ssl=showing) as answer:
            assert await answer.json() == {"name": "anna", "role": "viewer", "group": "/"}
        async with session.get("/v1/caller", ssl=trust, headers=basic) as answer:
            assert await answer.json() == {"name": "marathon", "role": "admin", "group": "/"}
        with pytest.raises(aiohttp.ClientError):
            async with session.get(url.replace("https", "http") + "/ping"):
                pass


async def _commands(url: str, token: str, authority: str, folder: Path) -> None:
    """`login` keeps token and authority; then no variable is needed."""
    environment = {"COLDCHAIN_URL": url, "XDG_CONFIG_HOME": str(folder / "config")}
    await command("--ca", authority, "login", environment=environment, given=token)
    assert json.loads(await command("status", "--json", environment=environment))["apps"] == []


async def _a_group(stage: Stage, url: str, trust: ssl.SSLContext, shop: Shop) -> None:
    """An owner deploys in his group alone, and follows its events until his token is revoked; it is all on record."""
    made = await stage.call("POST", "/v1/tokens", {"name": "bob", "role": "owner", "group": "/shop"})
    his = {"Authorization": f"Bearer {made['token']}", "Accept": "text/event-stream"}
    async with aiohttp.ClientSession(url, headers=his, connector=aiohttp.TCPConnector(ssl=trust)) as bob:
        async with bob.post("/v2/apps", json=shop(instances=1) | {"id": "/shop-2"}) as answer:
            assert answer.status == 403
        async with bob.get("/v2/events") as events:
            async with bob.post("/v2/apps", json=shop(instances=1)) as answer:
                created = await answer.json()
                assert answer.status == 201, created
            await stage.deployment(created["deployments"][0]["id"])
            await stage.call("DELETE", "/v1/tokens/bob")
            async with asyncio.timeout(10):
                heard = (await events.content.read()).decode()
        assert "event: deployment_success" in heard
        async with bob.get("/v2/apps") as answer:
            assert answer.status == 401
    entries = (await stage.call("GET", "/v1/audit?caller=bob"))["entries"]
    assert [(one["status"], one["address"], one["apps"]) for one in entries] == [
        (201, ADDRESS, ["/shop"]),
        (403, ADDRESS, []),
    ]
    assert entries[0]["deployments"] == [created["deployments"][0]["id"]]


async def _registry(url: str, token: str) -> None:
    """The platform's own registrations are in it; others need a token."""
    async with aiohttp.ClientSession(url) as session:
        async with session.get("/v1/health/service/shop") as answer:
            assert answer.status == 403
        async with session.get("/v1/health/service/shop", headers={"X-Consul-Token": token}) as answer:
            assert len(await answer.json()) == 1
