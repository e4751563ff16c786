"""What nginx does with requests and answers of routes that ask for it: paths, redirections, headers, limits, tries."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from coldchain.model.app import HeaderChanges, Redirect, RouteFilters
from coldchain.model.rotation import RouteRule, ServiceRotation
from coldchain.testing.gateway_lab import GatewayLab, endpoint
from coldchain.testing.ports import free_ports
from coldchain.testing.raw_application import RawApplication, holds, raw_application, read_request, response

pytestmark = pytest.mark.asyncio(loop_scope="module")


def rule(path: str = "/", **filters: object) -> RouteRule:
    kind = "regex" if "(" in path else "exact" if path.startswith("/exact") else "prefix"
    return RouteRule(path=path, path_kind=kind, service="shop", filters=RouteFilters(**filters))  # type: ignore[arg-type]


async def push(lab: GatewayLab, app: RawApplication, *rules: RouteRule) -> None:
    await lab.push({"shop": ServiceRotation(endpoints=(endpoint("a", app.port),))}, {"*": rules})


async def test_paths_are_rewritten_and_so_is_what_a_draining_gateway_passes_on(
    lab: GatewayLab, app: RawApplication
) -> None:
    await push(
        lab,
        app,
        rule("/exact", rewrite="/whole"),
        rule("/v([0-9]+)/(.*)", rewrite="/$2/by-$1"),
        rule("/old", rewrite="/"),
        rule("/deep/er", rewrite="/new/"),
        rule("/", rewrite="/below"),
    )
    expected = {
        "/exact?q=1": "/whole?q=1",
        "/v12/cart": "/cart/by-12",
        "/old": "/",
        "/old/a%20b?x=%26": "/a%20b?x=%26",
        "/deep/er": "/new/",
        "/deep/er/x//y": "/new/x//y",
        "/deep/../deeper": "/below/deeper",
        "/": "/below/",
    }
    for path in expected:
        await lab.ask(path=path)
    assert [request.target for request in app.requests] == list(expected.values())
    app.requests.clear()
    await lab.process.drain()
    await lab.in_flight({})
    for path in expected:
        await lab.ask(path=path)
    assert [request.target for request in app.requests] == list(expected.values())


async def test_a_consumer_is_sent_elsewhere_whether_or_not_an_instance_is_there(lab: GatewayLab) -> None:
    await lab.push(
        {},
        {
            "*": (
                rule("/exact", redirect=Redirect(path="/x y", status=301)),
                rule("/v([0-9]+)(/.*)?", redirect=Redirect(domain="new.test", path="/$1$2", status=308)),
                rule("/old", redirect=Redirect(domain="new.test", path="/new")),
                rule("/", redirect=Redirect(scheme="https", status=307)),
            )
        },
    )
    own = f"http://127.0.0.1:{lab.port}"
    expected = {
        "/exact?a=b": (301, f"{own}/x%20y?a=b"),
        "/v1/a": (308, "http://new.test/1/a"),
        "/old/a%0D%0Ab": (302, "http://new.test/new/a%0D%0Ab"),
        "/else?q": (307, "https://127.0.0.1/else?q"),
    }
    found = {}
    for path in expected:
        answer = await lab.ask("POST", path, data=b"x", allow_redirects=False)
        found[path] = (answer.status, answer.headers["Location"])
        assert answer.body == b""
    assert found == expected


async def test_headers_are_set_and_removed_on_both_ways(lab: GatewayLab) -> None:
    async def tells(application: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(application, reader) is not None:
            writer.write(response(b"", extra="Server: secret/1.0\r\nX-Left: 1\r\nCache-Control: no-store\r\n"))

    async with raw_application(tells) as app:
        changed = rule(
            "/changed",
            request_headers=HeaderChanges(set={"X-Tenant": "a $b"}, remove=("Cookie", "X-Both")),
            response_headers=HeaderChanges(
                set={"Strict-Transport-Security": "max-age=1", "Cache-Control": "private"}, remove=("Server", "X-Gone")
            ),
        )
        await push(lab, app, changed, RouteRule(path="/", service="shop"))
        sent = {"Cookie": "a=b", "X-Both": "1", "X-Tenant": "forged", "X-Kept": "1"}
        answer = await lab.ask(headers=sent)
        assert app.requests[-1].headers["cookie"] == "a=b"
        assert "Strict-Transport-Security" not in answer.headers
        for drained in (False, True):
            app.requests.clear()
            answer = await lab.ask(path="/changed/x", headers=sent)
            (request,) = app.requests
            assert {name: request.headers.get(name.lower()) for name in sent} == {
                "Cookie": None,
                "X-Both": None,
                "X-Tenant": "a $b",
                "X-Kept": "1",
            }
            assert answer.headers["Strict-Transport-Security"] == "max-age=1"
            assert (answer.headers["Cache-Control"], answer.headers["X-Left"]) == ("private", "1")
            assert "secret" not in answer.headers.get("Server", "")
            if not drained:
                await lab.process.drain()
                await lab.in_flight({})


async def test_a_body_that_is_too_long_reaches_nobody_whether_its_length_is_told_or_not(
    lab: GatewayLab, app: RawApplication
) -> None:
    await push(lab, app, rule(body_bytes_max=20_000))

    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * 1000

    for data, status in ((b"x" * 20_000, 200), (b"x" * 20_001, 413), (chunks(20), 200), (chunks(21), 413)):
        app.requests.clear()
        answer = await lab.ask("POST", data=data)
        assert (answer.status, len(app.requests)) == (status, 1 if status == 200 else 0)
    assert "too large" in answer.text


async def test_a_route_says_how_long_an_instance_may_be_silent(lab: GatewayLab) -> None:
    async with raw_application(holds) as app:
        await push(lab, app, rule(timeout_seconds=0.2))
        answer = await lab.ask("POST", data=b"x")
        assert (answer.status, len(app.requests)) == (504, 1)


async def test_a_route_says_at_how_many_instances_a_request_is_tried(lab: GatewayLab, app: RawApplication) -> None:
    closed = free_ports(2)
    ports = [*closed, app.port]
    endpoints = tuple(endpoint(f"i{port}", port) for port in ports)
    await lab.push({"shop": ServiceRotation(endpoints=endpoints)}, {"*": (rule(tries=1),)})
    assert {(await lab.ask("POST", data=b"x")).status for _ in range(3)} == {200, 502}


async def test_what_no_route_asks_for_costs_nothing_and_a_wrong_push_changes_nothing(
    lab: GatewayLab, app: RawApplication
) -> None:
    await push(lab, app, RouteRule(path="/", service="shop"))
    before = (await lab.state()).applied
    url = "http://gateway/rotation"
    connector = aiohttp.UnixConnector(str(lab.settings.control_socket))
    async with aiohttp.ClientSession(connector=connector) as session:
        for wrong in ({"filters": "x"}, {"methods": "GET"}, {"headers": 5}):
            routes = {"*": [{"path": "/", "service": "shop"} | wrong]}
            update = {"base": 0, "revision": before + 1, "services": {}, "routes": routes}
            async with session.put(url, json=update) as refused:
                assert refused.status == 400
    assert (await lab.state()).applied == before
    assert (await lab.ask()).status == 200
