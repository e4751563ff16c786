"""The composition layer behind the real gateway, in several copies, its services behind the same gateway: under load a
copy is stopped, and a service released, and no request is lost."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from coldchain.testing.load.generator import Generator
from coldchain.testing.load.plan import LoadPlan, Target
from coldchain.testing.stage import Stage

FILE = """
services:
  shop: {{url: "http://127.0.0.1:{port}", host: shop.localhost}}
  gone: {{url: "http://127.0.0.1:{port}", host: gone.localhost}}
compositions:
  - path: /page
    parameters: {{ms: {{type: integer, default: "0"}}}}
    steps:
      first: {{http: {{service: shop, path: /first}}}}
      second: {{http: {{service: shop, path: /second, query: {{ms: parameters.ms}}}}, when: steps.first.version}}
      more: {{http: {{service: gone}}, optional: true}}
    answer: "{{ids: [steps.first.request_id, steps.second.request_id], version: steps.second.version}}"
  - path: /page
    name: order
    method: POST
    parameters: {{ms: {{type: integer, default: "0"}}}}
    steps:
      kept: {{http: {{service: shop, method: POST, path: /kept, query: {{ms: parameters.ms}}, body: body}}}}
    answer: steps.kept
"""


def pages(stage: Stage, **fields: object) -> dict[str, Any]:
    file = stage.data / "pages.yaml"
    file.write_text(FILE.format(port=stage.gateway_port))
    app: dict[str, Any] = {
        "id": "/pages",
        "cmd": f"exec {sys.executable} -m coldchain composition {file} --listen 127.0.0.1:$PORT0",
        "cpus": 0.5,
        "mem": 256,
        "instances": 3,
        "portDefinitions": [{"port": 0, "name": "http"}],
        "healthChecks": [
            {"path": "/.coldchain/health", "intervalSeconds": 2, "timeoutSeconds": 2, "gracePeriodSeconds": 60}
        ],
        "routes": [{"domains": ["pages.localhost"]}],
        "drainSeconds": 10,
        "deadlineSeconds": 240,
    }
    return app | fields


async def test_a_copy_is_stopped_and_a_service_released_without_a_lost_request(
    stage: Stage, shop: Callable[..., dict[str, Any]]
) -> None:
    await stage.start()
    await stage.create(shop(instances=2))
    await stage.create(pages(stage))
    plan = LoadPlan(
        address="127.0.0.1",
        port=stage.gateway_port,
        targets=(Target(host="pages.localhost", path="/page"),),
        rate=40.0,
        slow_share=0.05,
        slow_seconds=0.5,
    )
    async with Generator(plan) as load:
        before = {task["id"] for task in await stage.tasks("/pages")}
        await stage.deploy("PUT", "/v2/apps/pages", {"instances": 2})
        left = {task["id"] for task in await stage.tasks("/pages")}
        await stage.deploy("PUT", "/v2/apps/shop", {"env": {"PORT": "8080", "MORE": "1"}})
        while load.counts.sent <= 200:
            await asyncio.sleep(0.01)
    report = load.report()
    assert report.failures == ()
    assert report.total.failed == 0
    assert report.total.requests > 200
    assert (len(before), len(left), left < before) == (3, 2, True)
