"""Which version of a service takes a request: each kind of rule, stickiness, fall-back, and the mark on its way."""

import asyncio
import ipaddress
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest
import pytest_asyncio

from coldchain.model.app import RouteFilters
from coldchain.model.gateway_resource import ApiKeyDigest, Consumer, GrayRelease, gray_key
from coldchain.model.gray import GrayRule
from coldchain.model.rotation import Endpoint, RotationUpdate, RouteRule, ServiceRotation
from coldchain.model.route_access import ApiKeyPlace, Authentication
from coldchain.testing.gateway_lab import GatewayLab, endpoint, running_gateway
from coldchain.testing.ports import free_ports
from coldchain.testing.raw_application import RawApplication, answers, raw_application

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANYBODY, TRUSTED = "127.0.0.1", "127.0.0.2"
MARK = "X-Env"
"""Another name of the header than the usual one."""
KEYED = RouteFilters(authentication=Authentication(api_key=ApiKeyPlace(header="X-Api-Key")))
CONSUMERS = [
    Consumer(name=name, api_keys=(ApiKeyDigest(digest=sha256(f"key of {name}".encode()).hexdigest()),))
    for name in ("ann", "ben")
]
USERS = [f"user-{number}" for number in range(400)]


@dataclass
class Stage:
    """A gateway before an instance of each version, and what is asked of it."""

    lab: GatewayLab
    apps: Mapping[str, RawApplication]

    def endpoints(self, *without: str) -> tuple[Endpoint, ...]:
        return tuple(endpoint(name, app.port, version=name) for name, app in self.apps.items() if name not in without)

    async def release(
        self, *rules: GrayRule, share: int = 0, endpoints: tuple[Endpoint, ...] | None = None, **options: Any
    ) -> None:
        """Everything of `shop` goes by these rules; `plain` has the same endpoints and no release."""
        listed = ServiceRotation(endpoints=self.endpoints("third") if endpoints is None else endpoints)
        fields = {"service": "shop", "mark": "spring", "version": "new"} | options
        await self.lab.push(
            {"shop": listed, "plain": listed},
            {
                "*": (RouteRule(path="/", service="shop"),),
                "plain.test": (RouteRule(path="/", service="plain"),),
                "keyed.test": (RouteRule(path="/", service="shop", filters=KEYED),),
            },
            [GrayRelease(**fields, share=share, rules=rules), *CONSUMERS],
        )

    async def ask(self, headers: Mapping[str, str] | None = None, source: str = ANYBODY) -> str:
        """Which version answered, or the status where none did."""
        return (await self.exchange(headers, source))[0]

    async def exchange(
        self, headers: Mapping[str, str] | None = None, source: str = ANYBODY
    ) -> tuple[str, dict[str, str]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.lab.port, local_addr=(source, 0))
        lines = "".join(f"{name}: {value}\r\n" for name, value in ({"Host": "x"} | dict(headers or {})).items())
        writer.write(f"GET / HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
        line, *found = (await reader.readuntil(b"\r\n\r\n")).decode()[:-4].split("\r\n")
        body = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        names = {str(app.port): name for name, app in self.apps.items()}
        status = line.split(" ")[1]
        answered = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in found)}
        return (names[body] if status == "200" else status), answered

    async def many(self, number: int, headers: Mapping[str, str] | None = None) -> Counter[str]:
        return Counter([await self.ask(headers) for _ in range(number)])

    def marks(self) -> list[str | None]:
        """What the apps were told of the requests since this was last asked, in no order."""
        found = [one.headers.get(MARK.lower()) for app in self.apps.values() for one in app.requests]
        for app in self.apps.values():
            app.requests.clear()
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        lab = await stack.enter_async_context(
            running_gateway(worker_processes=1, mark_header=MARK, mark_trusted=(f"{TRUSTED}/32",))
        )
        apps = {name: await stack.enter_async_context(raw_application(answers)) for name in ("new", "old", "third")}
        yield Stage(lab, apps)


def number_of(user: str) -> int:
    """Of 10,000: who is below the share is in it."""
    return zlib.crc32(f"spring\n{user}".encode()) % 10_000


