"""Every resource, error and event as clients read it, compared whole with what was written by hand (golden/README.md).

Clients that were written for Marathon may refuse fields that they do not know, so nothing may be there beside.
"""

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
from aiohttp.test_utils import make_mocked_request
from msgspec import structs

from coldchain._version import __version__
from coldchain.api import routes
from coldchain.decisions.brake import Brake
from coldchain.documents import event_text, events
from coldchain.documents.answers import EMBEDS, OWN, error_answer
from coldchain.documents.event_text import event_body, missed_text, whole_plan_text
from coldchain.documents.keys import Record
from coldchain.model import errors
from coldchain.model.backoff import Backoff
from coldchain.model.errors import ColdchainError, Rejected, TooManyAttempts, Unauthenticated, Unavailable
from coldchain.model.event import Event
from coldchain.model.version import AppRecord, Override
from coldchain.testing.examples import (
    APP,
    CONFIG,
    CONFIG_VERSION,
    DEFINITION,
    DEPLOYMENT,
    FAILURE,
    FIRST,
    FIRST_VERSION,
    HEALTHY,
    LAUNCHING,
    NOW,
    REFUSED,
    SCALED,
    SICK,
    STATUS,
    VERSION,
    WAITING,
)
from coldchain.testing.still_platform import still_platform

FOLDER = Path(__file__).parent / "golden"
ADDRESS = "127.0.0.1:8080"


def golden(name: str) -> Any:
    """The golden document of that name."""
    return _whole(json.loads((FOLDER / f"{name}.json").read_text()))


def _whole(value: Any) -> Any:
    """`value` with what it names put in."""
    if isinstance(value, list):
        return [_whole(member) for member in value]
    if value == "{version}":
        return __version__
    if not isinstance(value, dict):
        return value
    own = {name: _whole(member) for name, member in value.items() if name not in ("...", "-")}
    given = value.get("...", [])
    parts = [golden(name) for name in ([given] if isinstance(given, str) else given)]
    if not own and len(parts) == 1 and "-" not in value:
        return parts[0]
    merged: dict[str, Any] = {}
    for part in [*parts, own]:
        merged |= part
    return {name: member for name, member in merged.items() if name not in value.get("-", [])}


def test_goldens_are_put_together_as_the_readme_says() -> None:
    assert _whole({"...": ["leader"], "more": [{"...": "funnel"}]}) == {"leader": ADDRESS, "more": [golden("funnel")]}
    assert _whole({"...": ["check"], "-": ["path"], "protocol": "TCP"}) == {
        name: "TCP" if name == "protocol" else member for name, member in golden("check").items() if name != "path"
    }


class Case(NamedTuple):
    """What is asked, and the golden answer; one that ends in `.txt` is text. `deploying`: while the example's
    deployment runs, as it does else; changes are asked for without it."""

    method: str
    path: str
    status: int
    golden: str
    body: Any = None
    headers: dict[str, str] = {}
    deploying: bool = True


