"""schedule: one whole life with its faults, as data, made of a seed."""

import random
from collections.abc import Mapping
from typing import Literal

from coldchain.model.app import App, Container, Docker, HealthCheck, PortMapping, Route, UpgradeStrategy
from coldchain.model.base import Noun
from coldchain.model.instance import Phase
from coldchain.model.offer import Offer
from coldchain.testing.simulation.drains import DrainKind, drained
from coldchain.testing.simulation.faults import FAULTS, Fault
from coldchain.testing.simulation.focus import Focus, focus
from coldchain.testing.simulation.gray import shaded
from coldchain.testing.simulation.groups import GroupOperationKind, grouped
from coldchain.testing.simulation.holds import HoldKind, held, planned
from coldchain.testing.simulation.networks import in_network
from coldchain.testing.simulation.orphans import OrphanKind, with_orphans
from coldchain.testing.simulation.places import constrained
from coldchain.testing.simulation.registered import RegistrationKind, with_registrations

OperationKind = (
    Literal["create", "deploy", "scale", "change", "restart", "roll back", "cancel", "delete"]
    | HoldKind
    | GroupOperationKind
    | DrainKind
    | OrphanKind
    | RegistrationKind
)

GOOD = ("good", "slow", "stubborn")
BAD = ("sick", "crashing", "refused")
"""The first word of an image's tag says how its tasks live: `world.life_of`."""

PHASES: tuple[Phase, ...] = ("launching", "starting", "entering", "draining", "closing", "stopping")
AIMED = 0.3
"""The share of operations and faults that wait for one of these phases, in which little time is spent."""
FOCUSED = 0.5
"""The share of lives with a focus: `focus.focus`."""
OFTEN = 4


class Operation(Noun, frozen=True, kw_only=True):
    """What the user asks for, `pause_seconds` after the operation before, and with a `phase` not until an instance is
    in it. `image` None: as it was. `back`: which earlier version, counted from the last. `images`, `before`: of a whole
    group, by app: images, and what each depends on; `factor`: by which its numbers are multiplied. `agent`: which one
    is drained or taken back; of a task that becomes an orphan what of its agent is gone, and `factor` which task; so
    with a heart that stops, and for how long."""

    kind: OperationKind
    app_id: str
    pause_seconds: float
    phase: Phase | None = None
    force: bool = False
    image: str | None = None
    instances: int | None = None
    drain_seconds: float | None = None
    back: int = 1
    images: dict[str, str] = {}
    before: dict[str, tuple[str, ...]] = {}
    factor: float = 1.0
    agent: str = ""


class Injection(Noun, frozen=True, kw_only=True):
    """A fault: of which kind, from when (with a `phase` not until an instance is in it, or if `leaving` until the
    write that leads out of it is on its way), for how long (seconds); `rate`: the share of calls that it strikes;
    `amount`: seconds, or a number, by the kind."""

    kind: str
    at: float
    phase: Phase | None = None
    leaving: bool = False
    seconds: float = 0.0
    rate: float = 1.0
    amount: float = 0.0


class Schedule(Noun, frozen=True, kw_only=True):
    """A life and its faults. `patient`: the user waits for the end of each deployment, asks again until an answer is
    had, and gives every good version the time that it needs; such lives can be compared with those without faults.
    `agents`: () for one agent without attributes."""

    seed: int
    patient: bool
    gateways: int
    apps: tuple[App, ...]
    operations: tuple[Operation, ...]
    injections: tuple[Injection, ...] = ()
    agents: tuple[Offer, ...] = ()


def generate(seed: int) -> Schedule:
    """The schedule of a seed."""
    draw = random.Random(f"schedule {seed}")
    patient = draw.random() < 0.4
    drawn = [drawn_app(draw, number, patient) for number in range(draw.choice((1, 1, 2, 2, 3)))]
    apps = tuple(in_network(seed, shaded(seed, planned(seed, app))) for app in drawn)
    placed, agents = constrained(seed, apps)
    operations = [Operation(kind="create", app_id=app.id, pause_seconds=draw.random(), force=True) for app in apps]
    aim = focus(draw) if draw.random() < FOCUSED else None
    operations += [drawn_operation(draw, draw.choice(apps), aim) for _ in range(draw.randint(3, 12))]
    span = sum(one.pause_seconds for one in operations) + (4.0 if patient else 1.0) * len(operations)
    asked = grouped(seed, placed, operations if patient else held(seed, operations), GOOD, BAD)
    if not patient:  # who leaves for a drain depends on where the faults let it be placed
        asked, agents = drained(seed, asked, agents)
        asked = with_orphans(seed, asked)
        placed, asked = with_registrations(seed, placed, asked)
    return Schedule(
        seed=seed,
        patient=patient,
        gateways=draw.choice((1, 1, 2, 2, 3)),
        apps=placed,
        operations=tuple(asked),
        injections=tuple(drawn_injections(draw, span, aim)),
        agents=agents,
    )


