"""Who nginx lets in, by address and by what he shows, and what the app is told of him. One nginx for all."""

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from cryptography.hazmat.primitives.asymmetric import ec

from coldchain.control.gateway import feed_gateway
from coldchain.model.app import RouteFilters
from coldchain.model.gateway_resource import ApiKeyDigest, Consumer, Resource
from coldchain.model.rotation import RouteRule, ServiceRotation
from coldchain.model.route_access import AddressRules, ApiKeyPlace, Authentication
from coldchain.testing.fake_key_source import FakeKeySource
from coldchain.testing.gateway_lab import Answer, GatewayLab, endpoint, running_gateway
from coldchain.testing.raw_application import RawApplication
from coldchain.testing.served_platform import served_platform

pytestmark = pytest.mark.asyncio(loop_scope="module")

MISSING, WRONG, NOT_HIS = (
    {"message": words}
    for words in (
        "this route asks who you are",
        "what you show is not valid",
        "this consumer may not use this route",
    )
)
NOT_FROM_THERE = {"message": "requests from this address are not let in here"}
FORGED = {"X-Consumer-Name": "root", "X-Consumer-Groups": "admins"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[GatewayLab]:
    async with running_gateway(worker_processes=1, trusted_proxies=("127.0.0.0/8", "10.9.0.0/16", "fd00::/8")) as lab:
        yield lab


def rule(path: str = "/", **filters: Any) -> RouteRule:
    return RouteRule(path=path, service="shop", filters=RouteFilters(**filters))


def open_to_all(path: str) -> RouteRule:
    return RouteRule(path=path, service="shop")


async def push(lab: GatewayLab, app: RawApplication, *rules: RouteRule, knows: tuple[Resource, ...] = ()) -> None:
    await lab.push({"shop": ServiceRotation(endpoints=(endpoint("a", app.port),))}, {"*": rules}, knows)


def said(answer: Answer) -> Any:
    return json.loads(answer.body)


def key_of(text: str, life_seconds: float | None = None) -> ApiKeyDigest:
    expires = None if life_seconds is None else time.time() + life_seconds
    return ApiKeyDigest(digest=hashlib.sha256(text.encode()).hexdigest(), expires_at=expires)


# --- addresses ---


async def test_requests_are_let_in_by_the_address_that_they_come_from(lab: GatewayLab, app: RawApplication) -> None:
    await push(
        lab,
        app,
        rule("/allowed", addresses=AddressRules(allow=("192.0.2.0/25", "2001:db8:0:8000::/49", "198.51.100.7"))),
        rule("/denied", addresses=AddressRules(deny=("192.0.2.0/25", "2001:db8::/32"))),
        rule("/both", addresses=AddressRules(allow=("192.0.2.0/24",), deny=("192.0.2.128/25",))),
        open_to_all("/"),
    )
    expected = {
        ("/allowed", "192.0.2.127"): 200,
        ("/allowed", "192.0.2.128"): 403,
        ("/allowed", "198.51.100.7"): 200,
        ("/allowed", "198.51.100.8"): 403,
        ("/allowed", "::ffff:198.51.100.7"): 200,
        ("/allowed", "2001:db8:0:8000::1"): 200,
        ("/allowed", "2001:db8:0:ffff::1"): 200,
        ("/allowed", "2001:db8:0:7fff::1"): 403,
        ("/denied", "192.0.2.1"): 403,
        ("/denied", "192.0.2.200"): 200,
        ("/denied", "2001:db8:ffff::"): 403,
        ("/denied", "2001:db9::"): 200,
        ("/both", "192.0.2.127"): 200,
        ("/both", "192.0.2.128"): 403,
        ("/both", "192.0.3.1"): 403,
        ("/else", "192.0.3.1"): 200,
    }
    found = {}
    for path, address in expected:
        answer = await lab.ask(path=path, headers={"X-Forwarded-For": address})
        found[path, address] = answer.status
        if answer.status == 403:
            assert said(answer) == NOT_FROM_THERE
    assert found == expected
    assert len(app.requests) == list(expected.values()).count(200)


async def test_the_address_is_the_right_most_one_that_no_trusted_proxy_has(
    lab: GatewayLab, app: RawApplication
) -> None:
    await push(lab, app, rule("/", addresses=AddressRules(allow=("192.0.2.1", "127.0.0.1", "10.9.0.0/16"))))
    expected = {
        "": 200,
        "192.0.2.1": 200,
        "203.0.113.5, 192.0.2.1": 200,
        "192.0.2.1, 203.0.113.5": 403,
        "203.0.113.5, 192.0.2.1, 10.9.1.1,fd00::1": 200,
        "192.0.2.1, 203.0.113.5, 10.9.1.1": 403,
        "10.9.0.1, 10.9.0.2": 200,
        "192.0.2.1:4711": 200,
        "[fd00::1]:1, [::ffff:192.0.2.1]:4711": 200,
        "192.0.2.01": 403,
        "192.0.2.1, unknown": 403,
        "192.0.2.1, ": 200,
        "192.0.2.1 203.0.113.5": 403,
        "unknown, 192.0.2.1": 200,
    }
    found = {text: (await lab.ask(headers={"X-Forwarded-For": text} if text else {})).status for text in expected}
    assert found == expected


async def test_nobody_is_believed_where_no_proxy_is_trusted(app: RawApplication) -> None:
    async with running_gateway(worker_processes=1) as lab:
        await push(lab, app, rule("/", addresses=AddressRules(allow=("192.0.2.1",))))
        assert (await lab.ask(headers={"X-Forwarded-For": "192.0.2.1"})).status == 403
        await push(lab, app, rule("/", addresses=AddressRules(deny=("127.0.0.1",))))
        assert (await lab.ask(headers={"X-Forwarded-For": "192.0.2.1"})).status == 403
        assert app.requests == []


# --- API keys ---


async def test_an_api_key_says_who_asks_and_the_app_hears_it_from_the_gateway_alone(
    lab: GatewayLab, app: RawApplication
) -> None:
    by_header = Authentication(api_key=ApiKeyPlace(header="X-Api-Key"))
    by_query = Authentication(api_key=ApiKeyPlace(query="key"))
    knows = (
        Consumer(name="anna", groups=("partners", "vip"), api_keys=(key_of("k-old"), key_of("k-new", 60))),
        Consumer(name="bert", api_keys=(key_of("k-bert"), key_of("k-gone", -1))),
    )
    rules = (rule("/header", authentication=by_header), rule("/query", authentication=by_query), open_to_all("/"))
    await push(lab, app, *rules, knows=knows)
    for key, name, groups in (
        ("k-old", "anna", "partners,vip"),
        ("k-new", "anna", "partners,vip"),
        ("k-bert", "bert", None),
    ):
        app.requests.clear()
        answers_ = [
            await lab.ask(path="/header", headers=FORGED | {"X-Api-Key": key}),
            await lab.ask(path=f"/query?a=1&key={key}&b=%20", headers=FORGED),
        ]
        assert [answer.status for answer in answers_] == [200, 200]
        for request in app.requests:
            assert request.headers.get("x-consumer-name") == name
            assert request.headers.get("x-consumer-groups") == groups
            assert "x-api-key" not in request.headers
        assert app.requests[1].target == "/query?a=1&b=%20"
    app.requests.clear()
    for path, headers in (("/header", {}), ("/query", {}), ("/query?a=1", {"X-Api-Key": "k-old"})):
        answer = await lab.ask(path=path, headers=headers)
        assert (answer.status, said(answer)) == (401, MISSING)
        assert answer.headers["WWW-Authenticate"] == 'ApiKey realm="coldchain"'
    for key in ("k-none", "k-gone", "", "x" * 5000, key_of("k-old").digest):
        for answer in (
            await lab.ask(path="/header", headers={"X-Api-Key": key}),
            await lab.ask(path=f"/query?key={key}"),
        ):
            assert (answer.status, said(answer)) == (401, WRONG)
    assert (await lab.ask(path="/query?key=k-old&key=k-old")).status == 401
    assert app.requests == []
    await lab.ask(path="/else", headers=FORGED)
    assert not {"x-consumer-name", "x-consumer-groups"} & app.requests[0].headers.keys()


async def test_a_route_names_who_is_let_in(lab: GatewayLab, app: RawApplication) -> None:
    place = ApiKeyPlace(header="X-Api-Key")
    knows = (
        Consumer(name="anna", groups=("partners",), api_keys=(key_of("a"),)),
        Consumer(name="bert", groups=("other",), api_keys=(key_of("b"),)),
        Consumer(name="cleo", api_keys=(key_of("c"),)),
    )
    one = Authentication(api_key=place, groups=("partners",), consumers=("cleo",))
    await push(lab, app, rule("/", authentication=one), knows=knows)
    statuses = []
    for key in "abc":
        answer = await lab.ask(headers={"X-Api-Key": key})
        statuses.append(answer.status)
        if answer.status == 403:
            assert said(answer) == NOT_HIS
    assert statuses == [200, 403, 200]


async def test_keys_come_and_go_without_a_gap_and_without_a_reload(lab: GatewayLab, app: RawApplication) -> None:
    async def status(key: str) -> int:
        return (await lab.ask(headers={"X-Api-Key": key})).status

    old, both, new = (
        Consumer(name="anna", api_keys=tuple(map(key_of, keys))) for keys in (("old",), ("old", "new"), ("new",))
    )
    wanted = Authentication(api_key=ApiKeyPlace(header="X-Api-Key"))
    await push(lab, app, rule("/", authentication=wanted), knows=(old, Consumer(name="bert", api_keys=(key_of("b"),))))
    assert [await status(key) for key in ("old", "new", "b")] == [200, 401, 200]
    await lab.know(both)
    assert [await status(key) for key in ("old", "new", "b")] == [200, 200, 200]
    await lab.know(new)
    assert [await status(key) for key in ("old", "new", "b")] == [401, 200, 200]
    await lab.forget(new)
    assert [await status(key) for key in ("old", "new", "b")] == [401, 401, 200]
    await push(lab, app, rule("/", authentication=wanted), knows=(both,))
    assert [await status(key) for key in ("old", "new", "b")] == [200, 200, 401]


async def test_the_access_log_has_the_consumer_and_no_key(lab: GatewayLab, app: RawApplication) -> None:
    wanted = Authentication(api_key=ApiKeyPlace(query="key"))
    await push(lab, app, rule("/", authentication=wanted), knows=(Consumer(name="anna", api_keys=(key_of("k-1"),)),))
    await lab.ask(path="/x?a=1&key=k-1&key2=2", headers={"X-Request-Id": "right"})
    await lab.ask(path="/x?key=k-2", headers={"X-Request-Id": "wrong"})
    right, wrong = await lab.logged("right"), await lab.logged("wrong")
    assert (right["uri"], right["consumer"]) == ("/x?a=1&key=***&key2=2", "anna")
    assert (wrong["uri"], wrong["consumer"], wrong["status"]) == ("/x?key=***", "", 401)
    assert wrong["reason"] == WRONG["message"]


async def test_a_definition_and_a_key_made_by_the_api_reach_the_gateway(lab: GatewayLab) -> None:
    wanted = {"apiKey": {"header": "X-Api-Key"}, "jwt": {"algorithm": "ES256", "keys": "https://issuer.test/keys"}}
    shop = {
        "id": "/shop",
        "container": {"docker": {"image": "shop:v1"}, "portMappings": [{"containerPort": 80}]},
        "routes": [{"domains": ["*"], "filters": {"authentication": wanted | {"groups": ["vip"]}}}],
    }

    async def status(key: str) -> int:
        return (await lab.ask(headers={"X-Api-Key": key})).status

    async with served_platform() as platform, ClientSession(platform.url) as session:
        controller, source = platform.controller, FakeKeySource()
        source.bodies["https://issuer.test/keys"] = json.dumps({"keys": [public_point()]}).encode()
        controller.key_sets.source = source
        tasks = [
            asyncio.create_task(feed_gateway(lab.gateway, controller.publisher, platform.clock)),
            asyncio.create_task(controller.key_sets.run()),
        ]
        try:
            await platform.deployed(session, shop)
            async with session.put("/v1/consumers/anna", json={"groups": ["vip"]}) as answer:
                assert answer.status == 201
            async with session.post("/v1/consumers/anna/keys") as answer:
                made = await answer.json()
            async with asyncio.timeout(20):
                while await status(made["key"]) in (401, 404):
                    await asyncio.sleep(0.02)
                assert await status("another") == 401
                async with session.delete(f"/v1/consumers/anna/keys/{made['id']}") as answer:
                    assert answer.status == 204
                while await status(made["key"]) != 401:
                    await asyncio.sleep(0.02)
                while (await lab.ask(headers={"Authorization": "Bearer x.y.z"})).status == 503:
                    await asyncio.sleep(0.02)
            async with session.get("/v1/key-sets") as answer:
                (known,) = (await answer.json())["keySets"]
            assert (known["keys"], known["problem"]) == ([{"id": "e", "algorithm": "ES256"}], "")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def public_point() -> dict[str, str]:
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(one.to_bytes(32, "big")).rstrip(b"=").decode() for one in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "kid": "e", "x": x, "y": y}
