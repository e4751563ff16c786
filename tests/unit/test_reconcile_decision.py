"""reconcile against a modelled world: from whatever stands there it comes to rest, and stays there."""

import random
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions import instance as lives
from coldchain.decisions.actions import (
    Action,
    CreateInstances,
    EndDeployment,
    ForgetTask,
    KillTask,
    LaunchTask,
    Move,
    Place,
    PrepareImage,
    RecordFailure,
    RemoveApp,
    RemoveInstance,
    StartRollback,
)
from coldchain.decisions.deployment import capacity
from coldchain.decisions.health import Verdict
from coldchain.decisions.reconcile import reconcile, rolled_back, version_id
from coldchain.decisions.version import end
from coldchain.decisions.view import Seen, View
from coldchain.model.app import App, Container, Docker, Network, PortMapping, UpgradeStrategy
from coldchain.model.deployment import Deployment
from coldchain.model.instance import Instance, Phase, Transition
from coldchain.model.task import TaskState, TaskStatus
from coldchain.model.version import Version

V1, V2 = "2024-01-01T00:00:00.000Z", "2024-01-02T00:00:00.000Z"


def app(tag: str = "v1", **fields: object) -> App:
    given: dict[str, object] = {"id": "/shop", "instances": 2, "container": Container(docker=Docker(image=tag))}
    return App(**(given | {"drain_seconds": 5.0, "deadline_seconds": 60.0} | fields))  # type: ignore[arg-type]


class World:
    """One app's records and tasks, without loops: what actions mean, one at a time."""

    def __init__(self, wanted: Version | None, *former: Version) -> None:
        self.now = 1_700_000_000.0
        self.wanted = wanted
        self.versions = {one.id: one for one in (*former, *([wanted] if wanted else []))}
        self.instances: dict[str, Instance] = {}
        self.tasks: dict[str, TaskStatus] = {}
        self.deployments: list[Deployment] = []
        self.created = 0
        self.launched: Counter[str] = Counter()
        self.bad: set[str] = set()

    def deploy(self, kind: str = "replace", **fields: object) -> None:
        given: dict[str, object] = {
            "id": str(len(self.deployments)),
            "app_id": "/shop",
            "target": "cluster",
            "kind": kind,
            "from_version": V1,
            "to_version": self.wanted.id if self.wanted else None,
            "started_at": self.now,
            "deadline_at": self.now + 60.0,
            "cause": "test",
        }
        self.deployments.append(Deployment(**(given | fields)))  # type: ignore[arg-type]

    def view(self) -> View:
        return View(
            app_id="/shop",
            engine_known=True,
            wanted=self.wanted,
            versions=self.versions,
            instances=tuple(self.instances.values()),
            seen={one.id: self.seen(one) for one in self.instances.values()},
            deployment=next((one for one in self.deployments if one.running), None),
        )

    def seen(self, one: Instance) -> Seen:
        image = self.versions[one.version_id].image
        verdict = Verdict(standing="unknown" if image in self.bad else "healthy", detail="status 503")
        return Seen(task=self.tasks.get(one.id), acknowledged=True, verdict=verdict)

    def carry_out(self, action: Action) -> None:
        match action:
            case CreateInstances():
                for _ in range(action.count):
                    self.created += 1
                    self.add(f"{self.created:03}", action.version_id)
            case Move():
                one = self.instances[action.instance_id]
                self.instances[one.id] = lives.move(one, action.phase, self.now, action.cause)
            case Place():
                one = self.instances[action.instance_id]
                if one.phase == "scheduled":
                    placed = lives.move(one, "launching", self.now, "placed")
                    self.instances[one.id] = msgspec.structs.replace(placed, agent="agent-1")
            case LaunchTask():
                if self.instances[action.instance_id].phase == "launching" and action.instance_id not in self.tasks:
                    self.task(action.instance_id, "running")
                    self.launched[self.instances[action.instance_id].version_id] += 1
            case KillTask():
                self.task(action.instance_id, "killed")
            case ForgetTask():
                del self.tasks[action.instance_id]
            case RemoveInstance():
                del self.instances[action.instance_id]
            case PrepareImage():
                for one in list(self.versions.values()):
                    if one.config_id == action.version_id:
                        image = one.app.container.docker.image if one.app.container else None
                        self.versions[one.id] = msgspec.structs.replace(one, image=image)
                self.wanted = self.versions[self.wanted.id] if self.wanted else None
            case EndDeployment():
                running = next(one for one in self.deployments if one.running)
                self.deployments[self.deployments.index(running)] = end(running, action.state, action.cause, self.now)
            case StartRollback():
                self.wanted = self.versions[action.to.id] = action.to
                self.deploy("rollback", rollback_of=self.deployments[-1].id)
            case RemoveApp():
                self.versions.clear()
            case RecordFailure():
                pass

    def add(self, name: str, version: str, phase: str = "scheduled") -> None:
        self.instances[name] = Instance(
            id=name,
            app_id="/shop",
            version_id=version,
            target="cluster",
            task_id=f"task-{name}",
            phase=phase,  # type: ignore[arg-type]
            since=self.now,
            created_at=self.now,
            agent=None if phase == "scheduled" else "agent-1",
            history=(lives.Transition(phase="scheduled", at=self.now, cause="test"),),
        )
        if phase not in ("scheduled", "launching", "stopped"):
            self.task(name, "running")

    def task(self, name: str, state: TaskState) -> None:
        self.tasks[name] = TaskStatus(
            task_id=f"task-{name}",
            instance_id=name,
            app_id="/shop",
            target="cluster",
            agent="agent-1",
            state=state,
            at=0.0,
        )

    def to_rest(self, interrupt: random.Random | None = None) -> None:
        """Reconcile until nothing is left to do. `interrupt`: only a beginning of each decision is carried out."""
        for _ in range(500):
            decision = reconcile(self.view(), self.now)
            actions = list(decision.actions)
            if interrupt is not None and actions and interrupt.random() < 0.5:
                actions = actions[: whole(actions, interrupt.randrange(len(actions) + 1))]
            for action in actions:
                self.carry_out(action)
            self.check()
            if not decision.actions:
                if decision.look_again_at is None:
                    return
                self.now = decision.look_again_at
        raise AssertionError(f"never at rest: {decision.actions}")

    def check(self) -> None:
        if self.wanted is not None:
            least, most = capacity(self.wanted.app)
            live = sum(one.live for one in self.instances.values())
            assert live <= max(most, self.most_before) + (least >= most)
            self.most_before = max(live, most)

    most_before = 100


