"""What operators are answered who want an agent back."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from coldchain.clients.mesos.events import InverseOffer
from coldchain.engines.mesos.maintenance import MOVE_SECONDS, Wishes

LEAVE_SECONDS = 900.0


def wished(name: str, agent_id: str, start: float) -> InverseOffer:
    unavailability = {"start": {"nanoseconds": round(start * 1e9)}}
    document = {"id": {"value": name}, "agent_id": {"value": agent_id}, "unavailability": unavailability}
    return msgspec.convert(document, InverseOffer)


def test_an_agent_with_nothing_of_ours_can_be_had_at_once() -> None:
    wishes = Wishes(LEAVE_SECONDS)
    wishes.came([wished("I1", "S0", 1e6), wished("I2", "S1", 1e6)], 0.0)
    assert [(one.id, one.accepted) for one in wishes.answers({"S1"}, 0.0)] == [("I1", True)]
    assert wishes.answers({"S1"}, 0.0) == []
    assert [(one.id, one.accepted) for one in wishes.answers(set(), 1.0)] == [("I2", True)]


def test_who_has_not_moved_in_time_is_said() -> None:
    wishes = Wishes(LEAVE_SECONDS)
    wishes.came([wished("near", "S0", 1000.0), wished("far", "S1", 100_000.0)], 500.0)
    assert wishes.answers({"S0", "S1"}, 500.0 + MOVE_SECONDS - 0.1) == []
    assert [(one.id, one.accepted) for one in wishes.answers({"S0", "S1"}, 500.0 + MOVE_SECONDS)] == [("near", False)]
    leaving = 100_000.0 - LEAVE_SECONDS
    assert wishes.answers({"S1"}, leaving) == []
    assert [(one.id, one.accepted) for one in wishes.answers({"S1"}, leaving + MOVE_SECONDS)] == [("far", False)]


def test_what_is_not_wanted_any_more_is_not_answered() -> None:
    wishes = Wishes(LEAVE_SECONDS)
    wishes.came([wished("I1", "S0", 1000.0), wished("I2", "S0", 1000.0)], 0.0)
    assert wishes.rescinded("I1") == "S0"
    assert wishes.rescinded("I1") is None
    assert [one.id for one in wishes.answers(set(), 0.0)] == ["I2"]
    wishes.came([wished("I3", "S0", 1000.0)], 0.0)
    wishes.reset()
    assert wishes.answers(set(), 0.0) == []


AGENTS = st.sampled_from(["S0", "S1", "S2"])
STEPS = st.lists(
    st.tuples(st.floats(0.0, 100.0), st.frozensets(AGENTS), st.lists(st.tuples(AGENTS, st.floats(0.0, 5000.0)))),
    max_size=20,
)


@given(STEPS)
def test_each_is_answered_once_and_yes_only_for_what_is_empty(
    steps: list[tuple[float, frozenset[str], list[tuple[str, float]]]],
) -> None:
    wishes, now = Wishes(LEAVE_SECONDS), 0.0
    asked: dict[str, tuple[str, float, float]] = {}
    answered: set[str] = set()
    for passed, in_use, some in steps:
        now += passed
        new = {f"I{len(asked) + number}": (agent, start, now) for number, (agent, start) in enumerate(some)}
        asked |= new
        wishes.came([wished(name, agent, start) for name, (agent, start, _) in new.items()], now)
        for one in wishes.answers(in_use, now):
            agent, start, since = asked[one.id]
            assert one.id not in answered
            answered.add(one.id)
            assert one.accepted is (agent not in in_use)
            if not one.accepted:
                assert now - since >= MOVE_SECONDS - 1e-6
                assert now >= start - LEAVE_SECONDS + MOVE_SECONDS - 1e-6
        open_agents = {asked[name][0] for name in asked.keys() - answered}
        assert open_agents <= in_use