SITE = {"Sec-Fetch-Site": "cross-site"}
NEW = DEFINITION | {"id": "/new"}
CASES = (
    Case("GET", "/v2/apps", 200, "apps"),
    Case("GET", "/v2/apps?id=none", 200, "apps-none"),
    Case("GET", "/v2/apps?embed=apps.counts&embed=apps.deployments", 200, "apps"),
    Case("GET", "/v2/apps?embed=apps.tasks", 200, "apps-tasks"),
    Case("GET", "/v2/apps?embed=apps.readiness", 200, "apps-readiness"),
    Case("GET", "/v2/apps?embed=apps.lastTaskFailure", 200, "apps-last-task-failure"),
    Case("GET", "/v2/apps?embed=apps.failures", 200, "apps-failures"),
    Case("GET", "/v2/apps?embed=apps.taskStats", 200, "apps-task-stats"),
    Case("POST", "/v2/apps", 201, "created", NEW),
    Case("GET", "/v2/apps/shop", 200, "app"),
    Case("GET", "/v2/apps/shop?embed=coldchain", 200, "app-coldchain"),
    Case("PUT", "/v2/apps/shop", 200, "change", {"cpus": 1}, deploying=False),
    Case("PUT", "/v2/apps/new", 201, "change", NEW),
    Case("PATCH", "/v2/apps/shop", 200, "change", {"cpus": 1}, deploying=False),
    Case("DELETE", "/v2/apps/shop", 200, "change", deploying=False),
    Case("POST", "/v2/apps/shop/restart", 200, "change", deploying=False),
    Case("GET", "/v2/apps/shop/tasks", 200, "tasks"),
    Case("DELETE", "/v2/apps/shop/tasks", 200, "tasks"),
    Case("DELETE", "/v2/apps/shop/tasks?scale=true", 200, "change", deploying=False),
    Case("DELETE", "/v2/apps/shop/tasks/task-a", 200, "task-killed"),
    Case("GET", "/v2/apps/shop/versions", 200, "versions"),
    Case("GET", f"/v2/apps/shop/versions/{FIRST}", 200, "version"),
    Case("PUT", "/v2/apps", 200, "change", [{"id": "/shop", "cpus": 1}], deploying=False),
    Case("PATCH", "/v2/apps", 200, "change", [{"id": "/shop", "cpus": 1}], deploying=False),
    Case("GET", "/v2/groups", 200, "groups"),
    Case("POST", "/v2/groups", 201, "group-change", {"id": "/web", "apps": [NEW | {"id": "new"}]}),
    Case("PUT", "/v2/groups", 200, "group-change", {"scaleBy": 2}, deploying=False),
    Case("PUT", "/v2/groups?dryRun=true", 200, "group-steps", {"scaleBy": 2}),
    Case("DELETE", "/v2/groups", 200, "change", deploying=False),
    Case("GET", "/v2/groups/apps", 200, "group-apps"),
    Case("GET", "/v2/groups/versions", 200, "group-versions"),
    Case("GET", f"/v2/groups/versions/{SCALED}", 200, "groups"),
    Case("GET", "/v2/groups/none", 404, "error-404-group"),
    Case("POST", "/v2/groups", 409, "error-409-group", {"apps": []}),
    Case("GET", "/v2/deployments", 200, "deployments"),
    Case("GET", "/v2/deployments?embed=coldchain", 200, "deployments-coldchain"),
    Case("DELETE", "/v2/deployments/d-1", 200, "change"),
    Case("GET", "/v2/tasks", 200, "tasks"),
    Case("GET", "/v2/tasks?status=staging", 200, "tasks-staging"),
    Case("GET", "/v2/tasks", 200, "tasks.txt", headers={"Accept": "text/plain"}),
    Case("POST", "/v2/tasks/delete", 200, "tasks-killed", {"ids": ["task-a"]}),
    Case("GET", "/v2/queue?embed=lastUnusedOffers", 200, "queue"),
    Case("DELETE", "/v2/queue/shop/delay", 204, "nothing.txt"),
    Case("GET", "/v2/events", 405, "error-405"),
    Case("GET", "/v2/info", 200, "info"),
    Case("GET", "/v2/leader", 200, "leader"),
    Case("DELETE", "/v2/leader", 409, "error-409-leader"),
    Case("GET", "/v2/plugins", 200, "plugins"),
    *(Case(method, "/v2/pods", 404, "error-404-pods") for method in ("GET", "POST", "PUT", "DELETE")),
    *(Case(method, "/v2/eventSubscriptions", 400, "error-400-subscriptions") for method in ("GET", "POST", "DELETE")),
    Case("GET", "/logging", 200, "logging"),
    Case("GET", "/ping", 200, "ping.txt"),
    Case("POST", "/v2/apps", 400, "error-400-document", b"{id: 1}"),
    Case("DELETE", "/v2/apps/shop?force=perhaps", 400, "error-400-parameter"),
    Case("POST", "/v2/apps", 403, "error-403", NEW, SITE),
    Case("GET", "/v2/apps/none", 404, "error-404-app"),
    Case("GET", "/v2/nothing", 404, "error-404-address"),
    Case("POST", "/v2/apps", 409, "error-409-exists", DEFINITION),
    Case("DELETE", "/v2/apps/shop", 409, "error-409-locked"),
    Case("POST", "/v2/apps", 413, "error-413", b" " * (2**20 + 1)),
    Case("POST", "/v2/apps", 422, "error-422", {"id": "/new", "cmd": "x", "instancs": 2, "cpus": "x"}),
)


def still(*, deploying: bool = True) -> Any:
    """The example, twelve seconds after most of it happened."""
    records: list[Record] = [VERSION, CONFIG_VERSION, FIRST_VERSION, FAILURE]
    records.append(Backoff(app_id="/shop", target="cluster", version_id=CONFIG, failures=3, until=NOW + 21.2))
    records.append(AppRecord(app_id="/shop", version_id=SCALED, target="cluster", cause="test"))
    if deploying:
        records.append(DEPLOYMENT)
    return still_platform(NOW + 12, records, [SICK, HEALTHY, LAUNCHING, WAITING], ADDRESS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.method} {case.path} {case.status} {case.golden}")
