"""Generator, gateway and application together: what a kill costs is told from every other failure."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from coldchain.gateway.process import NginxProcess
from coldchain.gateway.push import NginxGateway
from coldchain.gateway.settings import GatewaySettings
from coldchain.model.rotation import Endpoint, RotationUpdate, RouteRule, ServiceRotation
from coldchain.testing.application.process import Application, running_application
from coldchain.testing.load.accounting import Kill, failed_on_killed, reconcile_records
from coldchain.testing.load.generator import Generator
from coldchain.testing.load.plan import LoadPlan, Target

HOST = "shop.test"


class Gateway:
    """A real nginx with one route; `route_to` changes its endpoints."""

    def __init__(self, port: int, settings: GatewaySettings) -> None:
        self.port = port
        self.access_log = settings.access_log_file
        self._nginx = NginxGateway("test", settings)
        self._revisions = itertools.count(1)

    async def route_to(self, **applications: Application) -> None:
        revision = next(self._revisions)
        endpoints = tuple(
            Endpoint(instance_id=name, address="127.0.0.1", port=application.port, since=revision)
            for name, application in applications.items()
        )
        await self._nginx.apply(
            RotationUpdate(
                base=0,
                revision=revision,
                services={"shop": ServiceRotation(endpoints=endpoints)},
                routes={HOST: (RouteRule(path="/", service="shop"),)},
            )
        )

    async def logged(self, requests: int) -> Path:
        """The access log once it has that many lines."""
        async with asyncio.timeout(10):
            while self.access_log.read_bytes().count(b"\n") < requests:
                await asyncio.sleep(0.02)
        return self.access_log

    async def close(self) -> None:
        await self._nginx.close()


@pytest.fixture
async def gateway(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[Gateway]:
    port = free_port()
    settings = GatewaySettings(
        prefix=tmp_path / "nginx",
        listen=(f"127.0.0.1:{port}",),
        status_listen=f"127.0.0.1:{free_port()}",
        worker_processes=1,
        worker_user=None,
    )
    process = NginxProcess(settings)
    await process.start_or_adopt()
    result = Gateway(port, settings)
    yield result
    await result.close()
    await process.stop()


def generator_for(gateway: Gateway) -> Generator:
    return Generator(
        LoadPlan(
            address="127.0.0.1",
            port=gateway.port,
            targets=(Target(host=HOST),),
            rate=200,
            slow_share=0.2,
            slow_seconds=0.3,
        )
    )


async def until_sent(generator: Generator, more: int) -> None:
    goal = generator.counts.sent + more
    async with asyncio.timeout(20):
        while generator.counts.sent < goal:
            await asyncio.sleep(0.005)


async def test_what_a_kill_costs(gateway: Gateway, tmp_path: Path) -> None:
    records = tmp_path / "records"
    records.mkdir()
    async with (
        running_application(INSTANCE="i1", VERSION="v1", RECORDS=str(records)) as one,
        running_application(INSTANCE="i2", VERSION="v1", RECORDS=str(records)) as two,
    ):
        await gateway.route_to(i1=one, i2=two)
        generator = generator_for(gateway)
        async with generator:
            await until_sent(generator, 150)
            started = time.time()
            one.process.kill()
            await one.process.wait()
            kill = Kill(instance="i1", started_at=started, completed_at=time.time())
            await until_sent(generator, 150)
        log = await gateway.logged(generator.counts.sent)
    split = failed_on_killed(generator.outcomes, [log], [kill])
    assert split.failed == ()
    assert len(split.failed_on_killed) == generator.counts.failed > 0
    assert {outcome.kind for outcome in split.failed_on_killed} == {"502"}
    other = Kill(instance="i2", started_at=kill.started_at, completed_at=kill.completed_at)
    assert len(failed_on_killed(generator.outcomes, [log], [other]).failed) == generator.counts.failed
    result = reconcile_records(generator.outcomes, records)
    assert (result.duplicated, result.lost, result.unknown) == ((), (), ())
    assert {outcome.instance for outcome in generator.outcomes if not outcome.failed} == {"i1", "i2"}


async def test_a_killed_instance_that_nobody_takes_out_explains_only_what_was_in_flight(gateway: Gateway) -> None:
    """The only instance is killed and stays in rotation: the requests that come later could have been spared."""
    async with running_application() as only:
        await gateway.route_to(only=only)
        generator = generator_for(gateway)
        async with generator:
            await until_sent(generator, 100)
            started = time.time()
            only.process.kill()
            await only.process.wait()
            kill = Kill(instance="only", started_at=started, completed_at=time.time())
            await until_sent(generator, 50)
        log = await gateway.logged(generator.counts.sent)
    split = failed_on_killed(generator.outcomes, [log], [kill])
    assert len(split.failed) >= 49
    assert 0 < len(split.failed_on_killed) < 40
    assert all(outcome.started_at <= kill.completed_at + 0.01 for outcome in split.failed_on_killed)


async def test_a_rotation_without_a_fault_costs_nothing(gateway: Gateway, tmp_path: Path) -> None:
    """The law of stopping by hand: the new one in, the old one out, then TERM, under half POST and half kept alive."""
    records = tmp_path / "records"
    records.mkdir()
    async with running_application(INSTANCE="old", VERSION="v1", RECORDS=str(records)) as old:
        await gateway.route_to(old=old)
        generator = generator_for(gateway)
        async with generator:
            generator.step("old")
            await until_sent(generator, 100)
            generator.step("roll")
            async with running_application(INSTANCE="new", VERSION="v2", RECORDS=str(records)) as new:
                await gateway.route_to(old=old, new=new)
                await gateway.route_to(new=new)
                old.process.terminate()
                assert await old.process.wait() == 0
                generator.step("new")
                await until_sent(generator, 100)
                await generator.stop()
    report = generator.report()
    assert report.total.failed == 0, report.failures
    assert [list(step.by_version) for step in report.steps if step.name in ("old", "new")] == [["v1"], ["v2"]]
    result = reconcile_records(generator.outcomes, records)
    assert result.exactly_once == report.total.by_method["POST"].requests
    assert (result.duplicated, result.lost, result.executed_unanswered) == ((), (), ())
