"""schedule: one whole life with its faults, as data, made of a seed."""

import random
from collections.abc import Collection, Sequence
from typing import Literal

from coldchain.model.app import App, Container, Docker, HealthCheck, PortMapping, Route, UpgradeStrategy
from coldchain.model.base import Noun
from coldchain.model.instance import Phase
from coldchain.testing.simulation.faults import FAULTS
from coldchain.testing.simulation.holds import HoldKind, held, planned

OperationKind = Literal["create", "deploy", "scale", "change", "restart", "roll back", "cancel", "delete"] | HoldKind

GOOD = ("good", "slow", "stubborn")
BAD = ("sick", "crashing", "refused")
"""The first word of an image's tag says how its tasks live: `world.life_of`."""


SLOW = ("store slow", "gateway slow")
"""What makes phases long, so that others strike within them."""
FOCUSES: tuple[tuple[str, ...], ...] = (
    ("task crash", "task vanishes", "update lost", *SLOW),
    ("task crash", "update doubled", "store slow"),
    ("task crash", "update late", *SLOW),
    ("launch refused", "launch reply lost", "slow start", "prepare reply lost", "engine slow"),
    ("kill reply lost", "forget reply lost", "task vanishes", *SLOW),
    ("probes fail", "probes hang", "prober cut off", *SLOW),
    ("reboot", "crash before a write", "crash after a write", "updates break", *SLOW),
)
SHORT_PHASES: tuple[Phase, ...] = ("launching", "starting", "entering", "entering", "draining", "closing", "stopping")
"""Those in which little time is spent; who enters seldom leaves at once."""
AIMED = 0.4
"""The share of operations and faults that wait for such a phase."""
FOCUSED = 0.4
"""The share of lives with a focus: a few kinds of faults that meet, and one phase that all aims at."""
OFTEN = 4


class Operation(Noun, frozen=True, kw_only=True):
    """What the user asks for, `pause_seconds` after the operation before, and with a `phase` not until an instance is
    in it. `image` None: as it was. `back`: which earlier version, counted from the last."""

    kind: OperationKind
    app_id: str
    pause_seconds: float
    phase: Phase | None = None
    force: bool = False
    image: str | None = None
    instances: int | None = None
    drain_seconds: float | None = None
    back: int = 1


class Injection(Noun, frozen=True, kw_only=True):
    """A fault: of which kind, from when (with a `phase` not until an instance is in it), for how long (seconds);
    `rate`: the share of calls that it strikes; `amount`: seconds, or a number, by the kind."""

    kind: str
    at: float
    phase: Phase | None = None
    seconds: float = 0.0
    rate: float = 1.0
    amount: float = 0.0


class Schedule(Noun, frozen=True, kw_only=True):
    """A life and its faults. `patient`: the user waits for the end of each deployment, asks again until an answer is
    had, and gives every good version the time that it needs; such lives can be compared with those without faults."""

    seed: int
    patient: bool
    gateways: int
    apps: tuple[App, ...]
    operations: tuple[Operation, ...]
    injections: tuple[Injection, ...] = ()


def generate(seed: int) -> Schedule:
    """The schedule of a seed."""
    draw = random.Random(f"schedule {seed}")
    patient = draw.random() < 0.4
    apps = tuple(planned(seed, _app(draw, number, patient)) for number in range(draw.choice((1, 1, 2, 2, 3))))
    operations = [Operation(kind="create", app_id=app.id, pause_seconds=draw.random(), force=True) for app in apps]
    focus: Sequence[str] = draw.choice(FOCUSES) if draw.random() < FOCUSED else ()
    phases = (draw.choice(SHORT_PHASES),) if focus else SHORT_PHASES
    operations += [_operation(draw, draw.choice(apps), phases) for _ in range(draw.randint(3, 10))]
    span = sum(one.pause_seconds for one in operations) + (4.0 if patient else 1.0) * len(operations)
    return Schedule(
        seed=seed,
        patient=patient,
        gateways=draw.choice((1, 1, 2, 2, 3)),
        apps=apps,
        operations=tuple(operations if patient else held(seed, operations)),
        injections=tuple(_injections(draw, span, focus, phases)),
    )


def container(tag: str) -> Container:
    """How the apps of the simulation are packed."""
    return Container(docker=Docker(image=f"app:{tag}"), port_mappings=(PortMapping(container_port=8080, host_port=0),))