def whole(actions: list[Action], length: int) -> int:
    """Records are written in one transaction: a rollback is not cut off from the failure it answers."""
    if length < len(actions) and isinstance(actions[length], StartRollback):
        return length + 1
    return length


def started(tag: str = "v1", **fields: object) -> World:
    world = World(Version(app=app(tag, **fields), id=V1, config_id=V1))
    world.deploy("start", from_version=None)
    world.to_rest()
    return world


def aim(world: World, **fields: object) -> None:
    world.wanted = Version(app=app("v2", **fields), id=V2, config_id=V2)
    world.versions[V2] = world.wanted
    world.deploy()


def test_an_engine_that_was_never_listed_is_not_empty() -> None:
    world = started()
    world.tasks.clear()
    view = msgspec.structs.replace(world.view(), engine_known=False)
    assert reconcile(view, world.now).actions == ()


@pytest.mark.parametrize("instances", [0, 1, 5])
def test_a_start_comes_to_rest_and_a_second_look_finds_nothing(instances: int) -> None:
    world = started(instances=instances)
    assert world.created == instances
    assert [one.state for one in world.deployments] == ["succeeded"]
    assert reconcile(world.view(), world.now + 1e6).actions == ()


shares = st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0])
phase = st.sampled_from(
    ["scheduled", "launching", "starting", "entering", "serving", "draining", "closing", "stopping"]
)


