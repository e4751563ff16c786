"""decisions/executor and decisions/orphan: what an executor does, in any order of what happens."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions.executor import (
    Begun,
    End,
    ExecutorState,
    Happening,
    KillAsked,
    LaunchAsked,
    LaunchRefused,
    Listed,
    NotBegun,
    Observed,
    Start,
    Tell,
    UpdateKept,
    decide,
)
from coldchain.decisions.orphan import SWEEPER, Claim, refusal, sweep
from coldchain.model.executor import TaskDescription
from coldchain.model.task import ORDER, TaskState, TaskStatus
from coldchain.testing.engine_labs import make_spec

NOW = 1_700_000_000.0
RUNNER_IDS = ("shop.1", "shop.2")
TASK_IDS = ("m1", "m2", "m3")


def description(runner_id: str, *, adopts: bool = False) -> TaskDescription:
    return TaskDescription(spec=make_spec("serves", task_id=runner_id, instance_id=runner_id), adopts=adopts)


DESCRIPTIONS = {runner_id: description(runner_id) for runner_id in RUNNER_IDS}


def status(runner_id: str, state: TaskState, address: str | None = None) -> TaskStatus:
    return TaskStatus(
        task_id=runner_id,
        instance_id=runner_id,
        app_id="/shop",
        target="cluster",
        agent="agent-1",
        state=state,
        at=NOW,
        address=address,
    )


def play(*happenings: Happening, state: ExecutorState | None = None) -> tuple[ExecutorState, list[Any]]:
    state = state or ExecutorState(tells_killing=True)
    actions: list[Any] = []
    for one in happenings:
        state, more = decide(state, one, NOW)
        actions += more
    return state, actions


def told(actions: list[Any]) -> list[tuple[str, TaskState]]:
    return [(one.update.task_id, one.update.status.state) for one in actions if isinstance(one, Tell)]


def launch(task_id: str = "m1", runner_id: str = "shop.1", *, adopts: bool = False) -> LaunchAsked:
    return LaunchAsked(task_id=task_id, description=description(runner_id, adopts=adopts))


def test_a_task_is_started_once_and_its_life_is_told() -> None:
    _, actions = play(
        launch(),
        launch(),
        Begun(task_id="m1"),
        Observed(status=status("shop.1", "running", "10.0.0.9")),
        Observed(status=status("shop.1", "running", "10.0.0.9")),
        Observed(status=status("shop.1", "failed")),
        Observed(status=status("shop.1", "running", "10.0.0.9")),
    )
    assert [type(one) for one in actions].count(Start) == 1
    assert told(actions) == [("m1", "starting"), ("m1", "running"), ("m1", "failed")]


def test_a_late_report_takes_nothing_back() -> None:
    _, actions = play(
        launch(),
        Observed(status=status("shop.1", "running")),
        Observed(status=status("shop.1", "staging")),
        KillAsked(task_id="m1"),
        Observed(status=status("shop.1", "running", "10.0.0.9")),
    )
    assert told(actions) == [("m1", "starting"), ("m1", "running"), ("m1", "killing")]


def test_a_kill_before_the_launch_means_that_it_never_starts() -> None:
    state, actions = play(KillAsked(task_id="m1"), launch())
    assert told(actions) == [("m1", "killed")]
    assert not any(isinstance(one, Start) for one in actions)
    assert state.early_kills == ()


def test_a_kill_ends_it_with_the_grace_asked_for_or_the_apps_own() -> None:
    _, actions = play(launch(), KillAsked(task_id="m1"), KillAsked(task_id="m1", grace_seconds=1.0))
    assert [one for one in actions if isinstance(one, End)] == [
        End(task_id="m1", runner_id="shop.1", grace_seconds=15.0),
        End(task_id="m1", runner_id="shop.1", grace_seconds=1.0),
    ]
    assert told(actions) == [("m1", "starting"), ("m1", "killing")]
    _, silent = play(launch(), KillAsked(task_id="m1"), state=ExecutorState())
    assert told(silent) == [("m1", "starting")], "the scheduler does not know that state"


def test_a_start_given_up_for_a_kill_was_killed() -> None:
    given_up = NotBegun(task_id="m1", state="failed", message="it was stopped before it was started")
    assert told(play(launch(), KillAsked(task_id="m1"), given_up)[1])[-1] == ("m1", "killed")
    assert told(play(launch(), given_up)[1])[-1] == ("m1", "failed")


def test_what_is_answered_for_is_not_answered_for_twice() -> None:
    state, actions = play(launch(), Begun(task_id="m1"), launch("m2", adopts=True))
    assert told(actions)[-1] == ("m2", "failed")
    assert [one.task_id for one in actions if isinstance(one, Start)] == ["m1"]
    # Once the first has ended the next may.
    _, actions = play(Observed(status=status("shop.1", "killed")), launch("m3", adopts=True), state=state)
    assert [one.task_id for one in actions if isinstance(one, Start)] == ["m3"]


def test_what_a_listing_lacks_is_lost_unless_it_began_after() -> None:
    state, _ = play(launch(), Begun(task_id="m1"), launch("m2", "shop.2"))
    empty = Listed(statuses=(), begun_before=frozenset({"m1"}))
    _, actions = play(empty, Begun(task_id="m2"), Listed(statuses=(), begun_before=frozenset()), state=state)
    assert told(actions) == [("m1", "lost")]
    _, actions = play(KillAsked(task_id="m1"), empty, state=state)
    assert told(actions) == [("m1", "killing"), ("m1", "killed")]


def test_updates_wait_in_order_until_they_are_kept() -> None:
    state, _ = play(launch(), Observed(status=status("shop.1", "running")), launch("m2", "shop.2"))
    assert [(one.task_id, one.status.state) for one in state.updates] == [
        ("m1", "starting"),
        ("m1", "running"),
        ("m2", "starting"),
    ]
    first, second, third = (one.number for one in state.updates)
    assert first < second < third
    state, _ = play(UpdateKept(number=second), UpdateKept(number=second), state=state)
    assert [one.number for one in state.updates] == [first, third]
    assert (state.tasks["m1"].known, state.tasks["m2"].known) == (True, False)


def test_a_task_is_let_go_when_its_end_is_kept() -> None:
    state, _ = play(launch(), Observed(status=status("shop.1", "finished")))
    for update in state.updates:
        assert "m1" in state.tasks
        state, _ = play(UpdateKept(number=update.number), state=state)
    assert state.tasks == {}
    assert state.updates == ()


def test_what_cannot_be_read_fails_once() -> None:
    refused = LaunchRefused(task_id="m1", message="damaged")
    state, actions = play(refused, refused)
    assert told(actions) == [("m1", "failed")]
    assert play(UpdateKept(number=state.updates[0].number), state=state)[0].updates == ()


def happenings() -> st.SearchStrategy[Happening]:
    """Of three tasks of Mesos that want two of the runner's, in any order, with any lies of the runner."""
    task_id, runner_id = st.sampled_from(TASK_IDS), st.sampled_from(RUNNER_IDS)
    state = st.sampled_from(sorted(ORDER))
    statuses = st.builds(status, runner_id, state, st.sampled_from([None, "10.0.0.9"]))
    terminal = st.sampled_from(["failed", "lost", "killed"])
    return st.one_of(
        st.builds(lambda one, of: LaunchAsked(task_id=one, description=DESCRIPTIONS[of]), task_id, runner_id),
        st.builds(KillAsked, task_id=task_id, grace_seconds=st.sampled_from([None, 1.0])),
        st.builds(UpdateKept, number=st.integers(1, 12)),
        st.builds(Begun, task_id=task_id),
        st.builds(NotBegun, task_id=task_id, state=terminal, message=st.just("no")),
        st.builds(Observed, status=statuses),
        st.builds(
            Listed,
            statuses=st.lists(statuses, max_size=2, unique_by=lambda one: one.task_id).map(tuple),
            begun_before=st.frozensets(task_id),
        ),
    )


