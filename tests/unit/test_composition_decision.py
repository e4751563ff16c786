"""Which steps begin, when a composition ends and how; which composition answers a path."""

from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.composition import (
    Outcome,
    Progress,
    at_deadline,
    circle,
    may_try_again,
    missing,
    progress,
    status_of,
    try_seconds,
)
from coldchain.decisions.composition_path import Found, Table, filled, shape
from coldchain.model.composition import Step

ANSWERED = Outcome(state="answered", value=1)
FAILED = Outcome(state="failed", reason="unavailable")
NAMES = "abcdef"


def steps_of(*names: str, optional: str = "") -> dict[str, Step]:
    return {name: Step(optional=name in optional) for name in names}


def test_steps_begin_when_what_they_need_has_ended() -> None:
    steps = steps_of("a", "b", "c")
    needs = {"a": frozenset[str](), "b": frozenset[str](), "c": frozenset("ab")}
    assert progress(steps, needs, {}, {}) == Progress(start=("a", "b"))
    assert progress(steps, needs, {"a", "b"}, {"a": ANSWERED}) == Progress()
    assert progress(steps, needs, {"a", "b"}, {"a": ANSWERED, "b": Outcome(state="skipped")}) == Progress(start=("c",))
    assert progress(steps, needs, {"a", "b", "c"}, dict.fromkeys("abc", ANSWERED)) == Progress(done=True)


def test_a_required_step_that_failed_ends_the_whole_and_an_optional_one_does_not() -> None:
    steps = steps_of("a", "b", "c", optional="a")
    needs = {name: frozenset[str]() for name in steps}
    begun = set(steps)
    assert progress(steps, needs, begun, {"a": FAILED}) == Progress()
    assert progress(steps, needs, begun, {"c": FAILED, "b": FAILED, "a": FAILED}).failed == "b"
    assert progress(steps, needs, begun, {"a": FAILED, "b": ANSWERED, "c": ANSWERED}).done
    assert missing({"a": FAILED, "b": ANSWERED, "c": Outcome(state="skipped")}) == {"a": "unavailable"}


def test_when_the_time_of_the_whole_is_over_all_others_have_failed() -> None:
    late = at_deadline(steps_of("a", "b", "c"), {"a", "b"}, {"a": ANSWERED}, 1.5)
    assert {name: one.words for name, one in late.items()} == {
        "b": "no answer when the 1.5 s of the whole were over",
        "c": "not begun when the 1.5 s of the whole were over",
    }
    assert {one.reason for one in late.values()} == {"timeout"}


def test_circles_are_found() -> None:
    assert circle({"a": frozenset("b"), "b": frozenset("c"), "c": frozenset()}) == ()
    assert circle({"a": frozenset("b"), "b": frozenset("c"), "c": frozenset("b")}) == ("b", "c")
    assert circle({"a": frozenset("a")}) == ("a",)
    assert circle({"a": frozenset("unknown")}) == ()


@given(st.dictionaries(st.sampled_from(NAMES), st.frozensets(st.sampled_from(NAMES)), min_size=1))
def test_without_a_circle_every_step_has_its_turn_after_what_it_needs(given: dict[str, frozenset[str]]) -> None:
    needs = {name: those & given.keys() for name, those in given.items()}
    steps = steps_of(*needs)
    ended: dict[str, Outcome] = {}
    while (now := progress(steps, needs, ended, ended)).start:
        for name in now.start:
            assert needs[name] <= ended.keys()
        ended |= dict.fromkeys(now.start, ANSWERED)
    assert now.done == (circle(needs) == ())


def test_only_what_is_idempotent_is_tried_again_and_not_what_the_service_refused() -> None:
    step = Step(idempotent=True, retries=2)
    refused = Outcome(state="failed", reason="status", status=409)
    broken = Outcome(state="failed", reason="status", status=503)
    assert may_try_again(step, FAILED, 2, 0.1)
    assert not may_try_again(step, FAILED, 3, 0.1)
    assert not may_try_again(step, FAILED, 1, 0.0)
    assert not may_try_again(Step(retries=2), FAILED, 1, 0.1)
    assert may_try_again(step, broken, 1, 0.1)
    assert not may_try_again(step, refused, 1, 0.1)
    assert not may_try_again(step, Outcome(state="failed", reason="raised"), 1, 0.1)
    assert not may_try_again(step, ANSWERED, 1, 0.1)
    assert [try_seconds(3.0, left) for left in (2, 1, 0)] == [1.0, 1.5, 3.0]


def test_the_status_says_whose_fault_it_was() -> None:
    of = {one: status_of(Outcome(state="failed", reason=one)) for one in ("timeout", "busy", "unavailable", "unfit")}
    assert of == {"timeout": 504, "busy": 503, "unavailable": 503, "unfit": 502}
    assert status_of(Outcome(state="failed", reason="status", status=404, passed=True)) == 404
    assert status_of(Outcome(state="failed", reason="status", status=404)) == 502


TABLE = Table(
    (method, path, f"{method} {path}")
    for method, path in (
        ("GET", "/items/{id}"),
        ("GET", "/items/new"),
        ("PUT", "/items/{name}"),
        ("GET", "/{kind}/new"),
        ("GET", "/"),
        ("POST", "/items/{id}/parts/{part}"),
    )
)


def test_words_go_before_placeholders() -> None:
    assert TABLE.find("GET", "/items/new") == Found("GET /items/new", {})
    assert TABLE.find("GET", "/items/7") == Found("GET /items/{id}", {"id": "7"})
    assert TABLE.find("GET", "/tools/new") == Found("GET /{kind}/new", {"kind": "tools"})
    assert TABLE.find("PUT", "/items/new") == Found("PUT /items/{name}", {"name": "new"})
    assert TABLE.find("HEAD", "/items/new") == Found("GET /items/new", {})
    assert TABLE.find("GET", "/") == Found("GET /", {})


def test_a_part_is_decoded_after_the_path_was_taken_apart() -> None:
    assert TABLE.find("POST", "/items/a%2Fb/parts/%C3%A9") == Found(
        "POST /items/{id}/parts/{part}", {"id": "a/b", "part": "é"}
    )


def test_what_nothing_answers() -> None:
    assert TABLE.find("GET", "/items/7/parts/1") is None
    assert TABLE.methods("/items/7/parts/1") == ["POST"]
    assert TABLE.methods("/items/7") == ["GET", "PUT"]
    for path in ("/items", "/items/", "/items/7/", "//7"):
        assert TABLE.find("GET", path) is None
        assert TABLE.methods(path) == []


def test_paths_of_one_shape_cannot_be_told_from_each_other() -> None:
    assert shape("/items/{id}") == shape("/items/{name}") != shape("/items/{id}/")
    assert filled("/items/{id}/{x}-{id}", {"id": "7", "x": "%20"}) == "/items/7/%20-7"
