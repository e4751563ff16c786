"""Handing running tasks over to another version of the executor, on agents that are modelled: whatever happens between
two looks, one agent at a time, and nobody is sent away for a version that does not start."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.handover import RETRY_SECONDS, Aboard, Scout, SendAway, next_step

NOBODY: dict[str, float] = {}


def aboard(name: str, **changes: bool) -> Aboard:
    given = {"settled": True, "room_after": True} | changes
    return Aboard(agent=name, agent_id=f"S-{name}", executors=(f"old-{name}",), **given)


def test_the_new_executor_is_tried_before_the_old_one_leaves() -> None:
    some = [aboard("b"), aboard("a"), aboard("c", full=True)]
    assert next_step(some, moving=(), proven=False, refused_until=NOBODY, now=0.0) == Scout(agent="a")
    some[1] = aboard("a", ready=True)
    leaves = SendAway(agent="a", agent_id="S-a", executors=("old-a",))
    assert next_step(some, moving=(), proven=True, refused_until=NOBODY, now=0.0) == leaves
    assert next_step(some, moving={"z"}, proven=True, refused_until=NOBODY, now=0.0) is None


@pytest.mark.parametrize(
    ("one", "proven", "refused", "leaves"),
    [
        (aboard("a", full=True), True, NOBODY, True),
        (aboard("a", full=True), False, NOBODY, True),  # nobody can try it, anywhere
        (aboard("a", full=True), False, {"b": 9.0}, False),
        (aboard("a", full=True), True, {"b": 9.0}, True),
        (aboard("a", full=True, room_after=False), True, NOBODY, False),
        (aboard("a", full=True, settled=False), True, NOBODY, False),
        (aboard("a", ready=True, settled=False), True, NOBODY, False),
        (aboard("a", ready=True), True, {"a": 9.0}, False),
        (aboard("a", ready=True), True, {"a": 0.5}, True),
    ],
)
def test_who_is_sent_away(one: Aboard, refused: dict[str, float], *, proven: bool, leaves: bool) -> None:
    step = next_step([one], moving=(), proven=proven, refused_until=refused, now=1.0)
    assert isinstance(step, SendAway) == leaves


class Agent:
    """Old tasks, and perhaps the new executor."""

    def __init__(self, draw: random.Random, *, starts: bool) -> None:
        self.starts = starts
        self.full = draw.random() < 0.5
        self.old = True
        self.new = self.waits = False
        self.launching = draw.random() < 0.3


@given(st.integers(0, 10**6), st.integers(1, 6), st.booleans())
def test_all_are_handed_over_one_at_a_time_and_none_for_nothing(seed: int, count: int, starts: bool) -> None:
    draw = random.Random(seed)
    agents = {f"agent-{number}": Agent(draw, starts=starts) for number in range(count)}
    one_is_free = not all(agent.full for agent in agents.values())
    refused: dict[str, float] = {}
    tried = ""
    now = 0.0
    for _ in range(40 * count):
        now += 10.0
        for agent in agents.values():  # what happens in the meantime, or not yet
            if agent.waits and draw.random() < 0.5 and agent.starts:
                agent.waits, agent.new = False, True
            agent.launching = agent.launching and draw.random() < 0.7
        if tried and draw.random() < 0.7:
            agents[tried].new = agents[tried].new or agents[tried].starts
            refused |= {} if agents[tried].starts else {tried: now + RETRY_SECONDS}
            tried = ""
        step = next_step(
            [
                aboard(name, settled=not one.launching, ready=one.new, full=one.full)
                for name, one in agents.items()
                if one.old
            ],
            moving={name for name, one in agents.items() if one.waits or name == tried},
            proven=any(one.new for one in agents.values()),
            refused_until=refused,
            now=now,
        )
        if isinstance(step, Scout):
            assert not agents[step.agent].full
            tried = step.agent
        elif isinstance(step, SendAway):
            assert not any(one.waits for one in agents.values())
            assert not agents[step.agent].launching
            agents[step.agent].old, agents[step.agent].waits = False, not agents[step.agent].new
    left = [one for one in agents.values() if one.old]
    if starts:
        assert not left
    elif one_is_free:
        assert len(left) == count
    else:
        assert len(left) == count - 1  # where nobody could try it, one did, and the others stay