async def test_a_header_or_a_cookie_has_one_of_some_values_or_any(stage: Stage) -> None:
    await stage.release(
        GrayRule(by="header", name="X-Tester", values=("no",), to="normal"),
        GrayRule(by="header", name="X-Tester"),
        GrayRule(by="cookie", name="group", values=("beta", "inside")),
    )
    asked: dict[str, dict[str, str]] = {
        "new": {"x-tester": "anything"},
        "new ": {"Cookie": "a=1; group=inside"},
        "old": {"X-Tester": "no", "Cookie": "group=beta"},
        "old ": {"Cookie": "group=outside"},
        "old  ": {"Cookie": "groups=beta"},
        "old   ": {},
    }
    for version, headers in asked.items():
        assert (version, await stage.many(6, headers)) == (version, {version.strip(): 6})


async def test_the_users_of_a_list_get_the_new_version_and_nobody_else(stage: Stage) -> None:
    await stage.release(GrayRule(by="users", who="header", name="X-User", values=("ann", "ben")))
    assert {user: await stage.ask({"X-User": user}) for user in ("ann", "ben", "bent", "Ann")} == {
        "ann": "new",
        "ben": "new",
        "bent": "old",
        "Ann": "old",
    }
    assert await stage.ask() == "old"
    await stage.release(GrayRule(by="users", who="address", values=(TRUSTED,)))
    assert (await stage.ask(), await stage.ask(source=TRUSTED)) == ("old", "new")
    await stage.release(GrayRule(by="hash", who="address"), share=5000)
    for source in ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"):
        number = zlib.crc32(b"spring\n" + ipaddress.ip_address(source).packed) % 10_000
        assert await stage.ask(source=source) == ("new" if number < 5000 else "old")
    await stage.release(GrayRule(by="users", who="consumer", values=("ann",)))
    found = {name: await stage.ask({"Host": "keyed.test", "X-Api-Key": f"key of {name}"}) for name in ("ann", "ben")}
    assert found == {"ann": "new", "ben": "old"}
    assert await stage.ask({"X-Consumer-Name": "ann"}) == "old"


async def test_a_share_of_users_is_exact_and_only_grows(stage: Stage) -> None:
    gray: set[str] = set()
    for share in (0, 500, 5000, 10_000):
        await stage.release(GrayRule(by="hash", who="cookie", name="id"), share=share)
        now = {user for user in USERS if await stage.ask({"Cookie": f"id={user}"}) == "new"}
        assert now == {user for user in USERS if number_of(user) < share}
        assert gray <= now
        gray = now
    assert await stage.ask() == "old"


async def test_a_share_of_all_requests_is_a_matter_of_chance(stage: Stage) -> None:
    for share, least, most in ((0, 0, 0), (10_000, 300, 300), (5000, 150 - 52, 150 + 52)):  # six standard deviations
        await stage.release(GrayRule(by="weight"), share=share)
        assert least <= (await stage.many(300))["new"] <= most


async def test_who_keeps_the_cookie_stays_on_his_side(stage: Stage) -> None:
    sides = {}
    await stage.release(GrayRule(by="weight", sticky=True), share=5000)
    for _ in range(40):
        version, headers = await stage.exchange()
        name, _, rest = headers["set-cookie"].partition("=")
        number, _, attributes = rest.partition("; ")
        assert (name, attributes) == ("coldchain_gray", "Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax")
        sides[number] = version
        assert version == ("new" if int(number) < 5000 else "old")
    assert set(sides.values()) == {"new", "old"}
    for number, version in sides.items():
        again, headers = await stage.exchange({"Cookie": f"coldchain_gray={number}"})
        assert (again, headers.get("set-cookie")) == (version, None)
    for nonsense in ("", "x", "10000", "-1", "1e3"):
        assert "set-cookie" in (await stage.exchange({"Cookie": f"coldchain_gray={nonsense}"}))[1]
    await stage.release(GrayRule(by="weight", sticky=True), share=0)
    assert "set-cookie" not in (await stage.exchange())[1]


