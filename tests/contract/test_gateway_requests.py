"""What nginx does with requests: routes, balancing, headers, and above all which failures are tried elsewhere."""

import asyncio
import contextlib
import io
import json
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from coldchain.model.rotation import RouteRule, ServiceRotation
from coldchain.testing.gateway_lab import GatewayLab, endpoint, running_gateway
from coldchain.testing.ports import free_ports
from coldchain.testing.raw_application import (
    RawApplication,
    answers,
    answers_once,
    answers_status,
    closes,
    holds,
    raw_application,
    read_request,
    resets,
)


@pytest.fixture
async def lab() -> AsyncIterator[GatewayLab]:
    async with running_gateway(worker_processes=1) as lab:
        yield lab


@pytest.fixture
async def app() -> AsyncIterator[RawApplication]:
    async with raw_application(answers) as application:
        yield application


def service(*ports: int) -> ServiceRotation:
    return ServiceRotation(endpoints=tuple(endpoint(f"i{port}", port) for port in ports))


async def test_domains_and_paths_choose_the_service(lab: GatewayLab) -> None:
    async with contextlib.AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(raw_application(answers)) for _ in range(4)]
        root, api, deep, other = (app.port for app in apps)
        services = {name: service(port) for name, port in (("r", root), ("a", api), ("d", deep), ("o", other))}
        await lab.push(
            services,
            {
                "Shop.Test": (
                    RouteRule(path="/api/v2/", service="d"),
                    RouteRule(path="/api", service="a"),
                    RouteRule(path="/", service="r"),
                ),
                "bare.test": (RouteRule(path="/only", service="a"),),
                "*": (RouteRule(path="/", service="o"),),
            },
        )
        expected = {
            ("shop.test", "/"): root,
            ("SHOP.test:8080", "/apix"): root,
            ("shop.test.", "/api"): api,
            ("shop.test", "/api?x=/api/v2"): api,
            ("shop.test", "/api/v2"): deep,
            ("shop.test", "/api/v2/x"): deep,
            ("shop.test", "/api/v20"): api,
            ("shop.test", "/api/v2/../x"): api,
            ("shop.test", "/%61pi/x"): api,
            ("shop.test", "//api/x"): root,
            ("bare.test", "/only/x"): api,
            ("elsewhere.test", "/api"): other,
        }
        found = {}
        for host, path in expected:
            status, _, body = await exchange(lab, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n")
            found[host, path] = int(body) if status == 200 else status
        assert found == expected
        status, headers, body = await exchange(lab, "GET / HTTP/1.1\r\nHost: bare.test\r\n")
        assert (status, headers["content-type"]) == (404, "application/json")
        assert json.loads(body) == {"message": "no route for this host and path"}
        status, _, _ = await exchange(lab, "GET / HTTP/1.0\r\n")
        assert status == 200


async def test_whole_paths_patterns_methods_headers_and_domains_below_one_choose_the_service(lab: GatewayLab) -> None:
    names = ("exact", "pattern", "deep", "written", "marked", "any", "below", "further", "rest")
    async with contextlib.AsyncExitStack() as stack:
        apps = {name: await stack.enter_async_context(raw_application(answers)) for name in names}
        await lab.push(
            {name: service(app.port) for name, app in apps.items()},
            {
                "x.test": (
                    RouteRule(path="/first", service="deep"),
                    RouteRule(path="/a", service="exact", path_kind="exact"),
                    RouteRule(path="/[a-z]+/[0-9]{1,3}", service="pattern", path_kind="regex"),
                    RouteRule(path="/(", service="rest", path_kind="regex"),
                    RouteRule(path="/(a+)+b", service="rest", path_kind="regex"),
                    RouteRule(path="/c", service="written", methods=("POST", "PUT")),
                    RouteRule(path="/c", service="marked", headers={"X-Mark": "gray", "X-Any": "*"}),
                    RouteRule(path="/c", service="any"),
                ),
                "*.x.test": (RouteRule(path="/", service="below"),),
                "*.b.x.test": (RouteRule(path="/", service="further"),),
                "*": (RouteRule(path="/", service="rest"),),
            },
        )
        expected: dict[tuple[str, str, str, str], str | int] = {
            ("GET", "x.test", "/first/a/1", ""): "deep",
            ("GET", "x.test", "/a", ""): "exact",
            ("GET", "x.test", "/a?q", ""): "exact",
            ("GET", "x.test", "/a/", ""): 404,
            ("GET", "x.test", "/b/12", ""): "pattern",
            ("GET", "x.test", "/b/%31", ""): "pattern",
            ("GET", "x.test", "/b/1%0A", ""): 404,
            ("GET", "x.test", "/b/1234", ""): 404,
            ("GET", "x.test", "/z/b/12", ""): 404,
            ("GET", "x.test", "/" + "a" * 60, ""): 404,
            ("POST", "x.test", "/c/1/2", ""): "written",
            ("GET", "x.test", "/c", ""): "any",
            ("GET", "x.test", "/c", "X-Mark: gray\r\nx-any: 1\r\n"): "marked",
            ("GET", "x.test", "/c", "X-Mark: gray\r\n"): "any",
            ("GET", "x.test", "/c", "X_Mark: gray\r\nX-Any: 1\r\n"): "any",
            ("GET", "x.test", "/c", "X-Mark: grayer\r\nX-Any: 1\r\n"): "any",
            ("GET", "W.x.test:80", "/a", ""): "below",
            ("GET", "v.w.x.test", "/a", ""): "below",
            ("GET", "b.x.test", "/a", ""): "below",
            ("GET", "a.b.x.test", "/a", ""): "further",
            ("GET", ".x.test", "/a", ""): "rest",
            ("GET", "yx.test", "/a", ""): "rest",
        }
        ports = {str(app.port): name for name, app in apps.items()}
        found = {}
        for method, host, path, headers in expected:
            length = "Content-Length: 0\r\n" if method == "POST" else ""
            status, _, body = await exchange(lab, f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{length}{headers}")
            found[method, host, path, headers] = ports[body.decode()] if status == 200 else status
        assert found == expected


async def test_the_path_passed_on_is_the_one_the_route_was_chosen_by(lab: GatewayLab, app: RawApplication) -> None:
    await lab.route(endpoint("a", app.port))
    paths = {
        "/a/../b?q=1%20&x=%2f": "/b?q=1%20&x=%2f",
        "/a%20b/%C3%A9": "/a%20b/%C3%A9",
        "/a%3Fb": "/a%3Fb",
        "/a//b": "/a//b",
        "/public/%2e%2e/admin": "/admin",
    }
    for path in paths:
        await exchange(lab, f"GET {path} HTTP/1.1\r\nHost: x\r\n")
    assert [request.target for request in app.requests] == list(paths.values())
    app.requests.clear()
    await lab.process.drain()
    await lab.in_flight({})
    for path in paths:
        await exchange(lab, f"GET {path} HTTP/1.1\r\nHost: x\r\n")
    assert [request.target for request in app.requests] == list(paths.values())


async def test_without_an_endpoint_the_service_answers_503_on_its_own_route(lab: GatewayLab) -> None:
    routes = {name: (RouteRule(path="/", service=name),) for name in ("empty", "zero", "unknown")}
    services = {"empty": ServiceRotation(), "zero": ServiceRotation(endpoints=(endpoint("a", 1, weight=0),))}
    await lab.push(services, routes)
    for name in routes:
        answer = await lab.ask(headers={"Host": name})
        assert answer.status == 503
        assert json.loads(answer.body) == {"message": "no instance is in rotation"}


@pytest.mark.parametrize("balance", ["round_robin", "least_connections"])
async def test_equal_weights_take_turns_exactly(lab: GatewayLab, balance: str) -> None:
    async with raw_application(answers) as one, raw_application(answers) as two, raw_application(answers) as three:
        ports = (one.port, two.port, three.port)
        await lab.route(*(endpoint(f"i{port}", port) for port in ports), balance=balance)
        asked = [int((await lab.ask()).body) for _ in range(30)]
        assert Counter(asked) == dict.fromkeys(ports, 10)
        assert all(asked[i : i + 3] == asked[:3] for i in range(0, 30, 3))


async def test_unequal_weights_are_kept_smoothly(lab: GatewayLab) -> None:
    async with raw_application(answers) as heavy, raw_application(answers) as light:
        await lab.route(endpoint("heavy", heavy.port, 3), endpoint("light", light.port, 1), endpoint("zero", 1, 0))
        asked = [int((await lab.ask()).body) for _ in range(40)]
        for begin in range(0, 40, 4):
            assert Counter(asked[begin : begin + 4]) == {heavy.port: 3, light.port: 1}


async def test_least_connections_avoids_the_busy_one(lab: GatewayLab) -> None:
    async with raw_application(holds) as slow, raw_application(answers) as quick:
        await lab.route(endpoint("slow", slow.port), endpoint("quick", quick.port), balance="least_connections")
        pending: list[asyncio.Task[object]] = []
        while not slow.requests:
            pending.append(asyncio.create_task(lab.ask()))
            await asyncio.wait(pending, timeout=0.2)
        assert {(await lab.ask()).text for _ in range(10)} == {str(quick.port)}
        slow.released.set()
        await asyncio.gather(*pending)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST", "PATCH"])
async def test_a_request_that_reached_an_app_is_never_repeated(lab: GatewayLab, method: str) -> None:
    async with raw_application(resets) as one, raw_application(resets) as two:
        await lab.route(endpoint("one", one.port), endpoint("two", two.port))
        for _ in range(6):
            answer = await lab.ask(method, data=b"body", headers={"X-Request-Id": "it"})
            assert answer.status == 502
            assert json.loads(answer.body) == {"message": "the instance broke off the connection"}
        assert len(one.requests) + len(two.requests) == 6
        assert len(one.requests) == 3


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_app_that_closes_unread_gets_it_at_most_once(lab: GatewayLab, method: str) -> None:
    """The bytes may have gone out before the closing was seen: then nobody can know, and it is not repeated."""
    async with raw_application(closes) as bad, raw_application(answers) as good:
        await lab.route(endpoint("bad", bad.port), endpoint("good", good.port))
        statuses = [(await lab.ask(method, data=b"x", headers={"X-Number": str(n)})).status for n in range(20)]
        arrived = Counter(request.headers["x-number"] for request in good.requests)
        assert set(arrived.values()) == {1}
        assert statuses.count(200) == len(arrived) >= 10
        assert statuses.count(502) == 20 - len(arrived)
        assert bad.connections >= statuses.count(502)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refused_connection_is_tried_elsewhere(lab: GatewayLab, app: RawApplication, method: str) -> None:
    refused = free_ports(4)
    await lab.route(endpoint("good", app.port), *(endpoint(f"bad{port}", port) for port in refused))
    for number in range(10):
        answer = await lab.ask(method, data=b"body", headers={"X-Request-Id": f"id-{number}"})
        assert (answer.status, answer.text) == (200, str(app.port))
    assert [request.body for request in app.requests] == [b"body"] * 10
    lines = [await lab.logged(f"id-{number}") for number in range(10)]
    tries = Counter(instance for line in lines for instance in line["instances"].split(", "))
    assert tries.pop("good") == 10
    assert tries == dict.fromkeys((f"bad{port}" for port in refused), 1), "each is skipped for a second"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_when_all_refuse_the_answer_is_short_and_comes_at_once(lab: GatewayLab, method: str) -> None:
    await lab.route(*(endpoint(f"bad{port}", port) for port in free_ports(2)))
    for _ in range(3):
        answer = await lab.ask(method, data=b"body")
        assert (answer.status, json.loads(answer.body)) == (502, {"message": "no instance can be reached"})


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_what_an_app_answers_is_passed_on_as_it_is(lab: GatewayLab, status: int) -> None:
    async with raw_application(answers_status(status)) as one, raw_application(answers_status(status)) as two:
        await lab.route(endpoint("one", one.port), endpoint("two", two.port))
        answer = await lab.ask()
        assert (answer.status, answer.text) == (status, "from the app")
        assert len(one.requests) + len(two.requests) == 1


async def test_silence_is_answered_once_with_504() -> None:
    async with running_gateway(upstream_read_timeout_seconds=0.2) as lab, raw_application(holds) as slow:
        await lab.route(endpoint("one", slow.port), endpoint("two", slow.port))
        for method in ("GET", "POST"):
            answer = await lab.ask(method)
            assert answer.status == 504
            assert json.loads(answer.body) == {"message": "the instance did not answer in time"}
        assert len(slow.requests) == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_connections_that_an_app_closed_while_idle_cost_nothing(lab: GatewayLab, method: str) -> None:
    async with raw_application(answers_once) as app:
        await lab.route(endpoint("a", app.port))
        assert (await lab.ask(method)).status == 200
        app.released.set()
        await asyncio.sleep(0.05)  # the closing reaches nginx; a request that crosses it could not be saved
        for _ in range(10):
            assert (await lab.ask(method)).status == 200
            await asyncio.sleep(0.01)
        assert len(app.requests) == 11


async def test_counts_stay_right_through_every_kind_of_end(lab: GatewayLab, app: RawApplication) -> None:
    async with raw_application(resets) as bad, raw_application(holds) as slow:
        (refused,) = free_ports(1)
        ports = {"good": app.port, "bad": bad.port, "slow": slow.port, "refused": refused}
        await lab.route(*(endpoint(name, port) for name, port in ports.items()), balance="least_connections")
        pending = [asyncio.create_task(lab.ask("POST", data=b"body")) for _ in range(30)]
        async with asyncio.timeout(20):
            # Of those that are open the others have not got where they go.
            while len(open_ones := [task for task in pending if not task.done()]) > len(slow.requests):
                await asyncio.wait(open_ones, timeout=0.02)
        assert len(open_ones) == len(slow.requests) > 0
        await lab.change(*(endpoint(name, port, 0) for name, port in ports.items()))
        await lab.in_flight({"good": 0, "bad": 0, "refused": 0, "slow": len(open_ones)})
        for task in open_ones[1:]:
            task.cancel()
        await lab.in_flight({"good": 0, "bad": 0, "refused": 0, "slow": 1})
        slow.released.set()
        assert (await open_ones[0]).status == 200
        await lab.in_flight(dict.fromkeys(ports, 0))


async def test_a_body_that_takes_its_time_goes_to_what_is_in_rotation_at_its_end(lab: GatewayLab) -> None:
    async with raw_application(answers) as old, raw_application(answers) as new:
        await lab.route(endpoint("old", old.port))
        reader, writer = await asyncio.open_connection("127.0.0.1", lab.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello")
        await writer.drain()
        await lab.ask()  # the gateway has worked since
        await lab.change(endpoint("old", old.port, 0), endpoint("new", new.port))
        assert (await lab.gateway.report()).in_flight == {"old": 0}
        writer.write(b"world")
        assert b"200" in await reader.readline()
        writer.close()
        assert [request.body for request in new.requests] == [b"helloworld"]
        assert len(old.requests) == 1


async def test_headers_that_the_consumer_may_not_make_up(lab: GatewayLab, app: RawApplication) -> None:
    await lab.route(endpoint("a", app.port))
    await exchange(
        lab,
        "GET / HTTP/1.1\r\nHost: shop.test:8080\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n"
        "X-Forwarded-Host: evil\r\nX-Real-IP: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX_Forwarded_For: 1.2.3.4\r\n"
        "Connection: X-Forwarded-For, keep-alive, upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\nTE: trailers\r\n"
        "Proxy: http://evil\r\nX-Request-Id: bad id\r\nX-Other: kept\r\n",
    )
    headers = app.requests[0].headers
    request_id = headers.pop("x-request-id")
    assert re.fullmatch(rf"{re.escape(socket.gethostname())}-\d+-1-[\d.]+", request_id)
    assert headers == {
        "host": "shop.test:8080",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "shop.test:8080",
        "x-real-ip": "127.0.0.1",
        "x-other": "kept",
    }


async def test_a_trusted_balancer_is_believed(app: RawApplication) -> None:
    async with running_gateway(trusted_proxies=("127.0.0.0/8",)) as lab:
        await lab.route(endpoint("a", app.port))
        await lab.ask(headers={"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"})
        await lab.ask(headers={"X-Forwarded-Proto": "evil"})
    first, second = (request.headers for request in app.requests)
    assert (first["x-forwarded-for"], first["x-forwarded-proto"]) == ("1.2.3.4, 127.0.0.1", "https")
    assert (second["x-forwarded-for"], second["x-forwarded-proto"]) == ("127.0.0.1", "http")


async def test_upgrades_to_websocket_pass_through_and_are_counted(lab: GatewayLab) -> None:
    async def echo(app: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(app, reader)
        assert request is not None
        assert (request.headers["upgrade"], request.headers["connection"]) == ("websocket", "upgrade")
        writer.write(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
        while data := await reader.read(100):
            writer.write(data.upper())

    async with raw_application(echo) as app:
        await lab.route(endpoint("a", app.port))
        reader, writer = await asyncio.open_connection("127.0.0.1", lab.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n")
        assert b"101" in (await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"HELLO"
        await lab.change(endpoint("a", app.port, 0))
        assert (await lab.gateway.report()).in_flight == {"a": 1}
        writer.write(b"still")
        assert await reader.readexactly(5) == b"STILL"
        writer.close()
        await lab.in_flight({"a": 0})


@pytest.mark.parametrize("chunked", [True, False])
async def test_events_of_a_stream_arrive_as_they_are_sent(lab: GatewayLab, chunked: bool) -> None:
    async def stream(app: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(app, reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n" if chunked else b"Connection: close\r\n\r\n")
        await asyncio.sleep(0.02)
        writer.write(b"9\r\ndata: 1\n\n\r\n" if chunked else b"data: 1\n\n")
        await app.released.wait()
        writer.write(b"0\r\n\r\n" if chunked else b"")

    async with raw_application(stream) as app:
        await lab.route(endpoint("a", app.port))
        async with asyncio.timeout(5), lab.consumer.get(lab.url) as response:
            assert await response.content.readline() == b"data: 1\n"
            app.released.set()


async def test_a_gateway_that_was_never_told_anything_waits_for_its_first_rotation(app: RawApplication) -> None:
    async with running_gateway() as lab:
        early = asyncio.create_task(lab.ask())
        done, _ = await asyncio.wait([early], timeout=0.2)
        assert not done
        await lab.route(endpoint("a", app.port))
        assert (await early).status == 200


async def test_bodies_that_are_too_large_and_malformed_requests_get_short_answers(app: RawApplication) -> None:
    async with running_gateway(request_body_bytes_max=1000) as lab:
        await lab.route(endpoint("a", app.port))
        answer = await lab.ask("POST", data=b"x" * 1001, headers={"X-Request-Id": "big"})
        assert (answer.status, json.loads(answer.body)) == (413, {"message": "the request body is too large"})
        logged = await lab.logged("big")
        assert (logged["method"], logged["status"]) == ("POST", 413)
        status, _, body = await exchange(lab, "NONSENSE\r\n")
        assert (status, json.loads(body)) == (400, {"message": "the request is malformed"})
        for request, wanted, words in (
            ("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n", 501, "sent in a way"),
            ("GET / HTTP/3.0\r\nHost: x\r\n", 505, "the version of HTTP"),
            ("TRACE / HTTP/1.1\r\nHost: x\r\n", 405, "the method"),
            (f"GET /{'x' * 40_000} HTTP/1.1\r\nHost: x\r\n", 414, "request line is too long"),
        ):
            status, headers, body = await exchange(lab, request)
            assert (status, headers["content-type"]) == (wanted, "application/json")
            assert words in json.loads(body)["message"]
    assert app.requests == []


async def test_large_bodies_and_answers_pass_whole(lab: GatewayLab) -> None:
    async def mirror(app: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(app, reader)
        assert request is not None
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(request.body)}\r\n\r\n".encode() + request.body)
        await writer.drain()

    body = bytes(range(256)) * 40_000
    async with raw_application(mirror) as app:
        await lab.route(endpoint("a", app.port))
        assert (await lab.ask("POST", data=io.BytesIO(body))).body == body


async def test_a_line_of_the_access_log_tells_the_whole_story(lab: GatewayLab, app: RawApplication) -> None:
    (refused,) = free_ports(1)
    await lab.route(endpoint("good", app.port))
    await lab.ask("POST", '/"x', data=b"x", headers={"X-Request-Id": "first", "Host": "shop.test"})
    line = await lab.logged("first")
    assert line.pop("time") > 1_700_000_000
    assert 0 <= line.pop("seconds") < 5
    assert line.pop("bytes") == len(str(app.port))
    assert line == {
        "method": "POST",
        "host": "shop.test",
        "uri": "/%22x",
        "status": 200,
        "requestId": "first",
        "trace": "",
        "service": "shop",
        "version": "",
        "instances": "good",
        "addresses": f"127.0.0.1:{app.port}",
        "statuses": "200",
        "reason": "",
        "client": "127.0.0.1",
        "consumer": "",
    }
    await lab.change(endpoint("bad", refused))
    await lab.ask(headers={"X-Request-Id": "second"})
    line = await lab.logged("second")
    assert (line["status"], line["instances"], line["statuses"]) == (502, "bad", "502")
    assert line["reason"] == "no instance can be reached"


async def test_while_draining_every_answer_closes_its_connection(lab: GatewayLab, app: RawApplication) -> None:
    await lab.gateway.renew(60)
    await lab.route(endpoint("a", app.port))
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.port)
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"Connection: keep-alive" in head
    await reader.readexactly(len(str(app.port)))
    await lab.process.drain()
    assert await lab.ready() == 503
    await asyncio.sleep(0.1)  # every worker hears of it within its next tick
    writer.write(request)
    rest = await reader.read()
    assert rest.count(b"Connection:") == 1
    assert b"Connection: close" in rest
    assert rest.endswith(str(app.port).encode())
    writer.close()
    assert len(app.requests) == 2


async def exchange(lab: GatewayLab, head: str) -> tuple[int, dict[str, str], bytes]:
    """One request written as it stands, on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", lab.port)
    closing = "" if "Connection:" in head else "Connection: close\r\n"
    writer.write(f"{head}{closing}\r\n".encode("latin-1"))
    line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")[:-4].split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    writer.close()
    return int(line.split(" ")[1]), headers, body
