"""Runner remote beyond the contract: what becomes of what is under way when the server stops, or who asked leaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from coldchain.model.errors import InvalidDocument, MalformedDocument, NotFound, Unavailable
from coldchain.model.health import Probe
from coldchain.runners.remote import RemoteRunner
from coldchain.testing.engine_labs import SERVES, TOKEN, ProcessLab, RemoteLab, make_spec

PATIENCE_SECONDS = 30.0


@pytest.fixture
async def lab() -> AsyncIterator[RemoteLab]:
    lab = RemoteLab(ProcessLab())
    await lab.start()
    yield lab
    await lab.close()


async def test_a_followed_output_that_is_cut_off_does_not_look_like_its_end(lab: RemoteLab) -> None:
    spec = make_spec(SERVES)
    await lab.engine.launch(spec)
    async with asyncio.timeout(PATIENCE_SECONDS):
        output = lab.engine.logs(spec.task_id, follow=True, tail=None)
        async with aclosing(output) as pieces:  # type: ignore[type-var]
            assert await anext(pieces) == b"begun\n"
            await lab.server.stop()
            with pytest.raises(Unavailable):
                await anext(pieces)


async def test_updates_and_sessions_that_are_cut_off_are_unavailable(lab: RemoteLab) -> None:
    spec = make_spec(SERVES)
    await lab.engine.launch(spec)
    async with asyncio.timeout(PATIENCE_SECONDS), aclosing(lab.engine.updates()) as updates:
        session = await lab.engine.open_session(spec.task_id, ["cat"], None)
        await session.write(b"x")
        output = session.output()
        assert await anext(output) == ("output", b"x")
        await lab.server.stop()
        with pytest.raises(Unavailable):
            async for _ in updates:
                pass
        with pytest.raises(Unavailable):
            async for _ in output:
                pass
            await session.exit_status()
        await session.close()


async def test_who_follows_and_leaves_leaves_nothing_behind(lab: RemoteLab) -> None:
    spec = make_spec(SERVES)
    await lab.engine.launch(spec)
    before = len(asyncio.all_tasks())
    for _ in range(5):
        stranger = RemoteRunner(f"http://127.0.0.1:{lab.server.port}", TOKEN)
        output = stranger.logs(spec.task_id, follow=True, tail=None)
        async with aclosing(output) as pieces:  # type: ignore[type-var]
            assert await anext(pieces) == b"begun\n"
        updates = stranger.updates()
        await stranger.kill("contract_app.unknown", 0.0)
        await updates.aclose()
        await stranger.close()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.05)


async def test_a_command_that_nobody_waits_for_any_more_is_ended(lab: RemoteLab) -> None:
    spec = make_spec(SERVES)
    await lab.engine.launch(spec)
    waiting = asyncio.create_task(lab.engine.execute(spec.task_id, "echo here > mark; sleep 60; echo late", 60.0))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await lab.engine.execute(spec.task_id, "cat mark", 5.0)).output != "here\n":
            await asyncio.sleep(0.05)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        while (await lab.engine.statistics(spec.task_id)).processes > 1:
            await asyncio.sleep(0.05)


async def test_probes_ask_from_beside_the_task(lab: RemoteLab) -> None:
    spec = make_spec(SERVES)
    await lab.engine.launch(spec)
    assert isinstance(lab.engine, RemoteRunner)
    probe = Probe(
        instance_id="i", check="c", protocol="COMMAND", address="", port=0, task_id=spec.task_id, command="exit 3"
    )
    result = await lab.engine.probe(probe)
    assert (result.outcome, result.detail) == ("failed", "exit status 3")
    beside = Probe(
        instance_id="i", check="c", protocol="TCP", address="127.0.0.1", port=1, task_id=spec.task_id, beside=True
    )
    result = await lab.engine.probe(beside)
    assert (result.outcome, result.detail) == ("failed", "connection refused")


async def test_what_is_asked_wrongly_is_said(lab: RemoteLab) -> None:
    assert isinstance(lab.engine, RemoteRunner)
    for path in ("logs?tail=x", "session?argument=a", "session"):
        with pytest.raises((MalformedDocument, NotFound, InvalidDocument)):
            await lab.engine._ask("GET", f"/v1/tasks/nothing/{path}")
