"""What nginx lets through of a route with limits, by one worker and by several, and what becomes of the rest."""

import asyncio
import hashlib
import os
import signal
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from coldchain.model.app import RouteFilters
from coldchain.model.gateway_resource import ApiKeyDigest, Consumer
from coldchain.model.limit import Limit, LimitQueue
from coldchain.model.rotation import RouteRule, ServiceRotation
from coldchain.model.route_access import ApiKeyPlace, Authentication
from coldchain.testing.gateway_lab import Answer, GatewayLab, endpoint, running_gateway
from coldchain.testing.raw_application import RawApplication, raw_application, read_request, response

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKERS = 4
_number = 0


class Held:
    """An application that answers at once, and below /held only when it is told to."""

    def __init__(self) -> None:
        self.open = 0
        self.most = 0
        self.answer = asyncio.Event()
        self.served = 0

    async def serve(
        self, application: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while (request := await read_request(application, reader)) is not None:
            self.open += 1
            self.most = max(self.most, self.open)
            if "/held" in request.target:
                await self.answer.wait()
            self.open -= 1
            self.served += 1
            writer.write(response(b"ok"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[GatewayLab]:
    async with running_gateway(worker_processes=WORKERS, trusted_proxies=("127.0.0.9/32",)) as lab:
        yield lab


@pytest.fixture
def held() -> Held:
    return Held()


@pytest_asyncio.fixture(loop_scope="module")
async def app(held: Held) -> AsyncIterator[RawApplication]:
    async with raw_application(held.serve) as application:
        yield application
        held.answer.set()  # a test that failed left requests open


@pytest.fixture
def path() -> str:
    """A route of the test's own, so that no limit knows anything."""
    global _number
    _number += 1
    return f"/t{_number}"


async def push(lab: GatewayLab, app: RawApplication, path: str, *limits: Limit) -> None:
    filters = RouteFilters(limits=limits)
    rule = RouteRule(path=path, service="shop", filters=filters, name=f"lab{path}")
    await lab.push({"shop": ServiceRotation(endpoints=(endpoint("a", app.port),))}, {"*": (rule,)})


async def ask_many(lab: GatewayLab, count: int, path: str) -> list[Answer]:
    return list(await asyncio.gather(*(lab.ask(path=path) for _ in range(count))))


def by_status(answers: list[Answer]) -> dict[int, int]:
    found: dict[int, int] = {}
    for answer in answers:
        found[answer.status] = found.get(answer.status, 0) + 1
    return found


async def test_a_burst_goes_through_and_no_more_whichever_workers_it_comes_to(
    lab: GatewayLab, app: RawApplication, path: str
) -> None:
    await push(lab, app, path, Limit(rate=6, per_seconds=60, burst=10))
    answers = await ask_many(lab, 60, path)
    found = by_status(answers)
    # A full bucket may give one more for each other worker that asks at the same moment.
    assert found.keys() == {200, 429}
    assert 10 <= found[200] <= 10 + WORKERS - 1
    refused = next(answer for answer in answers if answer.status == 429)
    assert 1 <= int(refused.headers["Retry-After"]) <= 10 * WORKERS  # one token each takes ten seconds to come
    assert (refused.headers["RateLimit-Limit"], refused.headers["RateLimit-Remaining"]) == ("6", "0")
    assert "too many requests" in refused.text


async def test_a_limit_that_shows_it_says_on_every_answer_what_is_left(
    lab: GatewayLab, app: RawApplication, path: str
) -> None:
    wide = Limit(rate=100, per_seconds=60, show_remaining=True)
    await push(lab, app, path, wide, Limit(rate=6, per_seconds=600, burst=4, show_remaining=True, by="address"))
    answers = [await lab.ask(path=path) for _ in range(5)]
    fields = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
    found = [(answer.status, *(answer.headers[field] for field in fields)) for answer in answers]
    assert [one[:3] for one in found] == [
        *((200, "6", left) for left in ("3", "2", "1", "0")),
        (429, "6", "0"),
    ], "of the tighter one"
    assert [99 <= int(one[3]) - 100 * index <= 100 for index, one in enumerate(found[:4])] == [True] * 4
    await push(lab, app, f"{path}/plain", Limit(rate=6))
    assert not {*fields} & (await lab.ask(path=f"{path}/plain")).headers.keys()


async def test_a_rate_is_held_over_time(lab: GatewayLab, app: RawApplication, path: str) -> None:
    await push(lab, app, path, Limit(rate=50, per_seconds=1, burst=5))
    passed, began = 0, time.monotonic()
    while time.monotonic() < began + 1.5:
        passed += by_status(await ask_many(lab, 8, path)).get(200, 0)
    seconds = time.monotonic() - began
    assert passed <= 5 + 50 * seconds + WORKERS
    assert passed >= 25  # a machine that stands still must not fail this; one that lets nothing through must


async def test_each_address_has_its_own_and_the_proxy_before_the_gateway_is_believed(
    lab: GatewayLab, app: RawApplication, path: str
) -> None:
    await push(lab, app, path, Limit(rate=1, per_seconds=600, by="address"))

    async def ask(source: str, forwarded: str) -> int:
        connector = aiohttp.TCPConnector(local_addr=(source, 0), force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            headers = {"X-Forwarded-For": forwarded}
            async with session.get(f"{lab.url}{path}", headers=headers) as answer:
                return answer.status

    assert [await ask("127.0.0.1", "9.9.9.9"), await ask("127.0.0.1", "8.8.8.8")] == [200, 429]
    assert [await ask("127.0.0.2", "9.9.9.9"), await ask("127.0.0.2", "9.9.9.9")] == [200, 429]
    proxied = [await ask("127.0.0.9", f"1.1.1.1, {client}") for client in ("9.9.9.9", "8.8.8.8", "9.9.9.9")]
    assert proxied == [200, 200, 429]
    networks = [await ask("127.0.0.9", f"2001:db8:0:{one}::{two}") for one, two in ((1, 1), (1, 2), (2, 1))]
    assert networks == [200, 429, 200]  # who has an IPv6 address has its network


async def test_each_consumer_has_his_own_from_wherever_he_comes(
    lab: GatewayLab, app: RawApplication, path: str
) -> None:
    keys = {name: f"key-of-{name}" for name in ("ann", "bob")}
    consumers = tuple(
        Consumer(name=name, api_keys=(ApiKeyDigest(digest=hashlib.sha256(key.encode()).hexdigest()),))
        for name, key in keys.items()
    )
    filters = RouteFilters(
        authentication=Authentication(api_key=ApiKeyPlace(header="X-Api-Key")),
        limits=(Limit(rate=1, per_seconds=600, burst=2, by="consumer"),),
    )
    rule = RouteRule(path=path, service="shop", filters=filters, name=f"lab{path}")
    await lab.push({"shop": ServiceRotation(endpoints=(endpoint("a", app.port),))}, {"*": (rule,)}, consumers)
    found = [
        (await lab.ask(path=path, headers={"X-Api-Key": keys[name]})).status for name in ("ann",) * 4 + ("bob",) * 3
    ]
    assert found == [200, 200, 429, 429, 200, 200, 429]
    assert (await lab.ask(path=path)).status == 401  # who he is, is asked first


async def test_no_more_are_open_at_once_than_allowed_and_each_end_makes_room(
    lab: GatewayLab, app: RawApplication, held: Held, path: str
) -> None:
    await push(lab, app, path, Limit(concurrency=3))
    open_ones = [asyncio.create_task(lab.ask(path=f"{path}/held")) for _ in range(12)]
    done, waiting = await asyncio.wait(open_ones, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    while len(done) < 9:
        more, waiting = await asyncio.wait(waiting, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert more, "fewer were refused than there are above the limit"
        done |= more
    refused = [task.result() for task in done]
    assert by_status(refused) == {503: 9}
    assert refused[0].headers["Retry-After"] == "1"
    held.answer.set()
    assert by_status(list(await asyncio.gather(*waiting))) == {200: 3}
    assert held.most <= 3
    assert by_status([await lab.ask(path=path) for _ in range(8)]) == {200: 8}


async def test_a_killed_worker_leaves_nothing_open(lab: GatewayLab, app: RawApplication, held: Held, path: str) -> None:
    await push(lab, app, path, Limit(concurrency=4))
    open_ones = [asyncio.create_task(_failing(lab, f"{path}/held")) for _ in range(4)]
    while held.open < 4:
        await asyncio.sleep(0.01)
    assert (await lab.ask(path=path)).status == 503
    for worker in (await lab.state()).workers:
        os.kill(worker.pid, signal.SIGKILL)
    await asyncio.gather(*open_ones)
    held.answer.set()
    while (state := await lab.process.state()) is None or len(state.workers) < WORKERS:
        await asyncio.sleep(0.01)
    assert by_status([await lab.ask(path=path) for _ in range(8)]) == {200: 8}


async def _failing(lab: GatewayLab, path: str) -> None:
    with pytest.raises(aiohttp.ClientError):
        await lab.ask("POST", path=path, data=b"x")


async def test_some_wait_and_the_rest_is_refused(lab: GatewayLab, app: RawApplication, held: Held, path: str) -> None:
    await push(lab, app, path, Limit(concurrency=2, queue=LimitQueue(length=3, seconds=20)))
    tasks = [asyncio.create_task(lab.ask(path=f"{path}/held")) for _ in range(8)]
    done: set[asyncio.Task[Answer]] = set()
    while len(done) < 3:
        more, _ = await asyncio.wait(set(tasks) - done, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert more, "nobody is refused"
        done |= more
    assert by_status([task.result() for task in done]) == {503: 3}
    held.answer.set()
    rest = await asyncio.gather(*(set(tasks) - done))
    assert by_status(list(rest)) == {200: 5}
    assert held.most <= 2


async def test_who_waits_in_vain_is_refused_and_who_leaves_makes_room_in_the_queue(
    lab: GatewayLab, app: RawApplication, held: Held, path: str
) -> None:
    limit = Limit(concurrency=1, queue=LimitQueue(length=1, seconds=0.3))
    await push(lab, app, path, limit)
    first = asyncio.create_task(lab.ask(path=f"{path}/held"))
    while held.open < 1:
        await asyncio.sleep(0.01)
    began = time.monotonic()
    assert (await lab.ask(path=path)).status == 503
    assert time.monotonic() - began >= 0.29
    await push(lab, app, path, Limit(concurrency=1, queue=LimitQueue(length=1, seconds=30)))
    leaves = asyncio.create_task(lab.ask(path=path))
    await waiting(lab, 1)
    leaves.cancel()
    await waiting(lab, 0)
    stays = asyncio.create_task(lab.ask(path=path))
    await waiting(lab, 1)
    held.answer.set()
    assert ((await stays).status, (await first).status) == (200, 200)


async def waiting(lab: GatewayLab, wanted: int) -> None:
    """Until so many wait in the queue of the one limit."""
    while [use.waiting for use in (await lab.gateway.limits()).values()] != [wanted]:
        await asyncio.sleep(0.01)


async def test_a_gateway_works_by_its_share_until_it_is_told_otherwise(
    lab: GatewayLab, app: RawApplication, held: Held, path: str
) -> None:
    rate, concurrency = Limit(rate=40, per_seconds=60, burst=10), Limit(concurrency=4)
    await push(lab, app, path, rate)
    (name,) = await lab.gateway.limits()
    await lab.gateway.share({name: 0.1, "another": 0.5})
    await push(lab, app, path, rate)  # who works by that works by the shares told before it, too
    assert {use.share for use in (await lab.gateway.limits()).values()} == {0.1}
    passed = by_status(await ask_many(lab, 30, path))[200]
    assert 1 <= passed <= 1 + WORKERS - 1
    await lab.gateway.share({"*": 0.5})
    await push(lab, app, path, concurrency)
    tasks = [asyncio.create_task(lab.ask(path=f"{path}/held")) for _ in range(6)]
    done: set[asyncio.Task[Answer]] = set()
    while len(done) < 4:
        more, _ = await asyncio.wait(set(tasks) - done, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert more, "fewer are refused than there are above the share"
        done |= more
    held.answer.set()
    assert by_status(list(await asyncio.gather(*tasks))) == {200: 2, 503: 4}
    await lab.gateway.share({})
    await push(lab, app, path, concurrency)
    assert {use.share for use in (await lab.gateway.limits()).values()} == {1.0}


async def test_routes_of_one_service_share_what_is_counted_by_it(
    lab: GatewayLab, app: RawApplication, path: str
) -> None:
    filters = RouteFilters(limits=(Limit(rate=1, per_seconds=600, burst=4, by="service"),))
    rules = tuple(
        RouteRule(path=f"{path}/{part}", service="shop", filters=filters, name=f"lab{path}/{part}") for part in "ab"
    )
    services = {"shop": ServiceRotation(endpoints=(endpoint("a", app.port),))}
    await lab.push(services, {"*": rules})
    answers = [(await lab.ask(path=f"{path}/{part}")).status for part in "abababab"]
    assert answers == [200] * 4 + [429] * 4


async def test_what_one_limit_refuses_takes_nothing_of_the_others_and_all_is_counted(
    lab: GatewayLab, app: RawApplication, path: str
) -> None:
    plenty, little = Limit(rate=10, per_seconds=600), Limit(rate=1, per_seconds=500, burst=2, by="address")
    await push(lab, app, path, plenty, little)
    assert by_status([await lab.ask(path=path) for _ in range(20)]) == {200: 2, 429: 18}
    await push(lab, app, path, plenty)
    assert by_status([await lab.ask(path=path) for _ in range(20)]) == {200: 8, 429: 12}
    counted = f'limit_requests_total{{limit="lab{path} rate/600s by route",outcome="refused"}} 12'
    refused = f'refusals_total{{service="shop",route="lab{path}",reason="too many requests"}} 30'
    text = ""
    answered = f'route_requests_total{{service="shop",route="lab{path}",status="2xx"}} 10'
    while not all(line in text for line in (counted, refused, answered)):
        await asyncio.sleep(0.05)
        async with lab.consumer.get(f"http://{lab.settings.status_listen}/metrics") as answer:
            text = await answer.text()
