"""What probes ask, when, and what the answers mean."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.health import (
    FIRST_INTERVAL_SECONDS,
    Verdict,
    next_probe_seconds,
    observe,
    passed_before,
    questions,
    verdict,
)
from coldchain.model.app import App, CheckProtocol, Container, Docker, HealthCheck, Network, PortMapping, ReadinessCheck
from coldchain.model.health import CheckHealth, Health, Outcome, ProbeResult
from coldchain.model.instance import Instance, Phase

CHECK = HealthCheck(grace_period_seconds=10.0, interval_seconds=5.0, max_consecutive_failures=3)
MAPPINGS = (PortMapping(container_port=80), PortMapping(container_port=81, name="admin"))
SHOP = App(id="/shop", health_checks=(CHECK,), container=Container(docker=Docker(image="shop"), port_mappings=MAPPINGS))
READY = msgspec.structs.replace(SHOP, readiness_checks=(ReadinessCheck(port_name="admin"),))


def instance(ports: tuple[int, ...] = (31000, 31001)) -> Instance:
    return Instance(
        id="i",
        app_id="/shop",
        version_id="1",
        target="cluster",
        task_id="t",
        phase="starting",
        since=0.0,
        created_at=0.0,
        address="10.0.0.2",
        ports=ports,
    )


def after(answers: str, app: App = SHOP, *, at: float = 100.0, served: bool = False) -> Health:
    """Health after answers in a row: `+` passed, `-` failed, `?` unknown."""
    outcomes: dict[str, Outcome] = {"+": "passed", "-": "failed", "?": "unknown"}
    health = Health(instance_id="i", since=0.0, checks=(CheckHealth(check="health/0", ever_passed=served),))
    for answer in answers:
        result = ProbeResult(outcome=outcomes[answer], detail=f"answer {answer}")
        health = observe(app, health, "health/0", result, at)
    return health


@pytest.mark.parametrize(
    ("answers", "standing", "condemned"),
    [
        ("", "unknown", False),
        ("+", "unknown", False),
        ("++", "healthy", False),
        ("++-", "healthy", False),
        ("++--", "unhealthy", False),
        ("++---", "unhealthy", False),
        ("++----", "unhealthy", True),
        ("++----+", "healthy", False),
        ("++---?-", "unhealthy", True),
        ("++????????", "healthy", False),
        ("----", "unhealthy", True),
    ],
)
def test_what_answers_mean(answers: str, standing: str, condemned: bool) -> None:
    found = verdict(SHOP, after(answers))
    assert (found.standing, found.condemned) == (standing, condemned)


def test_failures_before_the_first_success_are_not_counted_in_the_grace() -> None:
    assert verdict(SHOP, after("------", at=9.9)).standing == "unknown"
    assert verdict(SHOP, after("------", at=10.0)).condemned
    assert verdict(SHOP, after("++----", at=9.9)).condemned, "it had passed"


@pytest.mark.parametrize(
    ("phase", "served", "passed"),
    [("starting", False, False), ("entering", False, True), ("serving", True, True), ("starting", True, True)],
)
def test_a_record_says_whether_checks_have_passed(phase: Phase, served: bool, passed: bool) -> None:
    assert passed_before(msgspec.structs.replace(instance(), phase=phase, served=served)) == passed


def test_what_served_before_a_restart_is_healthy_until_it_fails() -> None:
    assert verdict(SHOP, after("", served=True)).standing == "healthy"
    assert verdict(SHOP, after("--", served=True)).standing == "unhealthy"


def test_a_limit_of_zero_condemns_nobody_and_no_check_asks_nothing() -> None:
    lenient = msgspec.structs.replace(SHOP, health_checks=(msgspec.structs.replace(CHECK, max_consecutive_failures=0),))
    assert verdict(lenient, after("++" + "-" * 50, lenient)) == Verdict(
        standing="unhealthy", detail="health/0: answer -"
    )
    assert verdict(App(id="/plain"), None) == Verdict(standing="healthy")


@given(st.text("+-?", max_size=40))
def test_unknown_answers_change_no_verdict(answers: str) -> None:
    found, plain = verdict(SHOP, after(answers)), verdict(SHOP, after(answers.replace("?", "")))
    assert (found.standing, found.condemned) == (plain.standing, plain.condemned)
    if found.condemned:
        assert found.standing == "unhealthy"


def test_readiness_is_asked_until_it_is_answered_once() -> None:
    health = observe(READY, after("++", READY), "readiness/0", ProbeResult(outcome="failed", detail="status 503"), 1.0)
    found = verdict(READY, health)
    assert (found.standing, found.ready) == ("healthy", False)
    assert "readiness/0: status 503" in found.detail
    health = observe(READY, health, "readiness/0", ProbeResult(outcome="passed"), 2.0)
    assert verdict(READY, health).ready
    answered = next(one for one in health.checks if one.check == "readiness/0")
    assert next_probe_seconds(READY, answered, 0.0) is None


@pytest.mark.parametrize(
    ("answers", "seconds"), [("", FIRST_INTERVAL_SECONDS), ("+", FIRST_INTERVAL_SECONDS), ("++", 5.0), ("++-", 5.0)]
)
def test_a_start_does_not_wait_for_the_interval(answers: str, seconds: float) -> None:
    check = after(answers).checks[0]
    assert next_probe_seconds(SHOP, check, 0.0) == seconds
    assert next_probe_seconds(SHOP, check, 1.0) == pytest.approx(seconds * 0.9)


def test_questions_go_to_the_ports_of_the_instance() -> None:
    asked = {one.check: one.port for one in questions(READY, instance())}
    assert asked == {"health/0": 31000, "readiness/0": 31001}
    named = msgspec.structs.replace(SHOP, health_checks=(msgspec.structs.replace(CHECK, port_name="admin"),))
    assert [one.port for one in questions(named, instance())] == [31001]
    fixed = msgspec.structs.replace(SHOP, health_checks=(msgspec.structs.replace(CHECK, port=9),))
    assert [one.port for one in questions(fixed, instance())] == [9]


def test_a_check_without_any_port_fails_instead_of_the_controller() -> None:
    assert [one.port for one in questions(App(id="/shop", health_checks=(CHECK,)), instance(()))] == [0]


@pytest.mark.parametrize(("protocol", "port"), [("HTTP", 31001), ("MESOS_HTTP", 81), ("MESOS_TCP", 81)])
def test_beside_a_task_it_is_asked_where_it_listens(protocol: CheckProtocol, port: int) -> None:
    by_index = HealthCheck(protocol=protocol, port_index=1)
    by_name = HealthCheck(protocol=protocol, port_name="admin")
    app = msgspec.structs.replace(SHOP, health_checks=(by_index, by_name))
    assert [one.port for one in questions(app, instance())] == [port, port]


def test_in_the_network_of_its_machine_a_task_listens_where_it_is_reached() -> None:
    check = HealthCheck(protocol="MESOS_HTTP")
    app = msgspec.structs.replace(SHOP, health_checks=(check,), networks=(Network(mode="host"),))
    assert [one.port for one in questions(app, instance())] == [31000]
