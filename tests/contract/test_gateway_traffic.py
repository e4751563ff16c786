"""What nginx counts of requests: every way in which one can end, over all workers, told as JSON and to Prometheus."""

import asyncio
import os
import signal
from collections.abc import Callable

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from coldchain.model.rotation import RouteRule, ServiceRotation
from coldchain.model.traffic import LATENCY_BOUNDS_SECONDS, Traffic
from coldchain.testing.gateway_lab import GatewayLab, endpoint, running_gateway
from coldchain.testing.ports import free_ports
from coldchain.testing.raw_application import (
    RawApplication,
    Script,
    answers,
    answers_as_asked,
    answers_status,
    holds,
    raw_application,
    read_request,
)

NONE = (0,) * (len(LATENCY_BOUNDS_SECONDS) + 1)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def counted(lab: GatewayLab, enough: Callable[[dict[str, Traffic]], bool]) -> dict[str, Traffic]:
    """The counts, once they are so; they come a moment late."""
    news = await lab.gateway.traffic(0)
    for _ in range(500):
        if enough(news.instances):
            return news.instances
        await asyncio.sleep(0.01)
        news = await lab.gateway.traffic(0)
    raise AssertionError(f"counted: {news}")


async def requests(lab: GatewayLab, **wanted: int) -> dict[str, Traffic]:
    """The counts, once these instances have so many requests."""
    return await counted(lab, lambda found: {name: one.requests for name, one in found.items()} == wanted)


async def metrics(lab: GatewayLab) -> Samples:
    async with lab.consumer.get(f"http://{lab.settings.status_listen}/metrics") as response:
        assert response.status == 200
        families = list(text_string_to_metric_families(await response.text()))
    names = [one.name for one in families]
    assert len(set(names)) == len(names), "the lines of a family stand together"
    return {
        (sample.name.removeprefix("coldchain_gateway_"), tuple(sorted(sample.labels.items()))): sample.value
        for one in families
        for sample in one.samples
    }


async def test_each_try_that_is_refused_counts_at_its_instance(lab: GatewayLab) -> None:
    async with raw_application(answers) as app:
        first, second = free_ports(2)
        await lab.route(endpoint("one", first), endpoint("two", second), endpoint("good", app.port))
        for _ in range(6):
            assert (await lab.ask("POST", data=b"x")).status == 200
        found = await requests(lab, one=1, two=1, good=6)
    assert {name: one.errors for name, one in found.items()} == {"one": 1, "two": 1, "good": 0}
    assert found["one"].latencies == NONE
    assert sum(found["good"].latencies) == 6


async def test_an_instance_that_alone_refuses_counts_each_time(lab: GatewayLab) -> None:
    await lab.route(endpoint("bad", *free_ports(1)))
    for _ in range(3):
        assert (await lab.ask()).status == 502
    assert (await requests(lab, bad=3))["bad"] == Traffic(requests=3, errors=3, latencies=NONE)


@pytest.mark.parametrize("status", [200, 404, 499, 500, 502, 504])
async def test_a_status_from_500_is_an_error_of_the_instance(lab: GatewayLab, status: int) -> None:
    async with raw_application(answers_status(status)) as app:
        await lab.route(endpoint("a", app.port))
        assert (await lab.ask()).status == status
        found = (await requests(lab, a=1))["a"]
    assert found.errors == (status >= 500)
    assert sum(found.latencies) == 1


async def test_silence_is_an_error() -> None:
    async with running_gateway(upstream_read_timeout_seconds=0.1) as lab, raw_application(holds) as app:
        await lab.route(endpoint("a", app.port))
        assert (await lab.ask()).status == 504
        assert (await requests(lab, a=1))["a"] == Traffic(requests=1, errors=1, latencies=NONE)


async def test_a_consumer_that_leaves_is_no_error(lab: GatewayLab) -> None:
    async with raw_application(holds) as app:
        await lab.route(endpoint("a", app.port))
        pending = asyncio.create_task(lab.ask())
        await app.arrived.wait()
        pending.cancel()
        assert (await requests(lab, a=1))["a"] == Traffic(requests=1, errors=0, latencies=NONE)


