"""drains: agents that are drained and taken back, in some of the lives of the simulation, and what must hold of that.
Drawn apart from all else, so that a life without them is as it was."""

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from coldchain.model.agent import AgentDrain
from coldchain.model.instance import Instance
from coldchain.model.offer import Offer
from coldchain.testing.simulation.places import agent

if TYPE_CHECKING:
    from coldchain.testing.simulation.schedule import Operation

DrainKind = Literal["drain", "end drain"]

DRAINED = 0.25
"""The share of lives in which agents are drained."""
AGENTS = 3
"""Of lives that have only one otherwise: one of them always stays to be used."""


def drained(
    seed: int, operations: Sequence["Operation"], agents: tuple[Offer, ...]
) -> tuple[list["Operation"], tuple[Offer, ...]]:
    """The operations, perhaps with drains among them; and the agents, several then."""
    draw = random.Random(f"drains {seed}")
    if draw.random() >= DRAINED or not operations:
        return list(operations), agents
    agents = agents or tuple(agent(number) for number in range(AGENTS))
    found: list[Operation] = []
    out: set[str] = set()
    for operation in operations:
        found.append(operation)
        while draw.random() < 0.4:
            name = draw.choice(agents).agent
            kind: DrainKind = "end drain" if name in out else "drain"
            if kind == "drain" and len(out) == len(agents) - 1:
                continue
            out ^= {name}
            seconds = draw.choice((0.0, 0.3, 1.0, 3.0)) * draw.random()
            blank = msgspec.structs.replace(operation, image=None, instances=None, drain_seconds=None, images={})
            phase = operation.phase if draw.random() < 0.5 else None
            found.append(msgspec.structs.replace(blank, kind=kind, agent=name, pause_seconds=seconds, phase=phase))
    return found, agents


def on_drained(instance: Instance, drains: Mapping[str, AgentDrain]) -> str:
    """What is wrong with the place that an instance just got, in words."""
    return f"{instance.id} was placed on {instance.agent}, which is drained" if instance.agent in drains else ""
