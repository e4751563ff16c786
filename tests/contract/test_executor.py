"""The executor against an agent over HTTP, with fake tasks: what is told when, and what outlives what."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from coldchain.clients.mesos.executor import ExecutorClient
from coldchain.control.clock import SystemClock
from coldchain.documents.executor_messages import encode
from coldchain.documents.stored import UnreadableDocument
from coldchain.engines.executor import executor as loops
from coldchain.engines.executor import sweeper
from coldchain.engines.executor.claims import Claims
from coldchain.engines.executor.executor import Executor, Machine
from coldchain.engines.fake import Life
from coldchain.model.app import App, Network
from coldchain.model.errors import Forbidden, NotFound, Unauthenticated, Unavailable
from coldchain.model.executor import ExecutorQuestion, ExecutorSettings, TaskDescription
from coldchain.model.health import Probe
from coldchain.model.secret import MASK
from coldchain.ports.runner import Runner
from coldchain.probes.command import CommandProber
from coldchain.probes.prober import NetworkProber
from coldchain.runners.remote import RemoteRunner, RunnerServer
from coldchain.testing.engine_labs import make_spec
from coldchain.testing.fake_agent import FakeAgent, number_of, report_of
from coldchain.testing.fake_engine import FakeEngine

SETTINGS = ExecutorSettings(controller_id="c", version="1", token="t", orphan_seconds=0.2, orphan_grace_seconds=0.0)

PATIENT = msgspec.structs.replace(SETTINGS, orphan_seconds=1.0)
"""For what is to be adopted: a busy machine may stand still for longer than those others give it."""


class Bench:
    """An agent, a machine with a fake engine, and executors on it, one after the other or beside each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agent = FakeAgent(SETTINGS)
        self.clock = SystemClock()
        self.engine = FakeEngine(self.clock, life=lambda spec: LIVES[spec.app.labels.get("life", "serves")])
        self.running: list[asyncio.Task[str]] = []

    async def start(self, **environment: Any) -> Executor:
        executor = Executor(*self.parts(**environment))
        self.running.append(asyncio.create_task(executor.run()))
        seen = len(self.agent.reports())
        await self.agent.until(lambda agent: len(agent.reports()) > seen)
        return executor

    def parts(self, **environment: Any) -> Any:
        """What an executor is made of."""
        given = self.agent.environment(self.folder, **environment)
        client = ExecutorClient(given.url, given.framework_id, given.executor_id)
        return client, given, self.clock, self._open_machine

    @contextlib.asynccontextmanager
    async def _open_machine(self, settings: ExecutorSettings) -> AsyncIterator[Machine]:
        claims = Claims(self.folder)
        prober = CommandProber(self.engine.execute, NetworkProber())
        async with contextlib.AsyncExitStack() as closing:
            closing.callback(claims.close)
            closing.push_async_callback(prober.close)

            async def listen(served: Runner) -> RunnerServer:
                server = RunnerServer(served, prober, settings.token, "127.0.0.1")
                await server.start()
                closing.push_async_callback(server.stop)
                return server

            yield Machine(runner=self.engine, claims=claims, listen=listen)

    async def orphan_swept(self) -> None:
        """Something that nobody ever answered for is swept: what is there then was looked at and left."""
        await self.engine.launch(make_spec("serves", task_id="orphan"))
        async with asyncio.timeout(5):
            while "orphan" in self.engine.held:
                await asyncio.sleep(0.01)

    async def kill_executor(self) -> None:
        """It is gone from one moment to the next, as far as anybody can see: it says nothing more."""
        running = self.running.pop()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def close(self) -> None:
        while self.running:
            await self.kill_executor()
        await self.agent.stop()


LIVES = {
    "serves": Life(output=b"begun\n"),
    "slow": Life(start_seconds=60.0),
    "fails": Life(ends_after_seconds=0.0, exit_status=3),
    "rejected": Life(rejected="no such image, call it v404"),
}


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(loops, "LISTING_SECONDS", 0.05)
    monkeypatch.setattr(loops, "ADOPTION_SECONDS", 0.3)
    monkeypatch.setattr(sweeper, "LOOK_SECONDS", 0.05)
    bench = Bench(tmp_path)
    await bench.agent.start()
    yield bench
    await bench.close()


def description(name: str, *, adopts: bool = False, life: str = "serves") -> TaskDescription:
    spec = make_spec("serves", task_id=name, instance_id=name)
    spec.app.labels["life"] = life
    return TaskDescription(spec=spec, adopts=adopts)


