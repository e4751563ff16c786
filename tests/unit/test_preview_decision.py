"""The preview of a rollout: it ends, keeps the app's bounds, and says what would wait and why."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions import instance as lives
from coldchain.decisions import preview as previews
from coldchain.decisions.deployment import capacity
from coldchain.decisions.health import Verdict
from coldchain.decisions.preview import Preview, preview
from coldchain.decisions.view import Seen, View
from coldchain.model.app import App, Container, Docker, PortMapping, UpgradeStrategy
from coldchain.model.backoff import Backoff
from coldchain.model.deployment import Deployment
from coldchain.model.instance import Instance, Phase
from coldchain.model.offer import Offer
from coldchain.model.task import TaskStatus
from coldchain.model.version import Version

V1, V2 = "2024-01-01T00:00:00.000Z", "2024-01-02T00:00:00.000Z"
NOW = 1_700_000_000.0
PHASES: tuple[Phase, ...] = ("scheduled", "launching", "starting", "entering", "serving", "draining", "stopped")


def app(tag: str = "v1", **fields: object) -> App:
    given: dict[str, object] = {"id": "/shop", "instances": 2, "container": Container(docker=Docker(image=tag))}
    return App(**(given | {"cpus": 1.0, "mem": 100.0} | fields))  # type: ignore[arg-type]


def offer(cpus: float = 100.0, mem: float = 100_000.0) -> Offer:
    ports = ((31000, 31999),)
    return Offer(agent="a", target="cluster", hostname="a", cpus=cpus, mem=mem, disk=10.0, port_ranges=ports)


def instance(number: int, phase: Phase = "serving", version: str = V1, **fields: object) -> Instance:
    given: dict[str, object] = {"id": f"{number:03}", "app_id": "/shop", "version_id": version, "target": "cluster"}
    given |= {"task_id": f"t{number}", "phase": phase, "since": NOW - 50, "created_at": NOW - 60 + number / 100}
    given["agent"] = None if phase == "scheduled" else "a"
    given["history"] = (lives.Transition(phase="scheduled", at=NOW - 60, cause="test"),)
    return Instance(**(given | fields))  # type: ignore[arg-type]


def seen(one: Instance) -> Seen:
    if one.phase in ("scheduled", "launching", "stopped"):
        return Seen()
    task = TaskStatus(
        task_id=one.task_id, instance_id=one.id, app_id="/shop", target="cluster", agent="a", state="running", at=0.0
    )
    return Seen(task=task, verdict=Verdict(standing="healthy"))


def view(wanted: App, instances: Sequence[Instance] = (), old: App | None = None, **fields: object) -> View:
    """An app of which `instances` stand there, made from `old` (V1) or from what is wanted (V2)."""
    new = Version(app=wanted, id=V2, config_id=V2)
    versions = {V2: new} | ({V1: Version(app=old, id=V1, config_id=V1, image="v1")} if old else {})
    deployment = Deployment(
        id="d",
        app_id="/shop",
        target="cluster",
        kind="replace",
        from_version=V1,
        to_version=V2,
        started_at=NOW,
        deadline_at=NOW + 1,
        cause="replace",
    )
    given: dict[str, object] = {"app_id": "/shop", "engine_known": True, "wanted": new, "versions": versions}
    given |= {"instances": tuple(instances), "seen": {one.id: seen(one) for one in instances}, "deployment": deployment}
    return View(**(given | fields))  # type: ignore[arg-type]


def happened(found: Preview, *kinds: str) -> list[str]:
    return [step.instance_id for step in found.steps if step.happening in kinds]


@given(
    st.lists(st.tuples(st.sampled_from(PHASES), st.sampled_from([V1, V2])), max_size=6),
    st.integers(0, 5),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_whatever_stands_there_it_is_reached_within_the_bounds(
    there: list[tuple[Phase, str]], count: int, under: float, over: float
) -> None:
    strategy = UpgradeStrategy(minimum_health_capacity=under, maximum_over_capacity=over)
    wanted = app("v2", instances=count, upgrade_strategy=strategy)
    instances = [instance(number, *given) for number, given in enumerate(there)]
    given = view(wanted, instances, app())
    before = msgspec.json.encode(given)
    found = preview(given, [offer()], [], NOW)
    assert msgspec.json.encode(given) == before
    assert (found.outcome, found.reason) == ("reached", "")
    assert (found.steps[-1].live, found.steps[-1].in_rotation) == (count, count) if found.steps else True
    minimum, maximum = capacity(wanted)
    live = sum(one.live for one in instances)
    serving = sum(one.in_rotation for one in instances)
    assert live <= found.peak_live <= max(live, maximum + (minimum >= maximum))
    assert found.least_in_rotation >= min(serving, minimum)
    assert found.replaces == any(one.live and one.version_id == V1 for one in instances)
    assert found.peak_need.cpus == pytest.approx(found.peak_live)
    left = {one.id for one in instances if one.live and one.version_id == V1}
    assert left <= set(happened(found, "leave", "stop"))


def test_the_order_is_told() -> None:
    strategy = UpgradeStrategy(minimum_health_capacity=1.0, maximum_over_capacity=0.5)
    wanted = app("v2", upgrade_strategy=strategy)
    found = preview(view(wanted, [instance(1), instance(2)], app()), [offer()], [], NOW)
    told = [(step.happening, step.instance_id) for step in found.steps]
    assert told == [
        *(("launch", "new-1"), ("serve", "new-1"), ("leave", "001"), ("stop", "001")),
        *(("launch", "new-2"), ("serve", "new-2"), ("leave", "002"), ("stop", "002")),
    ]
    assert (found.peak_live, found.least_in_rotation, found.image_assumed) == (3, 2, True)


def test_a_placement_that_is_refused_for_now_waits_for_the_old_to_leave() -> None:
    strategy = UpgradeStrategy(minimum_health_capacity=0.5, maximum_over_capacity=0.5)
    wanted = app("v2", upgrade_strategy=strategy)
    found = preview(view(wanted, [instance(1), instance(2)], app()), [offer(cpus=2.0)], [], NOW)
    assert found.outcome == "reached"
    refused = next(step for step in found.steps if step.happening == "refused")
    assert "too few cpus on 1" in refused.cause
    launched = next(step for step in found.steps if step.happening == "launch")
    assert found.steps.index(refused) < found.steps.index(launched)
    assert (found.peak_need.cpus, found.offered.cpus) == (3.0, 2.0)


def test_what_never_fits_is_stuck_and_says_why() -> None:
    others = [(instance(9, app_id="/other"), app(id="/other", cpus=1.5))]
    found = preview(view(app("v2"), [instance(1), instance(2)], app()), [offer(cpus=4.0)], others, NOW)
    assert (found.outcome, found.offered.cpus) == ("stuck", 2.5)
    full = preview(view(app("v2"), [instance(1), instance(2)], app()), [offer(cpus=2.0)], others, NOW)
    assert full.outcome == "stuck"
    assert "too few cpus on 1" in full.reason
    assert happened(full, "leave", "launch") == []
    assert full.offered.cpus == 0.5
    assert full.least_in_rotation == 2


def test_a_fixed_port_waits_until_it_may_be_used_again() -> None:
    mapping = (PortMapping(container_port=80, host_port=31000),)
    container = Container(docker=Docker(image="v2"), port_mappings=mapping)
    strategy = UpgradeStrategy(minimum_health_capacity=0.0, maximum_over_capacity=0.0)
    wanted = app(instances=1, container=container, upgrade_strategy=strategy)
    found = preview(view(wanted, [instance(1, host_ports=(31000,))], wanted), [offer()], [], NOW)
    waits = [step for step in found.steps if step.happening == "wait"]
    assert found.outcome == "reached"
    assert sum(step.seconds for step in waits) == pytest.approx(20.0)
    assert "kept from use" in waits[0].cause


def test_backoff_and_settle_time_are_waited_for() -> None:
    backoff = Backoff(app_id="/shop", target="cluster", version_id=V2, failures=3, until=NOW + 7)
    found = preview(view(app("v2", instances=1), backoff=backoff), [offer()], [], NOW)
    assert next((step.happening, step.seconds) for step in found.steps) == ("wait", pytest.approx(7.0))
    service = app(service="shop", settle_seconds=4.0)
    left = preview(view(app("v2", service="shop"), [instance(1), instance(2)], service), [offer()], [], NOW)
    assert ("wait", "settle time of what leaves") in [(step.happening, step.cause) for step in left.steps]


def test_a_brake_that_holds_is_told() -> None:
    found = preview(view(app("v2"), [instance(1), instance(2)], app(), brake="too many bad"), [offer()], [], NOW)
    assert found.outcome == "stuck"
    assert "too many bad" in found.reason
    assert happened(found, "leave") == []


def test_what_is_bad_now_stays_bad() -> None:
    bad, good = instance(1, version=V2), instance(2, version=V2)
    given = view(app("v2", instances=2), [bad, good])
    states = dict(given.seen) | {bad.id: Seen(task=seen(bad).task, verdict=Verdict(standing="unhealthy"))}
    found = preview(msgspec.structs.replace(given, seen=states), [offer()], [], NOW)
    assert found.outcome == "stuck"
    assert found.replaces is False


def test_a_change_of_number_replaces_nothing() -> None:
    found = preview(view(app(instances=3), [instance(n, version=V2) for n in range(2)]), [offer()], [], NOW)
    assert found.replaces is False
    assert (happened(found, "launch"), happened(found, "leave")) == (["new-1"], [])


def test_a_rollout_too_long_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "MOST_LOOKS", 5)
    found = preview(view(app("v2"), [instance(1), instance(2)], app()), [offer()], [], NOW)
    assert found.outcome == "unfinished"
    assert found.reason
