"""The event stream of PyPI's client `marathon`, unmodified: what it makes of every event, held against the engine."""

import asyncio
import collections
import collections.abc
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from marathon import MarathonApp, MarathonError
from marathon.models.events import EventFactory, MarathonDeploymentSuccess, MarathonEvent
from marathon.models.group import MarathonGroup

from coldchain.testing.marathon_scene import Scene, marathon_scene, shop

NOT_KNOWN = {"scheduler_registered_event", "scheduler_reregistered_event", "scheduler_disconnected_event"}
"""Marathon's own, which the client has no class for: its stream ends with an error, as it does with Marathon. A client
that names the types it wants never gets them. It fails in the same way at the mark of events that it was too slow for,
which is always sent: the loss is not silent."""


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    # The client is of a time when Python had this name here, too.
    monkeypatch.setattr(collections, "Iterable", collections.abc.Iterable, raising=False)
    async with marathon_scene() as scene:
        yield scene


async def until(following: asyncio.Queue[Any], event_type: str) -> list[Any]:
    """The events up to the first of this type, all made by the client."""
    taken: list[Any] = []
    while not taken or taken[-1].event_type != event_type:
        taken.append(await following.get())
        if isinstance(taken[-1], Exception):
            raise taken[-1]
    return taken


def chosen(events: list[Any], event_type: str) -> list[Any]:
    return [event for event in events if event.event_type == event_type]


async def test_the_life_of_an_app_in_its_events(scene: Scene) -> None:
    async with scene.following() as following:
        made = await scene.created("/shop", instances=2, env={"LEVEL": "debug"})
        begun = await until(following, "deployment_success")
        first = scene.ids("/shop")
        addresses = {task.status.address for task in scene.tasks("/shop")}
        changed = await scene.update_app("/shop", MarathonApp(env={"LEVEL": "info"}))
        await scene.runs("/shop", 2, LEVEL="info")
        moved = await until(following, "deployment_success")
        second = scene.ids("/shop")
        addresses |= {task.status.address for task in scene.tasks("/shop")}
        await scene.delete_app("/shop")
        await scene.runs("/shop", 0)
        ended = await until(following, "app_terminated_event")
    events = [*begun, *moved, *ended]
    assert all(isinstance(event, MarathonEvent) and event.timestamp.endswith("Z") for event in events)
    [asked, *_] = chosen(begun, "api_post_event")
    assert (asked.uri, asked.client_ip, asked.app_definition["id"]) == ("/v2/apps", "127.0.0.1", "/shop")
    [information] = chosen(begun, "deployment_info")
    assert information.plan.id == made.deployments[0].id
    actions = [action for step in information.plan.steps for action in step.actions]
    assert {action.app for action in actions} == {"/shop"}
    assert begun[-1].id == made.deployments[0].id
    assert moved[-1].id == changed["deploymentId"]
    updates = chosen(events, "status_update_event")
    assert {one.task_id for one in updates if one.task_status == "TASK_RUNNING"} == first | second
    gone = {one.task_id for one in updates if one.task_status == "TASK_KILLED"}
    assert gone == first | second
    assert {(one.app_id, one.host, one.slave_id) for one in updates} == {("/shop", "agent-1", "agent-1")}
    assert {one.ip_addresses[0].ip_address for one in updates} == addresses
    alive = {one.task_id for one in chosen(events, "health_status_changed_event") if getattr(one, "alive", False)}
    assert alive == first | second
    conditions = [one.condition for one in chosen(begun, "instance_changed_event")]
    assert conditions.count("Running") >= 2
    assert {one.run_spec_id for one in chosen(events, "instance_changed_event")} == {"/shop"}


