"""PyPI's `marathon`, the client that tools in Python speak to a Marathon with, unmodified, against Coldchain's API.

Each of its public methods has a case, and what a case looks at is the engine: which tasks run, of which definition.
"""

import collections
import collections.abc
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest
from marathon import MarathonApp, MarathonClient, MarathonHttpError, NotFoundError
from marathon.exceptions import ConflictError
from marathon.models.constraint import MarathonConstraint
from marathon.models.group import MarathonGroup

from coldchain.testing.marathon_scene import Scene, marathon_scene, shop


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    # The client is of a time when Python had this name here, too.
    monkeypatch.setattr(collections, "Iterable", collections.abc.Iterable, raising=False)
    async with marathon_scene() as scene:
        yield scene


Case = Callable[[Scene], Awaitable[None]]
CASES: dict[str, Case] = {}


def case(method: str) -> Callable[[Case], Case]:
    """The test of a method of the client."""

    def kept(told: Case) -> Case:
        assert CASES.setdefault(method, told) is told, f"{method} has two cases"
        return told

    return kept


def public_methods() -> set[str]:
    return {name for name, _ in inspect.getmembers(MarathonClient, callable) if not name.startswith("_")}


def test_every_public_method_has_a_case() -> None:
    assert CASES.keys() == public_methods()


@case("create_app")
async def creates_an_app(scene: Scene) -> None:
    made = await scene.created(
        "/shop",
        instances=2,
        env={"LEVEL": "debug"},
        labels={"team": "web"},
        constraints=[MarathonConstraint("hostname", "CLUSTER", "agent-1")],
    )
    assert (made.id, made.instances, made.env, len(made.deployments)) == ("/shop", 2, {"LEVEL": "debug"}, 1)
    [first, second] = scene.tasks("/shop")
    for task in (first, second):
        assert task.spec.app.container is not None
        assert task.spec.app.container.docker.image == "shop:v1"
        assert (task.spec.app.env, task.spec.app.cpus, task.spec.app.mem) == ({"LEVEL": "debug"}, 0.1, 32)
        assert task.spec.app.constraints == (("hostname", "CLUSTER", "agent-1"),)
    with pytest.raises(ConflictError):
        await scene.create_app("/shop", shop())
    with pytest.raises(MarathonHttpError) as refused:
        await scene.create_app("/other", shop(cpus=-1))
    assert (refused.value.status_code, refused.value.error_message) == (422, "Object is not valid")
    assert refused.value.error_details[0]["path"] == "/cpus"
    assert scene.tasks("/other") == []


@case("get_app")
async def gets_an_app(scene: Scene) -> None:
    await scene.created("/shop", instances=2)
    embeds = ("tasks", "counts", "deployments", "readiness", "last_task_failure", "failures", "task_stats")
    found = await scene.get_app("/shop", **{f"embed_{name}": True for name in embeds})
    assert {task.id for task in found.tasks} == scene.ids("/shop")
    assert (found.tasks_running, found.tasks_staged) == (2, 0)
    assert found.task_stats.total_summary.stats.counts.running == 2
    assert found.version_info.last_config_change_at.utcoffset() == timedelta(0)
    assert found.health_checks[0].path == "/health"
    assert found.container.port_mappings[0].container_port == 8080
    with pytest.raises(NotFoundError):
        await scene.get_app("/none")


@case("list_apps")
async def lists_apps(scene: Scene) -> None:
    await scene.created("/shop/web", labels={"team": "web"})
    await scene.created("/shop/db", labels={"team": "data"}, instances=2)
    embeds = ("tasks", "counts", "deployments", "readiness", "last_task_failure", "failures", "task_stats")
    found = {app.id: app for app in await scene.list_apps(**{f"embed_{name}": True for name in embeds})}
    assert found.keys() == {"/shop/web", "/shop/db"}
    for app_id, app in found.items():
        assert {task.id for task in app.tasks} == scene.ids(app_id)
    assert [app.id for app in await scene.list_apps(label="team==data")] == ["/shop/db"]
    assert [app.id for app in await scene.list_apps(app_id="web")] == ["/shop/web"]
    assert [app.id for app in await scene.list_apps(instances=2)] == ["/shop/db"]