@given(st.integers(0, 5), st.integers(0, 5), shares, shares, st.integers(0, 10**6))
def test_however_often_it_is_interrupted_it_ends_the_same(
    before: int, after: int, minimum: float, over: float, seed: int
) -> None:
    strategy = UpgradeStrategy(minimum_health_capacity=minimum, maximum_over_capacity=over)
    ends = []
    for interrupt in (None, random.Random(seed)):
        world = started(instances=before, upgrade_strategy=strategy)
        aim(world, instances=after, upgrade_strategy=strategy)
        world.to_rest(interrupt)
        ends.append((world.created, [(one.kind, one.state) for one in world.deployments], world.wanted))
        assert [one.phase for one in world.instances.values()] == ["serving"] * after
        assert {one.version_id for one in world.instances.values()} <= {V2}
        assert len(world.tasks) == after
    assert ends[0] == ends[1]
    assert ends[0][0] == before + after


@given(st.lists(st.tuples(phase, st.sampled_from([V1, V2])), max_size=8), st.integers(0, 4), st.booleans())
def test_from_whatever_stands_there_it_comes_to_rest(
    found: list[tuple[str, str]], instances: int, deploying: bool
) -> None:
    world = World(
        Version(app=app("v2", instances=instances), id=V2, config_id=V2, image="v2"),
        Version(app=app("v1"), id=V1, config_id=V1, image="v1"),
    )
    for number, (standing, version) in enumerate(found):
        world.add(f"x{number}", version, standing)
    superseded = Counter(world.launched)
    if deploying:
        world.deploy()
    world.to_rest()
    assert [one.phase for one in world.instances.values()] == ["serving"] * instances
    assert len(world.tasks) == instances
    launching = sum(version == V1 and standing == "launching" for standing, version in found)
    assert world.launched[V1] - superseded[V1] <= launching, "a superseded version was launched"
    if deploying:
        assert {one.version_id for one in world.instances.values()} <= {V2}


@given(st.integers(1, 4), st.integers(0, 10**6))
def test_a_version_that_never_gets_healthy_is_rolled_back_exactly_once(instances: int, seed: int) -> None:
    world = started(instances=instances)
    before = set(world.instances)
    world.bad = {"v2"}
    aim(world, instances=instances)
    world.to_rest(random.Random(seed))
    assert [(one.kind, one.state) for one in world.deployments[1:]] == [
        ("replace", "failed"),
        ("rollback", "succeeded"),
    ]
    assert set(world.instances) == before


@pytest.mark.parametrize("kind", ["rollback", "replace"])
def test_only_what_is_no_rollback_itself_is_taken_back(kind: str) -> None:
    world = started()
    world.bad = {"v1", "v2"}
    aim(world)
    world.deployments[-1] = msgspec.structs.replace(world.deployments[-1], kind=kind)  # type: ignore[arg-type]
    for one in list(world.instances.values()):
        world.task(one.id, "failed")
    for _ in range(100):
        decision = reconcile(world.view(), world.now)
        for action in decision.actions:
            world.carry_out(action)
        if not decision.actions and decision.look_again_at is None:
            break
        world.now = decision.look_again_at or world.now
    assert len(world.deployments) == (2 if kind == "rollback" else 3)
    assert not [one for one in world.deployments if one.running]


def test_a_member_of_a_group_deployment_is_not_taken_back_by_itself() -> None:
    world = started()
    world.bad = {"v2"}
    aim(world)
    world.deployments[-1] = msgspec.structs.replace(world.deployments[-1], part_of="group")
    world.now = world.deployments[-1].deadline_at
    for action in reconcile(world.view(), world.now).actions:
        world.carry_out(action)
    assert [one.state for one in world.deployments] == ["succeeded", "failed"]


