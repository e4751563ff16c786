"""What is known of a task of Mesos, in whatever order and however often it is told."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.clients.mesos.events import Status
from coldchain.decisions.mesos_task import (
    ADOPT_SECONDS,
    END_SECONDS,
    SUCCESSOR_SECONDS_MAX,
    UNKNOWN_SECONDS,
    ExecutorGone,
    Heard,
    Reported,
    Said,
    Stood,
    hear,
    in_doubt,
    lost_at,
    orphan_at,
    seen,
    succeed,
    successor_at,
    wants_successor,
)
from coldchain.documents.executor_messages import encode
from coldchain.engines.mesos.infos import kept_spec
from coldchain.engines.mesos.statuses import heard_of, stranger
from coldchain.model.app import UnreachableStrategy
from coldchain.model.executor import TaskReport
from coldchain.model.mesos import MesosTask, Standing
from coldchain.model.task import TaskState, TaskStatus
from coldchain.testing.engine_labs import make_spec

STATES: tuple[TaskState, ...] = ("staging", "starting", "running", "killing", "finished", "failed", "killed", "lost")
STANDINGS: tuple[Standing, ...] = ("reachable", "unreachable", "unknown", "nowhere", "gone")
AT = 100.0


def status(state: TaskState, at: float = AT, **more: object) -> TaskStatus:
    values = {"instance_id": "i", "app_id": "/contract/app", "target": "", "agent": "127.0.0.1"}
    return msgspec.convert({"taskId": "t.1", "state": state, "at": at, **_camel(values), **_camel(more)}, TaskStatus)


def _camel(values: dict[str, object]) -> dict[str, object]:
    fields = dict(zip(TaskStatus.__struct_fields__, TaskStatus.__struct_encode_fields__, strict=True))
    return {fields[name]: value for name, value in values.items()}


def task(**changes: object) -> MesosTask:
    spec = kept_spec(make_spec("serves", task_id="t.1", instance_id="i"))
    strategy = changes.pop("unreachable", None)
    if strategy is not None:
        spec = msgspec.structs.replace(spec, app=msgspec.structs.replace(spec.app, unreachable_strategy=strategy))
    made = MesosTask(
        target="cluster",
        task_id="t.1",
        mesos_id="t.1",
        agent_id="S0",
        executor_id="e",
        role="*",
        reserved_for="*",
        spec=spec,
        told=status("staging", 90.0, target="cluster", agent="agent-1"),
        launched_at=90.0,
    )
    return msgspec.structs.replace(made, **changes)


def reported(state: TaskState, at: float = AT, **more: object) -> Reported:
    return Reported(status=status(state, at, **more), address="127.0.0.1", port=7000)


TIMES = st.integers(90, 110).map(float)
HEARD: st.SearchStrategy[Heard] = st.one_of(
    st.builds(reported, st.sampled_from(STATES), TIMES),
    st.builds(Said, state=st.sampled_from(STATES), at=TIMES),
    st.builds(Stood, standing=st.sampled_from(STANDINGS), at=TIMES),
    st.builds(ExecutorGone, at=TIMES, message=st.sampled_from(["one", "other"])),
)


@given(st.lists(HEARD, max_size=8), st.data())
def test_doubled_late_and_reordered_updates_lead_to_the_same_end(heard: list[Heard], data: st.DataObject) -> None:
    doubled = heard + (data.draw(st.lists(st.sampled_from(heard), max_size=4)) if heard else [])
    shuffled = data.draw(st.permutations(doubled))
    one = other = task()
    for each in heard:
        one = hear(one, each)
    for each in shuffled:
        other = hear(other, each)
    assert one == other
    assert hear(other, shuffled[-1]) == other if shuffled else True


@given(st.lists(HEARD, max_size=8))
def test_nothing_brings_back_what_its_executor_saw_end(heard: list[Heard]) -> None:
    known = task()
    for each in heard:
        after = hear(known, each)
        assert after.told.terminal or not known.told.terminal
        assert not wants_successor(after) or not after.told.terminal
        known = after


def running(**changes: object) -> MesosTask:
    return hear(task(**changes), reported("running", exit_status=None))


def test_what_the_controller_is_told_names_our_agent_and_target() -> None:
    told = seen(running(), AT)
    assert (told.state, told.agent, told.target, told.task_id) == ("running", "agent-1", "cluster", "t.1")


@pytest.mark.parametrize(
    ("strategy", "orphaned"),
    [
        (UnreachableStrategy(), AT),
        (UnreachableStrategy(inactive_after_seconds=30.0, expunge_after_seconds=60.0), AT + 30.0),
        ("disabled", None),
    ],
)
def test_an_unreachable_task_is_an_orphan_when_its_app_says(strategy: object, orphaned: float | None) -> None:
    away = hear(running(unreachable=strategy), Stood(standing="unreachable", at=AT, message="cut off"))
    assert (orphan_at(away), lost_at(away)) == (orphaned, None)
    assert seen(away, AT + 10.0).orphaned == ("agent" if orphaned == AT else "")
    late = seen(away, AT + 1000.0)
    assert (late.state, late.orphaned) == ("running", "" if orphaned is None else "agent")
    assert late.message == ("" if orphaned is None else "cut off")
    back = hear(away, Stood(standing="reachable", at=AT + 50.0))
    assert seen(back, AT + 1000.0) == back.told
    never = hear(task(unreachable=strategy), Stood(standing="unreachable", at=AT))
    assert seen(never, AT + 1000.0).state == ("staging" if orphaned is None else "lost")


def test_a_master_that_has_just_begun_does_not_know_yet() -> None:
    asked = hear(running(), Stood(standing="unknown", at=AT))
    assert seen(asked, AT + UNKNOWN_SECONDS - 1).orphaned == ""
    assert seen(asked, AT + UNKNOWN_SECONDS).orphaned == "agent"
    assert seen(hear(task(), Stood(standing="unknown", at=AT)), AT + UNKNOWN_SECONDS).state == "lost"
    assert seen(hear(running(), Stood(standing="gone", at=AT)), AT).state == "lost"


def test_what_ran_is_taken_over_and_what_never_began_has_failed() -> None:
    gone = ExecutorGone(at=AT, message="Mesos says failed: Executor terminated")
    never = hear(task(), gone)
    assert not wants_successor(never)
    assert (seen(never, AT).state, seen(never, AT).message) == ("failed", gone.message)
    left = hear(running(), gone)
    assert wants_successor(left)
    assert seen(left, AT + 1).state == "running"
    next_one = succeed(left, "t.2", "S0", "f", AT + 1)
    assert not wants_successor(next_one)
    assert seen(next_one, AT + 2) == left.told
    late = seen(next_one, AT + 1 + ADOPT_SECONDS)
    assert (late.state, late.orphaned) == ("running", "executor")
    taken = hear(next_one, reported("running"))
    assert seen(taken, AT + 1 + ADOPT_SECONDS) == taken.told
    assert (taken.port, taken.adopting_since) == (7000, None)
    assert seen(hear(next_one, reported("lost", AT + 3)), AT + 3).state == "lost"
    ended = hear(left, reported("finished", AT + 1, exit_status=0))
    assert not wants_successor(ended)


def test_a_successor_that_never_came_has_a_successor_within_the_same_time() -> None:
    left = hear(running(), ExecutorGone(at=AT, message="m"))
    next_one = succeed(left, "t.2", "S0", "f", AT + 1)
    lost = hear(next_one, Stood(standing="gone", at=AT + 2))
    assert wants_successor(lost)
    assert seen(lost, AT + 3).orphaned == ""
    again = succeed(lost, "t.3", "S0", "f", AT + 20)
    assert not wants_successor(again)
    assert seen(again, AT + 1 + ADOPT_SECONDS).orphaned == "executor"


def test_a_successor_that_failed_is_not_tried_again_at_once_for_ever() -> None:
    left = hear(running(), ExecutorGone(at=AT, message="m"))
    assert successor_at(left) == AT
    now, tries, known = AT, 0, left
    while now < AT + 600.0:
        assert wants_successor(known)
        known = hear(succeed(known, f"t.{tries + 2}", "S0", "f", now), ExecutorGone(at=now + 0.2, message="m"))
        assert now + 0.2 < successor_at(known) <= now + 0.2 + SUCCESSOR_SECONDS_MAX
        now, tries = successor_at(known), tries + 1
    assert 600.0 / SUCCESSOR_SECONDS_MAX < tries < 40


@pytest.mark.parametrize(
    "trouble",
    [ExecutorGone(at=AT, message="m"), Stood(standing="unreachable", at=AT), Stood(standing="unknown", at=AT)],
)
def test_an_orphan_is_lost_only_when_it_was_told_to_end_and_nobody_saw_it(trouble: Heard) -> None:
    strategy = UnreachableStrategy(inactive_after_seconds=5.0, expunge_after_seconds=60.0)
    orphan = hear(running(unreachable=strategy), trouble)
    assert in_doubt(orphan)
    since = orphan_at(orphan)
    assert since is not None
    assert seen(orphan, since + 10**6).state == "running"
    killed = msgspec.structs.replace(orphan, kill_grace_seconds=3.0, kill_asked_at=since + 100.0)
    ends = since + 103.0 + END_SECONDS
    assert (seen(killed, ends - 0.1).state, seen(killed, ends - 0.1).orphaned) == ("running", orphan_seen(orphan))
    assert (seen(killed, ends).state, seen(killed, ends).orphaned) == ("lost", "")
    early = msgspec.structs.replace(killed, kill_asked_at=AT - 1000.0)
    assert seen(early, since - 0.1) == early.told  # somebody may answer yet
    assert seen(early, since).state == "lost"
    answered = hear(killed, Stood(standing="reachable", at=AT + 1.0))
    assert (seen(answered, ends).state == "lost") == isinstance(trouble, ExecutorGone)


def orphan_seen(orphan: MesosTask) -> str:
    return seen(orphan, 10**9).orphaned


def mesos(state: str, **more: object) -> Status:
    return msgspec.convert({"task_id": {"value": "t.1"}, "state": state, "timestamp": AT, **more}, Status)


REPORT = encode(TaskReport(address="127.0.0.1", port=7000, status=status("failed", exit_status=3)))
BY_EXECUTOR = {"source": "SOURCE_EXECUTOR"}
WORDS = "Mesos says lost: agent removed"


@pytest.mark.parametrize(
    ("told", "heard"),
    [
        (mesos("TASK_FAILED", data=REPORT, **BY_EXECUTOR), reported("failed", exit_status=3)),
        (mesos("TASK_FAILED", data="!", message="m", **BY_EXECUTOR), Said(state="failed", at=AT, message="m")),
        (mesos("TASK_RUNNING", source="SOURCE_MASTER", data=REPORT), Stood(standing="reachable", at=AT)),
        (
            mesos("TASK_FAILED", source="SOURCE_AGENT", message="Executor terminated"),
            ExecutorGone(at=AT, message="Mesos says failed: Executor terminated"),
        ),
        (
            mesos("TASK_UNREACHABLE", unreachable_time={"nanoseconds": 95 * 10**9}, message="m"),
            Stood(standing="unreachable", at=95.0, message="Mesos says unreachable: m"),
        ),
        (mesos("TASK_LOST", reason="REASON_AGENT_REMOVED"), ExecutorGone(at=AT, message=WORDS)),
        (
            mesos("TASK_UNKNOWN", timestamp=None, message="m"),
            Stood(standing="unknown", at=AT, message="Mesos says unknown: m"),
        ),
    ],
)
def test_what_mesos_says_in_our_terms(told: Status, heard: Heard) -> None:
    assert heard_of(told, AT) == heard


def test_what_a_master_does_not_know_though_it_had_time_to_is_nowhere() -> None:
    gone = Stood(standing="nowhere", at=AT, message="Mesos says unknown: m")
    assert heard_of(mesos("TASK_UNKNOWN", message="m"), AT, settled=True) == gone


def test_an_end_that_a_reconciliation_tells_of_is_yet_to_be_told() -> None:
    told = mesos("TASK_KILLED", source="SOURCE_MASTER", reason="REASON_RECONCILIATION")
    assert heard_of(told, AT) == Stood(standing="reachable", at=AT)


def test_of_a_task_that_nothing_is_known_of_as_much_is_told_as_there_is() -> None:
    name = {"task_id": {"value": "shop_web.instance-1._app.2"}}
    found = stranger(mesos("TASK_RUNNING", **name), "cluster", "agent-1", AT)
    assert found is not None
    assert (found.instance_id, found.state, found.agent) == ("shop_web.instance-1", "running", "agent-1")
    for agent, known in (("agent-2", "agent-2"), ("", "S0")):
        data = encode(TaskReport(status=status("running", agent=agent, host_ports=[31001]), address="", port=0))
        found = stranger(mesos("TASK_RUNNING", data=data, **name), "cluster", "S0", AT)
        assert found is not None
        assert (found.instance_id, found.agent, found.host_ports) == ("i", known, (31001,))
    assert stranger(mesos("TASK_GONE", **name), "cluster", "agent-1", AT) is None
    assert stranger(mesos("TASK_KILLED", **name), "cluster", "agent-1", AT) is None


def test_a_successor_that_never_came_leaves_the_time_for_another_one() -> None:
    gone = hear(task(begun=True, adopting_since=AT), Stood(standing="nowhere", at=AT + 1.0))
    assert wants_successor(gone)
    assert orphan_at(gone) == AT + ADOPT_SECONDS
