"""The table of an instance's life, its enforcement, and its diagram in the documentation."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.instance import TRANSITIONS, Drain, IllegalTransition, drained, leave, move, story
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


@pytest.mark.parametrize(
    ("in_flight", "streams", "told"),
    [
        (1, 0, "requests in flight: 1"),
        (3, 2, "requests in flight: 1, streams cut: 2"),
        (2, 2, "requests in flight: 0, streams cut: 2"),
        (1, 2, "requests in flight: 0, streams cut: 2"),
        (None, 2, "requests in flight: unknown, streams cut: 2"),
    ],
)
def test_the_drain_deadline_tells_which_streams_it_cuts(in_flight: int | None, streams: int, told: str) -> None:
    leaving = Drain(acknowledged=True, in_flight=in_flight, streams=streams, settle_seconds=0.0, deadline_seconds=30.0)
    one = instance("closing")
    assert drained(one, leaving, 39.9) is None
    assert drained(one, leaving, 40.0) == ("stopping", f"drain deadline of 30 s passed, {told}")


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
