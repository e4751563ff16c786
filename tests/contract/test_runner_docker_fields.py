"""Fields of a definition that a real Docker Engine carries out: a terminal, a user, limits."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from coldchain.model.app import ResourceLimits
from coldchain.model.task import TaskSpec, TaskStatus
from coldchain.runners.docker import DockerRunner
from coldchain.testing.application.image import ensure_image
from coldchain.testing.docker_bench import PATIENCE_SECONDS, Bench

MIB = 1024 * 1024


@pytest.fixture
async def bench(docker_daemon: Path) -> AsyncIterator[Bench]:
    await ensure_image(str(docker_daemon))
    bench = Bench(docker_daemon)
    yield bench
    await bench.close()


async def ended(runner: DockerRunner, spec: TaskSpec) -> TaskStatus:
    """The status of a task that ends by itself."""
    updates = runner.updates()
    await runner.launch(spec)
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for status in updates:
            if status.task_id == spec.task_id and status.terminal:
                return status
    raise AssertionError("the updates ended")


async def output(runner: DockerRunner, spec: TaskSpec) -> str:
    return b"".join([piece async for piece in runner.logs(spec.task_id, follow=True, tail=None)]).decode()


async def test_what_is_written_to_a_terminal_is_read_whole(bench: Bench) -> None:
    runner = bench.runner()
    spec = bench.spec(cmd="test -t 1 && echo a terminal; echo second >&2; exit 3", tty=True)
    status = await ended(runner, spec)
    assert (status.state, status.exit_status, status.log_tail) == ("failed", 3, ("a terminal", "second"))
    assert (await output(runner, spec)).splitlines() == ["a terminal", "second"]


async def test_without_a_terminal_there_is_none(bench: Bench) -> None:
    runner, spec = bench.runner(), bench.spec(cmd="test -t 1 || echo no terminal")
    await ended(runner, spec)
    assert await output(runner, spec) == "no terminal\n"


async def test_a_user_of_the_image(bench: Bench) -> None:
    runner, spec = bench.runner(), bench.spec(cmd="id -u; id -g", user="1234:2345")
    await ended(runner, spec)
    assert await output(runner, spec) == "1234\n2345\n"


@pytest.mark.parametrize("mem", [64.0, "unlimited"])
async def test_limits_beyond_what_the_app_is_given(bench: Bench, mem: Any) -> None:
    runner = bench.runner()
    spec = bench.spec(mem=32.0, resource_limits=ResourceLimits(cpus=0.5, mem=mem), cmd="exit 0")
    await ended(runner, spec)
    config = (await bench.inspect(spec))["HostConfig"]
    limit = 0 if mem == "unlimited" else 64 * MIB
    assert (config["Memory"], config["MemorySwap"], config["MemoryReservation"]) == (limit, limit, 32 * MIB)
    assert config["NanoCpus"] == 500_000_000
