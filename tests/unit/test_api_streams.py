"""Streams: events with ids that can be resumed, logs of all instances; both end with the server."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import ClientResponse, ClientSession

from coldchain.api.settings import ApiSettings
from coldchain.model.task import TaskFailure
from coldchain.testing.fake_engine import Life
from coldchain.testing.served_platform import ServedPlatform, served_platform

APP = {"id": "/x", "instances": 2, "container": {"docker": {"image": "x"}}}
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
async def platform() -> AsyncIterator[ServedPlatform]:
    async with served_platform(ApiSettings(keep_alive_seconds=0.05)) as platform:
        yield platform


async def next_event(answer: ClientResponse) -> dict[str, str]:
    """The fields of the next event; comments are skipped."""
    event: dict[str, str] = {}
    async with asyncio.timeout(5):
        async for raw in answer.content:
            line = raw.decode().rstrip("\n")
            if not line and event:
                return event
            name, _, value = line.partition(": ")
            if name:
                event[name] = value
    raise EOFError


async def test_events_come_with_id_type_and_body(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session, session.get("/v2/events", headers=STREAM) as answer:
        assert answer.content_type == "text/event-stream"
        await platform.deployed(session, APP)
        seen = [await next_event(answer)]
        while seen[-1]["event"] != "deployment_success":
            seen.append(await next_event(answer))
    ids = [int(event["id"]) for event in seen]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    for event in seen:
        body = json.loads(event["data"])
        assert body["eventType"] == event["event"]
        assert body["timestamp"]
        assert body["cause"]
    types = {event["event"] for event in seen}
    assert {"api_post_event", "deployment_info", "instance_changed_event", "status_update_event"} <= types


async def test_an_instance_that_fits_no_agent_is_an_event_once(platform: ServedPlatform) -> None:
    chosen = "/v2/events?event_type=instance_refused_event&event_type=deployment_failed"
    async with ClientSession(platform.url) as session, session.get(chosen, headers=STREAM) as answer:
        async with session.post("/v2/apps", json=APP | {"instances": 1, "mem": 1e6, "deadlineSeconds": 2}):
            pass
        first, last = await next_event(answer), await next_event(answer)
    assert (first["event"], last["event"]) == ("instance_refused_event", "deployment_failed")
    body = json.loads(first["data"])
    assert (body["agents"], body["reasons"]) == (1, {"InsufficientMemory": 1})
    assert "too little memory on 1 (1000000 MiB wanted" in body["cause"]


async def test_events_are_chosen_by_type_and_resumed_by_id(platform: ServedPlatform) -> None:
    chosen = "/v2/events?event_type=deployment_info&event_type=deployment_success"
    first = platform.controller.events.emit
    first("before", "test", {"eventType": "before"})
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, APP)
        start = {"Last-Event-ID": str(1 << 32)}
        async with session.get(chosen, headers=STREAM | start) as answer:
            seen = [await next_event(answer) for _ in range(2)]
            assert [event["event"] for event in seen] == ["deployment_info", "deployment_success"]
        async with session.get(chosen, headers=STREAM | {"Last-Event-ID": seen[0]["id"]}) as answer:
            assert await next_event(answer) == seen[1]


async def test_what_was_missed_is_marked_whatever_was_chosen(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        headers = STREAM | {"Last-Event-ID": "7"}
        async with session.get("/v2/events?event_type=none", headers=headers) as answer:
            missed = await next_event(answer)
        assert missed["event"] == "events_missed"
        assert json.loads(missed["data"])["after"] == 7


async def test_a_browser_that_has_only_the_address_resumes_by_the_query(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        async with session.get(f"/v2/events?lastEventId={(1 << 32)}", headers=STREAM) as answer:
            assert (await next_event(answer))["event"] == "scheduler_registered_event"
        async with session.get("/v2/events?lastEventId=x", headers=STREAM) as answer:
            assert answer.status == 400


async def test_who_comes_and_who_goes_is_an_event(platform: ServedPlatform) -> None:
    chosen = "/v2/events?event_type=event_stream_attached&event_type=event_stream_detached"
    async with ClientSession(platform.url) as session, session.get(chosen, headers=STREAM) as answer:
        own = await next_event(answer)
        async with ClientSession(platform.url) as other, other.get("/v2/events", headers=STREAM):
            attached = await next_event(answer)
        detached = await next_event(answer)
    kinds = [event["event"] for event in (own, attached, detached)]
    assert kinds == ["event_stream_attached", "event_stream_attached", "event_stream_detached"]
    assert {json.loads(event["data"])["remoteAddress"] for event in (own, attached, detached)} == {"127.0.0.1"}


async def test_who_goes_back_to_a_version_changes_an_app(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        created = await platform.deployed(session, APP)
        chosen = "/v2/events?event_type=api_post_event"
        async with session.get(chosen, headers=STREAM) as answer:
            async with session.put("/v2/apps/x", json={"version": created["version"]}):
                pass
            body = json.loads((await next_event(answer))["data"])
    assert (body["uri"], body["clientIp"], body["appDefinition"]["id"]) == ("/v2/apps/x", "127.0.0.1", "/x")


async def test_types_that_marathon_has_not_come_to_those_who_ask_for_them(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        plain = await session.get("/v2/events", headers=STREAM)
        whole = await session.get("/v2/events?embed=coldchain", headers=STREAM)
        named = await session.get("/v2/events?event_type=deployment_paused", headers=STREAM)
        for kind in ("deployment_paused", "deployment_success"):
            platform.controller.events.emit(kind, "test", {"eventType": kind})
        assert (await next_event(named))["event"] == "deployment_paused"
        for answer, types in (
            (plain, ["deployment_success"]),
            (whole, ["deployment_paused", "deployment_success"]),
        ):
            seen = [await next_event(answer)]
            while seen[-1]["event"] != "deployment_success":
                seen.append(await next_event(answer))
            assert [one["event"] for one in seen if one["event"].startswith("deployment")] == types
            answer.close()
        named.close()


async def test_a_plan_has_the_groups_before_and_after_unless_it_is_to_be_light(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, APP | {"id": "/a/x"})
        chosen = f"/v2/events?event_type=deployment_info&lastEventId={1 << 32}"
        async with session.put("/v2/apps/a/x", json={"cpus": 0.5}) as answer:
            await platform.ended(session, (await answer.json())["deploymentId"])
        async with session.get(chosen, headers=STREAM) as answer:
            created, changed = [json.loads((await next_event(answer))["data"])["plan"] for _ in range(2)]
        async with session.get(chosen + "&plan-format=light", headers=STREAM) as answer:
            light = json.loads((await next_event(answer))["data"])["plan"]
        async with session.get("/v2/apps/a/x") as answer:
            app = (await answer.json())["app"]
    assert light.keys() == {"id", "version", "steps"}
    assert {name: created[name] for name in light} == light
    assert (created["original"]["apps"], created["original"]["groups"]) == ([], [])
    [before], [after] = ([group["apps"] for group in changed[side]["groups"]] for side in ("original", "target"))
    assert before == created["target"]["groups"][0]["apps"]
    assert before[0]["cpus"] == 1.0
    assert after[0] == {name: app[name] for name in after[0]}
    assert after[0]["cpus"] == 0.5


async def test_a_client_that_is_slow_misses_some_and_is_told_which(platform: ServedPlatform) -> None:
    kind = "deployment_success"
    reader, writer = await asyncio.open_connection("127.0.0.1", platform.port)
    writer.write(b"GET /v2/events HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
    await reader.readuntil(b"event_stream_attached")
    for _ in range(800):  # four times as much as is kept
        platform.controller.events.emit(kind, "test", {"eventType": kind, "text": "x" * 40_000})
        await asyncio.sleep(0)
    platform.controller.events.emit("app_terminated_event", "test", {"eventType": "app_terminated_event"})
    sequences: list[int] = []
    missed: dict[str, int] = {}
    async with asyncio.timeout(5):
        while line := await reader.readline():
            if line.startswith(b"id: "):
                sequences.append(int(line[4:]))
            elif line.startswith(b"event: app_terminated_event"):
                break
            elif line.startswith(b"data: ") and b"events_missed" in line:
                missed = json.loads(line[6:])
                assert missed["after"] == sequences[-2]
                assert missed["before"] == sequences[-1] + 1
    writer.close()
    assert missed["before"] - missed["after"] > 1
    assert sequences == sorted(set(sequences))
    assert sequences[-1] == platform.controller.events.kept()[-1].sequence


async def test_a_client_that_takes_nothing_is_let_go() -> None:
    async with served_platform(ApiSettings(stalled_seconds=0.05)) as platform:
        reader, writer = await asyncio.open_connection("127.0.0.1", platform.port)
        writer.write(b"GET /v2/events HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
        await reader.readuntil(b"event_stream_attached")
        writer.transport.pause_reading()
        body = {"eventType": "deployment_success", "text": "x" * 4_000_000}
        with platform.controller.events.follow() as follower:
            seen: set[str] = set()
            async with asyncio.timeout(5):
                while "event_stream_detached" not in seen:
                    platform.controller.events.emit("deployment_success", "test", body)
                    await asyncio.sleep(0.001)
                    seen |= {event.type for event in follower.take()}
        writer.close()


async def test_over_a_restart_of_the_controller_it_is_said_that_some_may_be_missed(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, APP)
        last = platform.controller.events.kept()[-1].sequence
        await platform.stop()
        await platform.start()
        async with session.get("/v2/events", headers=STREAM | {"Last-Event-ID": str(last)}) as answer:
            missed, following = await next_event(answer), await next_event(answer)
    first = platform.controller.events.kept()[0].sequence
    assert missed["event"] == "events_missed"
    body = json.loads(missed["data"])
    assert (body["after"], body["before"], int(following["id"])) == (last, first, first)
    assert first > last


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "9" * 40])
async def test_an_id_that_is_none_is_refused(platform: ServedPlatform, given: str) -> None:
    headers = STREAM | {"Last-Event-ID": given}
    async with ClientSession(platform.url) as session, session.get("/v2/events", headers=headers) as answer:
        assert answer.status == 400


async def test_silence_is_filled_with_comments(platform: ServedPlatform) -> None:
    nothing = "/v2/events?event_type=none"
    async with ClientSession(platform.url) as session, session.get(nothing, headers=STREAM) as answer:
        async with asyncio.timeout(5):
            assert (await answer.content.readline()).startswith(b":")
            assert await answer.content.readline() == b"\n"
            assert (await answer.content.readline()).startswith(b": still here")


async def test_streams_end_when_the_server_stops(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, APP)
        events = await session.get("/v2/events", headers=STREAM)
        logs = await session.get("/v1/apps/x/logs?follow")
        async with asyncio.timeout(platform.settings.shutdown_seconds - 0.5):
            await platform.server.stop()
            await asyncio.gather(events.read(), logs.read())


def connections() -> int:
    """How many requests the server holds."""
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    return sum("RequestHandler" in getattr(one, "__qualname__", "") for one in coroutines)


@pytest.mark.parametrize("path", ["/v2/events", "/v1/apps/x/logs?follow"])
async def test_a_client_that_left_is_forgotten(platform: ServedPlatform, path: str) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, APP)
        answer = await session.get(path, headers=STREAM)
        held = connections()
        assert held
        answer.close()
        async with asyncio.timeout(5):
            while connections() == held:
                await asyncio.sleep(0.01)


async def test_logs_of_all_instances_and_of_one(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, APP)
        ids = sorted(platform.controller.state.instances)
        async with session.get("/v1/apps/x/logs?tail=1") as answer:
            assert answer.content_type == "application/x-ndjson"
            lines = [json.loads(line) for line in (await answer.text()).splitlines()]
        assert sorted(line["instance"] for line in lines) == ids
        assert {line["line"] for line in lines} == {"listening on 8080"}
        async with session.get(f"/v1/apps/x/logs?instance={ids[0][:6]}&format=text") as answer:
            assert await answer.text() == "started\nlistening on 8080\n"
        async with session.get("/v1/apps/x/logs?instance=zz") as answer:
            assert answer.status == 404


async def test_followed_logs_have_those_of_instances_that_come_later(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, APP | {"instances": 1})
        async with session.get("/v1/apps/x/logs?follow&tail=0") as answer, asyncio.timeout(10):
            async with session.patch("/v2/apps/x", json={"instances": 2}) as changed:
                assert changed.status == 200
            line = json.loads(await answer.content.readline())
            assert line["line"] == "started"
        assert line["instance"] in platform.controller.state.instances


async def test_output_of_what_crashed_is_shown_when_nothing_runs(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        crashing = APP | {"instances": 1, "env": {"EXIT": "3"}, "backoffSeconds": 100}
        async with session.post("/v2/apps", json=crashing):
            pass
        while not platform.controller.state.failures:
            await asyncio.sleep(0.01)
        async with session.get("/v1/apps/x/logs?format=text") as answer:
            assert await answer.text() == "started\nlistening on 8080\n"
        async with session.get("/v1/apps/x/status") as answer:
            said = await answer.json()
        assert said["lastFailure"]["exitStatus"] == 3
        assert said["lastFailure"]["logTail"] == ["started", "listening on 8080"]


async def test_output_of_those_that_ended(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, APP | {"instances": 1})
        [first] = platform.controller.state.instances
        async with session.get("/v1/apps/x/logs?previous") as answer:
            assert await answer.text() == ""
        async with session.post("/v2/apps/x/restart") as answer:
            await platform.ended(session, (await answer.json())["deploymentId"])
        async with session.get("/v1/apps/x/logs?previous&tail=1") as answer:
            assert json.loads(await answer.text()) == {"instance": first, "line": "listening on 8080"}
        async with session.get("/v1/apps/x/logs?previous&follow") as answer:
            assert answer.status == 400


async def test_the_end_of_the_last_failure_is_known_when_all_else_is_gone(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, APP | {"instances": 1})
        at = platform.clock.now()
        failure = TaskFailure(
            app_id="/x",
            target="cluster",
            task_id="t",
            instance_id="gone",
            version_id="v",
            agent="a",
            state="failed",
            at=at,
            log_tail=("the last", "words"),
        )
        await platform.controller.state.commit([failure])
        async with session.get("/v1/apps/x/logs?previous") as answer:
            lines = [json.loads(line) for line in (await answer.text()).splitlines()]
    assert lines == [{"instance": "gone", "line": "the last"}, {"instance": "gone", "line": "words"}]


async def test_output_since_a_moment(platform: ServedPlatform) -> None:
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, APP | {"instances": 1})
        async with session.get("/v1/apps/x/logs?sinceSeconds=600&format=text") as answer:
            assert await answer.text() == "started\nlistening on 8080\n"
        async with session.get("/v1/apps/x/logs?sinceSeconds=0") as answer:
            assert await answer.text() == ""
        async with session.get("/v1/apps/x/logs?sinceSeconds=soon") as answer:
            assert answer.status == 400


async def test_long_lines_are_cut_and_odd_bytes_shown(platform: ServedPlatform) -> None:
    output = b"a" * 100_000 + b"\r\n\xff\n" + b"no end"
    platform.engine.life = lambda spec: replace(Life(start_seconds=0.01), output=output)
    async with ClientSession(platform.url) as session:
        await platform.deployed(session, APP | {"instances": 1})
        async with session.get("/v1/apps/x/logs") as answer:
            lines = [json.loads(line)["line"] for line in (await answer.text()).splitlines()]
    assert lines == ["a" * 100_000, "\ufffd", "no end"]