@case("update_app")
async def updates_an_app(scene: Scene) -> None:
    await scene.created("/shop", instances=2, env={"LEVEL": "debug"})
    before = scene.ids("/shop")
    answer = await scene.update_app("/shop", MarathonApp(env={"LEVEL": "info"}))
    assert answer.keys() == {"deploymentId", "version"}
    await scene.runs("/shop", 2, LEVEL="info")
    assert not before & scene.ids("/shop")
    # An app that was read can be sent back whole, and asks for nothing.
    after = scene.ids("/shop")
    read = await scene.get_app("/shop")
    await scene.update_app("/shop", MarathonApp(**{name: getattr(read, name) for name in ("cpus", "env", "container")}))
    await scene.runs("/shop", 2, LEVEL="info")
    assert scene.ids("/shop") == after


@case("update_apps")
async def updates_several_apps(scene: Scene) -> None:
    await scene.created("/shop/web")
    changed, new = shop(env={"LEVEL": "info"}), shop(env={"LEVEL": "new"}, instances=2)
    changed.id, new.id = "/shop/web", "/shop/new"
    answer = await scene.update_apps([changed, new])
    assert answer.keys() == {"deploymentId", "version"}
    await scene.runs("/shop/web", 1, LEVEL="info")
    await scene.runs("/shop/new", 2, LEVEL="new")


@case("scale_app")
async def scales_an_app(scene: Scene) -> None:
    await scene.created("/shop")
    before = scene.ids("/shop")
    await scene.scale_app("/shop", instances=3)
    await scene.runs("/shop", 3)
    assert before < scene.ids("/shop")
    await scene.scale_app("/shop", delta=-2)
    await scene.runs("/shop", 1)
    assert scene.platform.engine.created["/shop"] == 3


@case("restart_app")
async def restarts_an_app(scene: Scene) -> None:
    await scene.created("/shop", instances=2)
    before = scene.ids("/shop")
    assert (await scene.restart_app("/shop")).keys() == {"deploymentId", "version"}
    await scene.until(lambda: not before & scene.ids("/shop"))
    await scene.runs("/shop", 2)


@case("rollback_app")
async def rolls_an_app_back(scene: Scene) -> None:
    made = await scene.created("/shop", env={"LEVEL": "debug"})
    await scene.update_app("/shop", MarathonApp(env={"LEVEL": "info"}))
    await scene.runs("/shop", 1, LEVEL="info")
    await scene.rollback_app("/shop", made.version)
    await scene.runs("/shop", 1, LEVEL="debug")


@case("delete_app")
async def deletes_an_app(scene: Scene) -> None:
    await scene.created("/shop", instances=2)
    assert (await scene.delete_app("/shop")).keys() == {"deploymentId", "version"}
    await scene.runs("/shop", 0)
    assert await scene.list_apps() == []


@case("list_versions")
async def lists_versions(scene: Scene) -> None:
    made = await scene.created("/shop", env={"LEVEL": "debug"})
    answer = await scene.update_app("/shop", MarathonApp(env={"LEVEL": "info"}))
    await scene.runs("/shop", 1, LEVEL="info")
    assert await scene.list_versions("/shop") == [answer["version"], made.version]
    assert [task.spec.version_id for task in scene.tasks("/shop")] == [answer["version"]]


@case("get_version")
async def gets_a_version(scene: Scene) -> None:
    made = await scene.created("/shop", env={"LEVEL": "debug"})
    await scene.update_app("/shop", MarathonApp(env={"LEVEL": "info"}))
    await scene.runs("/shop", 1, LEVEL="info")
    assert (await scene.get_version("/shop", made.version)).env == {"LEVEL": "debug"}


