"""An instance is where its task is, whatever a record says that is older than its launch."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions import instance as lives
from coldchain.decisions.actions import KillTask, Move, Place, RecordPlace
from coldchain.decisions.health import Verdict
from coldchain.decisions.placement import settled_at
from coldchain.decisions.reconcile import reconcile
from coldchain.decisions.view import Seen, View
from coldchain.model.app import App, Network
from coldchain.model.instance import Instance, Phase, Transition
from coldchain.model.offer import Offer
from coldchain.model.task import TaskState, TaskStatus
from coldchain.model.version import Version

NOW = 1_700_000_000.0
PHASES: tuple[Phase, ...] = tuple(lives.TRANSITIONS)
BRIDGE, NAMED = Network(mode="container/bridge"), Network(name="online_net")


def instance(phase: Phase, **fields: object) -> Instance:
    given: dict[str, object] = {"id": "x", "app_id": "/shop", "version_id": "V1", "target": "cluster", "task_id": "t"}
    given |= {"since": NOW, "created_at": NOW, "history": (Transition(phase=phase, at=NOW, cause="test"),)}
    return Instance(phase=phase, **(given | fields))  # type: ignore[arg-type]


def task(state: TaskState = "running", **fields: object) -> TaskStatus:
    given: dict[str, object] = {"task_id": "t", "instance_id": "x", "app_id": "/shop", "target": "cluster"}
    return TaskStatus(state=state, at=NOW, **(given | {"agent": "agent-2"} | fields))  # type: ignore[arg-type]


def view(one: Instance, told: TaskStatus | None, app: App, *, wanted: bool = True, pending: bool = False) -> View:
    version = Version(app=app, id="V1", config_id="V1")
    seen = Seen(task=told, launch_pending=pending, verdict=Verdict(standing="healthy"), acknowledged=True)
    return View(
        app_id="/shop",
        engine_known=True,
        wanted=version if wanted else None,
        versions={"V1": version},
        instances=(one,),
        seen={"x": seen},
    )


def after(one: Instance, told: TaskStatus | None, app: App, *, wanted: bool = True) -> Instance:
    """The record as one pass leaves it."""
    for action in reconcile(view(one, told, app, wanted=wanted), NOW).actions:
        match action:
            case RecordPlace():
                one = settled_at(one, action, app, ())
            case Move():
                one = lives.move(one, action.phase, NOW, action.cause)
            case Place():
                assert told is None, "its task is somewhere already"
    return one


agents, host_ports = st.sampled_from(["agent-1", "agent-2"]), st.sampled_from([(), (31000, 0), (31001, 31002)])


@given(
    phase=st.sampled_from(PHASES),
    recorded=st.tuples(agents, host_ports),
    told=st.tuples(agents, host_ports),
    state=st.sampled_from(["staging", "running", "killing", "failed", "killed"]),
    wanted=st.booleans(),
)
def test_after_one_pass_it_has_what_its_task_tells_and_after_that_nothing_is_new(
    phase: Phase,
    recorded: tuple[str, tuple[int, ...]],
    told: tuple[str, tuple[int, ...]],
    state: TaskState,
    wanted: bool,
) -> None:
    app = App(id="/shop", cmd="serve", instances=1)
    where = {} if phase == "scheduled" else {"agent": recorded[0], "host_ports": recorded[1]}
    status = task(state, agent=told[0], host_ports=told[1])
    one = after(instance(phase, **where), status, app, wanted=wanted)
    assert one.phase != "scheduled"
    assert one.agent == told[0]
    assert one.host_ports == (told[1] or where.get("host_ports", ())), "what is not told stays"
    again = reconcile(view(one, status, app, wanted=wanted), NOW).actions
    assert not [action for action in again if isinstance(action, RecordPlace | Place)]


def test_a_scheduled_one_whose_task_is_there_begins_its_life_with_it() -> None:
    app = App(id="/shop", cmd="serve", instances=1)
    actions = reconcile(view(instance("scheduled"), task(host_ports=(31001,)), app), NOW).actions
    assert [type(action) for action in actions] == [RecordPlace, Move]
    one = after(instance("scheduled"), task(host_ports=(31001,)), app)
    assert (one.phase, one.agent, one.host_ports) == ("launching", "agent-2", (31001,))
    leaving = after(instance("scheduled"), task(host_ports=(31001,)), app, wanted=False)
    assert [step.phase for step in leaving.history] == ["scheduled", "launching", "stopping"], "it has its grace"


def test_one_that_is_where_its_record_says_is_not_recorded_again() -> None:
    app = App(id="/shop", cmd="serve", instances=1)
    one = instance("serving", agent="agent-2", host_ports=(31001,), address="10.201.0.5")
    for told in (task(host_ports=(31001,)), task(), task(host_ports=(31001,), address="10.99.0.1")):
        assert reconcile(view(one, told, app), NOW).actions == ()


@pytest.mark.parametrize(
    ("phase", "network", "recorded", "address"),
    [
        ("scheduled", BRIDGE, None, "10.201.0.5"),
        ("launching", BRIDGE, "10.201.0.6", "10.201.0.5"),
        ("stopping", BRIDGE, "10.201.0.6", "10.201.0.6"),  # it ran with that one
        ("launching", BRIDGE, None, None),  # none was chosen: it is recorded with its start
        ("scheduled", NAMED, None, None),
        ("launching", NAMED, None, None),
        ("starting", BRIDGE, "10.201.0.6", "10.201.0.6"),
        ("starting", NAMED, "10.201.0.6", "10.201.0.5"),
        ("starting", NAMED, None, "10.201.0.5"),
        ("entering", NAMED, "10.201.0.6", "10.201.0.6"),  # others know of that one by now
    ],
)
def test_the_address_is_the_one_that_the_task_tells_until_it_runs_or_has_traffic_where_its_network_chose_it(
    phase: Phase, network: Network, recorded: str | None, address: str | None
) -> None:
    app = App(id="/shop", cmd="serve", instances=1, networks=(network,))
    place = lives.other_place(instance(phase, agent="agent-1", address=recorded), task(address="10.201.0.5"), app)
    assert place is not None
    assert (place.agent, place.address) == ("agent-2", address)


@pytest.mark.parametrize("state", ["staging", "killing", "failed"])
def test_where_a_task_that_does_not_run_says_it_is_nothing_starts(state: TaskState) -> None:
    app = App(id="/shop", cmd="serve", instances=1, networks=(NAMED,))
    one = instance("starting", agent="agent-2", address="10.201.0.6")
    assert lives.other_place(one, task(state, address="10.201.0.5"), app) is None


def test_what_starts_at_another_address_is_asked_there_before_it_enters() -> None:
    """Its network gave it another one when its agent began it anew, or the first task's start was heard of late."""
    app = App(id="/shop", cmd="serve", instances=1, networks=(NAMED,))
    one = instance("starting", agent="agent-2", address="10.201.0.6")
    told = task(address="10.201.0.5")
    [place] = reconcile(view(one, told, app), NOW).actions
    assert isinstance(place, RecordPlace), "who answered at the old address says nothing of it"
    assert (place.address, place.cause) == ("10.201.0.5", "its task tells that it is on agent-2, at 10.201.0.5")
    there = after(one, told, app)
    assert (there.phase, there.address) == ("starting", "10.201.0.5")
    assert after(there, told, app).phase == "entering"


