"""Nothing is lost or left behind when endpoints change under load, workers die or stand still, memory is full."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from coldchain.gateway.settings import GatewayMemory
from coldchain.model.errors import Rejected, Unavailable
from coldchain.model.rotation import RotationUpdate, ServiceRotation
from coldchain.ports.gateway import OutOfStep
from coldchain.testing.gateway_lab import GatewayLab, endpoint, running_gateway, until
from coldchain.testing.raw_application import RawApplication, answers, holds, raw_application


@pytest.fixture
async def lab() -> AsyncIterator[GatewayLab]:
    async with running_gateway() as lab:
        yield lab


async def test_replacing_every_endpoint_under_load_loses_and_doubles_nothing(lab: GatewayLab) -> None:
    """And after the acknowledgement of weight 0 not one request more reaches an instance, on no worker."""
    sent = 0
    failures: list[object] = []
    over = asyncio.Event()

    async def consume(session: aiohttp.ClientSession, number: int) -> None:
        nonlocal sent
        while not over.is_set():
            sent += 1
            headers = {"X-Number": str(sent)}
            async with session.request(
                "POST" if number % 2 else "GET", lab.url, data=b"x", headers=headers
            ) as response:
                if response.status != 200:
                    failures.append(await response.text())

    async with contextlib.AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(raw_application(answers)) for _ in range(8)]
        await lab.route(endpoint("i0", apps[0].port), endpoint("i1", apps[1].port))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        consumers = [asyncio.create_task(consume(session, number)) for number in range(12)]
        for old, new in zip(range(6), range(2, 8), strict=True):
            kept = [endpoint(f"i{index}", apps[index].port) for index in range(old + 1, new + 1)]
            await lab.change(endpoint(f"i{old}", apps[old].port, 0), *kept)
            await lab.in_flight({f"i{old}": 0})
            count = len(apps[old].requests)
            before = sent
            while sent < before + 100:
                await asyncio.wait(consumers, timeout=0.01)
            assert len(apps[old].requests) == count
            await lab.change(*kept)
        over.set()
        await asyncio.gather(*consumers)
        arrived = [request.headers["x-number"] for app in apps for request in app.requests]
    assert failures == []
    assert sorted(map(int, arrived)) == list(range(1, sent + 1))


async def open_requests(lab: GatewayLab, app: RawApplication, count: int) -> list[asyncio.Task[object]]:
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(lab.ask("POST", data=b"x")) for _ in range(count)]
    await until(lambda: len(app.requests) == count, f"{count} requests at the app")
    return tasks


async def test_what_a_killed_worker_had_open_is_not_counted_for_ever(lab: GatewayLab) -> None:
    async with raw_application(holds) as app:
        await lab.route(endpoint("a", app.port))
        tasks = await open_requests(lab, app, 10)
        await lab.change(endpoint("a", app.port, 0))
        await lab.in_flight({"a": 10})
        for worker in (await lab.state()).workers:
            os.kill(worker.pid, signal.SIGKILL)
        await asyncio.gather(*tasks, return_exceptions=True)
        await lab.in_flight({"a": 0})
        app.released.set()
        await lab.change(endpoint("a", app.port))
        assert (await lab.ask()).status == 200
        for _ in range(500):
            if len((await lab.state()).workers) == 2:
                return
            await asyncio.sleep(0.01)
        pytest.fail("nginx did not replace its workers")


async def test_while_a_worker_starts_an_update_on_an_older_base_is_refused(lab: GatewayLab) -> None:
    """It is known before it has read anything: what it has by then is not what the gateway has."""
    await lab.route(endpoint("a", 1))
    await lab.change(endpoint("a", 1, 0))
    older = RotationUpdate(base=1, revision=3, services={"shop": ServiceRotation(endpoints=(endpoint("b", 1),))})
    for _ in range(20):
        killed = await one_worker(lab)
        os.kill(killed, signal.SIGKILL)
        replaced = False
        while not replaced:
            with pytest.raises(OutOfStep):
                await lab.gateway.apply(older)
            workers = [worker.pid for worker in (await lab.state()).workers]
            replaced = len(workers) == 2 and killed not in workers


async def test_a_worker_that_stands_still_is_named_and_the_gateway_has_what_all_have() -> None:
    async with running_gateway(acknowledge_timeout_seconds=0.3) as lab, raw_application(answers) as app:
        await lab.route(endpoint("a", app.port))
        async with standing_still(await one_worker(lab)) as pid:
            with pytest.raises(Unavailable, match=f"worker {pid} did not take over"):
                await lab.change(endpoint("a", app.port, 0))
            assert (await lab.gateway.report()).applied == 1
            # What was not acknowledged is contained in the next update from the base that was reported.
            services: dict[str, ServiceRotation | None]
            services = {"shop": ServiceRotation(endpoints=(endpoint("b", app.port),))}
            with pytest.raises(Unavailable, match=f"worker {pid} did not take over"):
                await lab.gateway.apply(RotationUpdate(base=1, revision=3, services=services))
        for _ in range(500):
            if (await lab.gateway.report()).applied == 3:
                break
            await asyncio.sleep(0.01)
        report = await lab.gateway.report()
        assert (report.applied, report.in_flight) == (3, {})


async def one_worker(lab: GatewayLab) -> int:
    return (await lab.state()).workers[0].pid


@contextlib.asynccontextmanager
async def standing_still(pid: int) -> AsyncIterator[int]:
    """Of workers that wait for connections the kernel wakes one for each: until it really stands it could be this one,
    and the connection would wait with it."""
    os.kill(pid, signal.SIGSTOP)
    try:
        await until(lambda: stands(pid), "a worker that stands still")
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_worker_that_missed_more_than_is_kept_reads_everything_anew() -> None:
    async with running_gateway(acknowledge_timeout_seconds=0.06) as lab, raw_application(answers) as app:
        await lab.route(endpoint("a", app.port))
        async with standing_still(await one_worker(lab)):
            for _ in range(80):
                with pytest.raises(Unavailable):
                    await lab.change(endpoint("a", app.port))
        for _ in range(500):
            if (await lab.gateway.report()).applied == lab.revision:
                break
            await asyncio.sleep(0.01)
        assert {worker.applied for worker in (await lab.state()).workers} == {lab.revision}
        assert {(await lab.ask()).status for _ in range(10)} == {200}


async def test_an_update_that_does_not_fit_changes_nothing() -> None:
    async with running_gateway(memory=GatewayMemory(rotation=256 * 1024)) as lab, raw_application(answers) as app:
        await lab.route(endpoint("a", app.port))
        services: dict[str, ServiceRotation | None] = {"shop": ServiceRotation()}
        services |= {
            f"s{number}": ServiceRotation(endpoints=tuple(endpoint(f"i{n}", 80 + n) for n in range(20)))
            for number in range(200)
        }
        for base in (1, 0):
            with pytest.raises(Rejected, match=r"does not fit.*rotation=MIB"):
                await lab.gateway.apply(RotationUpdate(base=base, revision=2, services=services))
            assert (await lab.gateway.report()).applied == 1
            assert (await lab.ask()).status == 200
        for _ in range(100):
            await lab.change(endpoint("a", app.port), *(endpoint(f"i{n}", 80 + n, 0) for n in range(100)))
        assert (await lab.ask()).status == 200


def stands(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port that answers nothing: a listener whose queue is full, so that the kernel drops what comes."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_address_that_answers_nothing_costs_little_time_once(lab: GatewayLab, method: str) -> None:
    async with raw_application(answers) as app:
        with black_hole() as hole:
            await lab.route(endpoint("hole", hole), endpoint("a", app.port))
            loop = asyncio.get_running_loop()
            seconds = []
            for _ in range(20):
                began = loop.time()
                assert (await lab.ask(method, data=b"x")).text == str(app.port)
                seconds.append(loop.time() - began)
        assert len(app.requests) == 20
        assert max(seconds) < 1.5
        assert sum(one > 0.25 for one in seconds) <= 2 * 2  # once a worker, and again after the second of skipping


async def test_two_updates_at_once_are_applied_one_after_the_other(lab: GatewayLab) -> None:
    await lab.route()
    updates = [RotationUpdate(base=0, revision=revision) for revision in range(2, 12)]
    await asyncio.gather(*(lab.gateway.apply(update) for update in updates), return_exceptions=True)
    assert (await lab.gateway.report()).applied == 11
