"""faults: what can happen to a cluster of Mesos and to the ways to it, beside what can happen to the rest."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from coldchain.testing.simulation.faults import FAULTS, HELD, LOST, OFTEN, RUNS, Fault
from coldchain.testing.simulation.mesos.machine import RECOVERY_SECONDS, Machine
from coldchain.testing.simulation.mesos.master import UNREACHABLE_SECONDS

if TYPE_CHECKING:
    from coldchain.testing.simulation.mesos.world import MesosWorld
    from coldchain.testing.simulation.world import World

Work = Callable[["MesosWorld", Machine, float], None]
MAINTENANCE_SECONDS = 40.0


def _on_machine(kind: str, work: Work) -> Callable[["World", float], None]:
    """One machine is struck: that of the instance which is aimed at, else one by the fraction of the amount."""

    def once(world: "World", amount: float) -> None:
        cluster = cast("MesosWorld", world)
        machine = cluster.chosen(amount)
        cluster.hit(kind, machine)
        work(cluster, machine, amount)

    return once


def _everywhere(kind: str, work: Callable[["MesosWorld", float], None]) -> Callable[["World", float], None]:
    def once(world: "World", amount: float) -> None:
        world.struck(kind)
        work(cast("MesosWorld", world), amount)

    return once


def _stream_cut(world: "MesosWorld", amount: float) -> None:
    world.masters.cut("the connection broke")


def _stream_silent(world: "MesosWorld", amount: float) -> None:
    if world.masters.subscription is not None:
        world.masters.subscription.fall_silent()


def _master_fails(world: "MesosWorld", seconds: float) -> None:
    if world.masters.leading:
        world.masters.kept = world.draw("registry").random() < 0.5
        world.masters.fail()
        world.later(seconds, world.masters.lead)


def _rescinded(world: "MesosWorld", amount: float) -> None:
    for known in world.masters.agents.values():
        world.masters.rescind(known)


def _framework_removed(world: "MesosWorld", amount: float) -> None:
    if world.masters.leading:
        world.trouble_everywhere()
        world.masters.remove_framework()


def _upgraded(world: "MesosWorld", amount: float) -> None:
    world.version += 1
    world.crash("controller upgraded", amount)


def _executor_killed(world: "MesosWorld", machine: Machine, amount: float) -> None:
    for process in tuple(machine.executors.values()):
        process.kill()


def _agent_killed(world: "MesosWorld", machine: Machine, amount: float) -> None:
    machine.agent.kill()
    world.later(0.2 + 3.0 * (amount % 1.0), machine.agent.start)


def _agent_away(world: "MesosWorld", machine: Machine, amount: float) -> None:
    machine.agent.kill()
    world.later(RECOVERY_SECONDS * (0.6 + amount % 1.0), machine.agent.start)


def _agent_renamed(world: "MesosWorld", machine: Machine, amount: float) -> None:
    machine.agent.kill()
    machine.agent.wipe()
    world.later(0.2 + 3.0 * (amount % 1.0), machine.agent.start)


def _marked_gone(world: "MesosWorld", machine: Machine, amount: float) -> None:
    if world.masters.leading and machine.agent.id in world.masters.agents:
        world.masters.mark_gone(machine.agent.id)


def _reboot(world: "MesosWorld", machine: Machine, amount: float) -> None:
    world.lose_containers(machine)
    machine.stop()
    world.later(1.0 + 9.0 * (amount % 1.0), machine.start)


def _cut_off(world: "MesosWorld", machine: Machine, amount: float) -> None:
    machine.cut_off = True
    world.later(3.0 * UNREACHABLE_SECONDS * (amount % 1.0) ** 2, lambda: world.heal(machine))


def _maintenance(world: "MesosWorld", machine: Machine, amount: float) -> None:
    """Announced, and called off again."""

    def cancel() -> None:
        machine.agent.leaving = None
        world.renew_offers(machine)

    machine.agent.leaving = world.clock.now() + 30.0
    world.renew_offers(machine)
    world.later(MAINTENANCE_SECONDS, cancel)


NOW = (0, 0)
SOME = (0.0, 7.999)

OF_THE_REST = (
    "crash",
    "crash before a write",
    "crash after a write",
    "write reply lost",
    "write refused",
    "store silent",
    "store slow",
    "task crash",
    "slow start",
    "gateway away briefly",
)

OF_MESOS: dict[str, Fault] = {
    "stream cut": Fault(facts="F5 F8", seconds=NOW, once=_everywhere("stream cut", _stream_cut)),
    "stream silent": Fault(facts="F6", cost="health", seconds=NOW, once=_everywhere("stream silent", _stream_silent)),
    "event late": Fault(facts="F9 F17", phases=RUNS, amount=(0.1, 6.0)),
    "call lost": Fault(facts="F9", phases=RUNS, cost="health", rate=LOST),
    "call reply lost": Fault(facts="F7", phases=RUNS, cost="health", rate=LOST),
    "call slow": Fault(facts="F9", phases=RUNS, amount=(0.1, 3.0)),
    "acknowledgement lost": Fault(facts="F9 F17", phases=RUNS, rate=OFTEN),
    "update not passed on": Fault(facts="F3 F9", phases=HELD, rate=OFTEN),
    "update told twice": Fault(facts="F17", phases=HELD, rate=OFTEN),
    "agent slow": Fault(facts="F9", phases=HELD, amount=(0.1, 4.0)),
    "offer just rescinded": Fault(facts="F16", phases=("launching",), cost="health", rate=LOST),
    "offers rescinded": Fault(facts="F16", seconds=NOW, once=_everywhere("offers rescinded", _rescinded)),
    "master fails over": Fault(
        facts="F8 F11", amount=(0.1, 6.0), seconds=NOW, once=_everywhere("master fails over", _master_fails)
    ),
    "master not found": Fault(facts="F8 F18", rate=OFTEN),
    "framework removed": Fault(
        facts="F15", cost="health", times=(1,), seconds=NOW, once=_everywhere("framework removed", _framework_removed)
    ),
    "controller upgraded": Fault(
        facts="F24", amount=(0.1, 4.0), seconds=NOW, once=_everywhere("controller upgraded", _upgraded)
    ),
    "executor killed": Fault(
        facts="F8", phases=RUNS, cost="health", amount=SOME, seconds=NOW,
        once=_on_machine("executor killed", _executor_killed),
    ),
    "agent killed": Fault(
        facts="F16", phases=RUNS, cost="health", amount=SOME, seconds=NOW,
        once=_on_machine("agent killed", _agent_killed),
    ),
    "agent away long": Fault(
        facts="F16", phases=RUNS, cost="health", amount=SOME, seconds=NOW,
        once=_on_machine("agent away long", _agent_away),
    ),
    "agent renamed": Fault(
        facts="F23", phases=RUNS, cost="health", amount=SOME, seconds=NOW,
        once=_on_machine("agent renamed", _agent_renamed),
    ),
    "agent marked gone": Fault(
        facts="F16", phases=RUNS, cost="health", times=(1,), amount=SOME, seconds=NOW,
        once=_on_machine("agent marked gone", _marked_gone),
    ),
    "machine rebooted": Fault(
        facts="F19", phases=RUNS, cost="health", times=(1,), amount=SOME, seconds=NOW,
        once=_on_machine("machine rebooted", _reboot),
    ),
    "machine cut off": Fault(
        facts="F8", phases=RUNS, cost="health", amount=SOME, seconds=NOW, once=_on_machine("machine cut off", _cut_off)
    ),
    "maintenance": Fault(
        facts="F22", phases=RUNS, cost="health", times=(1,), amount=SOME, seconds=NOW,
        once=_on_machine("maintenance", _maintenance),
    ),
}  # fmt: skip

UNJUDGED = frozenset(
    {("entering", "draining"), ("entering", "stopped"), ("draining", "stopped"), ("closing", "stopped")}
)
"""Transitions that seldom happen: the lives with a focus are for them, and they are no affair of an engine."""

MESOS_FAULTS: dict[str, Fault] = {name: FAULTS[name] for name in OF_THE_REST} | OF_MESOS