@given(st.lists(happenings(), min_size=20, max_size=40), st.booleans())
def test_in_any_order_a_task_ends_once_goes_forward_and_is_nobody_elses(
    story: list[Happening], tells_killing: bool
) -> None:
    state = ExecutorState(tells_killing=tells_killing)
    kept: set[int] = set()
    sent: dict[int, Any] = {}
    started: list[str] = []
    last: dict[str, TaskState] = {}
    asked = {one.task_id for one in story if isinstance(one, LaunchAsked)}
    gone: set[str] = set()
    for happening in story:
        if isinstance(happening, LaunchAsked) and happening.task_id in gone:
            continue  # Mesos gives no id twice
        before = state
        state, actions = decide(state, happening, NOW)
        gone |= before.tasks.keys() - state.tasks.keys()
        if isinstance(happening, UpdateKept):
            kept |= {happening.number} & sent.keys()
        for action in actions:
            if isinstance(action, Start):
                assert action.task_id not in started
                started.append(action.task_id)
            if isinstance(action, Tell):
                update = action.update
                assert update.number not in sent
                assert update.task_id in asked
                sent[update.number] = update
                assert last.get(update.task_id) not in ("finished", "failed", "killed", "lost")
                assert ORDER[update.status.state] >= ORDER[last.get(update.task_id, "staging")]
                assert update.status.state != "killing" or tells_killing or not isinstance(happening, KillAsked)
                last[update.task_id] = update.status.state
        assert [one.number for one in state.updates] == [number for number in sorted(sent) if number not in kept]
        live = [one.runner_id for one in state.live]
        assert len(live) == len(set(live))
        again, more = decide(state, happening, NOW)
        if not isinstance(happening, KillAsked):
            assert not more
            assert again == state