async def test_a_task_is_started_and_told_with_where_we_listen(bench: Bench) -> None:
    await bench.start()
    bench.agent.launch("m1", description("shop.1"))
    running = await bench.agent.until_state("m1", "TASK_RUNNING")
    assert bench.agent.states("m1") == ["TASK_STARTING", "TASK_RUNNING"]
    report = report_of(running)
    assert (report.address, report.status.task_id, report.status.state) == ("127.0.0.1", "shop.1", "running")
    assert running["container_status"]["network_infos"] == [{"ip_addresses": [{"ip_address": report.status.address}]}]
    runner = RemoteRunner(f"http://{report.address}:{report.port}", "t")
    assert [one.task_id for one in await runner.tasks()] == ["shop.1"]
    with pytest.raises(Forbidden):
        await runner.launch(make_spec("serves"))
    await runner.close()


async def test_mesos_is_told_which_network_gave_the_address(bench: Bench) -> None:
    await bench.start()
    asked = description("shop.1")
    app = msgspec.structs.replace(asked.spec.app, networks=(Network(name="online_net"),))
    bench.agent.launch("m1", msgspec.structs.replace(asked, spec=msgspec.structs.replace(asked.spec, app=app)))
    running = await bench.agent.until_state("m1", "TASK_RUNNING")
    address = report_of(running).status.address
    infos = [{"name": "online_net", "ip_addresses": [{"ip_address": address}]}]
    assert running["container_status"]["network_infos"] == infos


@pytest.mark.parametrize(
    ("life", "state", "words"),
    [("fails", "TASK_FAILED", "exit status 3"), ("rejected", "TASK_FAILED", "no such image, call it v404")],
)
async def test_the_end_of_a_task_is_told_once_with_its_reason(bench: Bench, life: str, state: str, words: str) -> None:
    executor = await bench.start()
    bench.agent.launch("m1", description("shop.1", life=life))
    ended = await bench.agent.until_state("m1", state)
    assert words in ended["message"]
    assert words in report_of(ended).status.message
    async with asyncio.timeout(5):
        while executor.state.tasks:  # until the agent has kept it
            await asyncio.sleep(0.01)
    assert bench.agent.states("m1").count(state) == 1


async def test_a_task_is_killed_with_the_grace_that_is_asked_for(bench: Bench) -> None:
    await bench.start()
    bench.agent.launch("m1", description("shop.1"))
    await bench.agent.until_state("m1", "TASK_RUNNING")
    bench.agent.kill("m1", 7.0)
    await bench.agent.until_state("m1", "TASK_KILLED")
    assert bench.agent.states("m1") == ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"]
    held = bench.engine.held["shop.1"]
    assert held.sigterm_at is not None
    assert held.kill_at - held.sigterm_at == pytest.approx(7.0)


async def test_a_kill_before_the_launch_and_one_while_it_waits_for_docker(bench: Bench) -> None:
    await bench.start()
    bench.agent.kill("m1")
    bench.agent.launch("m1", description("shop.1"))
    await bench.agent.until_state("m1", "TASK_KILLED")
    bench.engine.available = False
    bench.agent.launch("m2", description("shop.2"))
    await bench.agent.until_state("m2", "TASK_STARTING")
    bench.agent.kill("m2")
    await bench.agent.until_state("m2", "TASK_KILLED")
    bench.engine.available = True
    assert bench.engine.held == {}


@pytest.mark.parametrize("started", [True, False])
async def test_a_kill_between_two_tries_of_a_start_is_not_undone_by_the_next(bench: Bench, started: bool) -> None:
    await bench.start()

    def lose(operation: str) -> bool:
        bench.engine.available = operation != "launch"
        return operation == "launch"

    def image(app: App) -> str:
        bench.engine.available = False
        return "sha256:1"

    if started:
        bench.engine.loses_reply = lose  # it runs, and nobody knows
    else:
        bench.engine.image = image  # it does not run
    with structlog.testing.capture_logs() as told:
        bench.agent.launch("m1", description("shop.1"))
        async with asyncio.timeout(5):
            while not any(one["event"] == "tried again" for one in told):
                await asyncio.sleep(0.01)
    bench.agent.kill("m1", 0.0)
    await bench.agent.until_state("m1", "TASK_KILLING")
    bench.engine.loses_reply = lambda operation: False
    bench.engine.image = lambda app: "sha256:1"
    bench.engine.available = True
    await bench.agent.until_state("m1", "TASK_KILLED")
    await bench.orphan_swept()
    assert not any(one.status.state == "running" for one in bench.engine.held.values())
    assert bench.engine.created.total() == 1 + started  # the orphan is one


