"""faults: every kind that can be injected, when it strikes and how hard.

Most kinds only switch on a rate, which the ports of the world ask for at the place where the fault would strike
(`World.hits`, `World.delay`); the others do something once (`once`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from coldchain.decisions.instance import TRANSITIONS
from coldchain.model.instance import Phase

if TYPE_CHECKING:
    from coldchain.testing.simulation.world import World

ALL: tuple[Phase, ...] = tuple(TRANSITIONS)
RUNS: tuple[Phase, ...] = ("launching", "starting", "entering", "serving", "draining", "closing", "stopping")
HELD: tuple[Phase, ...] = (*RUNS, "stopped")
PROBED: tuple[Phase, ...] = ("starting", "entering", "serving")
LAUNCHED: tuple[Phase, ...] = ("launching",)

Cost = Literal["nothing", "tasks", "health"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind. `facts`: its number in the list of faults of the reference. `times`: how often in a life, of which one
    is drawn; `seconds`, `rate`, `amount`: from, to, as in `schedule.Injection`.

    `phases`: of the instances that it can strike: those in which the order is given, the task can end or tell
    something, the probe is sent. In the table only these count; what was slow may come later. None for what concerns
    a version rather than an instance.

    `cost`: what it may change in the number of tasks created: nothing; one more for each task that it ended; or any,
    because instances that seem sick are replaced.
    """

    facts: str
    cost: Cost = "nothing"
    phases: tuple[Phase, ...] = ALL
    times: tuple[int, ...] = (1, 2, 3)
    seconds: tuple[float, float] = (2.0, 25.0)
    rate: tuple[float, float] = (1.0, 1.0)
    amount: tuple[float, float] = (0.0, 0.0)
    once: Callable[["World", float], None] | None = None


def _crash(world: "World", down_seconds: float) -> None:
    world.crash("crash", down_seconds)


def _before_write(world: "World", writes: float) -> None:
    world.crash_at_write("crash before a write", int(writes), committed=False)


def _after_write(world: "World", writes: float) -> None:
    world.crash_at_write("crash after a write", int(writes), committed=True)


def _travel(world: "World", share: float) -> None:
    world.travel(share)


def _task_crash(world: "World", choice: float) -> None:
    running = [name for name, one in world.engine.held.items() if one.status.state == "running"]
    if running:
        name = _chosen(world, running, choice)
        _killed(world, "task crash", name)
        world.engine.crash(name)


def _task_vanish(world: "World", choice: float) -> None:
    held = list(world.engine.held)
    if held:
        name = _chosen(world, held, choice)
        _killed(world, "task vanishes", name)
        world.engine.vanish(name)


def _reboot(world: "World", choice: float) -> None:
    for name in list(world.engine.held):
        _killed(world, "reboot", name)
        world.engine.vanish(name)
    world.crash("reboot", 1.0 + 5.0 * choice)


def _chosen(world: "World", task_ids: list[str], choice: float) -> str:
    aimed = [name for name in task_ids if world.engine.held[name].spec.instance_id == world.aim]
    return aimed[0] if aimed else task_ids[int(choice * len(task_ids))]


def _killed(world: "World", kind: str, task_id: str) -> None:
    task = world.engine.held[task_id]
    world.killed[task.spec.app_id] += not task.status.terminal
    world.struck(kind, task.spec.instance_id)


def _break_updates(world: "World", amount: float) -> None:
    world.struck("updates break")
    world.engine.break_updates()


def _lose_state(world: "World", choice: float) -> None:
    world.struck("gateway loses its state")
    world.gateways[int(choice * len(world.gateways))].forget()


def _forward(world: "World", seconds: float) -> None:
    world.struck("clock forward")
    world.clock.offset += seconds


def _back(world: "World", seconds: float) -> None:
    world.struck("clock back")
    world.clock.offset -= seconds


LOST = (0.05, 0.6)
OFTEN = (0.2, 0.9)
CHOICE = (0.0, 0.999)

FAULTS: dict[str, Fault] = {
    "crash": Fault(facts="F1", amount=(0.0, 8.0), seconds=(0, 0), once=_crash),
    "crash before a write": Fault(facts="F1", amount=(0.0, 9.0), seconds=(0, 0), once=_before_write),
    "crash after a write": Fault(facts="F1 F7", amount=(0.0, 9.0), seconds=(0, 0), once=_after_write),
    "time travel": Fault(facts="F2 F13", cost="health", times=(1,), amount=CHOICE, seconds=(0, 0), once=_travel),
    "update lost": Fault(facts="F3 F9", phases=RUNS, rate=OFTEN),
    "update doubled": Fault(facts="F17", phases=RUNS, rate=OFTEN),
    "update late": Fault(facts="F9 F17", phases=RUNS, rate=OFTEN, amount=(0.1, 8.0)),
    "updates break": Fault(facts="F5", seconds=(0, 0), once=_break_updates),
    "write reply lost": Fault(facts="F7", rate=LOST),
    "write refused": Fault(facts="F7 F18", rate=LOST),
    "write conflicts": Fault(facts="F4", rate=LOST),
    "store silent": Fault(facts="F8", seconds=(0.5, 12.0)),
    "store slow": Fault(facts="F12", amount=(0.01, 1.2)),
    "engine away": Fault(facts="F16", seconds=(0.5, 20.0)),
    "engine slow": Fault(facts="F16", amount=(0.05, 3.0)),
    "prepare reply lost": Fault(facts="F7", phases=(), rate=OFTEN),
    "launch reply lost": Fault(facts="F7", phases=LAUNCHED, rate=LOST),
    "launch refused": Fault(facts="F16", phases=LAUNCHED, cost="health", rate=LOST),
    "kill reply lost": Fault(facts="F7", phases=("stopping",), rate=LOST),
    "forget reply lost": Fault(facts="F7", phases=("stopped",), rate=LOST),
    "task crash": Fault(facts="F16", phases=RUNS, cost="tasks", amount=CHOICE, seconds=(0, 0), once=_task_crash),
    "task vanishes": Fault(facts="F19", phases=HELD, cost="tasks", amount=CHOICE, seconds=(0, 0), once=_task_vanish),
    "reboot": Fault(facts="F19", cost="tasks", times=(1,), amount=CHOICE, seconds=(0, 0), once=_reboot),
    "slow start": Fault(facts="F20", phases=LAUNCHED, amount=(2.0, 10.0)),
    "gateway away briefly": Fault(facts="F8", seconds=(0.5, 4.5), amount=CHOICE),
    "gateway away long": Fault(facts="F8", times=(1, 2), seconds=(7.0, 25.0), amount=CHOICE),
    "gateway reply lost": Fault(facts="F21", rate=LOST),
    "gateway refuses": Fault(facts="F21", seconds=(0.5, 9.0), amount=CHOICE),
    "gateway slow": Fault(facts="F21", amount=(0.05, 3.0)),
    "gateway loses its state": Fault(facts="F21", amount=CHOICE, seconds=(0, 0), once=_lose_state),
    "clock forward": Fault(facts="F14", amount=(1.0, 4000.0), seconds=(0, 0), once=_forward),
    "clock back": Fault(facts="F14", amount=(1.0, 4000.0), seconds=(0, 0), once=_back),
    "probes fail": Fault(facts="F18", phases=PROBED, cost="health", seconds=(0.5, 20.0)),
    "probes hang": Fault(facts="F18", phases=PROBED, cost="health", seconds=(0.5, 20.0)),
    "prober cut off": Fault(facts="F18", phases=PROBED, seconds=(0.5, 20.0)),
}
