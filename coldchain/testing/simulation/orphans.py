"""orphans: tasks that nobody answers for any more, and perhaps again, in some of the lives of the simulation, and what
must hold of them. Drawn apart from all else, so that a life without them is as it was."""

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from coldchain.decisions.self_registration import by_itself
from coldchain.model.app import App
from coldchain.model.instance import Instance

if TYPE_CHECKING:
    from coldchain.testing.simulation.schedule import Operation
    from coldchain.testing.simulation.world import World

OrphanKind = Literal["orphan", "answer"]

LAPSED_SECONDS = 5.0
"""Who missed a heartbeat so long ago may still be held for silent."""
ORPHANED = 0.3
"""The share of lives with orphans."""


def with_orphans(seed: int, operations: Sequence["Operation"]) -> list["Operation"]:
    """The operations, perhaps with tasks among them that become orphans, and stop being so."""
    draw = random.Random(f"orphans {seed}")
    if draw.random() >= ORPHANED or not operations:
        return list(operations)
    found: list[Operation] = []
    for operation in operations:
        found.append(operation)
        while draw.random() < 0.45:
            kind: OrphanKind = draw.choice(("orphan", "orphan", "answer"))
            seconds = draw.choice((0.0, 0.3, 2.0, 8.0)) * draw.random()
            blank = msgspec.structs.replace(operation, image=None, instances=None, drain_seconds=None, images={})
            phase = operation.phase if draw.random() < 0.5 else None
            found.append(
                msgspec.structs.replace(
                    blank,
                    kind=kind,
                    agent=draw.choice(("executor", "agent")),
                    factor=draw.random(),
                    pause_seconds=seconds,
                    phase=phase,
                )
            )
    return found


def strike(world: "World", operation: "Operation") -> None:
    """One of the running tasks becomes an orphan, or stops being one."""
    orphans = operation.kind == "answer"
    held = [(name, one) for name, one in world.engine.held.items() if one.status.state == "running"]
    chosen = [name for name, one in held if bool(one.status.orphaned) == orphans]
    if chosen:
        name = chosen[int(operation.factor * len(chosen))]
        world.checkers.orphans.add(world.engine.held[name].spec.instance_id)
        world.engine.orphan(name, "" if orphans else "executor" if operation.agent == "executor" else "agent")


def given_up(one: Instance, app: App, *, bad: bool, failed_ago: float) -> bool:
    """Whether one that is an orphan, or was a moment ago, may be taken for gone though it runs: its probes fail or its
    heartbeats ended, or it has neither that could tell."""
    if by_itself(one, app):
        return bad or failed_ago < LAPSED_SECONDS
    return bad or not app.health_checks
