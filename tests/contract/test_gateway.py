"""The contract of `ports.gateway.Gateway`, for the fake and for real nginx."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Literal, Protocol

import msgspec
import pytest

from coldchain.model.app import RouteFilters
from coldchain.model.errors import InvalidDocument
from coldchain.model.limit import Limit, LimitUse
from coldchain.model.rotation import RotationUpdate, RouteRule, ServiceRotation
from coldchain.model.traffic import LATENCY_BOUNDS_SECONDS, Traffic
from coldchain.ports.gateway import Gateway, OutOfStep
from coldchain.testing.fake_gateway import FakeGateway
from coldchain.testing.gateway_lab import GatewayLab, endpoint, running_gateway
from coldchain.testing.raw_application import RawApplication, answers_as_asked, holds, raw_application

LAST = 2**52 - 1
CLASSES = len(LATENCY_BOUNDS_SECONDS) + 1

Kind = Literal["quick", "error", "reset"]


class RealClock:
    """`ports.clock.Clock` as far as the fake gateway asks for it."""

    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def random(self) -> float:
        return 0.5

    def unique(self) -> str:
        return "0" * 32


class Subject(Protocol):
    """A gateway and what stands around it. `port` is that of an app whose requests stay open until `finish`,
    `serving_port` that of one whose answers come at once."""

    gateway: Gateway
    port: int
    serving_port: int

    async def request(self, kind: Kind) -> None:
        """One request goes to the instance `a` at `serving_port`, which answers it so."""

    async def begin(self) -> None:
        """One more request is open at the instance `a`."""

    async def finish(self) -> None:
        """All of them end."""

    async def stream(self) -> None:
        """A stream is open at the instance `a`, which is at `serving_port`."""

    async def limited(self) -> str:
        """Has a route with a limit of two in a second, and names it."""

    async def ready(self) -> bool: ...


class FakeSubject:
    port = 8000
    serving_port = 8010

    def __init__(self) -> None:
        self.gateway: Gateway = FakeGateway("one", RealClock())

    @property
    def fake(self) -> FakeGateway:
        assert isinstance(self.gateway, FakeGateway)
        return self.gateway

    async def request(self, kind: Kind) -> None:
        known = self.fake.counts.get("a", Traffic(latencies=(0,) * CLASSES))
        self.fake.counts["a"] = Traffic(
            requests=known.requests + 1,
            errors=known.errors + (kind != "quick"),
            latencies=(known.latencies[0] + (kind != "reset"), *known.latencies[1:]),
        )

    async def begin(self) -> None:
        self.fake.open_requests["a"] = self.fake.open_requests.get("a", 0) + 1

    async def finish(self) -> None:
        self.fake.open_requests.clear()

    async def stream(self) -> None:
        self.fake.open_requests["a"] = self.fake.open_streams["a"] = 1

    async def limited(self) -> str:
        self.fake.uses = {"one": LimitUse(most=2, rate=True)}
        return "one"

    async def ready(self) -> bool:
        return self.fake.ready


class NginxSubject:
    def __init__(self, lab: GatewayLab, application: RawApplication, serving: RawApplication) -> None:
        self.lab = lab
        self.serving_port = serving.port
        self.gateway: Gateway = lab.gateway
        self.application = application
        self.port = application.port
        self.requests: list[asyncio.Task[object]] = []
        self.streams: list[asyncio.StreamWriter] = []

    async def request(self, kind: Kind) -> None:
        assert (await self.lab.ask(path=f"/{kind}")).status == {"quick": 200, "error": 500, "reset": 502}[kind]

    async def begin(self) -> None:
        self.application.arrived.clear()
        self.requests.append(asyncio.create_task(self.lab.ask("POST", data=b"body")))
        await self.application.arrived.wait()

    async def finish(self) -> None:
        self.application.released.set()
        for writer in self.streams:
            writer.close()
        await asyncio.gather(*self.requests)

    async def stream(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.lab.port)
        self.streams.append(writer)
        writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"begun")

    async def limited(self) -> str:
        rule = RouteRule(path="/", service="shop", filters=RouteFilters(limits=(Limit(rate=2),)), name="shop.test/")
        await self.lab.push({}, {"*": (rule,)})
        return "shop.test/ rate/1s by route"

    async def ready(self) -> bool:
        return await self.lab.ready() == 200


@pytest.fixture(params=["fake", "nginx"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "fake":
        yield FakeSubject()
        return
    async with (
        running_gateway() as lab,
        raw_application(holds) as application,
        raw_application(answers_as_asked) as serving,
    ):
        yield NginxSubject(lab, application, serving)


ROUTES = {"*": (RouteRule(path="/", service="shop"),)}


def whole(revision: int, port: int, weight: int = 1) -> RotationUpdate:
    service = ServiceRotation(endpoints=(endpoint("a", port, weight), endpoint("b", port + 1, 0)))
    return RotationUpdate(base=0, revision=revision, services={"shop": service}, routes=dict(ROUTES))


def change(base: int, revision: int, port: int, weight: int) -> RotationUpdate:
    service = ServiceRotation(endpoints=(endpoint("a", port, weight),))
    return RotationUpdate(base=base, revision=revision, services={"shop": service})


async def test_a_new_gateway_has_nothing(subject: Subject) -> None:
    report = await subject.gateway.report()
    assert (report.applied, report.in_flight) == (0, {})


async def test_what_was_applied_is_reported_up_to_the_last_revision(subject: Subject) -> None:
    await subject.gateway.apply(whole(LAST - 1, subject.port))
    await subject.gateway.apply(change(LAST - 1, LAST, subject.port, 1))
    assert (await subject.gateway.report()).applied == LAST


async def test_an_update_on_another_base_is_refused_and_changes_nothing(subject: Subject) -> None:
    await subject.gateway.apply(whole(5, subject.port))
    for update in (change(4, 6, subject.port, 0), change(6, 7, subject.port, 0)):
        with pytest.raises(OutOfStep):
            await subject.gateway.apply(update)
    report = await subject.gateway.report()
    assert (report.applied, report.in_flight) == (5, {"b": 0})


async def test_a_change_before_anything_whole_is_refused(subject: Subject) -> None:
    with pytest.raises(OutOfStep):
        await subject.gateway.apply(change(3, 4, subject.port, 1))


async def test_the_whole_is_taken_again_at_the_same_revision_but_never_a_lower_one(subject: Subject) -> None:
    await subject.gateway.apply(whole(5, subject.port))
    await subject.gateway.apply(whole(5, subject.port))
    with pytest.raises(OutOfStep):
        await subject.gateway.apply(whole(4, subject.port))
    assert (await subject.gateway.report()).applied == 5


async def test_open_requests_of_weight_0_are_counted_until_they_end(subject: Subject) -> None:
    await subject.gateway.apply(whole(1, subject.port))
    await subject.begin()
    await subject.begin()
    assert (await subject.gateway.report()).in_flight == {"b": 0}
    await subject.gateway.apply(change(1, 2, subject.port, 0))
    assert (await subject.gateway.report()).in_flight == {"a": 2}
    await subject.finish()
    await _settled(subject, {"a": 0})


async def test_a_removed_endpoint_is_counted_until_its_last_request_ends(subject: Subject) -> None:
    await subject.gateway.apply(whole(1, subject.port))
    await subject.begin()
    await subject.gateway.apply(RotationUpdate(base=1, revision=2, services={"shop": ServiceRotation()}))
    assert (await subject.gateway.report()).in_flight == {"a": 1}
    await subject.gateway.apply(RotationUpdate(base=2, revision=3, services={"shop": None}))
    assert (await subject.gateway.report()).in_flight == {"a": 1}
    await subject.finish()
    await _settled(subject, {})


async def test_an_endpoint_that_comes_back_is_the_same(subject: Subject) -> None:
    await subject.gateway.apply(whole(1, subject.port))
    await subject.begin()
    await subject.gateway.apply(RotationUpdate(base=1, revision=2, services={"shop": None}))
    await subject.gateway.apply(change(2, 3, subject.port, 0))
    assert (await subject.gateway.report()).in_flight == {"a": 1}
    await subject.finish()
    await _settled(subject, {"a": 0})


async def test_streams_that_are_to_end_have_been_ended_when_that_is_applied(subject: Subject) -> None:
    await subject.gateway.apply(whole(1, subject.serving_port))
    await subject.stream()
    await subject.gateway.apply(change(1, 2, subject.serving_port, 0))
    report = await subject.gateway.report()
    assert (report.in_flight, report.cut) == ({"a": 1}, {})
    marked = msgspec.structs.replace(endpoint("a", subject.serving_port, 0), cut_streams=True)
    service = ServiceRotation(endpoints=(marked,))
    await subject.gateway.apply(RotationUpdate(base=2, revision=3, services={"shop": service}))
    assert (await subject.gateway.report()).cut == {"a": 1}
    await _settled(subject, {"a": 0})
    await subject.finish()
    await subject.gateway.apply(RotationUpdate(base=3, revision=4, services={"shop": None}))
    assert (await subject.gateway.report()).cut == {}


async def test_readiness_ends_with_the_lease(subject: Subject) -> None:
    assert not await subject.ready()
    await subject.gateway.renew(60)
    assert await subject.ready()
    await subject.gateway.renew(0)
    assert not await subject.ready()


async def test_a_name_for_an_address_is_refused_and_changes_nothing(subject: Subject) -> None:
    service = ServiceRotation(endpoints=(endpoint("a", 80, address="localhost"),))
    with pytest.raises(InvalidDocument):
        await subject.gateway.apply(RotationUpdate(base=0, revision=1, services={"shop": service}))
    assert (await subject.gateway.report()).applied == 0


async def test_what_became_of_requests_is_counted_by_instance(subject: Subject) -> None:
    await subject.gateway.apply(whole(1, subject.serving_port))
    assert (await subject.gateway.traffic(0)).instances == {}
    kinds: tuple[Kind, ...] = ("quick", "error", "quick", "reset", "quick")
    for kind in kinds:
        await subject.request(kind)
    counted = await _counted(subject, 0, lambda count: count.requests == 5)
    assert (counted.requests, counted.errors) == (5, 2)
    assert sum(counted.latencies) == 4, "one was not answered"
    assert len(counted.latencies) == CLASSES


async def test_only_what_has_news_since_a_mark_is_told(subject: Subject) -> None:
    await subject.gateway.apply(whole(1, subject.serving_port))
    await subject.request("quick")
    await _counted(subject, 0, lambda count: count.requests == 1)
    mark = (await subject.gateway.traffic(0)).mark
    assert (await subject.gateway.traffic(mark)).instances == {}
    assert (await subject.gateway.traffic(mark)).instances == {}
    assert set((await subject.gateway.traffic(0)).instances) == {"a"}, "whoever asks anew hears of all"
    await subject.request("error")
    assert (await _counted(subject, mark, lambda count: count.requests == 2)).errors == 1


async def test_counts_go_on_at_weight_0_and_are_forgotten_with_the_endpoint(subject: Subject) -> None:
    await subject.gateway.apply(whole(1, subject.serving_port))
    await subject.request("quick")
    await _counted(subject, 0, lambda count: count.requests == 1)
    await subject.gateway.apply(change(1, 2, subject.serving_port, 0))
    assert (await subject.gateway.traffic(0)).instances["a"].requests == 1
    await subject.gateway.apply(RotationUpdate(base=2, revision=3, services={"shop": ServiceRotation()}))
    assert (await subject.gateway.traffic(0)).instances == {}
    await subject.gateway.apply(change(3, 4, subject.serving_port, 1))
    assert (await subject.gateway.traffic(0)).instances == {}
    await subject.request("error")
    assert (await _counted(subject, 0, lambda count: True)).requests == 1


async def test_limits_are_told_with_the_share_that_they_are_worked_by(subject: Subject) -> None:
    name = await subject.limited()
    assert (await subject.gateway.limits())[name].share == 1.0
    await subject.gateway.share({name: 0.25, "gone": 0.5})
    assert (await subject.gateway.limits())[name].share == 0.25
    await subject.gateway.share({"*": 0.5})
    use = (await subject.gateway.limits())[name]
    assert (use.share, use.most, use.rate, use.single, use.asked) == (0.5, 2.0, True, True, 0)


async def _counted(subject: Subject, since: int, enough: Callable[[Traffic], bool]) -> Traffic:
    """The counts of `a`, once they are so; they come a moment late."""
    news = await subject.gateway.traffic(since)
    for _ in range(500):
        if "a" in news.instances and enough(news.instances["a"]):
            return news.instances["a"]
        await asyncio.sleep(0.01)
        news = await subject.gateway.traffic(since)
    raise AssertionError(f"counted: {news}")


async def _settled(subject: Subject, wanted: dict[str, int]) -> None:
    """Counts of workers come a moment late."""
    found: dict[str, int] = {}
    for _ in range(500):
        found = (await subject.gateway.report()).in_flight
        if found == wanted:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"in flight: {found}, not {wanted}")
