"""The table of an instance's life, its enforcement, and its diagram in the documentation."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.instance import (
    CUT_SECONDS_MAX,
    TRANSITIONS,
    Drain,
    IllegalTransition,
    cuts_streams,
    drained,
    leave,
    move,
    story,
)
from coldchain.model.instance import Instance, Phase

PAGE = Path(__file__).parents[2] / "docs" / "design" / "rollout.md"
PHASES: list[Phase] = list(TRANSITIONS)


def instance(phase: Phase = "scheduled") -> Instance:
    return Instance(
        id="i", app_id="/shop", version_id="1", target="cluster", task_id="t", phase=phase, since=10.0, created_at=0.0
    )


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> scheduled"]
    lines += [
        f"    {before} --> {after}" for before in PHASES for after in sorted(TRANSITIONS[before], key=PHASES.index)
    ]
    return "\n".join([*lines, "    stopped --> [*]", "```"])


def test_the_diagram_in_the_documentation_is_the_table() -> None:
    assert diagram() in PAGE.read_text(), f"put this into {PAGE.name}:\n{diagram()}"


@pytest.mark.parametrize("before", PHASES)
@pytest.mark.parametrize("after", PHASES)
def test_only_what_the_table_has_is_allowed(before: Phase, after: Phase) -> None:
    if after in TRANSITIONS[before]:
        assert move(instance(before), after, 11.0, "because").phase == after
    else:
        with pytest.raises(IllegalTransition, match="because"):
            move(instance(before), after, 11.0, "because")


@given(st.lists(st.integers(0, 8), max_size=30))
def test_every_life_ends_and_traffic_is_never_cut(choices: list[int]) -> None:
    one = instance()
    for number in choices:
        following = sorted(TRANSITIONS[one.phase])
        if not following:
            break
        before, one = one, move(one, following[number % len(following)], one.since + 1, "chosen")
        assert not (before.phase in ("entering", "serving") and one.phase in ("closing", "stopping"))
    assert len(one.history) <= 9
    assert one.served == any(step.phase == "serving" for step in one.history)


@pytest.mark.parametrize("phase", [one for one in PHASES if instance(one).wanted])
def test_leaving_is_allowed_from_every_wanted_phase(phase: Phase) -> None:
    assert leave(instance(phase)) in TRANSITIONS[phase]


def drain(acknowledged: bool = True, in_flight: int | None = 0, settle: float = 0.0) -> Drain:
    return Drain(acknowledged=acknowledged, in_flight=in_flight, settle_seconds=settle, deadline_seconds=30.0)


def looked(one: Instance, seen: Drain, now: float) -> str:
    """What a pass does: "cut", the cause with which it is told to end, or nothing."""
    if cuts_streams(one, seen, now):
        assert drained(one, seen, now) is None
        return "cut"
    following = drained(one, seen, now)
    return following[1] if following else ""


PASSED = "drain deadline of 30 s passed, requests in flight"


@pytest.mark.parametrize(
    ("cut_at", "now", "seen", "does"),
    [
        (None, 39.9, {"in_flight": 2, "streams": 2}, ""),
        (None, 40.0, {"in_flight": 2, "streams": 2}, "cut"),
        (None, 40.0, {"in_flight": None, "streams": 2}, "cut"),
        (None, 40.0, {"in_flight": 0, "streams": 2}, "nothing in flight"),
        (None, 40.0, {"in_flight": 2}, f"{PASSED}: 2"),
        (None, 40.0, {"in_flight": 2, "streams": 2, "settle_seconds": 31.0}, ""),
        (40.0, 40.1, {"in_flight": 3, "streams": 2, "acknowledged": False}, ""),
        (40.0, 40.1, {"in_flight": 3, "streams": 2, "cut": 2}, ""),
        (40.0, 40.1, {"in_flight": 0, "acknowledged": False}, ""),
        (40.0, 40.1, {"in_flight": 1, "cut": 2}, f"{PASSED}: 1, streams cut: 2"),
        (40.0, 40.1, {"in_flight": 0, "cut": 2}, f"{PASSED}: 0, streams cut: 2"),
        (
            40.0,
            45.0,
            {"in_flight": 2, "streams": 1, "cut": 2},
            f"{PASSED}: 1, streams cut: 2, streams left to its end: 1",
        ),
        (40.0, 45.0, {"in_flight": None, "acknowledged": False}, f"{PASSED}: unknown"),
    ],
)
def test_at_the_drain_deadline_streams_are_ended_before_the_instance_is(
    cut_at: float | None, now: float, seen: dict[str, Any], does: str
) -> None:
    given: dict[str, Any] = {"acknowledged": True, "settle_seconds": 0.0, "deadline_seconds": 30.0}
    assert (
        looked(msgspec.structs.replace(instance("closing"), streams_cut_at=cut_at), Drain(**given | seen), now) == does
    )


looks = st.lists(
    st.tuples(st.floats(0.0, 8.0), st.booleans(), st.none() | st.integers(0, 3), st.integers(0, 3)), max_size=40
)


@given(looks)
def test_streams_have_the_whole_drain_and_are_ended_once(looks: list[tuple[float, bool, int | None, int]]) -> None:
    """Whatever gateways say, and when: nothing is ended too early, and nothing is waited for too long."""
    one, now = instance("closing"), 10.0
    for seconds, acknowledged, others, streams in looks:
        now += seconds
        in_flight = None if others is None else others + streams
        seen = Drain(
            acknowledged=acknowledged, in_flight=in_flight, streams=streams, settle_seconds=3.0, deadline_seconds=30.0
        )
        does = looked(one, seen, now)
        if does == "cut":
            assert now >= 40.0
            assert one.streams_cut_at is None
            one = msgspec.structs.replace(one, streams_cut_at=now)
        elif does:
            late = one.streams_cut_at is not None and now >= one.streams_cut_at + CUT_SECONDS_MAX
            assert not streams or late, "streams end before the instance does, but for those that gateways do not end"
            assert in_flight == 0 or now >= 40.0
            return
        else:
            assert now < 13.0 or in_flight != 0 or one.streams_cut_at is not None
            assert now < 40.0 or (one.streams_cut_at is not None and now < one.streams_cut_at + CUT_SECONDS_MAX)


@pytest.mark.parametrize(
    ("phase", "seen", "at", "expected"),
    [
        ("draining", drain(acknowledged=False), 1000.0, None),
        ("draining", drain(), 10.0, "closing"),
        ("closing", drain(in_flight=1), 39.9, None),
        ("closing", drain(in_flight=None), 39.9, None),
        ("closing", drain(in_flight=1), 40.0, "stopping"),
        ("closing", drain(settle=3.0), 12.9, None),
        ("closing", drain(settle=3.0), 13.0, "stopping"),
        ("closing", drain(), 10.0, "stopping"),
    ],
)
def test_the_law_of_stopping(phase: Phase, seen: Drain, at: float, expected: Phase | None) -> None:
    found = drained(instance(phase), seen, at)
    assert (found[0] if found else None) == expected


def test_a_story_names_every_step_and_its_cause() -> None:
    one = move(move(instance(), "launching", 1.5, "placed on agent-1"), "stopped", 2.0, "refused")
    assert "+    1.500 s  launching  placed on agent-1" in story(one)
    assert story(one).endswith("stopped    refused")