async def test_a_resource(case: Case) -> None:
    async with still(deploying=case.deploying) as platform:
        platform.controller.reconciler.refused = {"e": REFUSED}
        platform.controller.reconciler.placed_at = NOW + 1
        sent = {"data": BytesIO(case.body)} if isinstance(case.body, bytes) else {"json": case.body}
        async with platform.client.request(case.method, case.path, headers=case.headers, **sent) as answer:
            said = await (answer.json() if answer.content_type == "application/json" else answer.text())
            assert answer.status == case.status, said
    if case.golden.endswith(".txt"):
        assert said.rstrip("\n") == (FOLDER / case.golden).read_text().rstrip("\n")
    else:
        assert said == golden(case.golden)


async def test_every_address_has_a_golden_answer() -> None:
    async with still() as platform:
        router = platform.client.app.router if platform.client.app else None
        assert router is not None
        covered = set()
        for case in CASES:
            found = await router.resolve(make_mocked_request(case.method, case.path, app=platform.client.app))
            if found.http_exception is None:
                covered.add((case.method, found.route.handler))
    ours = (*routes.MARATHON, *(route for route in routes.STREAMS if route[1].startswith("/v2")))
    assert [route[:2] for route in ours if (route[0], route[2]) not in covered] == [
        ("GET", "/metrics"),
        ("GET", "/metrics/prometheus"),
    ]


def test_every_embed_has_a_golden_answer() -> None:
    asked = "&".join(case.path for case in CASES)
    assert [name for name in (*EMBEDS, "failures", OWN) if f"embed=apps.{name}" not in asked] == [OWN]
    assert f"embed={OWN}" in asked


ERRORS: dict[str, ColdchainError] = {
    "error-401": Unauthenticated("This API asks who you are", todo="Send a token"),
    "error-429": TooManyAttempts("Too many failures to say who you are", todo="Wait, then try again.", retry_seconds=6),
    "error-500": ColdchainError("Something went wrong"),
    "error-502": Rejected("Docker has no such image: shop:2", todo="Push it first"),
    "error-503": Unavailable("Docker does not answer", todo="Start it"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_of_ours(name: str) -> None:
    assert error_answer(ERRORS[name]) == (int(name[-3:]), golden(name))


def test_every_error_has_a_golden_answer() -> None:
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, ColdchainError)]
    answered = {case.status for case in CASES} | {error.status for error in ERRORS.values()}
    assert [kind.__name__ for kind in kinds if kind.status not in answered] == []


def ended(**fields: Any) -> Any:
    return structs.replace(DEPLOYMENT, ended_at=NOW, **fields)