def test_one_with_a_launch_from_lost_records_waits_for_where_that_leads() -> None:
    app = App(id="/shop", cmd="serve", instances=1)
    one = instance("scheduled")
    assert [type(action) for action in reconcile(view(one, None, app), NOW).actions] == [Place]
    assert reconcile(view(one, None, app, pending=True), NOW).actions == ()


def test_a_stopped_one_keeps_from_use_what_its_task_had() -> None:
    app = App(id="/shop", cmd="serve", instances=0)
    one = instance("stopped", agent="agent-2", host_ports=(31000,))
    actions = reconcile(view(one, task(host_ports=(31001,)), app), NOW).actions
    assert [type(action) for action in actions] == [RecordPlace, KillTask]
    assert after(one, task("killed", host_ports=(31001,)), app).host_ports == (31001,)


def test_what_constraints_compare_is_of_the_agent_where_the_task_was_found() -> None:
    app = App(id="/shop", cmd="serve", constraints=(("rack", "UNIQUE"),))
    one = instance("launching", agent="agent-1", constraint_values={"rack": "r1"})
    racks = {"agent-1": "changed since", "agent-2": "r2"}
    offers = [
        Offer(agent=agent, target="cluster", hostname=agent, cpus=1, mem=1, disk=1, attributes={"rack": rack})
        for agent, rack in racks.items()
    ]
    for agent, values in (("agent-1", {"rack": "r1"}), ("agent-2", {"rack": "r2"}), ("agent-3", {})):
        place = RecordPlace(instance_id="x", agent=agent, address=None, host_ports=(31000,), cause="test")
        found = settled_at(one, place, app, offers)
        assert found == msgspec.structs.replace(one, agent=agent, host_ports=(31000,), constraint_values=values)
