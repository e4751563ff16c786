"""Which instances nginx leaves alone because they fail, how they come back, and what it refuses when it has too much to
do. One worker: each decides by what it sees itself."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
import pytest_asyncio

from coldchain.model.app import RouteFilters
from coldchain.model.limit import Ejection
from coldchain.model.rotation import Endpoint, RouteRule, ServiceRotation
from coldchain.testing.gateway_lab import GatewayLab, endpoint, running_gateway
from coldchain.testing.raw_application import RawApplication, raw_application, read_request, response

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Instance:
    """Answers with `status`, or holds what comes until `release`."""

    def __init__(self) -> None:
        self.status = 200
        self.answered = 0
        self.answered_at: list[float] = []
        self.open = 0
        self.holds = False
        self.release = asyncio.Event()
        self.port = 0

    async def serve(
        self, application: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while await read_request(application, reader) is not None:
            self.open += 1
            if self.holds:
                await self.release.wait()
            self.open -= 1
            self.answered += 1
            self.answered_at.append(time.monotonic())
            writer.write(response(b"ok", status=self.status))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab() -> AsyncIterator[GatewayLab]:
    async with running_gateway(worker_processes=1, open_requests_max=4) as lab:
        yield lab


@pytest_asyncio.fixture(loop_scope="module")
async def instances() -> AsyncIterator[list[Instance]]:
    made = [Instance() for _ in range(4)]
    applications = [raw_application(one.serve) for one in made]
    for one, application in zip(made, applications, strict=True):
        one.port = (await application.__aenter__()).port
    yield made
    for one, application in zip(made, applications, strict=True):
        one.release.set()
        await application.__aexit__(None, None, None)


async def push(lab: GatewayLab, instances: list[Instance], **filters: object) -> None:
    """Other instances than any test had before, at a route with these filters and one, /plain, without any."""
    await lab.push({}, {})
    await lab.push({"shop": ServiceRotation(endpoints=endpoints(lab, instances))}, {"*": rules(**filters)})


def endpoints(lab: GatewayLab, instances: list[Instance]) -> tuple[Endpoint, ...]:
    return tuple(endpoint(f"i{number}", one.port) for number, one in enumerate(instances))


def rules(**filters: object) -> tuple[RouteRule, ...]:
    plain = RouteRule(path="/plain", service="shop")
    return (plain, RouteRule(path="/", service="shop", filters=RouteFilters(**filters)))  # type: ignore[arg-type]


async def ask_many(lab: GatewayLab, count: int, path: str = "/") -> list[int]:
    return [(await lab.ask(path=path)).status for _ in range(count)]


async def metrics(lab: GatewayLab, name: str) -> dict[str, float]:
    """Samples by their labels."""
    async with lab.consumer.get(f"http://{lab.settings.status_listen}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    prefix = f"coldchain_gateway_{name}{{"
    return {
        line[len(prefix) :].rpartition("} ")[0]: float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith(prefix)
    }


async def test_an_instance_that_fails_is_left_alone_comes_back_on_trial_and_is_out_for_longer_the_next_time(
    lab: GatewayLab, instances: list[Instance]
) -> None:
    await push(lab, instances, ejection=Ejection(consecutive_errors=3, seconds=0.3))
    bad = instances[0]
    bad.status = 503
    while bad.answered < 3:
        await lab.ask()
    await until_it_gets(lab, bad, 2)
    bad.status = 200
    await until_it_gets(lab, bad, 1)
    assert set(await ask_many(lab, 8)) == {200}
    assert bad.answered == 8
    pauses = [later - earlier for earlier, later in pairwise(bad.answered_at[2:6])]
    least = (0.28, 0.58, 1.18)  # nginx looks at its clock now and then; twice as long each time
    assert all(pause >= seconds for pause, seconds in zip(pauses, least, strict=True)), pauses
    assert await metrics(lab, "ejections_total") == {'service="shop",instance="i0"': 3.0}


async def until_it_gets(lab: GatewayLab, instance: Instance, count: int) -> None:
    """Asks, the route and another one of its service, until the instance had so many more, and no longer."""
    before = instance.answered
    while instance.answered < before + count:
        await lab.ask()
        await lab.ask(path="/plain")


async def test_never_more_than_a_share_of_the_instances(lab: GatewayLab, instances: list[Instance]) -> None:
    await push(lab, instances, ejection=Ejection(consecutive_errors=1, seconds=60))
    for one in instances:
        one.status = 500
    assert await ask_many(lab, 40) == [500] * 40
    await until_ejected(lab, 2)
    assert len((await lab.gateway.report()).ejected) == 2
    before = [one.answered for one in instances]
    await ask_many(lab, 20)
    assert sorted(one.answered - was for one, was in zip(instances, before, strict=True)) == [0, 0, 10, 10]


async def test_what_is_known_of_an_instance_goes_with_it_and_not_with_its_address(
    lab: GatewayLab, instances: list[Instance]
) -> None:
    await push(lab, instances, ejection=Ejection(consecutive_errors=1, seconds=60))
    instances[0].status = 500
    await ask_many(lab, 8)
    await until_ejected(lab, 1)
    instances[0].status = 200
    others = (endpoint("another", instances[0].port), *endpoints(lab, instances)[1:])
    await lab.change(*others)
    before = instances[0].answered
    assert await ask_many(lab, 8) == [200] * 8
    assert instances[0].answered - before == 2
    await until_ejected(lab, 0)


async def test_a_share_of_errors_is_enough_where_they_do_not_come_one_after_the_other(
    lab: GatewayLab, instances: list[Instance]
) -> None:
    ejection = Ejection(consecutive_errors=1000, error_share=0.5, requests_min=6, window_seconds=60, seconds=60)
    await push(lab, instances, ejection=ejection)
    for number in range(24):
        instances[0].status = 200 if number % 8 < 4 else 500
        await ask_many(lab, 1)
    await until_ejected(lab, 1)


async def until_ejected(lab: GatewayLab, wanted: int) -> None:
    while sum((await metrics(lab, "ejected")).values()) != wanted:
        await asyncio.sleep(0.02)


async def test_one_that_just_came_gets_less_than_its_part(lab: GatewayLab, instances: list[Instance]) -> None:
    await push(lab, instances[:3], slow_start_seconds=600)
    await lab.change(*endpoints(lab, instances))
    assert await ask_many(lab, 200) == [200] * 200
    assert 0 <= instances[3].answered <= 20  # a quarter would be 50
    assert all(one.answered >= 40 for one in instances[:3])


async def test_with_too_much_to_do_what_matters_least_is_refused_first(
    lab: GatewayLab, instances: list[Instance]
) -> None:
    services = {"shop": ServiceRotation(endpoints=endpoints(lab, instances))}
    ways = ("low", "normal", "high")
    made = [
        RouteRule(path=f"/{way}", service="shop", filters=RouteFilters(importance=way))  # type: ignore[arg-type]
        for way in ways
    ]
    await lab.push(services, {"*": tuple(made)})
    for one in instances:
        one.holds = True
    held: list[asyncio.Task[object]] = []

    async def statuses(wanted: int) -> dict[str, int]:
        """With so many open."""
        while len(held) < wanted:
            held.append(asyncio.create_task(lab.ask(path="/high")))
        while sum(one.open for one in instances) < wanted:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        for one in instances:
            one.holds = False
        found = {way: (await lab.ask(path=f"/{way}")).status for way in ways}
        for one in instances:
            one.holds = True
        return found

    assert await statuses(2) == {"low": 200, "normal": 200, "high": 200}
    assert await statuses(3) == {"low": 503, "normal": 200, "high": 200}
    assert await statuses(4) == {"low": 503, "normal": 503, "high": 200}
    refused: dict[str, float] = {}
    while sum(count for labels, count in refused.items() if "too much to do" in labels) < 3:
        await asyncio.sleep(0.05)
        refused = await metrics(lab, "refusals_total")
    for one in instances:
        one.holds = False
        one.release.set()
    await asyncio.gather(*held)
    await asyncio.sleep(0.1)
    assert await ask_many(lab, 3, "/low") == [200] * 3
