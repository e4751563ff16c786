"""The accounts are exact: every request and every record is in exactly one place, and nothing excuses itself."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.model.errors import InvalidDocument, MalformedDocument
from coldchain.testing.load.accounting import Kill, failed_on_killed, reconcile_records
from coldchain.testing.load.outcome import Outcome
from coldchain.testing.load.plan import LoadPlan, Target
from coldchain.testing.load.report import FAILURES_LISTED, first_failures, summarize

KILL = Kill(instance="i1", started_at=100.0, completed_at=101.0)


def outcome(request_id: str, **changes: Any) -> Outcome:
    fields: dict[str, Any] = {
        "id": request_id,
        "step": "load",
        "method": "POST",
        "mode": "new",
        "reused": False,
        "host": "shop",
        "path": "/",
        "status": 200,
        "error": None,
        "detail": "",
        "version": "v1",
        "instance": "i1",
        "started_at": 100.0,
        "latency_seconds": 0.25,
        "service_seconds": 0.0,
    }
    return Outcome(**fields | changes)


def broken(request_id: str, **changes: Any) -> Outcome:
    return outcome(request_id, **{"status": None, "error": "reset"} | changes)


def write_records(folder: Path, *instances: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, ids in enumerate(instances):
        lines = [f"{request_id} v1 i{number} 1700000000000\n" for request_id in ids]
        (folder / f"i{number}.log").write_text("".join(lines))


# ---- records -----------------------------------------------------------------------------------------------------


def test_each_answered_post_recorded_once(tmp_path: Path) -> None:
    write_records(tmp_path, ["a"], ["b"])
    result = reconcile_records([outcome("a"), outcome("b"), outcome("c", method="GET")], tmp_path)
    assert result.exactly_once == 2
    assert (result.duplicated, result.lost, result.executed_unanswered, result.unknown) == ((), (), (), ())


def test_a_post_executed_by_two_instances_is_duplicated(tmp_path: Path) -> None:
    write_records(tmp_path, ["a", "b"], ["b"])
    result = reconcile_records([outcome("a"), outcome("b")], tmp_path)
    assert result.duplicated == ("b",)
    assert result.exactly_once == 1


def test_answered_but_never_recorded_is_lost(tmp_path: Path) -> None:
    write_records(tmp_path, [])
    assert reconcile_records([outcome("a")], tmp_path).lost == ("a",)


def test_recorded_but_failed_for_the_client(tmp_path: Path) -> None:
    write_records(tmp_path, ["a", "b"])
    result = reconcile_records([broken("a"), outcome("b", status=502)], tmp_path)
    assert result.executed_unanswered == ("a", "b")
    assert result.exactly_once == 0


def test_a_record_of_nobody_is_unknown(tmp_path: Path) -> None:
    write_records(tmp_path, ["other"])
    assert reconcile_records([], tmp_path).unknown == ("other",)


@pytest.mark.parametrize("line", ["a v1 i1", "a v1 i1 later", "a v1 i1 1 2", ""])
def test_a_torn_record_is_an_error(tmp_path: Path, line: str) -> None:
    (tmp_path / "i1.log").write_text(line + "\n")
    with pytest.raises(MalformedDocument, match="line 1"):
        reconcile_records([], tmp_path)


@given(
    requests=st.lists(st.tuples(st.sampled_from(["GET", "POST"]), st.sampled_from([200, 503, None])), max_size=30),
    records=st.lists(st.lists(st.integers(min_value=0, max_value=35), max_size=12), max_size=4),
)
def test_every_post_and_every_record_is_in_exactly_one_account(
    tmp_path_factory: pytest.TempPathFactory,
    requests: list[tuple[str, int | None]],
    records: list[list[int]],
) -> None:
    outcomes = [
        outcome(f"{number:02d}", method=method, status=status, error=None if status else "closed")
        for number, (method, status) in enumerate(requests)
    ]
    folder = tmp_path_factory.mktemp("records")
    write_records(folder, *([f"{number:02d}" for number in one] for one in records))
    result = reconcile_records(outcomes, folder)
    flat = [f"{number:02d}" for one in records for number in one]
    posts = {each.id for each in outcomes if each.method == "POST"}
    answered = {each.id for each in outcomes if each.method == "POST" and each.status == 200}
    answered_twice = answered & set(result.duplicated)
    assert len(answered) == result.exactly_once + len(result.lost) + len(answered_twice)
    assert len(set(flat)) == (
        result.exactly_once + len(answered_twice) + len(result.executed_unanswered) + len(result.unknown)
    )
    assert set(result.duplicated) == {each for each in flat if flat.count(each) > 1}
    assert set(result.executed_unanswered) == set(flat) & (posts - answered)
    assert set(result.unknown) == set(flat) - posts


# ---- failures that a kill explains -------------------------------------------------------------------------------


def access_log(folder: Path, **changes: Any) -> Path:
    line = {
        "time": 100.6,
        "seconds": 0.4,
        "method": "POST",
        "status": 502,
        "requestId": "a",
        "instances": "i1",
        "reason": "the instance broke off the connection",
    }
    path = folder / "access.log"
    with path.open("a") as file:
        file.write(json.dumps(line | changes) + "\n")
    return path


def explained(failure: Outcome, log: Path, *kills: Kill) -> bool:
    result = failed_on_killed([failure, outcome("well")], [log], kills or (KILL,))
    assert len(result.failed) + len(result.failed_on_killed) == 1
    return result.failed_on_killed == (failure,)


@pytest.mark.parametrize("failure", [broken("a"), broken("a", error="closed"), outcome("a", status=502)])
def test_in_flight_at_the_killed_instance(tmp_path: Path, failure: Outcome) -> None:
    assert explained(failure, access_log(tmp_path))


@pytest.mark.parametrize("changes", [{"instances": "i2, i1"}, {"time": 101.9, "seconds": 1.0}, {"time": 99.9995}])
def test_after_another_try_and_with_an_end_after_the_kill(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert explained(outcome("a", status=502), access_log(tmp_path, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"instances": "i2"},
        {"instances": "i1, i2"},
        {"instances": "i11"},
        {"instances": ""},
        {"time": 101.9, "seconds": 0.5},
        {"time": 99.998, "seconds": 0.1},
        {"reason": "no instance can be reached"},
        {"reason": ""},
        {"requestId": "b"},
    ],
    ids=[
        "another",
        "tried on",
        "prefix",
        "no try",
        "after it",
        "before it",
        "unreached",
        "the app's own 502",
        "no line",
    ],
)
def test_no_other_failure_is_explained(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert not explained(outcome("a", status=502), access_log(tmp_path, **changes))


@pytest.mark.parametrize(
    "failure",
    [
        outcome("a", status=503),
        outcome("a", status=404),
        broken("a", error="timeout"),
        broken("a", error="refused"),
        broken("a", error="malformed"),
    ],
)
def test_what_a_kill_does_not_do_is_not_explained(tmp_path: Path, failure: Outcome) -> None:
    assert not explained(failure, access_log(tmp_path))


CUT = Kill(instance="i1", started_at=100.0, completed_at=102.0, silent=True)


@pytest.mark.parametrize("came_in", [99.0, 100.0, 101.9])
def test_sent_to_an_instance_before_anybody_could_know_that_it_was_cut_off(tmp_path: Path, came_in: float) -> None:
    log = access_log(tmp_path, status=499, time=came_in + 10.0, seconds=10.0, reason="")
    assert explained(broken("a", error="timeout"), log, CUT)


def test_given_up_by_the_gateway_on_an_instance_that_was_cut_off(tmp_path: Path) -> None:
    log = access_log(tmp_path, status=504, time=160.0, seconds=60.0, reason="the instance did not answer in time")
    assert explained(outcome("a", status=504), log, CUT)


@pytest.mark.parametrize(
    ("failure", "changes"),
    [
        (broken("a", error="timeout"), {"time": 112.5, "seconds": 10.0}),
        (broken("a", error="timeout"), {"instances": "i1, i2"}),
        (broken("a"), {}),
        (outcome("a", status=502), {}),
        (outcome("a", status=504), {}),
    ],
    ids=["too late", "answered for by another", "reset", "broken off", "the app's own 504"],
)
def test_a_cut_explains_silence_only_and_only_for_a_while(
    tmp_path: Path, failure: Outcome, changes: dict[str, Any]
) -> None:
    assert not explained(failure, access_log(tmp_path, **changes), CUT)


def test_every_gateway_s_log_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    logs = [access_log(tmp_path, requestId="b"), access_log(tmp_path / "other")]
    assert failed_on_killed([broken("a")], logs, (KILL,)).failed_on_killed == (broken("a"),)
    assert failed_on_killed([broken("b"), broken("a")], logs[:1], (KILL,)).failed == (broken("a"),)


def test_two_lines_of_one_id_explain_nothing(tmp_path: Path) -> None:
    access_log(tmp_path)
    assert not explained(broken("a"), access_log(tmp_path))


def test_without_a_kill_the_log_is_not_needed(tmp_path: Path) -> None:
    assert failed_on_killed([broken("a")], [tmp_path / "absent"], ()).failed == (broken("a"),)


def test_a_line_that_nginx_is_still_writing_is_left_out(tmp_path: Path) -> None:
    log = access_log(tmp_path)
    with log.open("a") as file:
        file.write('{"msec": "100.7')
    assert explained(broken("a"), log)


def test_a_broken_log_is_an_error(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text("{}\n")
    with pytest.raises(MalformedDocument, match="line 1"):
        failed_on_killed([broken("a")], [log], (KILL,))


# ---- report ------------------------------------------------------------------------------------------------------


def test_summary_of_what_went_well_and_wrong() -> None:
    outcomes = [
        outcome("a", latency_seconds=1.01, service_seconds=1.0),
        outcome("b", method="GET", mode="kept_alive", latency_seconds=0.002, version="v2"),
        outcome("c", latency_seconds=0.5, status=503),
        broken("d", version=None, latency_seconds=0.1, error="refused"),
    ]
    summary = summarize("all", 2.0, outcomes)
    assert (summary.requests, summary.answered, summary.failed) == (4, 2, 2)
    assert (summary.latency_ms_p50, summary.latency_ms_p99, summary.latency_ms_max) == (100.0, 1010.0, 1010.0)
    assert summary.latency_ms_max_beyond_service == 500.0
    assert {name: (group.requests, group.failed) for name, group in summary.by_method.items()} == {
        "GET": (1, 0),
        "POST": (3, 2),
    }
    assert {name: group.requests for name, group in summary.by_version.items()} == {"v1": 2, "v2": 1, "none": 1}
    assert summary.by_mode["kept_alive"].requests == 1
    assert summary.failed_by_kind == {"503": 1, "refused": 1}
    assert (summary.first_failure_at, summary.last_failure_at) == (100.1, 100.5)


@given(st.lists(st.floats(min_value=0, max_value=100), min_size=1, max_size=200))
def test_quantiles_are_nearest_ranks(latencies: list[float]) -> None:
    summary = summarize("all", 1, [outcome("a", latency_seconds=latency) for latency in latencies])
    not_above = sum(round(latency * 1000, 3) <= summary.latency_ms_p99 for latency in latencies)
    below = sum(round(latency * 1000, 3) < summary.latency_ms_p99 for latency in latencies)
    assert below < 0.99 * len(latencies) <= not_above
    assert summary.latency_ms_max == round(max(latencies) * 1000, 3)


@given(st.lists(st.sampled_from([200, 204, 301, 404, 500, None]), max_size=60))
def test_answered_and_failed_add_up_in_every_grouping(statuses: list[int | None]) -> None:
    outcomes = [
        outcome(str(number), status=status, error=None if status else "reset", method=("GET", "POST")[number % 2])
        for number, status in enumerate(statuses)
    ]
    summary = summarize("all", 1, outcomes)
    assert summary.requests == summary.answered + summary.failed == len(statuses)
    assert summary.answered == statuses.count(200) + statuses.count(204)
    for groups in (summary.by_method, summary.by_mode, summary.by_version):
        assert sum(group.requests for group in groups.values()) == summary.requests
        assert sum(group.failed for group in groups.values()) == summary.failed
    assert sum(summary.failed_by_kind.values()) == summary.failed


def test_no_outcomes_is_all_zero() -> None:
    summary = summarize("nothing", 0, [])
    assert (summary.requests, summary.failed, summary.latency_ms_max, summary.first_failure_at) == (0, 0, 0.0, None)


def test_failures_are_listed_in_the_order_of_their_ends() -> None:
    outcomes = [broken(str(number), latency_seconds=30.0 - number) for number in range(25)]
    listed = first_failures([outcome("well"), *outcomes])
    assert [each.id for each in listed] == [str(number) for number in range(24, 24 - FAILURES_LISTED, -1)]


def test_a_plan_that_cannot_be_says_everything_at_once() -> None:
    with pytest.raises(InvalidDocument) as caught:
        LoadPlan(address="a", port=1, targets=(), rate=0, post_share=2, slow_seconds=20)
    assert [problem.path for problem in caught.value.problems] == ["/post_share", "/rate", "/slow_seconds", "/targets"]
    LoadPlan(address="a", port=1, targets=(Target(host="a"),), slow_share=0, slow_seconds=20)