@case("list_tasks")
async def lists_tasks(scene: Scene) -> None:
    await scene.created("/shop/web", instances=2)
    await scene.created("/shop/db")
    everything = {task.id: task for task in await scene.list_tasks()}
    assert everything.keys() == scene.ids("/shop/web") | scene.ids("/shop/db")
    assert {task.id for task in await scene.list_tasks("/shop/db")} == scene.ids("/shop/db")
    assert {task.id for task in await scene.list_tasks(app_id="/shop/web", host="agent-1")} == scene.ids("/shop/web")
    for task in scene.tasks("/shop/web"):
        told = everything[task.spec.task_id]
        assert (told.host, told.ports, told.state) == ("agent-1", list(task.spec.host_ports), "TASK_RUNNING")
        assert told.ip_addresses[0].ip_address == task.status.address
        assert told.started_at >= told.staged_at


@case("list_endpoints")
async def lists_endpoints(scene: Scene) -> None:
    await scene.created("/shop", instances=2)
    found = {(one.app_id, one.task_id, one.host, one.task_port) for one in await scene.list_endpoints()}
    engine = scene.tasks("/shop")
    assert found == {("/shop", task.spec.task_id, "agent-1", task.spec.host_ports[0]) for task in engine}


@case("kill_task")
async def kills_a_task(scene: Scene) -> None:
    await scene.created("/shop", instances=2)
    first, second = sorted(scene.ids("/shop"))
    killed = await scene.kill_task("/shop", first)
    assert killed.id == first
    await scene.until(lambda: first not in scene.ids("/shop"))
    await scene.runs("/shop", 2)
    assert second in scene.ids("/shop")
    await scene.kill_task("/shop", second, scale=True)
    await scene.runs("/shop", 1)
    assert second not in scene.ids("/shop")


@case("kill_tasks")
async def kills_all_tasks_of_an_app(scene: Scene) -> None:
    await scene.created("/shop", instances=2)
    before = scene.ids("/shop")
    assert await scene.kill_tasks("/shop", host="elsewhere") == []
    assert {task.id for task in await scene.kill_tasks("/shop", host="agent-1")} == before
    await scene.until(lambda: not before & scene.ids("/shop"))
    await scene.runs("/shop", 2)
    await scene.kill_tasks("/shop", scale=True)
    await scene.runs("/shop", 0)
    assert (await scene.get_app("/shop")).instances == 0


@case("kill_given_tasks")
async def kills_given_tasks(scene: Scene) -> None:
    await scene.created("/shop/web", instances=2)
    await scene.created("/shop/db")
    [first, second], [third] = sorted(scene.ids("/shop/web")), sorted(scene.ids("/shop/db"))
    assert await scene.kill_given_tasks([first, third])
    await scene.until(lambda: not {first, third} & (scene.ids("/shop/web") | scene.ids("/shop/db")))
    await scene.runs("/shop/web", 2)
    await scene.runs("/shop/db", 1)
    assert await scene.kill_given_tasks([second], scale=True, force=True)
    await scene.runs("/shop/web", 1)
    assert second not in scene.ids("/shop/web")


def group() -> MarathonGroup:
    """A group with one below it, which waits for another."""
    database, web = shop(env={"LEVEL": "debug"}), shop(instances=2, env={"LEVEL": "debug"})
    database.id, web.id = "/shop/data/db", "/shop/front/web"
    data = MarathonGroup(id="/shop/data", apps=[database])
    front = MarathonGroup(id="/shop/front", apps=[web], dependencies=["/shop/data"])
    return MarathonGroup(id="/shop", groups=[data, front])


async def group_created(scene: Scene) -> dict[str, str]:
    answer: dict[str, str] = await scene.create_group(group())
    assert answer.keys() == {"deploymentId", "version"}
    await scene.runs("/shop/data/db", 1)
    await scene.runs("/shop/front/web", 2)
    return answer


@case("create_group")
async def creates_a_group(scene: Scene) -> None:
    await group_created(scene)
    started = [task.status.at for app_id in ("/shop/data/db", "/shop/front/web") for task in scene.tasks(app_id)]
    assert started == sorted(started), "what others wait for runs first"
    with pytest.raises(ConflictError):
        await scene.create_group(group())


