"""Every rule of admission on every way by which an app comes to an engine."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession
from msgspec import structs

from coldchain.api import routes
from coldchain.control.group_operations import GroupOperations
from coldchain.control.operations import Operations
from coldchain.decisions.admission import FIXED, RULES, Policy
from coldchain.decisions.version import change
from coldchain.documents.application import decode_app
from coldchain.documents.event_text import event_body
from coldchain.model.app import App
from coldchain.model.deployment import Holder
from coldchain.model.group import GroupAction, GroupDeployment, GroupVersion
from coldchain.model.version import Version
from coldchain.testing.inadmissible import AGAINST, RESTRICTED
from coldchain.testing.served_platform import ServedPlatform, served_platform

Said = tuple[int, dict[str, Any]]
Way = Callable[["Entrance", dict[str, Any]], Awaitable[Said]]

OLD, NEWER = "2020-01-01T00:00:00.000Z", "2020-01-02T00:00:00.000Z"


class Entrance:
    """A platform whose engine says what came through. `stored`: what an older policy let in, which nobody asked today's
    about."""

    def __init__(self, platform: ServedPlatform, session: ClientSession) -> None:
        self.platform = platform
        self._session = session

    async def ask(self, method: str, path: str, body: object = None) -> Said:
        async with self._session.request(method, path, json=body) as answer:
            return answer.status, await answer.json()

    async def ended(self, name: str) -> dict[str, Any]:
        return await self.platform.ended(self._session, name)

    async def stored(self, *apps: App) -> None:
        """Versions of one app, the last one wanted."""
        state = self.platform.controller.state
        names = (OLD, NEWER)
        versions = [Version(app=app, id=name, config_id=name) for app, name in zip(apps, names, strict=False)]
        moved = change(None, versions[-1], None, kind="start", deployment_id="first", cause="before", now=0.0)
        assert moved.record is not None
        async with state.lock:
            await state.commit([*versions, moved.record])

    async def on_the_way(
        self,
        document: dict[str, Any],
        *,
        deadline_seconds: float,
        paused_by: Holder | None,
        part_of: str | None = None,
    ) -> None:
        """A deployment from this app, which an older policy let in, to one that every rule lets in. `part_of`: the id
        of the group deployment that it is a part of."""
        now = self.platform.clock.now()
        before = Version(app=decode_app(document), id=OLD, config_id=OLD)
        after = Version(app=decode_app(plain(document, instances=0 if paused_by else 1)), id=NEWER, config_id=NEWER)
        moved = change(before, after, None, kind="replace", deployment_id="first", cause="before", now=now)
        assert moved.record is not None
        times = {"deadline_at": now + deadline_seconds, "paused_by": paused_by, "paused_at": now if paused_by else None}
        deployment = structs.replace(moved.deployment, part_of=part_of, **times)
        group = GroupDeployment(
            id="group",
            group_id="/",
            target="cluster",
            kind="change",
            version=NEWER,
            steps=((GroupAction(action="RestartApplication", app=before.app.id),),),
            members={before.app.id: "first"},
            started_at=now,
            cause="before",
        )
        state = self.platform.controller.state
        async with state.lock:
            await state.commit([before, after, moved.record, deployment, *([group] if part_of else [])])


def plain(document: dict[str, Any], instances: int = 0) -> dict[str, Any]:
    """An app of the same id that every rule lets in."""
    options = [("user", "1000"), ("cap-drop", "ALL"), ("read-only", "true")]
    parameters = [{"key": key, "value": value} for key, value in options]
    docker = {"image": f"shop@sha256:{'1' * 64}", "parameters": parameters}
    return {"id": document["id"], "instances": instances, "container": {"docker": docker}}


def quiet(document: dict[str, Any]) -> App:
    """The app with no instances, so that nothing happens before it is asked for."""
    return decode_app({**document, "instances": 0})


async def create(entrance: Entrance, document: dict[str, Any]) -> Said:
    return await entrance.ask("POST", "/v2/apps", document)


async def put_whole(entrance: Entrance, document: dict[str, Any]) -> Said:
    return await entrance.ask("PUT", f"/v2/apps{document['id']}?partialUpdate=false", document)


async def put_partial(entrance: Entrance, document: dict[str, Any]) -> Said:
    await entrance.stored(decode_app(plain(document)))
    return await entrance.ask("PUT", f"/v2/apps{document['id']}", {"container": None} | document)


async def patch(entrance: Entrance, document: dict[str, Any]) -> Said:
    await entrance.stored(decode_app(plain(document)))
    return await entrance.ask("PATCH", f"/v2/apps{document['id']}", {"container": None} | document)


async def scale(entrance: Entrance, document: dict[str, Any]) -> Said:
    await entrance.stored(quiet(document))
    return await entrance.ask("PATCH", f"/v2/apps{document['id']}", {"instances": 1})


async def restart(entrance: Entrance, document: dict[str, Any]) -> Said:
    await entrance.stored(quiet(document))
    return await entrance.ask("POST", f"/v2/apps{document['id']}/restart")


async def roll_back(entrance: Entrance, document: dict[str, Any]) -> Said:
    await entrance.stored(decode_app(document), decode_app(plain(document)))
    return await entrance.ask("POST", f"/v1/apps{document['id']}/rollback")


async def put_version(entrance: Entrance, document: dict[str, Any]) -> Said:
    await entrance.stored(decode_app(document), decode_app(plain(document)))
    return await entrance.ask("PUT", f"/v2/apps{document['id']}", {"version": OLD})


async def cancel(entrance: Entrance, document: dict[str, Any]) -> Said:
    """A deployment taken back to what may not come in any more."""
    await entrance.on_the_way(document, deadline_seconds=60.0, paused_by="operator")
    return await entrance.ask("DELETE", "/v2/deployments/first")


async def cancel_group(entrance: Entrance, document: dict[str, Any]) -> Said:
    await entrance.on_the_way(document, deadline_seconds=60.0, paused_by="operator", part_of="group")
    return await entrance.ask("DELETE", "/v2/deployments/group")


async def put_apps(entrance: Entrance, document: dict[str, Any]) -> Said:
    return await entrance.ask("PUT", "/v2/apps", [document])


async def patch_apps(entrance: Entrance, document: dict[str, Any]) -> Said:
    await entrance.stored(decode_app(plain(document)))
    return await entrance.ask("PATCH", "/v2/apps", [{"container": None} | document])


def grouped(document: dict[str, Any]) -> dict[str, Any]:
    """A new group with the app in it: in the one with the strict rules, if it is of that."""
    group_id = RESTRICTED if document["id"].startswith(RESTRICTED) else "/group"
    return {"id": group_id, "apps": [document | {"id": "app"}]}


async def create_group(entrance: Entrance, document: dict[str, Any]) -> Said:
    return await entrance.ask("POST", "/v2/groups", grouped(document))


async def create_group_below(entrance: Entrance, document: dict[str, Any]) -> Said:
    group = grouped(document)
    return await entrance.ask("POST", f"/v2/groups{group['id']}", {"apps": group["apps"]})


async def put_root(entrance: Entrance, document: dict[str, Any]) -> Said:
    return await entrance.ask("PUT", "/v2/groups", {"groups": [grouped(document)]})


async def put_group(entrance: Entrance, document: dict[str, Any]) -> Said:
    return await entrance.ask("PUT", f"/v2/groups{grouped(document)['id']}", grouped(document))


async def dry_run(entrance: Entrance, document: dict[str, Any]) -> Said:
    return await entrance.ask("PUT", "/v2/groups?dryRun=true", {"groups": [grouped(document)]})


async def put_group_version(entrance: Entrance, document: dict[str, Any]) -> Said:
    await entrance.stored(decode_app(document), decode_app(plain(document)))
    state = entrance.platform.controller.state
    async with state.lock:
        await state.commit([GroupVersion(group_id="/", id=OLD, apps={document["id"]: OLD})])
    return await entrance.ask("PUT", "/v2/groups", {"version": OLD})


async def put_version_of_group(entrance: Entrance, document: dict[str, Any]) -> Said:
    await entrance.stored(decode_app(document), decode_app(plain(document)))
    group_id = grouped(document)["id"]
    state = entrance.platform.controller.state
    async with state.lock:
        await state.commit([GroupVersion(group_id=group_id, id=OLD, apps={document["id"]: OLD})])
    return await entrance.ask("PUT", f"/v2/groups{group_id}/versions/{OLD}")


async def preview(entrance: Entrance, document: dict[str, Any]) -> Said:
    return await entrance.ask("POST", f"/v1/apps{document['id']}/preview", document)


ASKED: dict[tuple[str, str], list[Way]] = {
    ("POST", "/v2/apps"): [create],
    ("PUT", "/v2/apps"): [put_apps],
    ("PATCH", "/v2/apps"): [patch_apps],
    ("POST", "/v2/groups"): [create_group],
    ("POST", "/v2/groups/{id}"): [create_group_below],
    ("PUT", "/v2/groups"): [put_root, dry_run, put_group_version],
    ("PUT", "/v2/groups/{id}"): [put_group],
    ("PUT", "/v2/groups/{id}/versions/{version}"): [put_version_of_group],
    ("PUT", "/v2/apps/{id}"): [put_whole, put_partial, put_version],
    ("PATCH", "/v2/apps/{id}"): [patch, scale],
    ("POST", "/v2/apps/{id}/restart"): [restart],
    ("POST", "/v1/apps/{id}/rollback"): [roll_back],
    ("DELETE", "/v2/deployments/{id}"): [cancel, cancel_group],
    ("POST", "/v1/apps/{id}/preview"): [preview],
}
BRING_NOTHING_IN = {
    ("DELETE", "/v2/apps/{id}/tasks"),
    ("DELETE", "/v2/apps/{id}/tasks/{task_id}"),
    ("POST", "/v2/tasks/delete"),
    ("DELETE", "/v2/queue/{id}/delay"),
    ("DELETE", "/v2/apps/{id}"),
    ("DELETE", "/v2/groups"),
    ("DELETE", "/v2/groups/{id}"),
    ("POST", "/v1/deployments/{id}/pause"),
    ("POST", "/v1/deployments/{id}/resume"),
    ("POST", "/v1/deployments/{id}/promote"),
    ("PATCH", "/v1/gray/{id}"),
    *(("POST", f"/v1/gray/{{id}}/{verb}") for verb in ("pause", "resume", "promote", "abort")),
    ("POST", "/v1/brake/release"),
    ("POST", "/v1/agents/{agent}/drain"),
    ("DELETE", "/v1/agents/{agent}/drain"),
    *((method, "/v1/nodes/{node}") for method in ("PATCH", "DELETE")),
    *((method, "/v1/routing/peers/{peer}") for method in ("PUT", "DELETE")),
    ("PATCH", "/v1/routing"),
    ("PUT", "/v1/certificates/{certificate}"),
    ("DELETE", "/v1/certificates/{certificate}"),
    *((method, "/v1/consumers/{consumer}") for method in ("PUT", "DELETE")),
    ("POST", "/v1/consumers/{consumer}/keys"),
    ("DELETE", "/v1/consumers/{consumer}/keys/{key}"),
    ("PUT", "/v1/secrets/{secret}"),
    ("DELETE", "/v1/secrets/{secret}"),
    ("POST", "/v1/secrets/rotate"),
    *((method, "/v1/pools/{pool}") for method in ("PATCH", "DELETE")),
    *(("POST", f"/v1/{one}") for one in ("pools", "networks", "network/check")),
    ("DELETE", "/v1/networks/{network}"),
    ("PUT", "/v1/policy"),
    ("POST", "/v1/policy/test"),
    ("POST", "/v1/tokens"),
    ("DELETE", "/v1/tokens/{name}"),
    ("POST", "/v1/gateways/{gateway}/exchange"),
    ("POST", "/v1/down"),
    ("DELETE", "/v2/leader"),
    *((method, "/v2/pods") for method in ("POST", "PUT", "DELETE")),
    *((method, "/v2/eventSubscriptions") for method in ("POST", "DELETE")),
}
WAYS = [way for ways in ASKED.values() for way in ways]


def test_every_address_that_changes_something_is_a_way_or_brings_nothing_in() -> None:
    app = (routes._APP, routes._APP_ALONE, "{deployment_id}", routes._GROUP_ALONE, routes._GROUP)
    found = set()
    for method, path, _ in routes.MARATHON + routes.OURS:
        for name in app:
            path = path.replace(name, "{id}")
        if method != "GET":
            found.add((method, path.removesuffix(routes._END).removesuffix(routes._BELOW)))
    assert found == ASKED.keys() | BRING_NOTHING_IN


def test_every_operation_that_aims_at_a_version_takes_overrides_or_keeps_them() -> None:
    operations = {
        name: inspect.signature(one).parameters
        for name, one in vars(Operations).items()
        if inspect.iscoroutinefunction(one) and not name.startswith("_")
    }
    asking = {name for name, parameters in operations.items() if "overrides" in parameters}
    assert asking == {"create", "change", "restart", "roll_back"}
    assert operations.keys() - asking == {
        "cancel",
        "delete",
        "pause",
        "resume",
        "promote",
        "share",
        "kill",
        "kill_and_scale",
        "reset_delay",
        "ready",
    }
    groups = {
        name: "overrides" in inspect.signature(one).parameters
        for name, one in vars(GroupOperations).items()
        if inspect.iscoroutinefunction(one) and not name.startswith("_")
    }
    assert {name for name, asks in groups.items() if asks} == {"change", "change_apps", "steps"}
    assert {name for name, asks in groups.items() if not asks} == {"cancel", "delete", "pause", "resume", "promote"}


@pytest.fixture
async def entrance() -> AsyncIterator[Entrance]:
    policy = Policy(restricted=(RESTRICTED,))
    async with served_platform(policy=policy) as platform, ClientSession(platform.url) as session:
        yield Entrance(platform, session)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("rule", sorted(RULES))
async def test_a_rule_refuses_on_a_way(entrance: Entrance, rule: str, way: Way) -> None:
    status, said = await way(entrance, AGAINST[rule])
    assert status == 422, said
    [detail] = said["details"]
    [error] = detail["errors"]
    assert f"refused by the rule {rule}: " in error
    assert detail["path"] != "/"
    assert entrance.platform.engine.held == {}


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("again", ["crash or restart of the controller", "rollback by the platform itself"])
async def test_what_an_older_policy_let_in_is_not_started(entrance: Entrance, rule: str, again: str) -> None:
    failed = asyncio.Event()
    state = entrance.platform.controller.state
    state.on_commit(lambda pairs: failed.set() if state.failures else None)
    document = AGAINST[rule]
    if again.startswith("rollback"):
        await entrance.on_the_way(document, deadline_seconds=-1.0, paused_by=None)
    else:
        await entrance.stored(decode_app(document))
    await failed.wait()
    assert f"refused by the rule {rule}: " in state.failures[document["id"]].message
    assert entrance.platform.engine.held == {}
    _, said = await entrance.ask("GET", f"/v1/apps{document['id']}/status")
    assert any(f"refused by the rule {rule}" in warning for warning in said["warnings"])


@pytest.mark.parametrize("rule", sorted(RULES.keys() - FIXED.keys()))
async def test_an_override_lets_it_in_and_is_on_record_everywhere(entrance: Entrance, rule: str) -> None:
    document = AGAINST[rule]
    address, query = f"/v2/apps{document['id']}", f"?override={rule}&because=ticket+4711"
    status, said = await entrance.ask("PUT", address + query, document)
    assert status == 201, said
    ended = await entrance.ended(said["deploymentId"])
    assert ended["state"] == "succeeded"
    assert len(entrance.platform.engine.held) == 1
    words = f"the rule {rule} overridden by local: ticket 4711"
    _, history = await entrance.ask("GET", f"/v1/apps{document['id']}/history")
    assert words in history["deployments"][0]["cause"]
    _, shown = await entrance.ask("GET", f"/v1/apps{document['id']}/status")
    assert [(one["rule"], one["because"], one["caller"]) for one in shown["overrides"]] == [
        (rule, "ticket 4711", "local")
    ]
    assert any(f"the rule {rule} is overridden by local: ticket 4711" in warning for warning in shown["warnings"])
    _, version = await entrance.ask("GET", f"{address}/versions/{shown['version']}")
    assert version["overrides"] == shown["overrides"]
    kept = entrance.platform.controller.events.kept()
    [told] = [event_body(event) for event in kept if event.type == "admission_overridden_event"]
    assert told["overrides"] == shown["overrides"]
    status, said = await entrance.ask("PATCH", address, {"instances": 2})
    assert status == 200, "scaling keeps the override"
    status, said = await entrance.ask("PATCH", f"{address}?force=true", {"labels": {"a": "b"}})
    assert status == 422, "who changes anything else says it again"


@pytest.mark.parametrize(
    ("query", "status", "reason"),
    [
        ("override=privileged", 422, "needs a reason"),
        ("override=privilegd&because=x", 422, "did you mean 'privileged'"),
        ("override=docker-option&because=x", 422, "no override helps"),
        ("because=x", 400, "Name the rule"),
        ("override=devices&because=x", 422, "refused by the rule privileged"),
    ],
)
async def test_an_override_that_does_not_hold(entrance: Entrance, query: str, status: int, reason: str) -> None:
    found, said = await entrance.ask("POST", f"/v2/apps?{query}", AGAINST["privileged"])
    assert found == status
    assert reason in str(said)
