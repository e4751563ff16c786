"""What becomes of an instance whose task nobody answers for: replaced first where it may run, else at once.

No clock but the number of passes; what actions mean is played on the records."""

from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldchain.decisions import instance as lives
from coldchain.decisions.actions import Action, CreateInstances, KillTask, LaunchTask, Move, RecordFailure
from coldchain.decisions.health import Verdict
from coldchain.decisions.reconcile import reconcile
from coldchain.decisions.view import Seen, View
from coldchain.model.app import App, CheckProtocol, Command, HealthCheck
from coldchain.model.instance import Instance
from coldchain.model.task import TaskStatus
from coldchain.model.version import Version

NOW = 1_700_000_000.0
Who = Literal["", "executor", "agent"]


class Shop:
    """An app of some instances that serve, one agent for each."""

    def __init__(self, instances: int, *protocols: CheckProtocol) -> None:
        checks = tuple(
            HealthCheck(protocol=one, command=Command(value="true") if one == "COMMAND" else None) for one in protocols
        )
        app = App(id="/shop", instances=instances, cmd="serve", health_checks=checks)
        self.version = Version(id="v1", config_id="v1", app=app)
        self.instances: dict[str, Instance] = {}
        self.orphans: dict[str, Who] = {}
        self.standing: dict[str, Literal["healthy", "unhealthy", "unknown"]] = {}
        self.killed: list[str] = []
        for number in range(instances):
            self._add(str(number), "serving")

    def _add(self, name: str, phase: lives.Phase) -> None:
        self.instances[name] = Instance(
            id=name,
            app_id="/shop",
            version_id="v1",
            target="cluster",
            task_id=f"task-{name}",
            phase=phase,
            since=NOW,
            created_at=NOW,
            agent=f"agent-{name}",
            address=f"10.0.0.{name}",
            served=phase == "serving",
        )

    def seen(self, one: Instance) -> Seen:
        status = TaskStatus(
            task_id=one.task_id,
            instance_id=one.id,
            app_id="/shop",
            target="cluster",
            agent=one.agent or "",
            state="killed" if one.id in self.killed else "running",
            at=NOW,
            message="Mesos says failed: executor terminated",
            orphaned="" if one.id in self.killed else self.orphans.get(one.id, ""),
        )
        verdict = Verdict(standing=self.standing.get(one.id, "healthy"), detail="status 503")
        return Seen(task=None if one.phase == "scheduled" else status, verdict=verdict, acknowledged=True)

    def view(self) -> View:
        return View(
            app_id="/shop",
            engine_known=True,
            wanted=self.version,
            versions={"v1": self.version},
            instances=tuple(self.instances.values()),
            seen={one.id: self.seen(one) for one in self.instances.values()},
        )

    def decide(self) -> tuple[Action, ...]:
        return reconcile(self.view(), NOW).actions

    def carry_out(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            match action:
                case CreateInstances():
                    for _ in range(action.count):
                        self._add(str(len(self.instances)), "launching")
                case Move():
                    one = self.instances[action.instance_id]
                    self.instances[one.id] = lives.move(one, action.phase, NOW, action.cause)
                case KillTask():
                    self.killed.append(action.instance_id)
                case _:
                    assert isinstance(action, LaunchTask | RecordFailure), action

    def phase(self, name: str) -> str:
        return self.instances[name].phase

    @property
    def serving(self) -> int:
        """How many take requests and can answer them."""
        return sum(one.in_rotation and self.standing.get(one.id) != "unhealthy" for one in self.instances.values())


@given(st.integers(1, 4), st.sets(st.integers(0, 3)), st.sampled_from(["executor", "agent"]))
def test_an_orphan_that_serves_stays_until_another_serves_in_its_place(
    instances: int, orphaned: set[int], who: Who
) -> None:
    shop = Shop(instances, "HTTP")
    shop.orphans = {str(one): who for one in orphaned if one < instances}
    for _ in range(60):
        actions = shop.decide()
        for name in shop.orphans:
            began = [one for one in actions if isinstance(one, KillTask) and one.instance_id == name]
            assert not began or shop.phase(name) == "stopping"
        assert not any(isinstance(one, RecordFailure) for one in actions)
        shop.carry_out(actions)
        assert shop.serving >= instances
    assert sorted(shop.killed) == sorted(shop.orphans)
    assert {shop.phase(name) for name in shop.orphans} <= {"stopped"}
    assert shop.serving == instances


def test_who_is_answered_for_again_stays() -> None:
    shop = Shop(2, "HTTP")
    shop.orphans = {"0": "executor"}
    shop.carry_out(shop.decide())
    assert (len(shop.instances), shop.phase("0")) == (3, "serving")
    shop.orphans.clear()
    for _ in range(20):
        shop.carry_out(shop.decide())
    assert (shop.phase("0"), shop.serving) == ("serving", 2)


@pytest.mark.parametrize("who", ["executor", "agent"])
def test_an_orphan_whose_probes_fail_is_replaced_at_once(who: Who) -> None:
    shop = Shop(2, "HTTP")
    shop.orphans, shop.standing = {"0": who}, {"0": "unhealthy"}
    actions = shop.decide()
    assert [(one.phase, one.instance_id) for one in actions if isinstance(one, Move)] == [("stopped", "0")]
    assert any(isinstance(one, RecordFailure) for one in actions)
    shop.standing = {"0": "unknown"}  # a prober that cannot tell is no reason
    assert not any(isinstance(one, Move) for one in shop.decide())


@pytest.mark.parametrize(
    ("who", "protocols", "waits"),
    [
        ("executor", (), True),
        ("executor", ("COMMAND",), True),
        ("agent", (), False),
        ("agent", ("COMMAND", "MESOS_HTTP"), False),
        ("agent", ("COMMAND", "TCP"), True),
    ],
)
def test_what_no_probe_can_tell_of_goes_with_its_agent(
    who: Who, protocols: tuple[CheckProtocol, ...], *, waits: bool
) -> None:
    shop = Shop(2, *protocols)
    shop.orphans = {"0": who}
    stopped = [one for one in shop.decide() if isinstance(one, Move) and one.phase == "stopped"]
    assert bool(stopped) != waits


def test_what_leaves_already_finishes_its_requests() -> None:
    shop = Shop(2)
    one = shop.instances["0"]
    shop.instances["0"] = msgspec.structs.replace(one, phase="draining")
    shop.orphans = {"0": "agent"}
    assert [one.phase for one in shop.decide() if isinstance(one, Move)] == ["closing"]