@case("get_group")
async def gets_a_group(scene: Scene) -> None:
    await group_created(scene)
    found = await scene.get_group("/shop")
    assert (found.id, {one.id for one in found.groups}) == ("/shop", {"/shop/data", "/shop/front"})
    apps = {app.id: app.instances for one in found.groups for app in one.apps}
    assert apps == {app_id: len(scene.tasks(app_id)) for app_id in ("/shop/data/db", "/shop/front/web")}
    with pytest.raises(NotFoundError):
        await scene.get_group("/none")


@case("list_groups")
async def lists_groups(scene: Scene) -> None:
    await group_created(scene)
    [found] = await scene.list_groups()
    assert found.id == "/shop"
    assert {app.id for one in found.groups for app in one.apps if scene.tasks(app.id)} == {
        "/shop/data/db",
        "/shop/front/web",
    }
    assert await scene.list_groups(id="/none") == []


@case("update_group")
async def updates_a_group(scene: Scene) -> None:
    await group_created(scene)
    changed = group()
    for one in changed.groups:
        one.apps[0].env = {"LEVEL": "info"}
    assert (await scene.update_group("/shop", changed)).keys() == {"deploymentId", "version"}
    await scene.runs("/shop/data/db", 1, LEVEL="info")
    await scene.runs("/shop/front/web", 2, LEVEL="info")


@case("scale_group")
async def scales_a_group(scene: Scene) -> None:
    await group_created(scene)
    await scene.scale_group("/shop", 2)
    await scene.runs("/shop/data/db", 2)
    await scene.runs("/shop/front/web", 4)


@case("rollback_group")
async def rolls_a_group_back(scene: Scene) -> None:
    made = await group_created(scene)
    changed = group()
    for one in changed.groups:
        one.apps[0].env = {"LEVEL": "info"}
    await scene.update_group("/shop", changed)
    await scene.runs("/shop/front/web", 2, LEVEL="info")
    await scene.rollback_group("/shop", made["version"])
    await scene.runs("/shop/data/db", 1, LEVEL="debug")
    await scene.runs("/shop/front/web", 2, LEVEL="debug")


@case("delete_group")
async def deletes_a_group(scene: Scene) -> None:
    await group_created(scene)
    await scene.created("/other")
    assert "version" in await scene.delete_group("/shop")
    await scene.runs("/shop/data/db", 0)
    await scene.runs("/shop/front/web", 0)
    assert len(scene.tasks("/other")) == 1


async def hangs(scene: Scene) -> str:
    """A deployment that goes on until it is ended; its id."""
    await scene.created("/shop", env={"LEVEL": "debug"})
    answer = await scene.update_app("/shop", MarathonApp(env={"LEVEL": "info", "HEALTH": "never"}))
    await scene.until(lambda: any(one.get("HEALTH") == "never" for one in scene.env("/shop")))
    name: str = answer["deploymentId"]
    return name


@case("list_deployments")
async def lists_deployments(scene: Scene) -> None:
    name = await hangs(scene)
    [found] = await scene.list_deployments()
    assert (found.id, found.affected_apps) == (name, ["/shop"])
    assert found.current_actions[0].app == "/shop"
    assert [action.action for step in found.steps for action in step.actions] == ["RestartApplication"]
    assert {one.get("LEVEL") for one in scene.env("/shop")} == {"debug", "info"}
    with pytest.raises(ConflictError):
        await scene.update_app("/shop", MarathonApp(env={"LEVEL": "else"}))


@case("delete_deployment")
async def takes_a_deployment_back(scene: Scene) -> None:
    name = await hangs(scene)
    back = await scene.delete_deployment(name)
    assert back.keys() == {"deploymentId", "version"}
    await scene.runs("/shop", 1, LEVEL="debug")
    answer = await scene.update_app("/shop", MarathonApp(env={"LEVEL": "info", "HEALTH": "never"}))
    await scene.until(lambda: any(one.get("HEALTH") == "never" for one in scene.env("/shop")))
    assert await scene.delete_deployment(answer["deploymentId"], force=True) == {}
    await scene.until(lambda: not scene.platform.controller.state.running)
    assert {one.get("LEVEL") for one in scene.env("/shop")} >= {"info"}