SUCCEEDED, FAILED = ended(state="succeeded"), ended(state="failed", reason="deadline passed")
PAUSED = structs.replace(DEPLOYMENT, paused_by="plan", paused_at=NOW, resumes_at=NOW + 60, steps_done=1)
RESUMED = structs.replace(DEPLOYMENT, steps_done=1)
OVERRIDDEN = structs.replace(
    VERSION, overrides=(Override(rule="privileged", because="a test", caller="local", at=NOW),)
)
BRAKE = Brake(reason="3 of 4 instances went bad within a minute")
MISSED = Event(sequence=1, type="events_missed", text=missed_text(1, (1 << 32) + 1, (1 << 32) + 9, NOW))
CHECK = APP.health_checks[0]
EVENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "status_update_event": lambda: events.status_update_event(STATUS, CONFIG, (31000,)),
    "health_status_changed_event": lambda: events.health_status_changed_event(HEALTHY.instance, True, NOW),
    "failed_health_check_event": lambda: events.failed_health_check_event(SICK.instance, CHECK, "status 503", NOW),
    "unhealthy_instance_kill_event": lambda: events.unhealthy_instance_kill_event(
        SICK.instance, "health/0: status 503", NOW
    ),
    "unknown_instance_terminated_event": lambda: events.unknown_instance_terminated_event(
        structs.replace(STATUS, state="lost")
    ),
    "instance_changed_event": lambda: events.instance_changed_event(HEALTHY.instance),
    "instance_health_changed_event": lambda: events.instance_health_changed_event(SICK.instance, None, NOW),
    "deployment_info": lambda: events.deployment_info(DEPLOYMENT),
    "deployment_step_success": lambda: events.deployment_step_ended(SUCCEEDED),
    "deployment_step_failure": lambda: events.deployment_step_ended(FAILED),
    "deployment_success": lambda: events.deployment_ended(SUCCEEDED),
    "deployment_failed": lambda: events.deployment_ended(FAILED),
    "group_change_success": lambda: events.group_change_success("/", SCALED, NOW),
    "group_change_failed": lambda: events.group_change_failed(
        "/", SCALED, "App is locked by one or more deployments", NOW
    ),
    "app_terminated_event": lambda: events.app_terminated_event("/shop", NOW),
    "api_post_event": lambda: events.api_post_event(APP, "/v2/apps/shop", "127.0.0.1", NOW),
    "add_health_check_event": lambda: events.health_check_event("add_health_check_event", "/shop", SCALED, CHECK, NOW),
    "remove_health_check_event": lambda: events.health_check_event(
        "remove_health_check_event", "/shop", SCALED, CHECK, NOW
    ),
    "event_stream_attached": lambda: events.stream_event("event_stream_attached", "127.0.0.1", NOW),
    "event_stream_detached": lambda: events.stream_event("event_stream_detached", "127.0.0.1", NOW),
    "scheduler_registered_event": lambda: events.engine_event("scheduler_registered_event", "cluster", NOW),
    "scheduler_reregistered_event": lambda: events.engine_event("scheduler_reregistered_event", "cluster", NOW),
    "scheduler_disconnected_event": lambda: events.scheduler_disconnected_event(
        "cluster", "Docker does not answer", NOW
    ),
    "events_missed": lambda: event_body(MISSED),
    "instance_refused_event": lambda: events.instance_refused_event(REFUSED, NOW),
    "instance_exec_event": lambda: events.instance_exec_event(HEALTHY.instance, ["sh", "-c", "date"], NOW),
    "deployment_paused": lambda: events.deployment_held(PAUSED, NOW),
    "deployment_resumed": lambda: events.deployment_held(RESUMED, NOW),
    "brake_changed_event": lambda: events.brake_changed_event(BRAKE, NOW),
    "streams_cut_event": lambda: events.streams_cut_event(structs.replace(HEALTHY.instance, streams_cut=3)),
    "gateway_left_event": lambda: events.gateway_left_event("edge-1", 2, NOW),
    "admission_overridden_event": lambda: events.admission_overridden_event(OVERRIDDEN, NOW),
}


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event(kind: str) -> None:
    assert EVENTS[kind]() == golden(f"events/{kind}")


def test_every_type_of_event_has_a_golden_document() -> None:
    types = [*get_args(events.MarathonEventType), *get_args(events.OwnEventType)]
    assert list(dict.fromkeys(types)) == types
    assert set(types) ^ EVENTS.keys() == set()


def test_every_type_of_event_is_documented_with_what_is_in_its_body() -> None:
    text = (Path(__file__).parents[2] / "docs" / "howto" / "api.md").read_text()
    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    for kind in EVENTS:
        members = golden(f"events/{kind}").keys() - {"eventType", "timestamp", "cause"}
        assert {name for name in members if f"`{name}`" not in rows[kind]} == set(), kind


def test_an_event_in_the_stream() -> None:
    body = events.app_terminated_event("/shop", NOW)
    text = event_text.event_text((1 << 32) + 1, body, "delete asked for by local")
    assert text == (FOLDER / "events" / "stream.txt").read_bytes() + b"\n"


def test_a_whole_plan() -> None:
    body = events.deployment_info(DEPLOYMENT)
    text = event_text.event_text(1, body, "test")
    event = Event(sequence=1, type="deployment_info", text=text, moves=events.app_moves(DEPLOYMENT))
    found = whole_plan_text(event, lambda app_id, version: {FIRST: FIRST_VERSION, SCALED: VERSION}[version])
    whole = golden("events/deployment_info") | {"plan": golden("events/plan-whole"), "cause": "test"}
    assert event_body(structs.replace(event, text=found)) == whole


def test_every_golden_document_is_compared() -> None:
    used = {case.golden.removesuffix(".txt") for case in CASES} | ERRORS.keys()
    used |= {f"events/{kind}" for kind in EVENTS} | {"events/stream", "events/plan-whole"}
    files = {path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    parts = {part for name in files for part in _parts(name)}
    assert files - used - parts == {"README"}


def _parts(name: str) -> set[str]:
    """The documents that a golden document names."""
    path = FOLDER / f"{name}.json"
    found: set[str] = set()

    def look(value: Any) -> None:
        for member in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            look(member)
        if isinstance(value, dict) and "..." in value:
            given = value["..."]
            found.update([given] if isinstance(given, str) else given)

    if path.exists():
        look(json.loads(path.read_text()))
    return found