async def test_what_docker_does_not_answer_to_is_tried_again(bench: Bench) -> None:
    await bench.start()
    bench.engine.available = False
    bench.agent.launch("m1", description("shop.1"))
    await bench.agent.until_state("m1", "TASK_STARTING")
    bench.engine.available = True
    await bench.agent.until_state("m1", "TASK_RUNNING")


async def test_updates_that_nobody_kept_come_again_in_order_with_the_next_subscription(bench: Bench) -> None:
    await bench.start()
    bench.agent.acknowledges = False
    bench.agent.launch("m1", description("shop.1"))
    await bench.agent.until_state("m1", "TASK_RUNNING")
    bench.agent.launch("m2", description("shop.2", life="slow"))
    await bench.agent.until_state("m2", "TASK_STARTING")
    bench.agent.acknowledge(bench.agent.statuses()[0])  # of m1, that it starts
    bench.agent.drop()
    again = (await bench.agent.until(lambda agent: agent.subscriptions()[1:]))[0]
    statuses = [one["status"] for one in again["unacknowledged_updates"]]
    assert [(one["task_id"]["value"], one["state"]) for one in statuses] == [
        ("m1", "TASK_RUNNING"),
        ("m2", "TASK_STARTING"),
    ]
    assert [number_of(one) for one in statuses] == sorted(number_of(one) for one in statuses)
    assert [one["task_id"]["value"] for one in again["unacknowledged_tasks"]] == ["m2"]
    assert bench.engine.created.total() == 2


@pytest.mark.parametrize("status", [404, 503])
async def test_what_happens_while_the_agent_is_away_is_told_when_it_is_back(bench: Bench, status: int) -> None:
    await bench.start()
    bench.agent.launch("m1", description("shop.1"))
    await bench.agent.until_state("m1", "TASK_RUNNING")
    bench.agent.refuses = status
    bench.agent.drop()
    await bench.agent.until(lambda agent: agent.refused)
    bench.engine.crash("shop.1", 9)
    await bench.agent.until(lambda agent: agent.refused > 2)
    bench.agent.refuses = 0
    failed = await bench.agent.until_state("m1", "TASK_FAILED")
    assert report_of(failed).status.exit_status == 9
    bench.agent.launch("m2", description("shop.2"))
    await bench.agent.until_state("m2", "TASK_RUNNING")
    assert bench.agent.states("m1").count("TASK_FAILED") == 1


async def test_an_agent_that_knows_it_not_or_keeps_away_too_long_is_left(bench: Bench) -> None:
    await bench.start()
    bench.agent.refuses = 400
    bench.agent.drop()
    assert "does not know" in await bench.running.pop()
    bench.agent.refuses = 0
    await bench.start(recovery_seconds=0.3)
    bench.agent.refuses = 503
    bench.agent.drop()
    assert "was away for 0.3 s" in await bench.running.pop()
    bench.agent.refuses = 0
    await bench.start(checkpoint=False)
    bench.agent.drop()
    assert "nothing is kept" in await bench.running.pop()


async def test_a_lost_executors_task_is_adopted_and_not_restarted(bench: Bench) -> None:
    bench.agent.settings = PATIENT
    await bench.start()
    bench.agent.launch("m1", description("shop.1"))
    await bench.agent.until_state("m1", "TASK_RUNNING")
    await bench.kill_executor()
    assert bench.engine.held["shop.1"].status.state == "running"
    await bench.start(life="e:2")
    bench.agent.launch("m2", description("shop.1", adopts=True))
    running = await bench.agent.until_state("m2", "TASK_RUNNING")
    assert report_of(running).status == bench.engine.held["shop.1"].status
    assert bench.engine.created.total() == 1
    await bench.orphan_swept()
    assert bench.engine.held["shop.1"].status.state == "running"
    bench.agent.kill("m2", 0.0)
    await bench.agent.until_state("m2", "TASK_KILLED")


async def test_what_does_not_run_any_more_is_not_adopted_and_not_started(bench: Bench) -> None:
    await bench.start()
    bench.agent.launch("m2", description("shop.1", adopts=True))
    failed = await bench.agent.until_state("m2", "TASK_FAILED")
    assert report_of(failed).status.state == "lost"
    assert "does not run on this machine any more" in failed["message"]
    assert bench.engine.held == {}