async def test_a_version_that_cannot_serve_is_stood_in_for_unless_the_rule_is_strict(stage: Stage) -> None:
    tester = {"X-Tester": "1"}
    rule, strict = (GrayRule(by="header", name="X-Tester", strict=strict) for strict in (False, True))
    closed = free_ports(1)[0]
    gone = (endpoint("gone", closed, version="new"), *stage.endpoints("new", "third"))
    leaving = (endpoint("new", stage.apps["new"].port, weight=0, version="new"), *stage.endpoints("new", "third"))
    for listed in (gone, leaving, stage.endpoints("new", "third")):
        await stage.release(rule, endpoints=listed)
        assert await stage.many(3, tester) == {"old": 3}
    await stage.release(strict, endpoints=gone)
    assert (await stage.ask(tester), await stage.ask()) == ("502", "old")
    await stage.release(strict, endpoints=leaving)
    assert (await stage.ask(tester), await stage.ask()) == ("503", "old")
    await stage.release(rule, endpoints=stage.endpoints("old", "third"))
    assert await stage.many(3) == {"new": 3}


async def test_a_third_version_gets_nothing_while_one_of_the_two_can_serve(stage: Stage) -> None:
    rule = GrayRule(by="header", name="X-Tester")
    for normal, expected in (("old", {"old": 6}), (None, {"old": 3, "third": 3})):
        await stage.release(rule, normal=normal, endpoints=stage.endpoints())
        assert await stage.many(6) == expected
        assert await stage.many(3, {"X-Tester": "1"}) == {"new": 3}
    await stage.release(rule, normal="old", endpoints=stage.endpoints("old", "new"))
    assert await stage.many(2) == {"third": 2}


async def test_a_release_begins_changes_and_ends_by_updates_of_its_own(stage: Stage) -> None:
    rule = GrayRule(by="header", name="X-Tester")
    await stage.release(rule)
    found = []
    for release in (
        GrayRelease(service="shop", mark="spring", version="new", rules=(rule,), only="gray"),
        GrayRelease(service="shop", mark="spring", version="new", rules=(rule,), only="normal"),
        None,
    ):
        base, stage.lab.revision = stage.lab.revision, stage.lab.revision + 1
        update = RotationUpdate(base=base, revision=stage.lab.revision, resources={gray_key("shop"): release})
        await stage.lab.gateway.apply(update)
        found.append(await stage.many(4) + await stage.many(4, {"X-Tester": "1"}))
    assert found == [{"new": 8}, {"old": 8}, {"new": 4, "old": 4}]


async def test_apps_are_told_the_mark_and_nobody_from_outside_gives_himself_one(stage: Stage) -> None:
    rule = GrayRule(by="header", name="X-Tester")
    await stage.release(rule)
    stage.marks()
    asked: list[tuple[dict[str, str], str, str, str | None]] = [
        ({"X-Tester": "1"}, ANYBODY, "new", "spring"),
        ({}, ANYBODY, "old", None),
        ({MARK: "spring"}, ANYBODY, "old", None),
        ({MARK: "autumn", "Host": "plain.test"}, ANYBODY, "", None),
        ({MARK: "spring"}, TRUSTED, "new", "spring"),
        ({MARK: "autumn"}, TRUSTED, "old", "autumn"),
        ({MARK: "autumn", "X-Tester": "1"}, TRUSTED, "new", "spring"),
        ({MARK: "autumn", "Host": "plain.test"}, TRUSTED, "", "autumn"),
        ({}, TRUSTED, "old", None),
    ]
    for headers, source, version, mark in asked:
        answered = await stage.ask(headers, source)
        assert (headers, source, answered if version else "", stage.marks()) == (headers, source, version, [mark])
    await stage.release(rule, endpoints=stage.endpoints("new", "third"))
    assert await stage.ask({MARK: "spring"}, TRUSTED) == "old"
    assert stage.marks() == ["spring"]


async def test_metrics_and_access_log_name_the_version(stage: Stage) -> None:
    await stage.release(GrayRule(by="header", name="X-Tester"))
    await stage.ask({"X-Tester": "1", "X-Request-Id": "versioned"})
    assert (await stage.lab.logged("versioned"))["version"] == "new"
    async with stage.lab.consumer.get(f"http://{stage.lab.settings.status_listen}/metrics") as response:
        text = await response.text()
    assert 'coldchain_gateway_in_flight{service="shop",version="new",instance="new"} 0' in text