async def test_the_life_of_a_group_in_its_events(scene: Scene) -> None:
    web, database = shop(), shop()
    web.id, database.id, web.dependencies = "/shop/web", "/shop/db", ["/shop/db"]
    async with scene.following() as following:
        made = await scene.create_group(MarathonGroup(id="/shop", apps=[web, database]))
        await scene.runs("/shop/web", 1)
        begun = await until(following, "deployment_success")
        before = scene.ids("/shop/web") | scene.ids("/shop/db")
        await scene.create_group(MarathonGroup(id="/shop/empty"))
        nothing = await until(following, "deployment_success")
        gone = await scene.delete_group("/shop")
        await scene.runs("/shop/web", 0)
        await scene.runs("/shop/db", 0)
        ended = await until(following, "deployment_success")
    [information] = chosen(begun, "deployment_info")
    assert (information.plan.id, begun[-1].id) == (made["deploymentId"], made["deploymentId"])
    steps = [{(action.action, action.app) for action in step.actions} for step in information.plan.steps]
    scaled = [app for step in steps for action, app in sorted(step) if action == "ScaleApplication"]
    assert scaled == ["/shop/db", "/shop/web"]
    assert chosen(begun, "group_change_success")[0].group_id == "/shop"
    updates = chosen(begun, "status_update_event")
    assert [one.app_id for one in updates if one.task_status == "TASK_RUNNING"] == scaled
    assert {one.task_id for one in updates if one.task_status == "TASK_RUNNING"} == before
    assert chosen(nothing, "status_update_event") == []
    assert ended[-1].id == gone["deploymentId"]
    killed = {one.task_id for one in chosen(ended, "status_update_event") if one.task_status == "TASK_KILLED"}
    assert killed == before


async def test_types_are_chosen_by_class_and_by_name(scene: Scene) -> None:
    async with scene.following(event_types=[MarathonDeploymentSuccess, "app_terminated_event"]) as following:
        made = await scene.created("/shop")
        await scene.delete_app("/shop")
        await scene.runs("/shop", 0)
        taken = await until(following, "app_terminated_event")
    assert {event.event_type for event in taken} == {"deployment_success", "app_terminated_event"}
    assert taken[0].id == made.deployments[0].id
    assert chosen(taken, "app_terminated_event")[0].app_id == "/shop"


async def test_raw_events_are_text(scene: Scene) -> None:
    async with scene.following(raw=True, event_types=["status_update_event"]) as following:
        await scene.created("/shop")
        told = json.loads(await following.get())
    assert told["eventType"] == "status_update_event"
    assert {told["taskId"]} == scene.ids("/shop")


async def test_a_deployment_that_fails(scene: Scene) -> None:
    await scene.created("/shop", env={"LEVEL": "debug"})
    async with scene.following() as following:
        begun = await scene.update_app("/shop", MarathonApp(env={"LEVEL": "info", "HEALTH": "never"}))
        await scene.until(lambda: any(one.get("HEALTH") == "never" for one in scene.env("/shop")))
        back = await scene.delete_deployment(begun["deploymentId"])
        failed = await until(following, "deployment_failed")
        await scene.runs("/shop", 1, LEVEL="debug")
        succeeded = await until(following, "deployment_success")
    assert failed[-1].id == begun["deploymentId"]
    assert succeeded[-1].id == back["deploymentId"]


async def test_an_app_that_crashes(scene: Scene) -> None:
    await scene.created("/shop")
    [task] = scene.tasks("/shop")
    async with scene.following(event_types=["status_update_event"]) as following:
        scene.platform.engine.crash(task.spec.task_id)
        await scene.until(lambda: task.spec.task_id not in scene.ids("/shop"))
        failed = await following.get()
        await scene.runs("/shop", 1)
    assert (failed.task_id, failed.task_status) == (task.spec.task_id, "TASK_FAILED")
    assert "137" in failed.message


async def test_what_only_coldchain_has_never_comes_unasked(scene: Scene) -> None:
    """Of an app that fits nowhere there is an event of Coldchain's own, before those of the next app."""
    async with scene.following() as following:
        await scene.create_app("/huge", MarathonApp(cmd="sleep 1", cpus=9999, mem=32, instances=1))
        await scene.until(lambda: bool(scene.platform.controller.reconciler.refused))
        await scene.create_app("/shop", shop())
        taken = await until(following, "deployment_success")
        kept = scene.platform.controller.events.kept()
    assert "instance_refused_event" in {event.type for event in kept}
    assert {event.event_type for event in taken} <= EventFactory.event_to_class.keys()


def test_every_type_of_marathons_is_one_that_the_client_knows() -> None:
    from coldchain.documents.events import MARATHONS  # type: ignore[attr-defined]

    assert MARATHONS - EventFactory.event_to_class.keys() == NOT_KNOWN
    for name in (*NOT_KNOWN, "events_missed"):
        with pytest.raises(MarathonError, match="Unknown event_type"):
            EventFactory().process({"eventType": name, "timestamp": "2021-07-01T10:00:00.000Z"})
