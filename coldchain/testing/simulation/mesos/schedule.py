"""schedule: lives on a cluster of Mesos, made of a seed."""

import random

import msgspec

from coldchain.model.offer import Offer
from coldchain.testing.simulation.drains import drained
from coldchain.testing.simulation.mesos.faults import MESOS_FAULTS
from coldchain.testing.simulation.schedule import (
    Injection,
    Operation,
    Schedule,
    drawn_app,
    drawn_injections,
    drawn_operation,
)

PATIENT = 0.25
TIGHT = 0.5
"""The share of lives with one app whose agents have just enough for it."""
ALONE = 0.2
"""The share of lives with one kind of fault, of which less is excused."""


def generate(seed: int) -> Schedule:
    """Smaller lives than the others: what is asked for here is the engine."""
    draw = random.Random(f"mesos {seed}")
    patient = draw.random() < PATIENT
    apps = tuple(drawn_app(draw, number, patient) for number in range(draw.choice((1, 1, 2))))
    agents = tuple(agent(number) for number in range(draw.choice((2, 3, 3))))
    operations = [Operation(kind="create", app_id=app.id, pause_seconds=draw.random(), force=True) for app in apps]
    operations += [drawn_operation(draw, draw.choice(apps), None) for _ in range(draw.randint(2, 6))]
    span = sum(one.pause_seconds for one in operations) + 4.0 * len(operations)
    if not patient:
        operations, agents = drained(seed, operations, agents)
    if len(apps) == 1 and draw.random() < TIGHT and not any(one.kind == "drain" for one in operations):
        agents = tuple(msgspec.structs.replace(one, cpus=0.7) for one in agents)
    return Schedule(
        seed=seed,
        patient=patient,
        gateways=1,
        apps=apps,
        operations=tuple(operations),
        injections=tuple(_injections(draw, span)),
        agents=agents,
    )


def _injections(draw: random.Random, span: float) -> list[Injection]:
    found: list[Injection] = []
    kind = draw.choice(list(MESOS_FAULTS)) if draw.random() < ALONE else None
    faults = {kind: MESOS_FAULTS[kind]} if kind is not None else MESOS_FAULTS
    while not found:
        found = drawn_injections(draw, span, None, faults)
    return found


def agent(number: int) -> Offer:
    """One machine of the cluster: with room for not much more than what is asked for."""
    name = f"agent-{number + 1}"
    return Offer(
        agent=name,
        target="cluster",
        hostname=f"10.99.0.{number + 1}",
        cpus=1.6,
        mem=1024.0,
        disk=0.0,
        port_ranges=((31000 + 100 * number, 31039 + 100 * number),),
    )