def deadline_seconds(tag: str, patient: bool) -> float:
    """How long a deployment of an image may take."""
    if not patient:
        return 25.0
    return 3600.0 if tag.split("-")[0] in GOOD else 20.0


def _app(draw: random.Random, number: int, patient: bool) -> App:
    name = f"app{number}"
    served = draw.choice(("routes", "routes", "routes", "service", "nothing"))
    strategy = draw.choice(((1.0, 1.0), (1.0, 0.0), (0.5, 0.0), (0.5, 0.5), (0.0, 0.0), (0.8, 0.25)))
    check = HealthCheck(
        path="/health",
        interval_seconds=draw.choice((2.0, 4.0)),
        timeout_seconds=1.0,
        grace_period_seconds=draw.choice((6.0, 30.0)),
        max_consecutive_failures=draw.choice((0, 3, 3)),
    )
    return App(
        id=f"/{name}",
        instances=draw.choice((1, 1, 2, 2, 3, 4, 6)),
        cpus=0.1,
        mem=16.0,
        container=container("good-0"),
        health_checks=(check,) if served != "nothing" or draw.random() < 0.5 else (),
        upgrade_strategy=UpgradeStrategy(minimum_health_capacity=strategy[0], maximum_over_capacity=strategy[1]),
        backoff_seconds=draw.choice((0.5, 2.0)),
        backoff_factor=2.0,
        max_launch_delay_seconds=8.0,
        task_kill_grace_period_seconds=draw.choice((0.0, 2.0)),
        service=name if served == "service" else None,
        routes=(Route(domains=(f"{name}.test",)),) if served == "routes" else (),
        drain_seconds=draw.choice((0.0, 2.0, 6.0)),
        settle_seconds=draw.choice((0.0, 1.0)),
        deadline_seconds=deadline_seconds("good", patient),
        rollback_on_failure=draw.random() < 0.8,
    )


def _operation(draw: random.Random, app: App, phases: Sequence[Phase]) -> Operation:
    kind: OperationKind = draw.choices(
        ("deploy", "scale", "change", "restart", "roll back", "cancel", "delete", "create"), (8, 5, 2, 2, 2, 4, 2, 2)
    )[0]
    image = instances = drain = None
    if kind == "deploy" or (kind == "change" and draw.random() < 0.3):
        image = f"{draw.choice(GOOD) if draw.random() < 0.6 else draw.choice(BAD)}-{draw.randint(1, 99)}"
    if kind == "scale" or (kind in ("deploy", "change") and draw.random() < 0.3):
        instances = draw.choice((0, 1, 1, 2, 3, 4, 5, 6))
    if kind == "change":
        drain = draw.choice((0.0, 1.0, 3.0))
    return Operation(
        kind=kind,
        app_id=app.id,
        pause_seconds=draw.choice((0.0, 0.05, 0.3, 1.0, 3.0, 8.0)) * draw.random() * 2,
        phase=draw.choice(phases) if draw.random() < AIMED else None,
        force=draw.random() < 0.7,
        image=image,
        instances=instances,
        drain_seconds=drain,
        back=draw.randint(1, 3),
    )


def _injections(draw: random.Random, span: float, focus: Collection[str], phases: Sequence[Phase]) -> list[Injection]:
    """Each kind is on or off in a life; how often and how hard it strikes is drawn for the whole life. Where a life
    has a focus, its few kinds strike often, the others hardly."""
    share = draw.choice((0.1, 0.25, 0.25, 0.4))
    found = []
    for name, fault in FAULTS.items():
        if draw.random() >= ((0.8 if name in focus else 0.04) if focus else share):
            continue
        hardness = draw.random()
        found += [
            Injection(
                kind=name,
                at=round(draw.random() * span, 3),
                phase=draw.choice(phases) if draw.random() < AIMED else None,
                seconds=round(draw.uniform(*fault.seconds), 3),
                rate=round(fault.rate[0] + (fault.rate[1] - fault.rate[0]) * hardness, 3),
                amount=round(draw.uniform(*fault.amount), 3),
            )
            for _ in range(draw.choice(fault.times) * (OFTEN if focus and len(fault.times) > 1 else 1))
        ]
    return sorted(found, key=lambda one: one.at)