async def test_a_living_executors_task_is_not_adopted_by_another_and_not_swept(bench: Bench) -> None:
    first = await bench.start()
    bench.agent.launch("m1", description("shop.1"))
    await bench.agent.until_state("m1", "TASK_RUNNING")
    # The agent hears only the second from now on; the first keeps trying.
    second = await bench.start(life="e:2", executor_id="e2")
    bench.agent.launch("m2", description("shop.1", adopts=True))
    failed = await bench.agent.until_state("m2", "TASK_FAILED")
    assert "executor e:1 answers for it" in failed["message"]
    await bench.orphan_swept()
    assert bench.engine.held["shop.1"].status.state == "running"
    assert first.state.of_runner("shop.1") is not None
    assert second.state.of_runner("shop.1") is None


async def test_what_nobody_claims_is_told_and_then_ended(bench: Bench) -> None:
    await bench.start()
    bench.agent.launch("m1", description("shop.1"))
    await bench.agent.until_state("m1", "TASK_RUNNING")
    await bench.kill_executor()
    await bench.start(life="e:2")
    told = await bench.agent.until(lambda agent: [one.orphans for one in agent.reports() if one.orphans])
    assert [one.task_id for one in told[0]] == ["shop.1"]
    async with asyncio.timeout(5):
        while bench.engine.held:  # ended, and then forgotten
            await asyncio.sleep(0.01)
    assert (bench.folder / "claims").exists()
    await bench.agent.until(lambda agent: agent.reports()[-1].orphans == ())


async def test_after_a_restart_of_the_machine_nothing_is_adopted_and_what_is_left_is_cleared_away(bench: Bench) -> None:
    bench.agent.settings = PATIENT
    await bench.start()
    for number in (1, 2, 3):
        bench.agent.launch(f"m{number}", description(f"shop.{number}"))
        await bench.agent.until_state(f"m{number}", "TASK_RUNNING")
    await bench.kill_executor()
    for name in ("shop.1", "shop.2"):
        bench.engine.crash(name, 255)  # Docker's containers of before are there, and none of them runs
    bench.engine.vanish("shop.3")  # a process leaves nothing that a machine which begins would know
    left = set((bench.folder / "claims").iterdir())
    assert len(left) == 3
    await bench.start(life="e:2")
    for number in (1, 3):
        bench.agent.launch(f"m{number}.2", description(f"shop.{number}", adopts=True))
    ended = await bench.agent.until_state("m1.2", "TASK_FAILED")
    assert report_of(ended).status.exit_status == 255
    gone = await bench.agent.until_state("m3.2", "TASK_FAILED")
    assert "does not run on this machine any more" in gone["message"]
    assert not any(one.orphans for one in bench.agent.reports())
    async with asyncio.timeout(5):
        while "shop.2" in bench.engine.held or len(list((bench.folder / "claims").iterdir())) > 1:
            await asyncio.sleep(0.01)
    assert set(bench.engine.held) == {"shop.1"}  # its end was told, and is kept until the scheduler forgets it
    assert bench.engine.created["/contract/app"] == 3


async def test_shutdown_leaves_what_runs_to_the_sweeper(bench: Bench) -> None:
    await bench.start()
    bench.agent.launch("m1", description("shop.1"))
    await bench.agent.until_state("m1", "TASK_RUNNING")
    bench.agent.send("SHUTDOWN")
    assert await bench.running.pop() == "the agent said so"
    assert bench.engine.held["shop.1"].status.state == "running"
    assert "TASK_KILLED" not in bench.agent.states("m1")
    claims = Claims(bench.folder)
    assert claims.settings().token == ""
    async with asyncio.timeout(5):
        await sweeper.sweep_alone(bench.engine, claims, claims.settings(), bench.clock)
    assert bench.engine.held == {}
    claims.close()


async def test_the_sweeper_leaves_when_an_executor_lives(bench: Bench) -> None:
    await bench.start()
    bench.agent.launch("m1", description("shop.1"))
    await bench.agent.until_state("m1", "TASK_RUNNING")
    claims = Claims(bench.folder)
    async with asyncio.timeout(5):
        await sweeper.sweep_alone(bench.engine, claims, SETTINGS, bench.clock)
    claims.close()
    assert bench.engine.held["shop.1"].status.state == "running"