def begins(*, ends: bool, head: bytes = b"Content-Length: 100\r\n") -> Script:
    """Begins an answer, and then breaks off, or never goes on."""

    async def script(app: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(app, reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\nhello")
        if not ends:
            await app.released.wait()

    return script


async def test_an_answer_that_breaks_off_is_an_error(lab: GatewayLab) -> None:
    async with raw_application(begins(ends=True)) as app:
        await lab.route(endpoint("a", app.port))
        with pytest.raises(aiohttp.ClientPayloadError):
            await lab.ask()
        assert (await requests(lab, a=1))["a"] == Traffic(requests=1, errors=1, latencies=NONE)


async def test_an_answer_that_ends_with_its_connection_is_none(lab: GatewayLab) -> None:
    async with raw_application(begins(ends=True, head=b"Connection: close\r\n")) as app:
        await lab.route(endpoint("a", app.port))
        assert (await lab.ask()).text == "hello"
        assert (await requests(lab, a=1))["a"].errors == 0


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304)])
async def test_a_length_without_a_body_is_none(lab: GatewayLab, method: str, status: int) -> None:
    async def script(app: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_request(app, reader) is not None:
            writer.write(b"HTTP/1.1 %d Status\r\nContent-Length: 100\r\n\r\n" % status)

    async with raw_application(script) as app:
        await lab.route(endpoint("a", app.port))
        assert (await lab.ask(method)).status == status
        assert (await requests(lab, a=1))["a"].errors == 0


async def test_a_consumer_that_leaves_in_the_middle_of_an_answer_is_no_error(lab: GatewayLab) -> None:
    async with raw_application(begins(ends=False)) as app:
        await lab.route(endpoint("a", app.port))
        reader, writer = await asyncio.open_connection("127.0.0.1", lab.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"hello")
        writer.close()
        assert (await requests(lab, a=1))["a"].errors == 0


async def test_a_slow_answer_counts_in_its_class(lab: GatewayLab) -> None:
    async with raw_application(answers_as_asked) as app:
        await lab.route(endpoint("a", app.port))
        await lab.ask(path="/slow")
        found = (await requests(lab, a=1))["a"]
        assert sum(found.latencies) == 1
        assert sum(found.latencies[:2]) == 0, "it took 30 ms"


async def test_what_stays_open_counts_with_the_time_to_its_head(lab: GatewayLab) -> None:
    async def events(app: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(app, reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\nbegun")
        await app.released.wait()

    async def switched(app: RawApplication, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(app, reader)
        writer.write(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nbegun")
        await app.released.wait()

    for script in (events, switched):
        async with raw_application(script) as app:
            await lab.route(endpoint(script.__name__, app.port))
            reader, writer = await asyncio.open_connection("127.0.0.1", lab.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
            await reader.readuntil(b"begun")
            await asyncio.sleep(0.6)  # it has to stay open for longer than a head may take on a busy machine
            app.released.set()
            writer.close()
            found = (await requests(lab, **{script.__name__: 1}))[script.__name__]
            assert found.errors == 0
            assert sum(found.latencies) == sum(found.latencies[:7]) == 1, "not the time that it stayed"


async def test_counts_are_of_all_workers_and_outlive_one_that_is_killed() -> None:
    async with running_gateway(worker_processes=2) as lab, raw_application(answers) as app:
        await lab.route(endpoint("a", app.port))
        for _ in range(40):
            await lab.ask()
        await requests(lab, a=40)
        state = await lab.state()
        for worker in state.workers:
            os.kill(worker.pid, signal.SIGKILL)
        killed = {worker.pid for worker in state.workers}
        await until_replaced(lab, killed)
        assert (await lab.ask()).status == 200
        await requests(lab, a=41)


async def until_replaced(lab: GatewayLab, killed: set[int]) -> None:
    for _ in range(500):
        state = await lab.process.state()
        if state is not None and len(state.workers) == 2 and not killed & {one.pid for one in state.workers}:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the workers were not replaced")


async def test_an_instance_in_two_services_is_counted_over_both(lab: GatewayLab) -> None:
    async with raw_application(answers) as app, raw_application(answers_status(500)) as other:
        services = {
            "one": ServiceRotation(endpoints=(endpoint("a", app.port),)),
            "two": ServiceRotation(endpoints=(endpoint("a", other.port),)),
        }
        await lab.push(services, {name: (RouteRule(path="/", service=name),) for name in services})
        for name in ("one", "two", "one"):
            await lab.ask(headers={"Host": name})
        assert (await requests(lab, a=3))["a"].errors == 1
        found = await metrics(lab)
        labels = [(("instance", "a"), ("service", name), ("version", "")) for name in ("one", "two")]
        assert [found["errors_total", one] for one in labels] == [0, 1]


async def test_no_memory_of_endpoints_that_come_and_go_stays(lab: GatewayLab) -> None:
    async with raw_application(answers) as app:
        await lab.route(endpoint("stays", app.port))
        for number in range(20):
            await lab.change(endpoint("stays", app.port), endpoint(f"i{number}", app.port))
            await lab.ask()
            await lab.ask()
        await counted(lab, lambda found: "i19" in found)
        assert set((await lab.gateway.traffic(0)).instances) == {"stays", "i19"}
        await lab.push({}, {})
        assert (await lab.gateway.traffic(0)).instances == {}


async def test_prometheus_reads_it_all(lab: GatewayLab) -> None:
    name = 'a"quoted\\name'
    async with raw_application(answers_as_asked) as app, raw_application(holds) as slow:
        await lab.gateway.renew(60)
        await lab.push(
            {
                "shop": ServiceRotation(endpoints=(endpoint(name, app.port),)),
                "slow": ServiceRotation(endpoints=(endpoint("b", slow.port),)),
            },
            {"shop": (RouteRule(path="/", service="shop"),), "slow": (RouteRule(path="/", service="slow"),)},
        )
        for path, status in (("/quick", 200), ("/error", 500), ("/reset", 502), ("/quick", 200)):
            assert (await lab.ask(path=path, headers={"Host": "shop"})).status == status
        pending = asyncio.create_task(lab.ask(headers={"Host": "slow"}))
        await slow.arrived.wait()
        await requests(lab, **{name: 4})
        shop = (("instance", name), ("service", "shop"), ("version", ""))
        busy = ("in_flight", (("instance", "b"), ("service", "slow"), ("version", "")))
        found = await metrics(lab)
        for _ in range(500):
            if found[busy] == 1:
                break
            await asyncio.sleep(0.01)
            found = await metrics(lab)
        assert found[busy] == 1
        slow.released.set()
        await pending
    assert {dict(labels)["status"]: value for (of, labels), value in found.items() if of == "requests_total"} == {
        "2xx": 2,
        "5xx": 1,
        "unanswered": 1,
    }
    assert found["errors_total", shop] == 2
    assert found["in_flight", shop] == 0
    buckets = [value for (of, labels), value in found.items() if of == "latency_seconds_bucket"]
    assert len(buckets) == len(LATENCY_BOUNDS_SECONDS) + 1
    assert buckets == sorted(buckets)
    assert buckets[-1] == found["latency_seconds_count", shop] == 3
    assert 0 <= found["latency_seconds_sum", shop] < 10
    assert (found["applied_revision", ()], found["ready", ()], found["workers", ()]) == (1, 1, 1)
    assert 50 < found["lease_seconds", ()] <= 60