ORPHAN = status("shop.1", "running")
ENDED = status("shop.2", "finished")


def test_an_orphan_is_ended_when_nobody_claims_it_in_time() -> None:
    first = sweep([ORPHAN, ENDED], {}, (), {}, 100.0, 30.0)
    assert (first.orphans, first.ended, first.forgotten) == ((ORPHAN,), (), ())
    early = sweep([ORPHAN, ENDED], {}, (), first.since, 129.0, 30.0)
    assert (early.ended, early.forgotten) == ((), ())
    late = sweep([ORPHAN, ENDED], {}, (), early.since, 130.0, 30.0)
    assert (late.ended, late.forgotten) == (("shop.1",), ("shop.2",))
    claimed = sweep([ORPHAN], {"shop.1": Claim(holder="e1")}, ("e1",), late.since, 131.0, 30.0)
    assert (claimed.since, claimed.orphans, claimed.ended) == ({}, (), ())
    dead = sweep([ORPHAN], {"shop.1": Claim(holder="e1")}, (), claimed.since, 140.0, 30.0)
    assert (dead.since, dead.ended) == ({"shop.1": 140.0}, ())


def test_what_is_being_ended_is_ended_by_the_next_sweeper_too() -> None:
    found = sweep([ORPHAN], {"shop.1": Claim(holder=SWEEPER)}, ("e1",), {}, 100.0, 30.0)
    assert found.ended == ("shop.1",)


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        (None, ""),
        (Claim(holder="e1"), ""),
        (Claim(holder="dead"), ""),
        (Claim(holder="e2"), "executor e2 answers for it"),
        (Claim(holder=SWEEPER), "nobody answered for it, so it is being ended"),
    ],
)
def test_who_may_answer_for_a_task(claim: Claim | None, words: str) -> None:
    assert refusal(claim, "e1", ("e1", "e2")) == words


@given(
    st.dictionaries(st.sampled_from(RUNNER_IDS), st.sampled_from(["e1", "e2", SWEEPER])),
    st.sets(st.sampled_from(["e1", "e2"])),
    st.lists(st.floats(0, 100), max_size=5).map(sorted),
)
def test_nothing_that_a_living_executor_answers_for_is_ever_swept(
    holders: dict[str, str], living: set[str], moments: list[float]
) -> None:
    claims = {runner_id: Claim(holder=holder) for runner_id, holder in holders.items()}
    since: dict[str, float] = {}
    for now in moments:
        outcome = sweep([ORPHAN, ENDED], claims, living, since, now, 30.0)
        for task_id in (*outcome.ended, *outcome.forgotten):
            claim = claims.get(task_id)
            assert claim is None or claim.holder not in living
            assert claim == Claim(holder=SWEEPER) or now - since.get(task_id, now) >= 30.0
        since = outcome.since