def container(tag: str) -> Container:
    """How the apps of the simulation are packed."""
    return Container(docker=Docker(image=f"app:{tag}"), port_mappings=(PortMapping(container_port=8080, host_port=0),))


def deadline_seconds(tag: str, patient: bool) -> float:
    """How long a deployment of an image may take."""
    if not patient:
        return 25.0
    return 3600.0 if tag.split("-")[0] in GOOD else 20.0


def drawn_app(draw: random.Random, number: int, patient: bool) -> App:
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


def drawn_operation(draw: random.Random, app: App, aim: Focus | None) -> Operation:
    leave = aim is not None and aim.leave and draw.random() < 0.65
    kind: OperationKind = draw.choices(
        ("deploy", "scale", "change", "restart", "roll back", "cancel", "delete", "create"),
        (4, 2, 0, 1, 0, 1, 4, 0) if leave else (8, 5, 2, 2, 2, 4, 2, 2),
    )[0]
    image = instances = drain = phase = None
    if aim is None and draw.random() < AIMED:
        phase = draw.choice(PHASES)
    elif leave and aim is not None:
        phase = aim.phase
    if kind == "deploy" or (kind == "change" and draw.random() < 0.3):
        image = f"{draw.choice(GOOD) if draw.random() < 0.6 else draw.choice(BAD)}-{draw.randint(1, 99)}"
    if kind == "scale" or (kind in ("deploy", "change") and draw.random() < 0.3):
        instances = draw.choice((0, 1) if leave else (0, 1, 1, 2, 3, 4, 5, 6))
    if kind == "change":
        drain = draw.choice((0.0, 1.0, 3.0))
    return Operation(
        kind=kind,
        app_id=app.id,
        pause_seconds=draw.choice((0.0, 0.05, 0.3, 1.0, 3.0, 8.0)) * draw.random() * 2,
        phase=phase,
        force=leave or draw.random() < 0.6,
        image=image,
        instances=instances,
        drain_seconds=drain,
        back=draw.randint(1, 3),
    )


def drawn_injections(
    draw: random.Random, span: float, aim: Focus | None, faults: Mapping[str, Fault] = FAULTS
) -> list[Injection]:
    """Each kind is on or off in a life; how often and how hard it strikes is drawn for the whole life."""
    share = draw.choice((0.1, 0.25, 0.25, 0.4))
    found: list[Injection] = []
    for kind, fault in faults.items():
        focused = aim is not None and (kind in aim.kinds or (aim.end and kind == "task crash"))
        if draw.random() >= (share if aim is None else 0.9 if focused else 0.12):
            continue
        hardness = draw.random()
        times = draw.choice(fault.times) * (OFTEN if focused and len(fault.times) > 1 else 1)
        found += [_injection(draw, kind, fault, span, hardness, aim if focused else None) for _ in range(times)]
    if aim is not None and aim.stretched is not None:
        amount = round(draw.uniform(*FAULTS[aim.stretched].amount), 3)
        found.append(Injection(kind=aim.stretched, at=0.0, seconds=round(span, 3), amount=amount))
    return sorted(found, key=lambda one: one.at)


def _injection(
    draw: random.Random, kind: str, fault: Fault, span: float, hardness: float, aim: Focus | None
) -> Injection:
    phase = draw.choice(PHASES) if draw.random() < AIMED else None
    seconds = draw.uniform(*fault.seconds)
    if aim is not None:
        # Short ones are over while the phase still is.
        seconds *= draw.random() ** 2
    return Injection(
        kind=kind,
        at=round(draw.random() * span, 3),
        phase=phase if aim is None else aim.phase,
        leaving=draw.random() < 0.5,
        seconds=round(seconds, 3),
        rate=round(fault.rate[0] + (fault.rate[1] - fault.rate[0]) * hardness, 3),
        amount=round(draw.uniform(*fault.amount), 3),
    )
