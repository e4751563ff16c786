"""Attacks on the gateway by paths, by its own locations, and by what a definition brings along (attacks by bodies and
heads are in compat: smuggling; by headers in requests)."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from coldchain.model.app import HeaderChanges, RouteFilters
from coldchain.model.rotation import RouteRule, ServiceRotation
from coldchain.testing.gateway_lab import GatewayLab, endpoint, running_gateway
from coldchain.testing.smuggling.application import strict_application

pytestmark = pytest.mark.asyncio(loop_scope="module")
BROKEN = "x\r\nX-Injected: 1;}\n# \" ' $host { \x1b"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[GatewayLab]:
    async with running_gateway(worker_processes=1) as lab:
        yield lab


async def raw(lab: GatewayLab, path: str, headers: str = "") -> tuple[int, bytes]:
    """The path as it is written. Status, and all that came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n{headers}\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1]), answer


async def test_route_and_app_see_the_same_path(lab: GatewayLab) -> None:
    """A path that would be another one for the app than for the route could pass by whatever the route asks for."""
    async with strict_application() as app:
        services = {"shop": ServiceRotation(endpoints=(endpoint("a", app.port),))}
        closed = RouteRule(path="/admin", service="nobody")
        await lab.push(services, {"shop.test": (closed, RouteRule(path="/", service="shop"))})
        hidden = (
            "/admin",
            "/admin/x",
            "/./admin",
            "/x/../admin",
            "/x/%2e%2e/admin",
            "/%61dmin",
            "/%61%64min/x",
            "/x/..%2fadmin",
            "/x%2f..%2fadmin",
            "/admin%2fx",
            "/admin%2f..%2fadmin",
            "/x/.%2e/admin",
            "/admin#x",
            "/admin?x",
        )
        found = {path: (await raw(lab, path))[0] for path in hidden}
        assert found == dict.fromkeys(hidden, 503)
        seen = {
            "//admin": "//admin",
            "/;/admin": "/;/admin",
            "/x/..;/admin": "/x/..;/admin",
            "/ADMIN": "/ADMIN",
            "/%2561dmin": "/%2561dmin",
            "/admin%20": "/admin%20",
            "/x%5c..%5cadmin": "/x%5C..%5Cadmin",
            "/admin%2e%2e": "/admin..",
        }
        assert {path: (await raw(lab, path))[0] for path in seen} == dict.fromkeys(seen, 200)
        assert (list(app.requests), app.wrong) == (list(seen.values()), [])


async def test_the_gateways_own_locations_are_nobodys(lab: GatewayLab) -> None:
    async with strict_application() as app:
        services = {"shop": ServiceRotation(endpoints=(endpoint("a", app.port),))}
        await lab.push(services, {"*": (RouteRule(path="/", service="shop"),)})
        forged = "X-Accel-Redirect: /rotation\r\nX-Original-URL: /rotation\r\nX-Rewrite-URL: /rotation\r\n"
        for path in ("/state", "/rotation", "/metrics", "/@filtered", "/.coldchain/ready", "/drain"):
            status, answer = await raw(lab, path, forged)
            assert (status, answer.endswith(path.encode())) == (200, True)
        status, answer = await raw(lab, "/.coldchain/fault")
        assert (status, "/.coldchain/fault" in app.requests) == (404, False)
        assert not (await lab.state()).draining


async def test_nothing_of_a_definition_leaves_its_place(lab: GatewayLab) -> None:
    """The controller refuses such definitions; should one come all the same, it breaks no file, log line or header."""
    before = lab.settings.configuration_file.read_bytes()
    async with strict_application() as app:
        filters = RouteFilters(request_headers=HeaderChanges(set={"X-Set": BROKEN}))
        rules = (
            RouteRule(path="/(" + BROKEN, path_kind="regex", service=BROKEN),
            RouteRule(path="/" + BROKEN, path_kind="exact", service=BROKEN),
            RouteRule(path="/set", service=BROKEN, filters=filters),
            RouteRule(path="/", service=BROKEN),
        )
        services = {BROKEN: ServiceRotation(endpoints=(endpoint(BROKEN, app.port),))}
        await lab.push(services, {"shop.test": rules, BROKEN: rules})
        for path in ("/set", "/else"):
            assert (await raw(lab, path, "X-Request-Id: broken\r\n"))[0] == 200
        line = await lab.logged("broken")
        assert (line["service"], line["instances"]) == (BROKEN, BROKEN)
        lines = lab.settings.access_log_file.read_text().splitlines()
        assert all(isinstance(json.loads(one), dict) for one in lines)
        assert app.wrong == []
        for arrived in (one for requests in app.requests.values() for one in requests):
            assert b"x-injected" not in dict(arrived.headers)
    async with lab.consumer.get(f"http://{lab.settings.status_listen}/metrics") as answer:
        samples = [one for one in (await answer.text()).split("\n") if "Injected" in one]
    assert samples
    assert all(one.startswith("coldchain_gateway_") for one in samples)
    assert lab.settings.configuration_file.read_bytes() == before