@pytest.mark.parametrize(("before", "after"), [(2, 4), (4, 2), (2, 2)])
def test_a_member_that_waits_ends_by_nothing_and_makes_good_only_what_is_lost(before: int, after: int) -> None:
    world = started(instances=before)
    aim(world, instances=after)
    waiting = {"part_of": "group", "paused_by": "dependency", "paused_at": world.now}
    world.deployments[-1] = msgspec.structs.replace(world.deployments[-1], **waiting)
    served = set(world.instances)
    world.to_rest()
    world.now += 1e6
    world.to_rest()
    assert world.deployments[-1].running
    assert set(world.instances) == served
    for name in list(served)[1:]:
        world.task(name, "failed")
    world.to_rest()
    new = [one for one in world.instances.values() if one.version_id == V2 and one.live]
    assert len(new) == min(before, after) - 1


@given(st.integers(0, 4), st.integers(0, 10**6))
def test_a_deleted_app_leaves_nothing(instances: int, seed: int) -> None:
    world = started(instances=instances)
    world.wanted = None
    world.deploy("stop")
    world.to_rest(random.Random(seed))
    assert not world.instances
    assert not world.tasks
    assert not world.versions
    assert world.deployments[-1].state == "succeeded"


def test_a_task_that_shows_up_after_all_is_killed_at_once() -> None:
    world = started(instances=1)
    world.add("ghost", V1, "stopped")
    world.task("ghost", "running")
    assert [type(one) for one in reconcile(world.view(), world.now).actions] == [KillTask]


@pytest.mark.parametrize(
    ("phase", "following"), [("starting", "stopping"), ("entering", "draining"), ("serving", "draining")]
)
def test_what_its_engine_ends_leaves_at_once_and_is_replaced(phase: str, following: str) -> None:
    world = World(Version(app=app(instances=1), id=V1, config_id=V1, image="v1"))
    world.add("x", V1, phase)
    world.task("x", "killing")
    first, *others = reconcile(world.view(), world.now).actions
    assert isinstance(first, Move)
    assert (first.phase, first.cause) == (following, "its engine ends the task")
    assert [one.count for one in others if isinstance(one, CreateInstances)] == [1]
    world.to_rest()
    assert [(one.id, one.phase) for one in world.instances.values()] == [("001", "serving")]


@pytest.mark.parametrize("phase", ["entering", "serving", "draining", "closing"])
def test_a_container_that_came_back_at_another_address_is_another_task(phase: Phase) -> None:
    """Where it was, another app may be by now."""
    named = app(instances=1, networks=(Network(name="online_net"),))
    world = started(instances=1)
    world.versions[V1] = world.wanted = msgspec.structs.replace(world.versions[V1], app=named)
    [name] = world.instances
    world.instances[name] = msgspec.structs.replace(world.instances[name], phase=phase, address="10.200.0.1")
    for address, after in (("10.200.0.1", None), (None, None), ("10.200.0.2", "stopped")):
        world.tasks[name] = msgspec.structs.replace(world.tasks[name], address=address)
        moves = [one for one in reconcile(world.view(), world.now).actions if isinstance(one, Move)]
        assert [one.phase for one in moves if one.phase == "stopped"] == ([after] if after else [])
    failures = [one for one in reconcile(world.view(), world.now).actions if isinstance(one, RecordFailure)]
    assert failures[0].failure.message == (
        "its container is at 10.200.0.2 now, and was at 10.200.0.1: somebody has moved it or started it anew"
    )
    world.to_rest()
    assert name not in world.instances
    assert name not in world.tasks
    assert [one.phase for one in world.instances.values()] == ["serving"]


def test_what_is_to_end_anyway_is_ended_wherever_it_is() -> None:
    world = started(instances=1)
    named = app(instances=1, networks=(Network(name="online_net"),))
    world.versions[V1] = world.wanted = msgspec.structs.replace(world.versions[V1], app=named)
    world.add("x", V1, "stopping")
    world.instances["x"] = msgspec.structs.replace(world.instances["x"], address="10.200.0.1")
    world.task("x", "running")
    world.tasks["x"] = msgspec.structs.replace(world.tasks["x"], address="10.200.0.2")
    assert [type(one) for one in reconcile(world.view(), world.now).actions] == [KillTask]


