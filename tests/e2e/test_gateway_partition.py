"""A gateway that is cut off from its controllers while consumers still reach it: no request comes to a wrong service,
and nobody waits for it longer than its lease."""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from coldchain.control.rotation import LEASE_MARGIN_SECONDS, LEASE_SECONDS, QUARANTINE_SECONDS
from coldchain.main.gateway_settings import GatewayProcessSettings
from coldchain.testing.gateway_process import own_gateways
from coldchain.testing.load.generator import Generator
from coldchain.testing.load.plan import LoadPlan, Target
from coldchain.testing.ports import free_ports
from coldchain.testing.sandbox import inside
from coldchain.testing.stage import Stage

Shop = Callable[..., dict[str, Any]]
APART = "127.0.0.9"
"""Where the gateway finds the controller: of this address packets can be dropped."""
LOOK_SECONDS = 0.05


@contextlib.asynccontextmanager
async def relay(to_port: int) -> AsyncIterator[int]:
    """A port at APART where the one of the controller is reached."""
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(65536):
                writer.write(piece)
        except OSError:
            return
        finally:
            writer.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", to_port)
        tasks.update((asyncio.create_task(pump(reader, back)), asyncio.create_task(pump(there, writer))))

    [port] = free_ports(1)
    server = await asyncio.start_server(serve, APART, port)
    try:
        yield port
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


@contextlib.contextmanager
def packets_dropped() -> Iterator[Callable[[], None]]:
    """From and to APART, in silence; what is given ends that."""
    rules = [("OUTPUT", "-d", APART, "-j", "DROP"), ("OUTPUT", "-s", APART, "-j", "DROP")]
    with contextlib.ExitStack() as stack:
        for rule in rules:
            subprocess.run(["iptables", "-w", "-I", *rule], check=True)
            stack.callback(subprocess.run, ["iptables", "-w", "-D", *rule], check=True)
        yield stack.close


def alone_on(port: int, name: str, image: str) -> dict[str, Any]:
    """An app with one instance, at this port of the machine."""
    return {
        "id": f"/{name}",
        "cmd": "exec application",
        "cpus": 0.1,
        "mem": 32,
        "container": {"type": "DOCKER", "docker": {"image": image}},
        "networks": [{"mode": "host"}],
        "portDefinitions": [{"port": port}],
        "requirePorts": True,
        "env": {"INSTANCE": name},
        "routes": [{"domains": [f"{name}.localhost"]}],
        "drainSeconds": 1,
        "upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0},
    }


def load_on(port: int, *hosts: str, rate: float) -> Generator:
    targets = tuple(Target(host=f"{host}.localhost") for host in hosts)
    return Generator(
        LoadPlan(address="127.0.0.1", port=port, targets=targets, rate=rate, slow_share=0.0, timeout_seconds=5.0)
    )


async def until_not_waited_for(stage: Stage, name: str) -> float:
    """How long it took."""
    began = time.monotonic()
    async with asyncio.timeout(30):
        while any(one["name"] == name and one["live"] for one in (await stage.call("GET", "/v1/status"))["gateways"]):
            await asyncio.sleep(LOOK_SECONDS)
    return time.monotonic() - began


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_gateway_that_is_cut_off_leads_nobody_to_a_wrong_service(stage: Stage, shop: Shop) -> None:
    if not inside():
        pytest.skip("packets are dropped inside the sandbox only; run this through bin/test")
    await stage.start()
    [reused] = free_ports(1)
    await stage.create(shop(instances=2, env={"PORT": "8080", "INSTANCE": "shop"}, drainSeconds=1))
    await stage.create(alone_on(reused, "before", "coldchain/shop:v1"))
    async with relay(urlsplit(stage.api).port or 0) as port:
        settings = GatewayProcessSettings(controllers=(f"http://{APART}:{port}",), name="apart")
        async with own_gateways([settings]) as [apart]:
            here = load_on(stage.gateway_port, "shop", rate=50.0)
            there = load_on(apart.port, "shop", "before", rate=50.0)
            async with here, there:
                await asyncio.sleep(1)
                there.step("cut off")
                with packets_dropped() as heal:
                    rollout = asyncio.create_task(stage.deploy("PATCH", "/v2/apps/shop", {"labels": {"of": "later"}}))
                    assert await until_not_waited_for(stage, "apart") < LEASE_SECONDS + LEASE_MARGIN_SECONDS + 1.0
                    await rollout
                    assert not await apart.is_ready()
                    await stage.deploy("DELETE", "/v2/apps/before")
                    after = await stage.call("POST", "/v2/apps", alone_on(reused, "after", "coldchain/shop:v2"))
                    await asyncio.sleep(QUARANTINE_SECONDS + 5.0)  # the place would be given to it by now
                    heal()
                    await apart.ready()
                    there.step("healed")
                    for deployment in after["deployments"]:
                        await stage.deployment(deployment["id"])
            met = load_on(apart.port, "after", rate=50.0)
            async with met:
                await asyncio.sleep(0.5)
    assert here.report().failures == ()
    wrong = [one for one in there.outcomes if one.instance not in (None, one.host.removesuffix(".localhost"))]
    assert wrong == []
    lost = [one for one in there.outcomes if one.failed and one.step == "load"]
    assert lost == []
    assert any(one.failed for one in there.outcomes if one.step == "cut off")
    assert {one.instance for one in met.outcomes} == {"after"}
    assert not [one for one in there.outcomes if one.step == "healed" and one.host == "shop.localhost" and one.failed]
