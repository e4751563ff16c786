"""Mesos's documents of our framework, executors and tasks, whole; and what is kept of a task."""

from typing import Any

import msgspec
import pytest

from coldchain.documents.executor_messages import decode
from coldchain.engines.mesos.infos import (
    executor_info,
    framework_info,
    kept_spec,
    next_mesos_id,
    reserved_for,
    task_info,
)
from coldchain.engines.mesos.settings import MesosSettings
from coldchain.model.app import App
from coldchain.model.executor import ExecutorSettings, TaskDescription
from coldchain.testing.engine_labs import make_spec

EXECUTOR = ExecutorSettings(controller_id="c", version="1")


def made(**changes: Any) -> dict[str, Any]:
    given = {"settings": MesosSettings(), "executor": EXECUTOR, "key": b"k", "framework_id": "F", "agent_id": "S0"}
    return executor_info(**(given | {"resources": []} | changes))


def executor_id(**changes: Any) -> str:
    return str(made(**changes)["executor_id"]["value"])


def test_a_framework_is_known_again_by_its_id() -> None:
    settings = MesosSettings(roles=("shop", "*"), principal="p", failover_seconds=60.0)
    new = framework_info(settings, "")
    assert new == {
        "user": "root",
        "name": "coldchain",
        "roles": ["shop", "*"],
        "principal": "p",
        "checkpoint": True,
        "failover_timeout": 60.0,
        "capabilities": [
            {"type": "MULTI_ROLE"},
            {"type": "PARTITION_AWARE"},
            {"type": "TASK_KILLING_STATE"},
            {"type": "REGION_AWARE"},
            {"type": "RESERVATION_REFINEMENT"},
        ],
    }
    assert framework_info(settings, "F") == new | {"id": {"value": "F"}}


def test_whatever_differs_is_another_executor() -> None:
    assert executor_id() == executor_id()
    changes: list[dict[str, Any]] = [
        {"executor": msgspec.structs.replace(EXECUTOR, version="2")},
        {"key": b"another"},
        {"framework_id": "G"},
        {"resources": [{"name": "cpus"}]},
        {"settings": MesosSettings(executor_command=("other", "executor"))},
        {"settings": MesosSettings(executor_environment={"NAME": "value"})},
    ]
    assert len({executor_id(), *(executor_id(**one) for one in changes)}) == 1 + len(changes)


def test_a_task_goes_with_all_that_its_executor_needs() -> None:
    spec = make_spec("serves")
    executor = made()
    info = task_info(spec, "m.1", "S0", executor, [{"name": "cpus"}], adopts=True)
    assert decode(info.pop("data"), TaskDescription) == TaskDescription(spec=spec, adopts=True)
    assert info == {
        "name": "/contract/app",
        "task_id": {"value": "m.1"},
        "agent_id": {"value": "S0"},
        "executor": executor,
        "resources": [{"name": "cpus"}],
        "kill_policy": {"grace_period": {"nanoseconds": 15 * 10**9}},
    }


def test_nothing_that_may_be_secret_is_kept() -> None:
    spec = make_spec("serves")
    app = msgspec.structs.replace(spec.app, env={"PASSWORD": "v404"}, cmd="run --password v404", labels={"a": "v404"})
    kept = kept_spec(msgspec.structs.replace(spec, app=app))
    assert b"v404" not in msgspec.json.encode(kept)
    assert (kept.app.cpus, kept.app.mem, kept.app.container) == (app.cpus, app.mem, app.container)


@pytest.mark.parametrize(
    ("before", "after"), [("shop.instance-1._app.1", "shop.instance-1._app.2"), ("x.9", "x.10"), ("x", "x.2")]
)
def test_successors_are_counted_as_marathon_counts_incarnations(before: str, after: str) -> None:
    assert next_mesos_id(before) == after


@pytest.mark.parametrize(
    ("app", "roles"),
    [
        (App(id="/a"), ("*",)),
        (App(id="/a", role="shop"), ("shop", "*")),
        (App(id="/a", role="shop", accepted_resource_roles=("*",)), ("*",)),
        (App(id="/a", accepted_resource_roles=("*", "b", "a")), ("a", "b", "*")),
    ],
)
def test_what_is_reserved_is_used_first(app: App, roles: tuple[str, ...]) -> None:
    assert reserved_for(app) == roles