@case("list_queue")
async def lists_the_queue(scene: Scene) -> None:
    await scene.create_app("/huge", shop(cpus=9999))
    await scene.until(lambda: bool(scene.platform.controller.reconciler.refused))
    for embed in (False, True):
        [found] = await scene.list_queue(embed_last_unused_offers=embed)
        assert (found.app.id, found.count) == ("/huge", 1)
        assert found.processed_offers_summary["processedOffersCount"] == 1
        assert bool(found.last_unused_offers) == embed
    assert scene.tasks("/huge") == []


@case("reset_delay")
async def resets_a_delay(scene: Scene) -> None:
    await scene.create_app("/sick", shop(env={"EXIT": "1"}, backoff_seconds=3600, max_launch_delay_seconds=3600))
    await scene.until(lambda: scene.platform.engine.created["/sick"] == 1 and not scene.tasks("/sick"))
    await scene.until(lambda: bool(scene.platform.controller.state.backoffs))
    [found] = await scene.list_queue()
    assert found.delay.time_left_seconds > 1000
    await scene.reset_delay("/sick")
    await scene.until(lambda: scene.platform.engine.created["/sick"] == 2)


@case("get_info")
async def gets_the_info(scene: Scene) -> None:
    found = await scene.get_info()
    assert (found.name, found.elected, found.leader) == ("coldchain", True, scene.platform.url.removeprefix("http://"))


@case("get_leader")
async def gets_the_leader(scene: Scene) -> None:
    assert await scene.get_leader() == {"leader": scene.platform.url.removeprefix("http://")}


@case("delete_leader")
async def asks_the_leader_to_go(scene: Scene) -> None:
    """There is no other one that could lead: whatever is answered, apps go on and can be changed."""
    await scene.created("/shop")
    before = scene.ids("/shop")
    with pytest.raises(MarathonHttpError):
        await scene.delete_leader()
    assert scene.ids("/shop") == before
    await scene.scale_app("/shop", instances=2)
    await scene.runs("/shop", 2)


@case("ping")
async def pings(scene: Scene) -> None:
    assert await scene.ping() == b"pong"


@case("get_metrics")
async def gets_metrics(scene: Scene) -> None:
    await scene.created("/shop")
    found = await scene.get_metrics()
    assert isinstance(found, dict)
    assert found["gauges"]


@case("list_event_subscriptions")
async def lists_no_subscriptions(scene: Scene) -> None:
    with pytest.raises(MarathonHttpError) as refused:
        await scene.list_event_subscriptions()
    assert 400 <= refused.value.status_code < 500


@case("create_event_subscription")
async def creates_no_subscription(scene: Scene) -> None:
    with pytest.raises(MarathonHttpError) as refused:
        await scene.create_event_subscription("http://127.0.0.1:1/events")
    assert 400 <= refused.value.status_code < 500


@case("delete_event_subscription")
async def deletes_no_subscription(scene: Scene) -> None:
    with pytest.raises(MarathonHttpError) as refused:
        await scene.delete_event_subscription("http://127.0.0.1:1/events")
    assert 400 <= refused.value.status_code < 500


@case("event_stream")
async def follows_events(scene: Scene) -> None:
    """See `test_marathon_events.py` for what is in them."""
    async with scene.following(event_types=["status_update_event"]) as following:
        await scene.created("/shop")
        event = await following.get()
    assert (event.event_type, event.app_id) == ("status_update_event", "/shop")
    assert {event.task_id} == scene.ids("/shop")


@pytest.mark.parametrize("method", CASES)
async def test_a_method(scene: Scene, method: str) -> None:
    await CASES[method](scene)
    assert method in scene.called