def test_an_address_that_was_chosen_here_is_not_compared() -> None:
    """Where an agent is reached may change, and its tasks with it."""
    world = started(instances=1)
    [name] = world.instances
    world.instances[name] = msgspec.structs.replace(world.instances[name], address="10.99.0.1")
    world.tasks[name] = msgspec.structs.replace(world.tasks[name], address="10.99.0.2")
    assert reconcile(world.view(), world.now).actions == ()


def test_a_stopped_instance_keeps_its_address_for_the_quarantine() -> None:
    world = started(instances=1)
    world.add("gone", V1, "stopped")
    decision = reconcile(world.view(), world.now)
    assert decision.actions == ()
    assert decision.look_again_at == world.now + 20.0
    assert [type(one) for one in reconcile(world.view(), world.now + 20.0).actions] == [RemoveInstance]


def test_while_a_gateway_is_out_of_touch_a_stopped_instance_keeps_its_address_from_others() -> None:
    world = started(instances=1)
    world.add("gone", V1, "stopped")
    view = msgspec.structs.replace(world.view(), out_of_touch_seconds=600.0)
    assert reconcile(view, world.now + 599.0).actions == ()
    assert [type(one) for one in reconcile(view, world.now + 600.0).actions] == [RemoveInstance]
    named = Container(docker=Docker(image="shop"), port_mappings=(PortMapping(container_port=80, host_port=8080),))
    fixed = {
        name: msgspec.structs.replace(one, app=msgspec.structs.replace(one.app, container=named))
        for name, one in view.versions.items()
    }
    view = msgspec.structs.replace(view, versions=fixed)
    assert [type(one) for one in reconcile(view, world.now + 20.0).actions] == [RemoveInstance]
    deleted = msgspec.structs.replace(view, wanted=None)
    cleared = [one for one in reconcile(deleted, world.now + 20.0).actions if isinstance(one, RemoveInstance)]
    assert not cleared


def test_what_was_given_up_and_runs_is_ended_after_the_quarantine_or_at_once_when_all_is_to_end() -> None:
    world = started(instances=1)
    world.add("x", V1, "serving")
    world.instances["x"] = lives.move(world.instances["x"], "stopped", world.now, "test")
    world.task("x", "running")
    world.instances["x"] = msgspec.structs.replace(
        world.instances["x"], history=(Transition(phase="entering", at=world.now, cause="test"),)
    )
    assert reconcile(world.view(), world.now).actions == ()
    assert [type(one) for one in reconcile(world.view(), world.now + 20.0).actions] == [KillTask]
    ending = msgspec.structs.replace(world.view(), stopping=True)
    assert [one.instance_id for one in reconcile(ending, world.now).actions if isinstance(one, KillTask)] == ["x"]


def test_a_listing_older_than_a_launch_says_nothing() -> None:
    world = started(instances=1)
    world.add("late", V1, "stopping")
    del world.tasks["late"]
    view = world.view()
    pending = view.seen | {"late": Seen(launch_pending=True)}
    assert reconcile(msgspec.structs.replace(view, seen=pending), world.now).actions == ()


def test_a_task_that_runs_counts_more_than_a_refusal() -> None:
    world = started(instances=1)
    world.wanted = msgspec.structs.replace(world.wanted, app=app(instances=2)) if world.wanted else None
    world.add("twice", V1, "launching")
    world.task("twice", "running")
    view = world.view()
    seen = view.seen | {"twice": msgspec.structs.replace(view.seen["twice"], launch_refused="the name is in use")}
    actions = reconcile(msgspec.structs.replace(view, seen=seen), world.now).actions
    assert [one.phase for one in actions if isinstance(one, Move)] == ["starting"]


def test_version_ids_grow_even_if_the_clock_goes_back() -> None:
    first = version_id(1_700_000_000.0, None)
    second = version_id(1_600_000_000.0, first)
    assert first == "2023-11-14T22:13:20.000Z"
    assert second == "2023-11-14T22:13:20.001Z"
    version = Version(app=app(), id=V1, config_id=V1, image="v1")
    back = rolled_back(version, Version(app=app("v2"), id=V2, config_id=V2), 0.0)
    assert (back.config_id, back.image) == (V1, "v1")
    assert back.id > V2