async def test_settings_that_it_cannot_read_end_it(bench: Bench) -> None:
    bench.agent.settings = description("shop.1")  # type: ignore[assignment]
    with pytest.raises(UnreadableDocument, match="TaskDescription stands where a ExecutorSettings belongs"):
        await Executor(*bench.parts()).run()


async def test_a_disk_that_fails_is_tried_again(bench: Bench) -> None:
    await bench.start()
    folder = bench.folder / "claims"
    folder.rename(bench.folder / "gone")
    with structlog.testing.capture_logs() as told:
        bench.agent.launch("m1", description("shop.1"))
        async with asyncio.timeout(5):
            while not any(one["event"] == "tried again" for one in told):
                await asyncio.sleep(0.01)
    (bench.folder / "gone").rename(folder)
    await bench.agent.until_state("m1", "TASK_RUNNING")
    await bench.orphan_swept()


async def test_nothing_that_mesos_shows_has_a_secret(bench: Bench) -> None:
    await bench.start()
    task = description("shop.1", life="rejected")
    app = msgspec.structs.replace(task.spec.app, env={"A": "image", "B": "no"}, secret_env={"A": "a"})
    bench.agent.launch("m1", TaskDescription(spec=msgspec.structs.replace(task.spec, app=app)))
    failed = await bench.agent.until_state("m1", "TASK_FAILED")
    assert failed["message"] == f"no such {MASK}, call it v404"
    assert report_of(failed).status.message == failed["message"]


async def test_what_it_cannot_read_and_pods_are_refused(bench: Bench) -> None:
    await bench.start()
    bench.agent.launch("m1", None)
    failed = await bench.agent.until_state("m1", "TASK_FAILED")
    assert "TaskDescription is damaged" in failed["message"]
    group = {"tasks": [{"name": "m2", "task_id": {"value": "m2"}}, {"name": "m3", "task_id": {"value": "m3"}}]}
    bench.agent.send("LAUNCH_GROUP", launch_group={"task_group": group})
    for task_id in ("m2", "m3"):
        assert "no task groups" in (await bench.agent.until_state(task_id, "TASK_FAILED"))["message"]


async def test_a_scheduler_that_asks_hears_everything(bench: Bench) -> None:
    await bench.start()
    bench.agent.launch("m1", description("shop.1"))
    await bench.agent.until_state("m1", "TASK_RUNNING")
    before = len(bench.agent.reports())
    bench.agent.send("MESSAGE", message={"data": "bm8="})  # which means nothing
    bench.agent.send("MESSAGE", message={"data": encode(ExecutorQuestion())})
    report = (await bench.agent.until(lambda agent: agent.reports()[before:]))[0]
    assert report.executor_id == "e"
    assert {name: one.state for name, one in report.tasks.items()} == {"m1": "running"}
    assert len(bench.agent.reports()) == before + 1


async def test_the_scheduler_reaches_a_task_by_http_with_the_token_alone(bench: Bench) -> None:
    executor = await bench.start()
    bench.agent.launch("m1", description("shop.1"))
    report = report_of(await bench.agent.until_state("m1", "TASK_RUNNING"))
    url = f"http://{report.address}:{report.port}"
    for token in ("", "u", "tt"):
        stranger = RemoteRunner(url, token)
        for call in (stranger.tasks(), stranger.execute("shop.1", "true", 1.0), stranger.forget("shop.1")):
            with pytest.raises(Unauthenticated):
                await call
        with pytest.raises(Unauthenticated):
            await anext(stranger.updates())
        with pytest.raises(Unavailable):
            await stranger.open_session("shop.1", ["echo"], None)
        await stranger.close()
    runner = RemoteRunner(url, "t")
    assert b"".join([piece async for piece in runner.logs("shop.1", follow=False, tail=None)]) == b"begun\n"
    probe = Probe(
        instance_id="shop.1", check="c", protocol="COMMAND", address="", port=0, task_id="shop.1", command="x"
    )
    assert (await runner.probe(probe)).outcome == "passed"
    with pytest.raises(NotFound):
        await runner.execute("shop.2", "true", 1.0)
    await runner.kill("shop.1", 0.0)
    await bench.agent.until_state("m1", "TASK_KILLED")
    await runner.forget("shop.1")
    assert bench.engine.held == {}
    async with asyncio.timeout(5):
        while executor.state.tasks or list((bench.folder / "claims").glob("*.json")):
            await asyncio.sleep(0.01)
    await bench.kill_executor()
    with pytest.raises(Unavailable):
        await runner.tasks()
    assert (await runner.probe(probe)).outcome == "unknown"
    await runner.close()
